// SPDX-License-Identifier: MIT OR Apache-2.0

//! What an image asks of the host that is to run it: annotations of its manifest, covered by its
//! signature. `docs/policy.md` describes them.

use std::collections::BTreeMap;

use crate::Digest;
use crate::moment::Moment;
use crate::reference::is_tag;

/// The lowest version that may go to the image directly.
pub const REQUIRES: &str = "org.flipside.requires";
/// What lower versions pass through: a tag or a digest in the same repository.
pub const VIA: &str = "org.flipside.via";
/// The hosts that the image is for: names with blanks or commas between them.
pub const COMPATIBLE: &str = "org.flipside.compatible";
/// When the image stops being cared for, and what to tell people.
pub const END_OF_LIFE: &str = "org.flipside.end-of-life";

/// The most bytes that the value of one may have. One of them goes into the record on the ESP.
const LIMIT: usize = 500;
/// The most bytes of a version, and of a name.
const WORD: usize = 128;

/// What an image asks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Asks {
    /// [`REQUIRES`] and [`VIA`].
    pub requires: Option<Requires>,
    /// [`COMPATIBLE`]; empty: it is for any.
    pub compatible: Vec<String>,
    /// [`END_OF_LIFE`].
    pub end_of_life: Option<EndOfLife>,
}

/// What has to run for the image to be installed directly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requires {
    /// The lowest such version.
    pub lowest: String,
    /// What lower ones pass through; `None`: there is no way from them.
    pub via: Option<String>,
}

/// The end of an image's life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndOfLife {
    /// When.
    pub at: Moment,
    /// What to tell people; may be empty.
    pub text: String,
}

/// An annotation that says nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the annotation {annotation} {reason}")]
pub struct AskError {
    /// Which.
    pub annotation: &'static str,
    reason: &'static str,
}

impl Asks {
    /// What these annotations ask. Others are passed over.
    ///
    /// # Errors
    /// [`AskError`]: an image that asks for something that cannot be understood is refused,
    /// since nobody knows what would come of it.
    pub fn of(annotations: &BTreeMap<String, String>) -> Result<Self, AskError> {
        let value = |annotation: &'static str| match annotations.get(annotation) {
            Some(text) if text.len() > LIMIT => {
                Err(AskError { annotation, reason: "has more than 500 bytes" })
            }
            text => Ok(text.map(String::as_str)),
        };
        Ok(Self {
            compatible: value(COMPATIBLE)?.map(compatible).transpose()?.unwrap_or_default(),
            requires: requires(value(REQUIRES)?, value(VIA)?)?,
            end_of_life: value(END_OF_LIFE)?.map(EndOfLife::parse).transpose()?,
        })
    }
}

fn compatible(text: &str) -> Result<Vec<String>, AskError> {
    let names = text.split(|c: char| c == ',' || c.is_ascii_whitespace());
    let names: Vec<String> = names.filter(|name| !name.is_empty()).map(str::to_owned).collect();
    if names.is_empty() || !names.iter().all(|name| is_word(name)) {
        let reason = "has to be names with blanks or commas between them";
        return Err(AskError { annotation: COMPATIBLE, reason });
    }
    Ok(names)
}

fn requires(lowest: Option<&str>, via: Option<&str>) -> Result<Option<Requires>, AskError> {
    if lowest.is_some_and(|lowest| !is_word(lowest)) {
        return Err(AskError { annotation: REQUIRES, reason: "has to be a version" });
    }
    // A name with a slash or a colon would be another repository's.
    if via.is_some_and(|via| !is_tag(via) && via.parse::<Digest>().is_err()) {
        let reason = "has to be a tag or a digest of the image's own repository";
        return Err(AskError { annotation: VIA, reason });
    }
    match (lowest, via) {
        (Some(lowest), via) => {
            Ok(Some(Requires { lowest: lowest.to_owned(), via: via.map(str::to_owned) }))
        }
        (None, Some(_)) => {
            let reason = "says nothing without org.flipside.requires";
            Err(AskError { annotation: VIA, reason })
        }
        (None, None) => Ok(None),
    }
}

