// SPDX-License-Identifier: MIT OR Apache-2.0

//! Patterns by which systemd-boot finds an entry (`efi_fnmatch` of boot.c).

/// What an entry is called since systemd 258: without its count.
pub fn uncounted(id: &str) -> String {
    match (id.rsplit_once('+'), id.rsplit_once('.')) {
        (Some((name, _)), Some((_, suffix))) => format!("{name}.{suffix}"),
        _ => id.to_owned(),
    }
}

/// What a pattern asks of one character.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    /// `*`: any number of characters.
    Some,
    /// `?`, and a set of characters: matching too much refuses, matching too little boots.
    One,
    Literal(char),
}

/// `efi_fnmatch`, by whose patterns systemd-boot finds entries. Takes no more than the product of
/// both lengths.
pub fn matches(pattern: &str, text: &str) -> bool {
    let tokens = tokens(pattern);
    let text: Vec<char> = text.chars().collect();
    let (mut at, mut place) = (0, 0);
    // The last `*`, and how far it reaches: one character further each time what follows fails.
    let mut star: Option<(usize, usize)> = None;
    while let Some(c) = text.get(place) {
        match tokens.get(at) {
            Some(Token::Some) => {
                star = Some((at, place));
                at = at.saturating_add(1);
            }
            Some(token) if *token == Token::One || *token == Token::Literal(*c) => {
                (at, place) = (at.saturating_add(1), place.saturating_add(1));
            }
            _ => {
                let Some((star_at, reach)) = star else { return false };
                star = Some((star_at, reach.saturating_add(1)));
                (at, place) = (star_at.saturating_add(1), reach.saturating_add(1));
            }
        }
    }
    tokens.iter().skip(at).all(|token| *token == Token::Some)
}

fn tokens(pattern: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = pattern.chars();
    while let Some(c) = rest.next() {
        tokens.push(match c {
            '*' => Token::Some,
            '?' => Token::One,
            '[' if rest.as_str().contains(']') => {
                rest.by_ref().find(|c| *c == ']');
                Token::One
            }
            '\\' => rest.next().map_or(Token::Literal('\\'), Token::Literal),
            c => Token::Literal(c),
        });
    }
    tokens
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn patterns_match_as_systemd_boot_has_them_match() {
        for (pattern, text, expected) in [
            ("flipside-a.conf", "flipside-a.conf", true),
            ("flipside-*", "flipside-b+1.conf", true),
            ("*", "", true),
            ("*-?.conf", "flipside-a.conf", true),
            ("a*b*c", "abxbxc", true),
            ("a*b*c", "abxbx", false),
            ("flipside-[ab].conf", "flipside-b.conf", true),
            ("flipside-[ab", "flipside-[ab", true),
            ("flipside-\\*", "flipside-*", true),
            ("flipside-\\*", "flipside-a", false),
            ("fedora.conf", "flipside-a.conf", false),
            ("flipside-a", "flipside-a.conf", false),
            ("?", "", false),
            ("", "x", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    proptest! {
        #[test]
        fn no_pattern_takes_for_ever(pattern in "[a*?\\[\\]]{0,200}", text in "a{0,200}") {
            matches(&pattern, &text);
        }

        #[test]
        fn a_name_matches_itself(name in "[a-z0-9.+-]{1,40}") {
            prop_assert!(matches(&name, &name) && matches("*", &name));
        }
    }
}
