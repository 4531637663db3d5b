// SPDX-License-Identifier: MIT OR Apache-2.0

//! One file: settings with known keys and values of the right type.

use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::keys::{self, Found, Value};
use super::{ConfigError, Place};
use flipside_image::redact::{has_user, redact};
use flipside_image::reference::USER;

/// A key, its value, and where it was set.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Setting {
    /// With its tables, joined by `.`.
    pub key: String,
    pub value: Value,
    pub place: Place,
}

/// What becomes of a key that does not exist. It may be one of a later flipside: both slots share
/// the settings in `/etc`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UnknownKeys {
    /// It is an error.
    Refused,
    /// It is told, and passed over.
    PassedOver,
}

/// The settings of one file.
#[derive(Debug, Default)]
pub(super) struct Fragment(pub Vec<Setting>);

impl Fragment {
    /// The settings whose keys `wanted` takes, and all others.
    pub(super) fn split(self, wanted: impl Fn(&str) -> bool) -> (Self, Self) {
        let (kept, others) = self.0.into_iter().partition(|setting| wanted(&setting.key));
        (Self(kept), Self(others))
    }

    /// Reads the contents of `file`.
    pub(super) fn parse(
        file: &Path,
        bytes: &[u8],
        unknown: UnknownKeys,
    ) -> Result<Self, ConfigError> {
        let place = |offset: usize| Place {
            file: file.to_owned(),
            line: 1 + bytes.iter().take(offset).filter(|byte| **byte == b'\n').count(),
        };
        let text = std::str::from_utf8(bytes).map_err(|error| ConfigError::Syntax {
            place: place(error.valid_up_to()),
            reason: "the file is not UTF-8".to_owned(),
        })?;
        let table = DeTable::parse(text).map_err(|error| ConfigError::Syntax {
            place: place(error.span().map_or(0, |span| span.start)),
            reason: error.message().replace('\n', ", "),
        })?;
        let mut fragment = Self::default();
        fragment.take(&mut Vec::new(), table.get_ref(), &place, unknown)?;
        Ok(fragment)
    }

    fn take<'t>(
        &mut self,
        path: &mut Vec<&'t str>,
        table: &'t DeTable<'_>,
        place: &dyn Fn(usize) -> Place,
        unknown: UnknownKeys,
    ) -> Result<(), ConfigError> {
        for (name, value) in table {
            path.push(name.get_ref());
            let (name_place, value_place) = (place(name.span().start), place(value.span().start));
            let key = path.join(".");
            let invalid = |place, expected| ConfigError::Invalid {
                place,
                key: key.clone(),
                expected,
                found: describe(value.get_ref()),
            };
            match (keys::find(path), value.get_ref()) {
                (Found::Table, DeValue::Table(table)) => self.take(path, table, place, unknown)?,
                (Found::Table, _) => return Err(invalid(name_place, "a table".to_owned())),
                (Found::Key(_), value) if has_secret(&key, value) => {
                    let reason = match key.as_str() {
                        "track.graph" => "graph servers are asked without a user and a password",
                        _ => USER,
                    };
                    let reason = reason.to_owned();
                    return Err(ConfigError::Malformed { place: value_place, key, reason });
                }
                (Found::Key(kind), value) => match kind.read(value) {
                    Some(value) => self.0.push(Setting { key, value, place: name_place }),
                    None => {
                        return Err(match kind.reason(value) {
                            Some(reason) => {
                                ConfigError::Malformed { place: value_place, key, reason }
                            }
                            None => invalid(value_place, kind.expected()),
                        });
                    }
                },
                (Found::Nothing, _) => {
                    let nearest = keys::nearest(path);
                    let error = ConfigError::UnknownKey { place: name_place, key, nearest };
                    match unknown {
                        UnknownKeys::Refused => return Err(error),
                        UnknownKeys::PassedOver => tracing::warn!(
                            "{error}; it is passed over, as a key that only a later flipside knows"
                        ),
                    }
                }
            }
            path.pop();
        }
        Ok(())
    }
}

/// The keys that name a host or a repository.
const REFERENCES: [&str; 7] = [
    "track.image",
    "track.mirrors",
    "track.plain_http",
    "track.graph",
    "track.token_realms",
    "policy.hooks.container.image",
    "policy.signature.identity",
];

/// Whether a reference has a user: everybody can read settings, and what is followed is shown to
/// everybody.
fn has_secret(key: &str, value: &DeValue<'_>) -> bool {
    let has_secret = |value: &DeValue<'_>| value.as_str().is_some_and(has_user);
    REFERENCES.contains(&key)
        && match value {
            DeValue::Array(items) => items.iter().any(|item| has_secret(item.get_ref())),
            value => has_secret(value),
        }
}

/// A value as the person wrote it, shortened and without secrets.
fn describe(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => {
            let text = redact(text);
            match text.chars().count() > 60 {
                true => format!("{:?}...", text.chars().take(60).collect::<String>()),
                false => format!("{text:?}"),
            }
        }
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Datetime(time) => time.to_string(),
        DeValue::Array(_) => "such a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}
