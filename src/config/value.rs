// SPDX-License-Identifier: MIT OR Apache-2.0

//! A value of a file, as serde reads it. toml's own deserializer does not tell the key of an error,
//! and its sentences are about types of Rust. This one knows the key and the place of each value,
//! says in our words what is wrong with it, and notes which fields serde asked for.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::Path;

use serde::de::{self, DeserializeSeed, Expected, IntoDeserializer as _, Unexpected, Visitor};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::form::is_line;
use super::{ConfigError, Place};
use flipside_image::redact::redact;

/// What is wrong with a value.
#[derive(Debug, thiserror::Error)]
pub(super) enum Mistake {
    /// It has to be something else.
    #[error("it has to be {0}")]
    Expected(String),
    /// It is refused for this reason.
    #[error("{0}")]
    Refused(String),
    /// Either, with key and place.
    #[error(transparent)]
    Placed(ConfigError),
}

type Result<T> = std::result::Result<T, Mistake>;

impl Mistake {
    /// The same, where empty text is right as well.
    fn or_empty(self) -> Self {
        let Self::Expected(expected) = self else { return self };
        Self::Expected(format!("{}, or \"\"", expected.replace("that is not empty, ", "")))
    }
}

impl de::Error for Mistake {
    fn custom<T: Display>(reason: T) -> Self {
        Self::Refused(reason.to_string())
    }

    fn invalid_type(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        // All other types that settings have bring words of their own.
        Self::Expected(expected.to_string().replace("a boolean", "true or false"))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(found, expected)
    }
}

/// A file, and what serde asked of it.
pub(super) struct Source<'s> {
    pub path: &'s Path,
    pub bytes: &'s [u8],
    /// Each table that was read, with the names of its fields; `*` is any name.
    pub fields: RefCell<Vec<(Vec<String>, &'static [&'static str])>>,
    /// Each key that no field has, and where it stands.
    pub unknown: RefCell<BTreeMap<Vec<String>, Place>>,
}

impl<'s> Source<'s> {
    pub(super) fn new(path: &'s Path, bytes: &'s [u8]) -> Self {
        Self { path, bytes, fields: RefCell::default(), unknown: RefCell::default() }
    }

    /// Where the byte at `offset` stands.
    pub(super) fn place(&self, offset: usize) -> Place {
        let line = 1 + self.bytes.iter().take(offset).filter(|byte| **byte == b'\n').count();
        Place { file: self.path.to_owned(), line }
    }
}

/// A value, and the key that it is set by.
#[derive(Clone)]
pub(super) struct Value<'s, 't> {
    source: &'s Source<'s>,
    /// The names of its tables, and its own.
    pub path: Vec<String>,
    role: Role,
    /// Where its name begins, or the item of a list.
    offset: usize,
    pub value: &'s DeValue<'t>,
}

/// What a value is to its key: all of it, or part of a list.
#[derive(Clone, Copy)]
enum Role {
    Whole,
    ItemOfList,
    InsteadOfList,
}

impl<'s, 't> Value<'s, 't> {
    /// All of a file.
    pub(super) fn root(source: &'s Source<'s>, value: &'s DeValue<'t>) -> Self {
        Self { source, path: Vec::new(), role: Role::Whole, offset: 0, value }
    }

    /// What stands in a table or a list.
    pub(super) fn inside(&self) -> Vec<Self> {
        let mut inside = Vec::new();
        if let DeValue::Table(table) = self.value {
            for (name, value) in table {
                let path = [self.path.as_slice(), &[name.get_ref().to_string()]].concat();
                let (offset, value) = (name.span().start, value.get_ref());
                inside.push(Self { path, offset, value, ..self.clone() });
            }
        }
        for item in self.value.as_array().into_iter().flatten() {
            let (offset, value) = (item.span().start, item.get_ref());
            inside.push(Self { role: Role::ItemOfList, offset, value, ..self.clone() });
        }
        inside
    }

    pub(super) fn place(&self) -> Place {
        self.source.place(self.offset)
    }

    /// The error that `mistake` is: about this value, or about one inside it.
    pub(super) fn error(&self, mistake: Mistake) -> ConfigError {
        let (place, key) = (self.place(), self.path.join("."));
        let what = match (mistake, self.role) {
            (Mistake::Placed(error), _) => return error,
            (Mistake::Refused(reason), _) => format!("{key}: {reason}"),
            (Mistake::Expected(expected), role) => {
                let (each, list) = match role {
                    Role::Whole => ("", ""),
                    Role::ItemOfList => ("each item of ", ""),
                    Role::InsteadOfList => ("", "a list where each item is "),
                };
                format!("{each}{key} has to be {list}{expected}, not {}", describe(self.value))
            }
        };
        ConfigError::Invalid { place, what }
    }
}

