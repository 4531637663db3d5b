// SPDX-License-Identifier: MIT OR Apache-2.0

//! Text in variables and device paths: UTF-16, little-endian, ending at a NUL.

/// The code units of `bytes` up to the first NUL, or to the end where the NUL is missing. An
/// odd last byte is no unit and is left out.
fn units(bytes: &[u8]) -> impl Iterator<Item = u16> + '_ {
    let pair = |pair: &[u8]| match pair {
        [low, high] => u16::from_le_bytes([*low, *high]),
        _ => 0,
    };
    bytes.chunks_exact(2).map(pair).take_while(|unit| *unit != 0)
}

/// Reads text; what is no character (a surrogate alone) becomes U+FFFD.
pub fn decode(bytes: &[u8]) -> String {
    char::decode_utf16(units(bytes))
        .map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect()
}

/// Reads texts that end with a NUL each, printable and in lower case.
pub fn list(bytes: &[u8]) -> Vec<String> {
    let mut rest = bytes;
    let mut texts = Vec::new();
    while !rest.is_empty() {
        let length = units(rest).count().saturating_mul(2);
        texts.push(printable(&decode(rest)).to_lowercase());
        rest = rest.get(length.saturating_add(2)..).unwrap_or_default();
    }
    texts.retain(|text| !text.is_empty());
    texts
}

/// Reads text that ends with a NUL: the text and how many bytes it took, NUL included. `None`
/// where there is no NUL.
pub fn decode_terminated(bytes: &[u8]) -> Option<(String, usize)> {
    let length = units(bytes).count().checked_mul(2)?.checked_add(2)?;
    (length <= bytes.len()).then(|| (decode(bytes), length))
}

/// Writes text with its NUL.
#[cfg(test)]
pub(super) fn encode(text: &str) -> Vec<u8> {
    text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect()
}

/// The text without what could steer a terminal, and not endlessly long.
pub fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(1024).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_is_read_with_and_without_its_nul_and_at_odd_lengths() {
        for (bytes, text) in [
            (&b"a\0b\0\0\0"[..], "ab"),
            (b"a\0b\0", "ab"),
            (b"a\0b\0c", "ab"),
            (b"a\0\0\0b\0", "a"),
            (b"", ""),
            (b"\0", ""),
            (b"\x00\xd8", "\u{fffd}"),
            (b"\x3d\xd8\x00\xde\0\0", "\u{1f600}"),
        ] {
            assert_eq!(decode(bytes), text, "{bytes:?}");
        }
    }

    #[test]
    fn text_that_has_to_end_with_a_nul_is_refused_without_one() {
        assert_eq!(decode_terminated(b"a\0"), None);
        assert_eq!(decode_terminated(b"a\0\0"), None);
        assert_eq!(decode_terminated(b"a\0\0\0z"), Some(("a".to_owned(), 4)));
    }

    #[test]
    fn a_list_is_read_to_its_end() {
        for (bytes, expected) in [
            (&b"a\0B\0\0\0c\0\0\0"[..], &["ab", "c"][..]),
            (b"a\0\0\0\0\0c\0", &["a", "c"]),
            (b"a\0\0\0c", &["a"]),
            (b"", &[]),
        ] {
            assert_eq!(list(bytes), expected, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_again(text in "[^\0]{0,80}") {
            let bytes = encode(&text);
            prop_assert_eq!(decode_terminated(&bytes), Some((text, bytes.len())));
        }

        #[test]
        fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            decode(&bytes);
            if let Some((_, length)) = decode_terminated(&bytes) {
                prop_assert!(length <= bytes.len());
            }
        }
    }
}
