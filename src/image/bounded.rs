// SPDX-License-Identifier: MIT OR Apache-2.0

//! Lists and maps in JSON from outside. An entry can take some hundred times the memory of its text,
//! so a limit on the bytes alone is not enough: entries are counted while they are read.
//!
//! For `#[serde(deserialize_with = "bounded::list::<1000, _, _>")]`.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// The most entries of a list in a manifest or an index.
pub const ENTRIES: usize = 1000;
/// The most annotations of a manifest, an index, or an entry in one.
pub const ANNOTATIONS: usize = 100;

/// The deepest nesting of a document. None that is right comes near.
const DEPTH: usize = 64;

/// Reads a document. serde_json keeps a byte for each bracket that is open in what it passes over,
/// so nesting is looked at first.
///
/// # Errors
/// That it is nested too deeply, or serde_json's.
pub fn parse<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, serde_json::Error> {
    let (mut depth, mut in_text, mut is_escaped) = (0_usize, false, false);
    for byte in bytes {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = in_text,
            b'"' => in_text = !in_text,
            b'[' | b'{' if !in_text => depth = depth.saturating_add(1),
            b']' | b'}' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEPTH {
            return Err(de::Error::custom(format!("it is nested more than {DEPTH} levels deep")));
        }
    }
    serde_json::from_slice(bytes)
}

/// A list of at most `N` entries.
pub fn list<'de, const N: usize, T, D>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    deserializer.deserialize_seq(List::<N, T>(PhantomData))
}

/// The same, where `null` is no list.
pub fn optional_list<'de, const N: usize, T, D>(deserializer: D) -> Result<Option<Vec<T>>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    deserializer.deserialize_option(OptionalList::<N, T>(PhantomData))
}

/// A list of at most `N` entries, of which those are left out that are no `T`. It has to be read
/// from a slice or a string.
pub fn readable<'de, const N: usize, T, D>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    T: de::DeserializeOwned,
    D: Deserializer<'de>,
{
    deserializer.deserialize_seq(Readable::<N, T>(PhantomData))
}

/// A map of at most `N` entries.
pub fn map<'de, const N: usize, V, D>(deserializer: D) -> Result<BTreeMap<String, V>, D::Error>
where
    V: Deserialize<'de>,
    D: Deserializer<'de>,
{
    deserializer.deserialize_map(Map::<N, V>(PhantomData))
}

/// The same, where `null` is an empty map: Go writes a map that was never made like that.
pub fn map_or_null<'de, const N: usize, V, D>(
    deserializer: D,
) -> Result<BTreeMap<String, V>, D::Error>
where
    V: Deserialize<'de>,
    D: Deserializer<'de>,
{
    deserializer.deserialize_option(MapOrNull::<N, V>(PhantomData))
}

/// Anything at all, of which nothing is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Anything;

impl<'de> Deserialize<'de> for Anything {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        de::IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}

fn too_many<E: de::Error>(limit: usize) -> E {
    E::custom(format_args!("a list has more than {limit} entries"))
}

struct List<const N: usize, T>(PhantomData<T>);

impl<'de, const N: usize, T: Deserialize<'de>> Visitor<'de> for List<N, T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of at most {N} entries")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Vec<T>, A::Error> {
        let mut list = Vec::new();
        while let Some(entry) = entries.next_element()? {
            if list.len() >= N {
                return Err(too_many(N));
            }
            list.push(entry);
        }
        Ok(list)
    }
}

struct OptionalList<const N: usize, T>(PhantomData<T>);

impl<'de, const N: usize, T: Deserialize<'de>> Visitor<'de> for OptionalList<N, T> {
    type Value = Option<Vec<T>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "null or a list of at most {N} entries")
    }

    fn visit_none<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        list::<N, T, D>(deserializer).map(Some)
    }
}

struct Readable<const N: usize, T>(PhantomData<T>);