/// Values, one after the other.
struct Values<'v, 's, 't>(std::slice::Iter<'v, Value<'s, 't>>);

impl<'de> de::SeqAccess<'de> for Values<'_, '_, '_> {
    type Error = Mistake;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>> {
        let Some(value) = self.0.next() else { return Ok(None) };
        seed.deserialize(value).map(Some).map_err(|mistake| Mistake::Placed(value.error(mistake)))
    }
}

impl<'de> de::MapAccess<'de> for Values<'_, '_, '_> {
    type Error = Mistake;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>> {
        let name = self.0.as_slice().first().and_then(|value| value.path.last());
        name.map(|name| seed.deserialize(name.as_str().into_deserializer())).transpose()
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value> {
        let value = de::SeqAccess::next_element_seed(self, seed)?;
        value.ok_or_else(|| de::Error::custom("there is no value"))
    }
}

impl<'de> de::Deserializer<'de> for &Value<'_, '_> {
    type Error = Mistake;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.value {
            DeValue::String(text) => visitor.visit_str(text),
            DeValue::Integer(number) => {
                match i64::from_str_radix(number.as_str(), number.radix()) {
                    Ok(number) => visitor.visit_i64(number),
                    // Too large for any setting: no visitor takes a unit, and each says what it takes.
                    Err(_) => visitor.visit_unit(),
                }
            }
            DeValue::Float(number) => {
                visitor.visit_f64(number.as_str().parse().unwrap_or(f64::NAN))
            }
            DeValue::Boolean(flag) => visitor.visit_bool(*flag),
            DeValue::Datetime(time) => visitor.visit_string(time.to_string()),
            // Who takes them asks for them.
            DeValue::Array(_) | DeValue::Table(_) => visitor.visit_unit(),
        }
    }

    /// No setting has several lines of text.
    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.value.as_str() {
            Some(text) if is_line(text) => visitor.visit_str(text),
            _ => Err(Mistake::Expected("text that is not empty, on one line".to_owned())),
        }
    }

    /// Empty text takes back what an earlier file said.
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.value.as_str() {
            Some("") => visitor.visit_none(),
            _ => visitor.visit_some(self).map_err(Mistake::or_empty),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        match self.value.as_str() {
            Some(text) if variants.contains(&text) => visitor.visit_enum(text.into_deserializer()),
            _ => Err(Mistake::Expected(one_of(variants))),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let items = self.inside();
        if self.value.is_array() {
            return visitor.visit_seq(Values(items.iter()));
        }
        // Only the type of the items knows what they have to be.
        let item = Value { role: Role::InsteadOfList, ..self.clone() };
        visitor.visit_seq(Values([item].iter()))?;
        Err(Mistake::Expected(format!("a list such as [{}]", describe(self.value))))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_struct("", &["*"], visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        if !self.value.is_table() {
            return Err(Mistake::Expected("a table".to_owned()));
        }
        self.source.fields.borrow_mut().push((self.path.clone(), fields));
        visitor.visit_map(Values(self.inside().iter()))
    }

    /// The value of a key that no field has.
    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.source.unknown.borrow_mut().insert(self.path.clone(), self.place());
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str bytes byte_buf unit
        unit_struct newtype_struct tuple tuple_struct identifier
    }
}

/// Puts `value` where `path` names it. A value in the place of a table stays.
pub(super) fn insert<'t>(root: &mut DeTable<'t>, path: &[String], value: DeValue<'t>) {
    let Some((name, tables)) = path.split_last() else { return };
    let table = tables.iter().try_fold(root, |table, name| {
        let empty = || Spanned::new(0..0, DeValue::Table(DeTable::new()));
        match table.entry(Spanned::new(0..0, name.clone().into())).or_insert_with(empty).get_mut() {
            DeValue::Table(table) => Some(table),
            _ => None,
        }
    });
    if let Some(table) = table {
        table.insert(Spanned::new(0..0, name.clone().into()), Spanned::new(0..0, value));
    }
}

/// `"off", "check" or "install"`.
fn one_of(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
    match quoted.split_last() {
        Some((last, first)) if !first.is_empty() => format!("{} or {last}", first.join(", ")),
        _ => quoted.concat(),
    }
}

/// A value as the person wrote it, shortened and without secrets.
fn describe(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => {
            let text = redact(text);
            match text.chars().count() > 60 {
                true => format!("{:?}...", text.chars().take(60).collect::<String>()),
                false => format!("{text:?}"),
            }
        }
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Datetime(time) => time.to_string(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}
