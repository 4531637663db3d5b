// SPDX-License-Identifier: MIT OR Apache-2.0

//! Content-Range (RFC 9110 section 14.4): what a 206 really holds.

/// `bytes FIRST-LAST/TOTAL`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ContentRange {
    pub start: u64,
    /// Behind the last byte.
    pub end: u64,
    /// The size of the whole, where the other side knows it.
    pub total: Option<u64>,
}

impl ContentRange {
    /// Reads the header's value; `None` where it makes no sense.
    pub fn parse(text: &str) -> Option<Self> {
        let (unit, rest) = text.trim().split_once(' ')?;
        let (range, total) = rest.trim().split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let total = match total {
            "*" => None,
            total => Some(number(total)?),
        };
        let (start, end) = (number(first)?, number(last)?.checked_add(1)?);
        let sensible = unit.eq_ignore_ascii_case("bytes")
            && start < end
            && total.is_none_or(|total| end <= total);
        sensible.then_some(Self { start, end, total })
    }

    /// Whether it begins at `start` of a whole of `size` bytes.
    pub fn continues(&self, start: u64, size: u64) -> bool {
        self.start == start && self.end <= size && self.total.is_none_or(|total| total == size)
    }
}

fn number(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ranges_are_read_strictly() {
        let range = |start, end, total| Some(ContentRange { start, end, total });
        for (text, expected) in [
            ("bytes 0-0/1", range(0, 1, Some(1))),
            ("bytes 5-9/*", range(5, 10, None)),
            ("Bytes 5-9/10", range(5, 10, Some(10))),
            ("bytes 5-9/9", None),
            ("bytes 9-5/20", None),
            ("bytes */20", None),
            ("bytes 0-18446744073709551615/*", None),
            ("bytes -5-9/10", None),
            ("bytes 0-+9/10", None),
            ("items 0-9/10", None),
            ("bytes=0-9/10", None),
            ("", None),
        ] {
            assert_eq!(ContentRange::parse(text), expected, "{text}");
        }
        let ten = ContentRange::parse("bytes 5-9/10").unwrap();
        assert!(ten.continues(5, 10) && !ten.continues(4, 10) && !ten.continues(5, 11));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "bytes [0-9*/-]{0,50}|\\PC{0,40}") {
            if let Some(range) = ContentRange::parse(&text) {
                prop_assert!(range.start < range.end);
            }
        }
    }
}
