// SPDX-License-Identifier: MIT OR Apache-2.0

//! The keys that exist, and what each takes.

use std::time::Duration;

use toml::de::DeValue;

use super::units;
use super::window::{Window, WindowError};
use flipside_image::moment::{Moment, NoMoment};
use flipside_image::rollout::Wariness;

/// What a key takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Text of one line.
    Text,
    /// Text of one line; empty for none.
    Line,
    /// Text of one line without white space, not empty.
    Word,
    /// An absolute path; empty for none.
    Path,
    /// An absolute path, or `auto`.
    PathOrAuto,
    /// A list of texts without white space.
    Words,
    /// A list of absolute paths.
    Paths,
    /// `true` or `false`.
    Flag,
    /// A whole number, at least 1.
    Count,
    /// A duration above zero.
    Duration,
    /// A duration, also none at all.
    Wait,
    /// A list of windows of time.
    Windows,
    /// A day, or a moment with its zone; empty for none.
    Moment,
    /// A number of bytes above zero; empty for none.
    Size,
    /// A number of bytes; empty for the default.
    Rate,
    /// A duration above zero; empty for none.
    Limit,
    /// A number from 0 to 1; empty for none.
    Share,
    /// An address to ask, with http or https; empty for none.
    Url,
    /// One of these words.
    Choice(&'static [&'static str]),
}

/// A value of the right type.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Text(String),
    Texts(Vec<String>),
    Flag(bool),
    Count(u32),
    Duration(Duration),
    Size(u64),
    Windows(Vec<Window>),
    Moment(Moment),
    Share(Wariness),
}

/// Every key; `*` stands for any name.
pub(super) const KEYS: &[(&str, Kind)] = &[
    ("track.image", Kind::Word),
    ("track.mirrors", Kind::Words),
    ("track.plain_http", Kind::Words),
    ("track.ca", Kind::Paths),
    ("track.client_cert", Kind::Path),
    ("track.client_key", Kind::Path),
    ("track.auth_file", Kind::Path),
    ("track.token_realms", Kind::Words),
    ("track.max_rate", Kind::Size),
    ("track.min_rate", Kind::Rate),
    ("track.time_limit", Kind::Limit),
    ("track.graph", Kind::Url),
    ("update.automatic", Kind::Choice(&["off", "check", "install"])),
    ("update.allow_downgrade", Kind::Flag),
    ("update.read_back", Kind::Flag),
    ("update.windows", Kind::Windows),
    ("update.hold", Kind::Flag),
    ("update.hold_until", Kind::Moment),
    ("update.hold_reason", Kind::Line),
    ("host.esp", Kind::PathOrAuto),
    ("host.disk", Kind::PathOrAuto),
    ("host.compatible", Kind::Words),
    ("host.slots.a", Kind::Text),
    ("host.slots.b", Kind::Text),
    ("host.payloads.*.a", Kind::Text),
    ("host.payloads.*.b", Kind::Text),
    ("boot.backend", Kind::Choice(&["uefi", "systemd-boot"])),
    ("trial.deadline", Kind::Duration),
    ("trial.attempts", Kind::Count),
    ("health.timeout", Kind::Duration),
    ("policy.min_version", Kind::Line),
    ("policy.document", Kind::Choice(&["auto", "require", "off"])),
    ("policy.clock", Kind::Choice(&["synchronized", "trusted"])),
    ("policy.wariness", Kind::Share),
    ("policy.hooks.timeout", Kind::Duration),
    ("policy.hooks.on_timeout", Kind::Choice(&["defer", "block"])),
    ("policy.hooks.memory", Kind::Size),
    ("policy.hooks.container.image", Kind::Word),
    ("policy.hooks.container.network", Kind::Flag),
    ("policy.signature.mode", Kind::Choice(&["auto", "require", "off"])),
    ("policy.signature.identity", Kind::Word),
    ("policy.signature.product", Kind::Word),
    ("reboot.strategy", Kind::Choice(&["none", "immediate", "window"])),
    ("reboot.windows", Kind::Windows),
    ("reboot.notice", Kind::Wait),
    ("reboot.kexec", Kind::Flag),
];

/// What stands at a path of names.
pub(super) enum Found {
    /// A key.
    Key(Kind),
    /// A table that holds keys.
    Table,
    /// Nothing.
    Nothing,
}

/// What stands at `path`.
pub(super) fn find(path: &[&str]) -> Found {
    let mut is_table = false;
    for (key, kind) in KEYS {
        let mut names = key.split('.');
        let matches =
            path.iter().all(|part| names.next().is_some_and(|name| name == "*" || name == *part));
        match (matches, names.next()) {
            (true, None) => return Found::Key(*kind),
            (true, Some(_)) => is_table = true,
            (false, _) => {}
        }
    }
    if is_table { Found::Table } else { Found::Nothing }
}

