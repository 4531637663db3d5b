// SPDX-License-Identifier: MIT OR Apache-2.0

//! One file: settings with known keys and values of the right type.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize as _;
use toml::de::{DeTable, DeValue};

use super::value::{Source, Value};
use super::{Config, ConfigError, Place, keys};

/// A key, its value, and where it was set.
#[derive(Debug)]
pub(super) struct Setting<'t> {
    /// The names of its tables, and its own.
    pub path: Vec<String>,
    pub value: DeValue<'t>,
    pub place: Place,
}

impl Setting<'_> {
    /// With its tables, joined by `.`.
    pub(super) fn key(&self) -> String {
        self.path.join(".")
    }

    /// Empty text takes back what an earlier file said.
    pub(super) fn is_set(&self) -> bool {
        self.value.as_str() != Some("")
    }
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
pub(super) struct Fragment<'t>(pub Vec<Setting<'t>>);

impl<'t> Fragment<'t> {
    /// The settings whose keys `wanted` takes, and all others.
    pub(super) fn split(self, wanted: impl Fn(&str) -> bool) -> (Self, Self) {
        let (kept, others) = self.0.into_iter().partition(|setting| wanted(&setting.key()));
        (Self(kept), Self(others))
    }

    /// Reads the contents of `file`.
    pub(super) fn parse(
        file: &Path,
        bytes: &'t [u8],
        unknown: UnknownKeys,
    ) -> Result<Self, ConfigError> {
        let source = Source::new(file, bytes);
        let syntax = |offset, reason| ConfigError::Syntax { place: source.place(offset), reason };
        let text = std::str::from_utf8(bytes)
            .map_err(|error| syntax(error.valid_up_to(), "the file is not UTF-8".to_owned()))?;
        let table = DeTable::parse(text).map_err(|error| {
            let offset = error.span().map_or(0, |span| span.start);
            syntax(offset, error.message().replace('\n', ", "))
        })?;
        let table = DeValue::Table(table.into_inner());
        let root = Value::root(&source, &table);
        let read = Config::deserialize(&root).map_err(|mistake| root.error(mistake));
        // Reading met the unknown keys before the mistake that ended it.
        let passed_over = source.unknown.take();
        for (path, place) in &passed_over {
            let (place, nearest) = (place.clone(), keys::nearest(path));
            let error = ConfigError::UnknownKey { place, key: path.join("."), nearest };
            match unknown {
                UnknownKeys::Refused => return Err(error),
                UnknownKeys::PassedOver => tracing::warn!(
                    "{error}; it is passed over, as a key that only a later flipside knows"
                ),
            }
        }
        read?;
        let mut fragment = Self::default();
        fragment.take(&root, &passed_over);
        Ok(fragment)
    }

    /// Takes what stands in a table, but for keys that no field has.
    fn take(&mut self, table: &Value<'_, 't>, unknown: &BTreeMap<Vec<String>, Place>) {
        for value in table.inside() {
            if unknown.contains_key(&value.path) {
                continue;
            }
            if value.value.is_table() {
                self.take(&value, unknown);
                continue;
            }
            let (place, path) = (value.place(), value.path);
            self.0.push(Setting { path, value: value.value.clone(), place });
        }
    }
}