impl EndOfLife {
    /// Reads the value of [`END_OF_LIFE`]: a day or a moment, then text.
    ///
    /// # Errors
    /// [`AskError`].
    pub fn parse(value: &str) -> Result<Self, AskError> {
        let reason = "has to begin with a day such as 2027-06-30, or a time with its zone";
        let error = AskError { annotation: END_OF_LIFE, reason };
        let value = value.trim();
        let (at, text) = value.split_once(char::is_whitespace).unwrap_or((value, ""));
        let at = at.parse().map_err(|_| error)?;
        Ok(Self { at, text: text.trim().to_owned() })
    }
}

fn is_word(text: &str) -> bool {
    let is_printable = |c: char| !c.is_whitespace() && !c.is_control();
    !text.is_empty() && text.len() <= WORD && text.chars().all(is_printable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn asks(pairs: &[(&str, &str)]) -> Result<Asks, AskError> {
        let pairs = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Asks::of(&pairs.collect())
    }

    #[test]
    fn annotations_that_are_understood() {
        assert_eq!(asks(&[("org.example.other", "x")]).unwrap(), Asks::default());
        let digest = Digest::of(b"x").to_string();
        for via in ["bridge", "v1.5", digest.as_str()] {
            let found = asks(&[(REQUIRES, "1.5"), (VIA, via)]).unwrap().requires.unwrap();
            assert_eq!((found.lowest.as_str(), found.via.as_deref()), ("1.5", Some(via)));
        }
        assert_eq!(asks(&[(REQUIRES, "1")]).unwrap().requires.unwrap().via, None);
        let found = asks(&[(COMPATIBLE, " acme-edge, acme-box\tacme-2 ")]).unwrap().compatible;
        assert_eq!(found, ["acme-edge", "acme-box", "acme-2"]);
        for (text, day, said) in [
            ("2027-06-30", "2027-06-30", ""),
            ("2027-06-30  move to \n edge 3 ", "2027-06-30", "move to \n edge 3"),
            ("2027-06-30T12:00Z bye", "2027-06-30T12:00Z", "bye"),
        ] {
            let found = asks(&[(END_OF_LIFE, text)]).unwrap().end_of_life.unwrap();
            let at = day.parse().unwrap();
            assert_eq!(found, EndOfLife { at, text: said.to_owned() }, "{text}");
        }
    }

    #[test]
    fn annotations_that_say_nothing_are_refused() {
        let long = "1".repeat(501);
        for (pairs, annotation) in [
            (&[(REQUIRES, "")][..], REQUIRES),
            (&[(REQUIRES, "1 2")], REQUIRES),
            (&[(REQUIRES, &long)], REQUIRES),
            (&[(VIA, "bridge")], VIA),
            // Of another repository, or none.
            (&[(REQUIRES, "1"), (VIA, "other/os:bridge")], VIA),
            (&[(REQUIRES, "1"), (VIA, "r.example/os:bridge")], VIA),
            (&[(REQUIRES, "1"), (VIA, "os@sha256:00")], VIA),
            (&[(REQUIRES, "1"), (VIA, "../bridge")], VIA),
            (&[(REQUIRES, "1"), (VIA, "sha256:00")], VIA),
            (&[(REQUIRES, "1"), (VIA, "")], VIA),
            (&[(COMPATIBLE, " , ")], COMPATIBLE),
            (&[(COMPATIBLE, "a\u{7}b")], COMPATIBLE),
            (&[(END_OF_LIFE, "")], END_OF_LIFE),
            (&[(END_OF_LIFE, "soon 2027-06-30")], END_OF_LIFE),
            (&[(END_OF_LIFE, "2027-06-30T12:00")], END_OF_LIFE),
        ] {
            assert_eq!(asks(pairs).unwrap_err().annotation, annotation, "{pairs:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_understood_or_refused(key in 0_usize..4, text in "\\PC{0,60}") {
            let key = [REQUIRES, VIA, COMPATIBLE, END_OF_LIFE][key];
            let _ = asks(&[(REQUIRES, "1"), (key, &text)]);
        }
    }
}