/// The key or table most like `path`. A name is worth more than the table
/// that it was written in, so that a key in the wrong table finds its own.
pub(super) fn nearest(path: &[&str]) -> String {
    let last = path.last().copied().unwrap_or_default();
    let mut best = (0.0, String::new());
    for (key, _) in KEYS {
        let names: Vec<&str> = key.split('.').collect();
        for length in 1..=names.len() {
            let candidate: Vec<&str> = names
                .iter()
                .take(length)
                .enumerate()
                // Any name is right where `*` stands: take the one that was written.
                .map(|(at, name)| if *name == "*" { path.get(at).unwrap_or(name) } else { name })
                .copied()
                .collect();
            let is_any_name = names.get(length - 1) == Some(&"*");
            if is_any_name || matches!(find(&candidate), Found::Nothing) {
                continue;
            }
            let name = candidate.last().copied().unwrap_or_default();
            let is_in_same_table = candidate.split_last().map(|(_, table)| table)
                == path.split_last().map(|(_, table)| table);
            let candidate = candidate.join(".");
            // The cube: a name that is only somewhat alike says little.
            let score = 2.0 * strsim::jaro_winkler(name, last).powi(3)
                + strsim::normalized_damerau_levenshtein(&candidate, &path.join("."))
                + if is_in_same_table { 0.7 } else { 0.0 };
            if score > best.0 {
                best = (score, candidate);
            }
        }
    }
    best.1
}

impl Kind {
    /// What it takes, for people.
    pub(super) fn expected(self) -> String {
        match self {
            Self::Text => "text that is not empty, on one line".to_owned(),
            Self::Line => "text on one line, or \"\"".to_owned(),
            Self::Word => "text without white space that is not empty".to_owned(),
            Self::Path => "an absolute path, or \"\"".to_owned(),
            Self::PathOrAuto => "an absolute path, or \"auto\"".to_owned(),
            Self::Words => "a list of texts without white space".to_owned(),
            Self::Paths => "a list of absolute paths".to_owned(),
            Self::Flag => "true or false".to_owned(),
            Self::Count => "a whole number from 1".to_owned(),
            Self::Duration => "a duration above zero such as \"10min\" or \"1d 2h\"".to_owned(),
            Self::Wait => "a duration such as \"10min\" or \"0s\"".to_owned(),
            Self::Windows => {
                "a list of windows such as \"Sat,Sun 22:00 2h Europe/Berlin\"".to_owned()
            }
            Self::Moment => format!("{NoMoment}, or \"\""),
            Self::Size => "a number of bytes above zero such as \"2MiB\", or \"\"".to_owned(),
            Self::Rate => "a number of bytes such as \"16KiB\" or \"0\", or \"\"".to_owned(),
            Self::Limit => "a duration above zero such as \"15min\", or \"\"".to_owned(),
            Self::Share => "a number from 0 to 1, or \"\"".to_owned(),
            Self::Url => "an address such as \"https://updates.example.com\", or \"\"".to_owned(),
            Self::Choice(words) => {
                let quoted: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
                match quoted.split_last() {
                    Some((last, [])) => last.clone(),
                    Some((last, first)) => format!("{} or {last}", first.join(", ")),
                    None => String::new(),
                }
            }
        }
    }

    /// The value, where it is one that this takes.
    pub(super) fn read(self, value: &DeValue<'_>) -> Option<Value> {
        let text = value.as_str();
        match self {
            Self::Text => text.filter(|text| is_line(text)).map(own),
            Self::Line => text.filter(|text| text.is_empty() || is_line(text)).map(own),
            Self::Word => text.filter(|text| is_word(text)).map(own),
            Self::Path => text.filter(|text| text.is_empty() || is_path(text)).map(own),
            Self::PathOrAuto => text.filter(|text| *text == "auto" || is_path(text)).map(own),
            Self::Words => list(value, is_word),
            Self::Paths => list(value, is_path),
            Self::Flag => value.as_bool().map(Value::Flag),
            Self::Count => match value {
                DeValue::Integer(number) => {
                    u32::from_str_radix(number.as_str(), number.radix()).ok()
                }
                _ => None,
            }
            .filter(|count| *count > 0)
            .map(Value::Count),
            Self::Duration => {
                units::duration(text?).filter(|duration| !duration.is_zero()).map(Value::Duration)
            }
            Self::Wait => units::duration(text?).map(Value::Duration),
            Self::Windows => windows(value)?.ok().map(Value::Windows),
            Self::Moment if text == Some("") => Some(Value::Text(String::new())),
            Self::Moment => moment(value).map(Value::Moment),
            Self::Size if text == Some("") => Some(Value::Text(String::new())),
            Self::Size => units::size(text?).filter(|size| *size > 0).map(Value::Size),
            Self::Rate | Self::Limit if text == Some("") => Some(Value::Text(String::new())),
            Self::Rate => units::size(text?).map(Value::Size),
            Self::Limit => Self::Duration.read(value),
            Self::Share if text == Some("") => Some(Value::Text(String::new())),
            Self::Share => share(value).map(Value::Share),
            Self::Url => text.filter(|text| text.is_empty() || is_url(text)).map(own),
            Self::Choice(words) => text.filter(|text| words.contains(text)).map(own),
        }
    }

