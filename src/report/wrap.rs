// SPDX-License-Identifier: MIT OR Apache-2.0

//! Text that fits a terminal.

/// `text` in lines of at most `width` characters, as far as its words are not longer. All but the
/// first begin with `indent` spaces.
pub fn wrap(text: &str, width: usize, indent: usize) -> String {
    let mut wrapped = String::new();
    let mut length: usize = 0;
    // Columns that are padded stay as they are: only a space between words may become a new line.
    for word in text.split_inclusive(' ') {
        let shown = word.trim_end().chars().count();
        if length > indent && length.saturating_add(shown) > width {
            wrapped.truncate(wrapped.trim_end().len());
            wrapped.push('\n');
            wrapped.extend(std::iter::repeat_n(' ', indent));
            length = indent;
        }
        wrapped.push_str(word);
        length = length.saturating_add(word.chars().count());
    }
    wrapped
}

/// `text` with the first eight digits of each digest in it.
pub fn short_digests(text: &str) -> String {
    let mut parts = text.split("sha256:");
    let mut short = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(part.len());
        let (digits, rest) = part.split_at(end);
        short.push_str("sha256:");
        short.push_str(if digits.len() == 64 { digits.get(..8).unwrap_or(digits) } else { digits });
        short.push_str(rest);
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_as_long_as_the_terminal_and_the_others_are_indented() {
        for (text, wrapped) in [
            ("", ""),
            ("blocked   one two", "blocked   one two"),
            ("blocked   one two three", "blocked   one two\n          three"),
            ("blocked   onetwothreefour five", "blocked   onetwothreefour\n          five"),
            ("slot A    1   ok   sha", "slot A    1   ok\n          sha"),
        ] {
            assert_eq!(wrap(text, 18, 10), wrapped);
        }
    }

    #[test]
    fn only_whole_digests_are_cut() {
        let digits = "0123456789abcdef".repeat(4);
        let text = format!("sha256:{digits} sha256:{digits}0, `retry sha256:{digits}` sha256:");
        let short = format!("sha256:01234567 sha256:{digits}0, `retry sha256:01234567` sha256:");
        assert_eq!(short_digests(&text), short);
    }
}
