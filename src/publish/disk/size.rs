// SPDX-License-Identifier: MIT OR Apache-2.0

//! Sizes as people write and read them.

use std::fmt;

use super::DiskBuildError;

/// What partitions and disk images are aligned to, in bytes: a multiple of every sector,
/// page and erase block of today, and what other partitioning tools use.
pub(super) const ALIGNMENT: u64 = 1 << 20;

/// Reads `512MiB`, `2G` or `1048576`: a number, with a unit of 1024 or none for bytes.
///
/// # Errors
/// [`DiskBuildError::SizeInvalid`].
pub fn parse_size(text: &str) -> Result<u64, DiskBuildError> {
    let invalid = || DiskBuildError::SizeInvalid { text: text.chars().take(40).collect() };
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits).ok_or_else(invalid)?;
    let shift = match unit {
        "" | "B" => 0,
        "K" | "KiB" => 10,
        "M" | "MiB" => 20,
        "G" | "GiB" => 30,
        "T" | "TiB" => 40,
        _ => return Err(invalid()),
    };
    let number: u64 = number.parse().map_err(|_| invalid())?;
    number.checked_mul(1 << shift).ok_or_else(invalid)
}

/// `size` rounded up to a multiple of `to`, a power of two; what would overflow stays
/// just below it, which no disk has either.
pub(super) fn round_up(size: u64, to: u64) -> u64 {
    size.checked_next_multiple_of(to).unwrap_or(!(to - 1))
}

/// A number of bytes for people: `417321 B`, `3.5 MiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(pub u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
        match units.into_iter().find(|(shift, _)| self.0 >> shift > 0) {
            Some((shift, unit)) => {
                let tenths = u128::from(self.0) * 10 / (1 << shift);
                write!(f, "{}.{} {unit}", tenths / 10, tenths % 10)
            }
            None => write!(f, "{} B", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_in_units_of_1024() {
        for (text, size) in [
            ("0", 0),
            ("1048576", 1 << 20),
            ("7B", 7),
            ("64K", 64 << 10),
            ("512MiB", 512 << 20),
            ("512M", 512 << 20),
            ("2G", 2 << 30),
            ("1TiB", 1 << 40),
        ] {
            assert_eq!(parse_size(text).unwrap(), size, "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for bad in [
            "",
            "MiB",
            "-1",
            "+1",
            "1.5G",
            "512MB",
            "512 MiB",
            "1g",
            "é",
            "18446744073709551616",
            "17179869184G",
        ] {
            assert!(parse_size(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn sizes_are_cut_not_rounded_for_people() {
        for (size, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1536, "1.5 KiB"),
            ((1 << 20) - 1, "1023.9 KiB"),
            (u64::MAX, "16777215.9 TiB"),
        ] {
            assert_eq!(Size(size).to_string(), text);
        }
    }

    #[test]
    fn rounding_up_does_not_overflow() {
        assert_eq!(round_up(1, ALIGNMENT), ALIGNMENT);
        assert_eq!(round_up(ALIGNMENT, ALIGNMENT), ALIGNMENT);
        assert_eq!(round_up(u64::MAX, ALIGNMENT), u64::MAX - (ALIGNMENT - 1));
    }
}
