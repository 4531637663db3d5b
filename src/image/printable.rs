// SPDX-License-Identifier: MIT OR Apache-2.0

//! Text of others (hooks, images, firmware), fit to be shown.

/// `text` on one line of at most `limit` characters, without what a terminal, a journal or
/// a reader could be fooled with: control characters, and Unicode's invisible
/// ones that reorder text. White space between words stays.
pub fn line(text: &str, limit: usize) -> String {
    let spaced = text.chars().map(|c| if matches!(c, '\t' | '\n') { ' ' } else { c });
    let clean: String = spaced.filter(|c| is_shown(*c)).collect();
    let clean = clean.trim();
    if clean.chars().count() <= limit {
        return clean.to_owned();
    }
    let mut short: String = clean.chars().take(limit.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// The same for `text` of several lines, which stay as they are otherwise.
pub fn text(text: &str) -> String {
    let spaced = text.chars().map(|c| if c == '\t' { ' ' } else { c });
    spaced.filter(|c| *c == '\n' || is_shown(*c)).collect()
}

fn is_shown(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_it_moves_the_cursor() {
        for (text, shown) in [
            ("plain", "plain"),
            ("  \x1b[31mred\x1b[0m\r\n", "[31mred[0m"),
            ("tab\there\u{202e}\u{7}", "tab here"),
            ("two\nlines", "two lines"),
            ("exactly 10", "exactly 10"),
            ("eleven char", "eleven ch…"),
            ("", ""),
        ] {
            assert_eq!(line(text, 10.max(shown.chars().count())), shown);
        }
    }
}