    /// What is wrong with a value that has a form of its own.
    pub(super) fn reason(self, value: &DeValue<'_>) -> Option<String> {
        match self {
            Self::Windows => Some(windows(value)?.err()?.to_string()),
            _ => None,
        }
    }
}

/// `None` for what is no list of texts.
fn windows(value: &DeValue<'_>) -> Option<Result<Vec<Window>, WindowError>> {
    let DeValue::Array(items) = value else { return None };
    let texts: Option<Vec<&str>> = items.iter().map(|item| item.get_ref().as_str()).collect();
    Some(texts?.into_iter().map(str::parse).collect())
}

/// Also TOML's own dates and times, as far as they have a zone.
fn moment(value: &DeValue<'_>) -> Option<Moment> {
    match value {
        DeValue::String(text) => text.parse().ok(),
        DeValue::Datetime(time) => time.to_string().parse().ok(),
        _ => None,
    }
}

fn share(value: &DeValue<'_>) -> Option<Wariness> {
    let number = match value {
        DeValue::Float(number) => number.as_str().parse().ok()?,
        DeValue::Integer(number) => number.as_str().parse().ok()?,
        _ => return None,
    };
    Wariness::new(number)
}

/// Whether `text` names a host to ask, and no user: what is secret belongs into no setting.
fn is_url(text: &str) -> bool {
    is_word(text)
        && url::Url::parse(text).is_ok_and(|url| {
            ["http", "https"].contains(&url.scheme())
                && url.has_host()
                && url.username().is_empty()
                && url.password().is_none()
                && url.fragment().is_none()
        })
}

fn own(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn list(value: &DeValue<'_>, is_right: fn(&str) -> bool) -> Option<Value> {
    let DeValue::Array(items) = value else { return None };
    let texts = items.iter().map(|item| item.get_ref().as_str().filter(|text| is_right(text)));
    texts.map(|text| text.map(str::to_owned)).collect::<Option<_>>().map(Value::Texts)
}

fn is_line(text: &str) -> bool {
    !text.trim().is_empty() && !text.contains(char::is_control)
}

fn is_word(text: &str) -> bool {
    is_line(text) && !text.contains(char::is_whitespace)
}

fn is_path(text: &str) -> bool {
    text.starts_with('/') && is_line(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_errors_find_the_key_that_was_meant() {
        for (written, meant) in [
            ("track.imgae", "track.image"),
            ("track.plain-http", "track.plain_http"),
            ("trak", "track"),
            ("image", "track.image"),
            ("update.attempts", "trial.attempts"),
            ("host.slot", "host.slots"),
            ("host.slots.c", "host.slots.a"),
            ("host.payloads.verity.A", "host.payloads.verity.a"),
            ("hooks.timeout", "policy.hooks.timeout"),
            ("reboot.stategy", "reboot.strategy"),
            ("trial.dead_line", "trial.deadline"),
        ] {
            let path: Vec<&str> = written.split('.').collect();
            assert!(matches!(find(&path), Found::Nothing), "{written}");
            assert_eq!(nearest(&path), meant, "{written}");
        }
        assert!(!nearest(&["ꙮ"]).is_empty());
        assert!(!nearest(&[""]).is_empty());
    }

    #[test]
    fn names_of_payloads_are_free() {
        assert!(matches!(find(&["host", "payloads", "verity", "a"]), Found::Key(Kind::Text)));
        assert!(matches!(find(&["host", "payloads", "verity"]), Found::Table));
        assert!(matches!(find(&["host", "payloads"]), Found::Table));
        assert!(matches!(find(&["host", "slots", "a", "x"]), Found::Nothing));
    }
}
