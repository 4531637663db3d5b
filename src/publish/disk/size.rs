// SPDX-License-Identifier: MIT OR Apache-2.0

//! Sizes: as people read them, and what they are rounded to.

use std::fmt;

/// What partitions and disk images are aligned to, in bytes: a multiple of every sector,
/// page and erase block of today, and what other partitioning tools use.
pub(super) const ALIGNMENT: u64 = 1 << 20;

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
