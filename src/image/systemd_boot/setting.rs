// SPDX-License-Identifier: MIT OR Apache-2.0

//! `loader/loader.conf` (loader.conf(5)).

/// The last value of `key`, as `config_defaults_load_from_file` of boot.c takes it: of the values
/// that begin with `@` it knows one.
pub fn setting(text: &str, key: &str) -> Option<String> {
    let lines = text.lines().map(|line| line.trim_matches([' ', '\t', '\r']));
    let pairs = lines.filter_map(|line| line.split_once([' ', '\t']));
    let values = pairs.filter(|(found, _)| *found == key).map(|(_, value)| {
        let value = value.trim_matches([' ', '\t']);
        value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value)
    });
    let is_known = |value: &&str| !value.starts_with('@') || value.eq_ignore_ascii_case("@saved");
    values.filter(|value| !value.is_empty()).rfind(is_known).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_value_that_systemd_boot_knows_counts() {
        for (text, expected) in [
            ("timeout 0\n", None),
            ("preferred a.conf\npreferred\tb.conf\r\n", Some("b.conf")),
            ("  preferred   \"a b.conf\"  \n", Some("a b.conf")),
            ("#preferred a.conf\ndefault b.conf\npreferred\n", None),
            ("preferred @SAVED\n", Some("@SAVED")),
            ("preferred a.conf\npreferred @other\n", Some("a.conf")),
        ] {
            assert_eq!(setting(text, "preferred").as_deref(), expected, "{text:?}");
        }
    }
}
