// SPDX-License-Identifier: MIT OR Apache-2.0

//! The os-release format (os-release(5)): `KEY=value` lines, quoted as a shell does.

use std::collections::BTreeMap;

/// The fields of an os-release file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OsReleaseFields(BTreeMap<String, String>);

impl OsReleaseFields {
    /// Reads the text of a file, all of it.
    ///
    /// # Errors
    /// What is wrong with the first line that is.
    pub fn parse(text: &str) -> Result<Self, String> {
        lines(text).collect::<Result<_, _>>().map(Self)
    }

    /// Reads the text of a file without the lines that cannot be understood.
    pub fn parse_lossy(text: &str) -> Self {
        Self(lines(text).filter_map(Result::ok).collect())
    }

    /// The value of the first of `keys` that has one; an empty value is none.
    pub fn first(&self, keys: &[&str]) -> Option<&str> {
        let values = keys.iter().filter_map(|key| self.0.get(*key));
        values.map(String::as_str).find(|value| !value.is_empty())
    }
}

/// Name and version of the running OS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OsRelease {
    /// `ID`, where it has one: what an image of the same product has as `product_info.id`.
    pub id: Option<String>,
    /// `NAME`, or else `Linux`, as os-release(5) says.
    pub name: String,
    /// `IMAGE_VERSION`, or else `VERSION_ID`, or else `unknown`.
    pub version: String,
}

impl OsRelease {
    /// Reads the text of a file: what is missing or cannot be understood has a default.
    pub fn parse(text: &str) -> Self {
        let fields = OsReleaseFields::parse_lossy(text);
        let first = |keys: &[&str]| fields.first(keys).map(|v| v.replace(char::is_control, ""));
        Self {
            id: first(&["ID"]),
            name: first(&["NAME"]).unwrap_or_else(|| "Linux".to_owned()),
            version: first(&["IMAGE_VERSION", "VERSION_ID"])
                .unwrap_or_else(|| "unknown".to_owned()),
        }
    }
}

/// Keys and values in the order of the text: the last of several wins, as in a shell.
fn lines(text: &str) -> impl Iterator<Item = Result<(String, String), String>> {
    let numbered = (1..).zip(text.lines().map(str::trim));
    let meaningful = numbered.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    meaningful.map(|(number, line): (u32, &str)| {
        let (key, value) = line
            .split_once('=')
            .filter(|(key, _)| is_name(key))
            .ok_or_else(|| format!("line {number} is not KEY=value"))?;
        let value =
            unquote(value).ok_or_else(|| format!("line {number} is not quoted as a shell does"))?;
        Ok((key.to_owned(), value))
    })
}

fn is_name(key: &str) -> bool {
    !key.is_empty()
        && !key.starts_with(|c: char| c.is_ascii_digit())
        && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Takes away the quoting of one shell word. `None` where there is more than one word, a
/// quote that does not end, or an expansion, which os-release(5) does not allow.
fn unquote(value: &str) -> Option<String> {
    let mut plain = String::with_capacity(value.len());
    let mut quote = None;
    let mut characters = value.chars();
    while let Some(character) = characters.next() {
        match (quote, character) {
            (Some(open), c) if c == open => quote = None,
            (Some('\''), c) => plain.push(c),
            (None, '\'' | '"') => quote = Some(character),
            (None, '\\') => plain.push(characters.next()?),
            (Some(_), '\\') => match characters.next()? {
                c @ ('$' | '"' | '\\' | '`') => plain.push(c),
                c => plain.extend(['\\', c]),
            },
            (_, '$' | '`') => return None,
            (None, c) if c.is_whitespace() || ";&|<>()".contains(c) => return None,
            (_, c) => plain.push(c),
        }
    }
    quote.is_none().then_some(plain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_are_unquoted_as_a_shell_does() {
        for (quoted, plain) in [
            ("", Some("")),
            ("a", Some("a")),
            ("\"a b\"", Some("a b")),
            ("'a \"b\\'", Some("a \"b\\")),
            ("\"\\\"\\$\\\\\\`\\n\"", Some("\"$\\`\\n")),
            ("a\\ b", Some("a b")),
            ("a'b'\"c\"", Some("abc")),
            ("a b", None),
            ("\"a", None),
            ("a\\", None),
            ("\"$HOME\"", None),
            ("a;b", None),
        ] {
            assert_eq!(unquote(quoted).as_deref(), plain, "{quoted}");
        }
    }

    #[test]
    fn the_last_of_several_wins_and_an_empty_value_is_none() {
        let fields = OsReleaseFields::parse("A=1\nA=2\nB=\n # comment\n\nC=3").unwrap();
        assert_eq!(fields.first(&["A"]), Some("2"));
        assert_eq!(fields.first(&["B", "X", "C"]), Some("3"));
        assert_eq!(fields.first(&["B", "X"]), None);
    }

    #[test]
    fn a_line_that_cannot_be_understood_is_named_or_left_out() {
        for bad in ["A", "A='1", "1A=x", "export A=1", "A=$(reboot)", "A=1 2"] {
            let text = format!("B=1\n{bad}\nC=2");
            assert!(OsReleaseFields::parse(&text).unwrap_err().starts_with("line 2 "), "{bad}");
            let fields = OsReleaseFields::parse_lossy(&text);
            assert_eq!((fields.first(&["A"]), fields.first(&["C"])), (None, Some("2")), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,80}") {
            let _ = OsReleaseFields::parse(&text);
            OsReleaseFields::parse_lossy(&text);
        }

        #[test]
        fn single_quotes_keep_anything(text in "[^'\n\r]{0,40}") {
            prop_assert_eq!(unquote(&format!("'{text}'")), Some(text));
        }
    }

    #[test]
    fn names_and_versions_are_read() {
        for (text, id, name, version) in [
            ("", None, "Linux", "unknown"),
            ("NAME=Acme\nVERSION_ID='12'\nID=", None, "Acme", "12"),
            (
                "PRETTY_NAME=x\nID=acme\nNAME=\"Acme OS\"\nVERSION_ID=1\nIMAGE_VERSION=7.2",
                Some("acme"),
                "Acme OS",
                "7.2",
            ),
            ("NAME=\nNAME=a\nNAME=b", None, "b", "unknown"),
        ] {
            let id = id.map(str::to_owned);
            let expected = OsRelease { id, name: name.into(), version: version.into() };
            assert_eq!(OsRelease::parse(text), expected, "{text}");
        }
    }
}