impl<'de, const N: usize, T: de::DeserializeOwned> Visitor<'de> for Readable<N, T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of at most {N} entries")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Vec<T>, A::Error> {
        let (mut list, mut number) = (Vec::new(), 0);
        while let Some(text) = entries.next_element::<&'de RawValue>()? {
            number += 1;
            if number > N {
                return Err(too_many(N));
            }
            list.extend(serde_json::from_str(text.get()).ok());
        }
        Ok(list)
    }
}

struct Map<const N: usize, V>(PhantomData<V>);

impl<'de, const N: usize, V: Deserialize<'de>> Visitor<'de> for Map<N, V> {
    type Value = BTreeMap<String, V>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a map of at most {N} entries")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut map = BTreeMap::new();
        while let Some((key, value)) = entries.next_entry()? {
            map.insert(key, value);
            if map.len() > N {
                return Err(too_many(N));
            }
        }
        Ok(map)
    }
}

struct MapOrNull<const N: usize, V>(PhantomData<V>);

impl<'de, const N: usize, V: Deserialize<'de>> Visitor<'de> for MapOrNull<N, V> {
    type Value = BTreeMap<String, V>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "null or a map of at most {N} entries")
    }

    fn visit_none<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(BTreeMap::new())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        map::<N, V, D>(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nesting_is_bounded_and_brackets_in_text_do_not_count() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let is_read = |text: &str| parse::<serde_json::Value>(text.as_bytes()).is_ok();
        assert!(is_read(&nested(DEPTH)) && !is_read(&nested(DEPTH + 1)));
        assert!(is_read(&format!("[{}]", vec!["[{}]"; 100].join(","))));
        let brackets = "[".repeat(100);
        for text in [brackets.clone(), format!("\\\"{brackets}"), format!("{brackets}\\\\")] {
            assert!(is_read(&format!("{{\"{text}\": \"{text}\"}}")), "{text}");
        }
        assert!(!is_read(&format!("{{\"a\\\\\": {}", "[".repeat(65))));
    }
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct Document {
        #[serde(default, deserialize_with = "list::<3, _, _>")]
        list: Vec<u8>,
        #[serde(default, deserialize_with = "readable::<3, _, _>")]
        readable: Vec<u8>,
        #[serde(default, deserialize_with = "optional_list::<3, _, _>")]
        optional: Option<Vec<u8>>,
        #[serde(default, deserialize_with = "map::<3, _, _>")]
        map: BTreeMap<String, u8>,
        #[serde(default)]
        #[allow(dead_code)]
        anything: Anything,
    }

    #[test]
    fn entries_are_counted_as_they_are_read() {
        for (text, number) in [
            ("{}", Some(0)),
            (r#"{"list": [1, 2, 3]}"#, Some(3)),
            (r#"{"list": [1, 2, 3, 4]}"#, None),
            // What stands behind the limit is not looked at.
            (r#"{"list": [1, 2, 3, 4, "#, None),
            (r#"{"list": [1, "x"]}"#, None),
            (r#"{"list": null}"#, None),
            (r#"{"readable": [1, "x", {"y": [1, 2, 3, 4]}]}"#, Some(1)),
            (r#"{"readable": ["x", "x", "x", "x"]}"#, None),
            (r#"{"optional": null}"#, Some(0)),
            (r#"{"optional": [1, 2, 3]}"#, Some(3)),
            (r#"{"optional": [1, 2, 3, 4]}"#, None),
            (r#"{"map": {"a": 1, "b": 2, "c": 3, "c": 4}}"#, Some(3)),
            (r#"{"map": {"a": 1, "b": 2, "c": 3, "d": 4}}"#, None),
            (r#"{"anything": [1, {"x": null}]}"#, Some(0)),
        ] {
            let read = serde_json::from_slice::<Document>(text.as_bytes()).ok();
            let count = |d: Document| {
                let optional = d.optional.unwrap_or_default();
                d.list.len() + d.readable.len() + optional.len() + d.map.len()
            };
            assert_eq!(read.map(count), number, "{text}");
        }
    }
}
