// SPDX-License-Identifier: MIT OR Apache-2.0

//! Names of payloads: they end up in file names, labels and messages.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, de};

use super::ImageError;

/// The payload that goes to the partition with the slot's label.
pub const SYSTEM_PAYLOAD: &str = "system";

/// The payload that becomes the slot's boot file.
pub const BOOT_FILE_PAYLOAD: &str = "kernel.efi";

/// The payload that is no part of the OS: a program that is asked before the image is installed.
pub const HOOK_PAYLOAD: &str = "pre-upgrade";

/// The largest such program, in bytes.
pub const HOOK_LIMIT: u64 = 16 << 20;

/// A payload's name: `[0-9A-Za-z-]([0-9A-Za-z._-]{0,78}[0-9A-Za-z_-])?`, so 1
/// to 80 characters that neither start nor end with a dot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct PayloadName(String);

impl PayloadName {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PayloadName {
    type Err = ImageError;

    fn from_str(text: &str) -> Result<Self, ImageError> {
        let plain = |b: &u8| b.is_ascii_alphanumeric() || *b == b'-';
        let last = |b: &u8| plain(b) || *b == b'_';
        let inner = |b: &u8| last(b) || *b == b'.';
        let good = match text.as_bytes() {
            [only] => plain(only),
            [first, middle @ .., end] if middle.len() <= 78 => {
                plain(first) && middle.iter().all(inner) && last(end)
            }
            _ => false,
        };
        if good {
            Ok(Self(text.to_owned()))
        } else {
            Err(ImageError::PayloadName { name: text.chars().take(100).collect() })
        }
    }
}

impl fmt::Display for PayloadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for PayloadName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_pattern_are_taken() {
        for good in ["a", "-", "9", "system", "kernel.efi", "a_", "-_", "a..b", &"x".repeat(80)] {
            assert_eq!(good.parse::<PayloadName>().unwrap().as_str(), good);
        }
    }

    #[test]
    fn other_names_are_refused() {
        for bad in ["", ".", "_", "_a", ".a", "a.", "a/b", "a b", "ä", "..", &"x".repeat(81)] {
            assert!(bad.parse::<PayloadName>().is_err(), "{bad:?}");
        }
    }
}
