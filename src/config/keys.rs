// SPDX-License-Identifier: MIT OR Apache-2.0

//! The keys that exist: the fields of [`Config`] that serde asks for.

use std::path::Path;
use std::sync::LazyLock;

use serde::Deserialize as _;
use toml::de::{DeTable, DeValue};

use super::Config;
use super::value::{Source, Value, insert};

/// Every key with its tables, in the order of the fields; `*` stands for any name.
pub(super) fn all() -> &'static [Vec<String>] {
    static ALL: LazyLock<Vec<Vec<String>>> = LazyLock::new(|| below(&[]));
    &ALL
}

/// The keys in the table at `path`, or that key itself.
fn below(path: &[String]) -> Vec<Vec<String>> {
    // Reading a file with this one table shows which fields serde asks for in it.
    let mut table = DeTable::new();
    insert(&mut table, path, DeValue::Table(DeTable::new()));
    let (source, table) = (Source::new(Path::new(""), b""), DeValue::Table(table));
    // Whether it is right does not matter.
    let _ = Config::deserialize(&Value::root(&source, &table));
    let asked = source.fields.take().into_iter().find(|(table, _)| table == path);
    let Some((_, fields)) = asked else { return vec![path.to_vec()] };
    fields.iter().flat_map(|name| below(&[path, &[(*name).to_owned()]].concat())).collect()
}

/// The key or table most like `path`. A name is worth more than the table
/// that it was written in, so that a key in the wrong table finds its own.
pub(super) fn nearest(path: &[String]) -> String {
    let mut best = (0.0, String::new());
    for key in all() {
        for length in 1..=key.len() {
            // Any name is right where `*` stands: take the one that was written.
            let written = |(at, name): (usize, &String)| match path.get(at) {
                Some(written) if name == "*" => written.clone(),
                _ => name.clone(),
            };
            let candidate: Vec<String> = key.iter().take(length).enumerate().map(written).collect();
            let (Some((name, tables)), Some((last, above))) =
                (candidate.split_last(), path.split_last())
            else {
                continue;
            };
            if key.get(length - 1).is_some_and(|name| name == "*") {
                continue;
            }
            let candidate = candidate.join(".");
            // The cube: a name that is only somewhat alike says little.
            let score = 2.0 * strsim::jaro_winkler(name, last).powi(3)
                + strsim::normalized_damerau_levenshtein(&candidate, &path.join("."))
                + if tables == above { 0.7 } else { 0.0 };
            if score > best.0 {
                best = (score, candidate);
            }
        }
    }
    best.1
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
            let path: Vec<String> = written.split('.').map(str::to_owned).collect();
            assert_eq!(nearest(&path), meant, "{written}");
        }
        assert!(!nearest(&["ꙮ".to_owned()]).is_empty());
        assert!(!nearest(&[String::new()]).is_empty());
    }

    #[test]
    fn fields_of_every_kind_are_keys() {
        let keys: Vec<String> = all().iter().map(|key| key.join(".")).collect();
        for key in [
            "track.image",
            "update.hold",
            "update.windows",
            "host.esp",
            "host.slots.a",
            "host.payloads.*.b",
            "trial.attempts",
            "policy.wariness",
            "policy.hooks.container.network",
            "reboot.strategy",
        ] {
            assert!(keys.iter().any(|found| found == key), "{key} in {keys:?}");
        }
    }
}
