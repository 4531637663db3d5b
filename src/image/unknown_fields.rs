// SPDX-License-Identifier: MIT OR Apache-2.0

//! JSON objects that an older and a newer flipside take turns to write: the fields that this one
//! does not know are kept, as the text that they came as.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};

use serde::de::value::Error as FieldsError;
use serde::de::{DeserializeOwned, Error as _, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer, forward_to_deserialize_any};
use serde_json::value::RawValue;

/// Fields by name, each with its value's JSON. As long as the document that they came in, whose
/// reader has bounded it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UnknownFields(BTreeMap<String, String>);

impl UnknownFields {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Forgets them, where the document has become too long.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

/// A `T`, a struct, and the fields beside its own.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Extensible<T> {
    /// What this version knows.
    pub known: T,
    /// What it does not.
    pub unknown: UnknownFields,
}

impl<T> From<T> for Extensible<T> {
    fn from(known: T) -> Self {
        Self { known, unknown: UnknownFields::default() }
    }
}

impl<T> Deref for Extensible<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.known
    }
}

impl<T> DerefMut for Extensible<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.known
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Extensible<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Box::<RawValue>::deserialize(deserializer)?;
        let known = serde_json::from_str(text.get()).map_err(D::Error::custom)?;
        let all: BTreeMap<String, Box<RawValue>> =
            serde_json::from_str(text.get()).map_err(D::Error::custom)?;
        let fields = fields_of::<T>();
        let unknown = all
            .into_iter()
            .filter(|(name, _)| !fields.contains(&name.as_str()))
            .map(|(name, value)| (name, value.get().to_owned()))
            .collect();
        Ok(Self { known, unknown: UnknownFields(unknown) })
    }
}

impl<T: Serialize> Serialize for Extensible<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Both<'a, T> {
            #[serde(flatten)]
            known: &'a T,
            #[serde(flatten)]
            unknown: BTreeMap<&'a str, Box<RawValue>>,
        }
        let mut unknown = BTreeMap::new();
        for (name, text) in &self.unknown.0 {
            let value = RawValue::from_string(text.clone()).map_err(serde::ser::Error::custom)?;
            unknown.insert(name.as_str(), value);
        }
        Both { known: &self.known, unknown }.serialize(serializer)
    }
}

/// The names of the fields of `T`, as it asks a document for them.
fn fields_of<T: DeserializeOwned>() -> &'static [&'static str] {
    let mut fields: &'static [&'static str] = &[];
    // It is never given a value: asking is all that it does.
    let _ = T::deserialize(Ask(&mut fields));
    fields
}

/// Learns which fields a struct asks for.
struct Ask<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Ask<'_> {
    type Error = FieldsError;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, FieldsError> {
        Err(FieldsError::custom("only a struct has fields"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, FieldsError> {
        *self.0 = fields;
        Err(FieldsError::custom("only its fields were asked for"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
    struct Inner {
        name: String,
    }

    #[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
    struct Outer {
        #[serde(default)]
        inner: Vec<Extensible<Inner>>,
        #[serde(default, rename = "given", skip_serializing_if = "Option::is_none")]
        optional: Option<u32>,
    }

    fn read(text: &str) -> Result<Extensible<Outer>, serde_json::Error> {
        serde_json::from_str(text)
    }

    #[test]
    fn unknown_fields_are_kept_as_they_came_on_each_level() {
        let text = r#"{"inner":[{"name":"a","since":1e400,"deep":[{"x":[null]}]}],"given":7,"new":{"b":1,"a":0.10}}"#;
        let mut read = read(text).unwrap();
        assert_eq!(
            serde_json::to_string(&read).unwrap(),
            text.replace(
                r#""since":1e400,"deep":[{"x":[null]}]"#,
                r#""deep":[{"x":[null]}],"since":1e400"#
            )
        );
        read.optional = None;
        read.inner[0].name = "b".to_owned();
        let again = serde_json::to_string(&read).unwrap();
        assert!(again.contains(r#""name":"b","deep":"#) && !again.contains("given"), "{again}");
    }

    #[test]
    fn a_known_field_is_never_kept_as_an_unknown_one() {
        // Though it is not written where it is empty.
        let mut read = read(r#"{"given":null}"#).unwrap();
        assert!(read.unknown.is_empty());
        read.optional = Some(1);
        assert_eq!(serde_json::to_string(&read).unwrap(), r#"{"inner":[],"given":1}"#);
    }

    #[test]
    fn what_is_no_such_object_is_refused() {
        for text in ["", "[]", "7", r#"{"inner":[{}]}"#, r#"{"given":"x"}"#, r#"{"new":}"#, "{"] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_survived_and_what_is_read_is_read_again(text in ".{0,80}", name in "[a-z]{1,6}") {
            let _ = read(&text);
            let document = format!(r#"{{"{name}_": {}}}"#, serde_json::to_string(&text).unwrap());
            let first = read(&document).unwrap();
            let again = read(&serde_json::to_string(&first).unwrap()).unwrap();
            prop_assert_eq!(first, again);
        }
    }
}
