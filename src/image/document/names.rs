// SPDX-License-Identifier: MIT OR Apache-2.0

//! Which names a policy document may use. A field that flipside does not know is refused: every
//! field takes something away from hosts, and one that was passed over would allow what its
//! publisher forbade. Names that begin with `x-` are the publisher's own; nothing of them is kept.

use std::fmt;

use serde::de::{Error, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::RELEASES_READ;
use crate::bounded;

/// Names of one object.
trait Names {
    /// Those that there are.
    const KNOWN: &'static [&'static str];

    /// Reads the value called `name`, and the names in it.
    fn read<'de, A: MapAccess<'de>>(name: &str, members: &mut A) -> Result<(), A::Error> {
        let _ = name;
        members.next_value::<IgnoredAny>().map(|_| ())
    }
}

/// A value without any name that is not known.
pub(super) struct Checked<N>(std::marker::PhantomData<N>);

/// A document's.
pub(super) struct OfDocument;
struct OfRelease;
struct OfRollout;
struct OfReason;

impl Names for OfDocument {
    const KNOWN: &'static [&'static str] = &["format_version", "issued", "expires", "releases"];

    fn read<'de, A: MapAccess<'de>>(name: &str, members: &mut A) -> Result<(), A::Error> {
        match name {
            "releases" => members.next_value::<Releases>().map(|_| ()),
            _ => members.next_value::<IgnoredAny>().map(|_| ()),
        }
    }
}

impl Names for OfRelease {
    const KNOWN: &'static [&'static str] =
        &["version", "digest", "barrier", "rollout", "dead_end", "withdrawn"];

    fn read<'de, A: MapAccess<'de>>(name: &str, members: &mut A) -> Result<(), A::Error> {
        match name {
            "barrier" | "dead_end" | "withdrawn" => {
                members.next_value::<Option<Checked<OfReason>>>().map(|_| ())
            }
            "rollout" => members.next_value::<Option<Checked<OfRollout>>>().map(|_| ()),
            _ => members.next_value::<IgnoredAny>().map(|_| ()),
        }
    }
}

impl Names for OfRollout {
    const KNOWN: &'static [&'static str] = &["start", "start_percentage", "duration"];
}

impl Names for OfReason {
    const KNOWN: &'static [&'static str] = &["reason"];
}

#[derive(Deserialize)]
#[serde(transparent)]
struct Releases(
    #[serde(deserialize_with = "bounded::list::<RELEASES_READ, _, _>")]
    #[allow(dead_code)]
    Vec<Checked<OfRelease>>,
);

impl<'de, N: Names> Deserialize<'de> for Checked<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Members::<N>(std::marker::PhantomData))
    }
}

struct Members<N>(std::marker::PhantomData<N>);

impl<'de, N: Names> Visitor<'de> for Members<N> {
    type Value = Checked<N>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        while let Some(name) = members.next_key::<std::borrow::Cow<'de, str>>()? {
            let is_known = N::KNOWN.contains(&&*name);
            if !is_known && !name.starts_with("x-") {
                return Err(unknown(&name));
            }
            N::read(&name, &mut members)?;
        }
        Ok(Checked(std::marker::PhantomData))
    }
}

fn unknown<E: Error>(name: &str) -> E {
    let name: String = name.chars().take(60).collect();
    E::custom(format!("unknown field {name:?}"))
}
