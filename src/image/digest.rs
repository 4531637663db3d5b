// SPDX-License-Identifier: MIT OR Apache-2.0

//! SHA-256 digests in OCI's notation (OCI image spec, "Digests").

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest::{Context, SHA256, digest};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Text that is no SHA-256 digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a digest of the form sha256:<64 hex digits>")]
pub struct MalformedDigest {
    /// The text, shortened.
    pub text: String,
}

/// A SHA-256 digest, written `sha256:` and 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self::from_ring(&digest(&SHA256, bytes))
    }

    /// The digest of `length` zeroes.
    pub fn of_zeroes(length: u64) -> Self {
        let zeroes = [0; 4096];
        let mut hasher = Hasher::new();
        let mut left = length;
        while left > 0 {
            let piece = left.min(zeroes.len() as u64);
            hasher.update(zeroes.get(..piece as usize).unwrap_or_default());
            left -= piece;
        }
        hasher.finish()
    }

    /// A digest known as its 32 bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The 64 hex digits alone: the name of a blob in an OCI layout.
    pub fn hex(&self) -> String {
        let mut text = String::with_capacity(64);
        for byte in self.0 {
            for nibble in [byte >> 4, byte & 15] {
                text.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
            }
        }
        text
    }

    /// `sha256:` and the first 8 hex digits, for people.
    pub fn short(&self) -> String {
        let mut text = self.to_string();
        text.truncate("sha256:".len() + 8);
        text
    }

    fn from_ring(value: &aws_lc_rs::digest::Digest) -> Self {
        let mut bytes = [0; 32];
        for (to, from) in bytes.iter_mut().zip(value.as_ref()) {
            *to = *from;
        }
        Self(bytes)
    }
}

/// Hashes what comes piece by piece.
#[derive(Clone)]
pub struct Hasher(Context);

impl Default for Hasher {
    fn default() -> Self {
        Self::new()
    }
}

impl Hasher {
    /// A hasher that has seen nothing.
    pub fn new() -> Self {
        Self(Context::new(&SHA256))
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all that was taken.
    pub fn finish(self) -> Digest {
        Digest::from_ring(&self.0.finish())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = MalformedDigest;

    fn from_str(text: &str) -> Result<Self, MalformedDigest> {
        let malformed = || MalformedDigest { text: text.chars().take(80).collect() };
        let hex = text.strip_prefix("sha256:").ok_or_else(malformed)?.as_bytes();
        let mut bytes = [0; 32];
        if hex.len() != 64 {
            return Err(malformed());
        }
        for (byte, pair) in bytes.iter_mut().zip(hex.chunks_exact(2)) {
            for digit in pair {
                let nibble = match digit {
                    b'0'..=b'9' => digit - b'0',
                    b'a'..=b'f' => digit - b'a' + 10,
                    _ => return Err(malformed()),
                };
                *byte = *byte << 4 | nibble;
            }
        }
        Ok(Self(bytes))
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_of_nothing_is_the_known_one() {
        let text = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Digest::of(b"").to_string(), text);
        assert_eq!(text.parse::<Digest>().unwrap(), Digest::of(b""));
        assert_eq!(Digest::of(b"").short(), "sha256:e3b0c442");
    }

    #[test]
    fn other_notations_are_refused() {
        let good = Digest::of(b"x").to_string();
        for bad in [
            String::new(),
            "sha256:".into(),
            good.replace("sha256", "sha512"),
            good.to_uppercase(),
            good[..good.len() - 1].to_owned(),
            format!("{good}0"),
            format!(" {good}"),
            good.replace(':', ""),
            format!("sha256:{}é", "0".repeat(62)),
        ] {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
    }

    #[test]
    fn pieces_hash_as_the_whole() {
        let mut hasher = Hasher::new();
        hasher.update(b"fl");
        hasher.update(b"ip");
        assert_eq!(hasher.finish(), Digest::of(b"flip"));
    }

    #[test]
    fn the_digest_of_zeroes_is_that() {
        for length in [0, 1, 4096, 10_000] {
            assert_eq!(Digest::of_zeroes(length), Digest::of(&vec![0; length as usize]));
        }
    }
}
