// SPDX-License-Identifier: MIT OR Apache-2.0

//! The order of versions, by the UAPI version format specification
//! (<https://uapi-group.org/specifications/specs/version_format_specification/>), as systemd
//! has it, and so as boot menus sort.

use std::cmp::Ordering;

/// Compares two versions. Any two texts have an order; texts that differ may be equal
/// (`1_` and `1`, `01` and `1`).
pub fn compare(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    loop {
        (a, b) = (skip(a, |byte| !is_meaningful(byte)), skip(b, |byte| !is_meaningful(byte)));
        let (x, y) = (a.first().copied(), b.first().copied());
        // A tilde sorts lower than anything, also than the end.
        let marks: &[u8] = if x.is_none() || y.is_none() { b"~" } else { b"~-^." };
        if let Some(mark) = marks.iter().copied().find(|mark| [x, y].contains(&Some(*mark))) {
            match (x != Some(mark)).cmp(&(y != Some(mark))) {
                Ordering::Equal => (a, b) = (rest(a), rest(b)),
                order => return order,
            }
            continue;
        }
        if x.is_none() || y.is_none() {
            return x.is_some().cmp(&y.is_some());
        }
        let is_digit = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_digit());
        let order = if is_digit(x) || is_digit(y) {
            let (left, right);
            (left, a) = split(skip(a, |byte| byte == b'0'), |byte| byte.is_ascii_digit());
            (right, b) = split(skip(b, |byte| byte == b'0'), |byte| byte.is_ascii_digit());
            // Without leading zeroes the longer number is the larger one, however long.
            left.len().cmp(&right.len()).then_with(|| left.cmp(right))
        } else {
            let (left, right);
            (left, a) = split(a, |byte| byte.is_ascii_alphabetic());
            (right, b) = split(b, |byte| byte.is_ascii_alphabetic());
            left.cmp(right)
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

/// Whether `version` is lower than `floor`.
pub fn is_below(version: &str, min_version: &str) -> bool {
    compare(version, min_version) == Ordering::Less
}

fn is_meaningful(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-.~^".contains(&byte)
}

/// The longest prefix of what is `wanted`, and what follows it.
fn split(text: &[u8], wanted: impl Fn(u8) -> bool) -> (&[u8], &[u8]) {
    let end = text.iter().position(|byte| !wanted(*byte)).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, &[]))
}

fn skip(text: &[u8], unwanted: impl Fn(u8) -> bool) -> &[u8] {
    split(text, unwanted).1
}

fn rest(text: &[u8]) -> &[u8] {
    text.split_first().map_or(text, |(_, rest)| rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_examples_of_the_specification() {
        use Ordering::{Equal, Greater, Less};
        for (a, order, b) in [
            ("11", Equal, "11"),
            ("systemd-123", Equal, "systemd-123"),
            ("bar-123", Less, "foo-123"),
            ("123a", Greater, "123"),
            ("123.a", Greater, "123"),
            ("123.a", Less, "123.b"),
            ("123a", Greater, "123.a"),
            ("11α", Equal, "11β"),
            ("B", Less, "a"),
            ("", Less, "0"),
            ("0.", Greater, "0"),
            ("0.0", Greater, "0"),
            ("0", Greater, "~"),
            ("", Greater, "~"),
            ("1_", Equal, "1"),
            ("_1", Equal, "1"),
            ("1_", Less, "1.2"),
            ("1_2_3", Greater, "1.3.3"),
            ("1+", Equal, "1"),
            ("+1", Equal, "1"),
            ("1+", Less, "1.2"),
            ("1+2+3", Greater, "1.3.3"),
            // Not among them: what the text says of leading zeroes, empty numbers and long ones.
            ("01", Equal, "1"),
            ("0a", Equal, "a"),
            ("99999999999999999999", Less, "100000000000000000000"),
            ("2026.11.10", Greater, "2026.11.9"),
        ] {
            assert_eq!(compare(a, b), order, "{a} {b}");
            assert_eq!(compare(b, a), order.reverse(), "{b} {a}");
        }
    }

    #[test]
    fn the_chain_of_the_specification_is_in_order() {
        let chain = [
            "122.1",
            "123~rc1-1",
            "123",
            "123-a",
            "123-a.1",
            "123-1",
            "123-1.1",
            "123^post1",
            "123.a-1",
            "123.1-1",
            "123a-1",
            "124-1",
        ];
        for (i, a) in chain.iter().enumerate() {
            for (j, b) in chain.iter().enumerate() {
                assert_eq!(compare(a, b), i.cmp(&j), "{a} {b}");
            }
        }
    }

    #[test]
    fn below_is_strictly_below() {
        assert!(is_below("2026.11.9", "2026.11.10"));
        assert!(!is_below("1", "1") && !is_below("2", "1") && !is_below("1+a", "1"));
    }

    const TEXT: &str = "[aB01~^._+é-]{0,5}";

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]
        /// A total order of classes of equal texts.
        #[test]
        fn any_three_have_one_order(a in TEXT, b in TEXT, c in TEXT) {
            prop_assert_eq!(compare(&a, &a), Ordering::Equal);
            prop_assert_eq!(compare(&a, &b), compare(&b, &a).reverse());
            let (ab, bc, ac) = (compare(&a, &b), compare(&b, &c), compare(&a, &c));
            if ab.is_le() && bc.is_le() {
                prop_assert!(ac.is_le());
                prop_assert_eq!(ac == Ordering::Equal, ab == bc && ab == Ordering::Equal);
            }
        }

        #[test]
        fn any_text_has_a_place(a in any::<String>(), b in any::<String>()) {
            prop_assert_eq!(compare(&a, &b), compare(&b, &a).reverse());
        }
    }
}
