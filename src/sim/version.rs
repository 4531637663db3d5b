// SPDX-License-Identifier: MIT OR Apache-2.0

//! The order of versions in systemd-boot (UAPI version format specification), which decides
//! between entries that nothing else tells apart.

use std::cmp::Ordering;

/// Compares two versions, or two entry names.
pub(super) fn compare(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    loop {
        a = skip(a, |byte| !is_meant(byte));
        b = skip(b, |byte| !is_meant(byte));
        // A pre-release is older than nothing at all; the other separators are not.
        if let Some(decided) = separator(&mut a, &mut b, b'~') {
            match decided {
                Ordering::Equal => continue,
                other => return other,
            }
        }
        if a.is_empty() || b.is_empty() {
            return a.first().cmp(&b.first());
        }
        match b"-^.".iter().find_map(|mark| separator(&mut a, &mut b, *mark)) {
            Some(Ordering::Equal) => continue,
            Some(other) => return other,
            None => {}
        }
        let digits = |text: &[u8]| text.first().is_some_and(u8::is_ascii_digit);
        let (left, right);
        let order = if digits(a) || digits(b) {
            a = skip(a, |byte| byte == b'0');
            b = skip(b, |byte| byte == b'0');
            (left, a) = split(a, |byte| byte.is_ascii_digit());
            (right, b) = split(b, |byte| byte.is_ascii_digit());
            left.len().cmp(&right.len()).then(left.cmp(right))
        } else {
            (left, a) = split(a, |byte| byte.is_ascii_alphabetic());
            (right, b) = split(b, |byte| byte.is_ascii_alphabetic());
            left.cmp(right)
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

fn is_meant(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"~-^.".contains(&byte)
}

fn split(text: &[u8], wanted: impl Fn(u8) -> bool) -> (&[u8], &[u8]) {
    let end = text.iter().position(|byte| !wanted(*byte)).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, &[]))
}

fn skip(text: &[u8], unwanted: impl Fn(u8) -> bool) -> &[u8] {
    split(text, unwanted).1
}

/// Where one begins with `mark`, it is the lesser; where both do, both move over it.
fn separator(a: &mut &[u8], b: &mut &[u8], mark: u8) -> Option<Ordering> {
    match (a.split_first(), b.split_first()) {
        (Some((x, rest_a)), Some((y, rest_b))) if *x == mark && *y == mark => {
            (*a, *b) = (rest_a, rest_b);
            Some(Ordering::Equal)
        }
        (Some((x, _)), _) if *x == mark => Some(Ordering::Less),
        (_, Some((y, _))) if *y == mark => Some(Ordering::Greater),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn versions_are_ordered_as_the_specification_does() {
        // The examples of the specification, each lesser than the next.
        for (a, b) in [
            ("bar-123", "foo-123"),
            ("123a", "123b"),
            ("123", "123a"),
            ("122.1", "123"),
            ("123.45-67.88", "123.45-67.89"),
            ("8~beta", "8"),
            ("9", "10"),
            ("123-1", "123^1"),
            ("flipside-a.conf", "flipside-b.conf"),
        ] {
            assert_eq!(compare(a, b), Ordering::Less, "{a} {b}");
            assert_eq!(compare(b, a), Ordering::Greater, "{b} {a}");
        }
        for (a, b) in [("11", "11"), ("0011", "11"), ("123_aa2-67.89", "123aa+2-67.89"), ("", "")] {
            assert_eq!(compare(a, b), Ordering::Equal, "{a} {b}");
        }
    }

    proptest! {
        #[test]
        fn any_two_have_one_order(a in "[a-c0-2~^.+_-]{0,8}", b in "[a-c0-2~^.+_-]{0,8}") {
            prop_assert_eq!(compare(&a, &b), compare(&b, &a).reverse());
            prop_assert_eq!(compare(&a, &a), Ordering::Equal);
        }
    }
}
