// SPDX-License-Identifier: MIT OR Apache-2.0

//! All files together: of each key the last setting.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use flipside_image::reference::split_port;
use serde::Deserialize as _;
use toml::de::{DeTable, DeValue};

use super::fragment::{Fragment, Setting};
use super::value::{Source, Value, insert};
use super::{Config, ConfigError, Host, Place, Reboot, RebootStrategy, Track};

/// Of each key the setting of the file that was taken last. Lists are replaced as a whole.
#[derive(Debug, Default)]
pub(super) struct Merged<'t>(BTreeMap<String, Setting<'t>>);

impl<'t> Merged<'t> {
    /// Lays `fragment` over what there is.
    pub(super) fn overlay(&mut self, fragment: Fragment<'t>) {
        self.0.extend(fragment.0.into_iter().map(|setting| (setting.key(), setting)));
    }

    /// Where `key` was set last.
    pub(super) fn place(&self, key: &str) -> Option<Place> {
        self.0.get(key).map(|setting| setting.place.clone())
    }

    /// Gives every key that is not set its default, and checks what no single setting shows.
    pub(super) fn validate(&self) -> Result<Config, ConfigError> {
        let mut table = DeTable::new();
        for setting in self.0.values() {
            insert(&mut table, &setting.path, setting.value.clone());
        }
        let (source, table) = (Source::new(Path::new(""), b""), DeValue::Table(table));
        let root = Value::root(&source, &table);
        let config = Config::deserialize(&root).map_err(|mistake| root.error(mistake))?;
        self.check_rates(&config.track)?;
        self.check_plain_http(&config.track)?;
        self.check_both("track.client_cert", "track.client_key")?;
        for name in config.host.payloads.keys() {
            let key = |slot| format!("host.payloads.{name}.{slot}");
            self.check_both(&key("a"), &key("b"))?;
        }
        self.check_reboot(&config.reboot)?;
        self.check_labels(&config.host)?;
        Ok(config)
    }

    /// Leaves room below `track.max_rate`: a mirror that gives all that it may is not to be left
    /// for its rate.
    fn check_rates(&self, track: &Track) -> Result<(), ConfigError> {
        let least = track.min_rate.as_deref().map_or(0, |rate| *rate);
        let most = track.max_rate.as_deref().map_or(u64::MAX, |rate| *rate);
        if least > 0 && least >= most.div_ceil(2) {
            let what = "track.min_rate is half of track.max_rate or more".to_owned();
            return Err(self.contradiction("track.min_rate", what));
        }
        Ok(())
    }

    /// A host without its port is another one, and listing it would do nothing.
    fn check_plain_http(&self, track: &Track) -> Result<(), ConfigError> {
        for place in track.image.iter().chain(&track.mirrors) {
            let host = place.split('/').next().unwrap_or_default();
            let lists = |host: &str| track.plain_http.iter().any(|h| h.eq_ignore_ascii_case(host));
            if let (name, Some(_)) = split_port(host)
                && lists(name)
                && !lists(host)
            {
                let what = format!("track.plain_http lists {name} without a port; write {host}");
                return Err(self.contradiction("track.plain_http", what));
            }
        }
        Ok(())
    }

    /// Refuses one without the other.
    fn check_both(&self, first: &str, second: &str) -> Result<(), ConfigError> {
        let is_set = |key| self.0.get(key).is_some_and(Setting::is_set);
        let (given, missing) = match (is_set(first), is_set(second)) {
            (true, false) => (first, second),
            (false, true) => (second, first),
            _ => return Ok(()),
        };
        Err(self.contradiction(given, format!("{given} is set, and {missing} is not")))
    }

    fn check_reboot(&self, reboot: &Reboot) -> Result<(), ConfigError> {
        if reboot.strategy == RebootStrategy::Window && reboot.windows.is_empty() {
            let what = "reboot.strategy is \"window\", and reboot.windows lists none";
            return Err(self.contradiction("reboot.strategy", what.to_owned()));
        }
        // The end of the notice has to lie inside the window that it was given in.
        if reboot.windows.iter().any(|window| window.length() <= *reboot.notice) {
            let what = "reboot.windows has a window that is over before reboot.notice is";
            return Err(self.contradiction("reboot.windows", what.to_owned()));
        }
        Ok(())
    }

    /// Two payloads in one partition, or both slots in one, destroy each other.
    fn check_labels(&self, host: &Host) -> Result<(), ConfigError> {
        let mut seen: BTreeMap<&str, String> = BTreeMap::new();
        let slots = [("host.slots".to_owned(), &host.slots)];
        let payloads = host.payloads.iter().map(|(name, l)| (format!("host.payloads.{name}"), l));
        for (table, labels) in slots.into_iter().chain(payloads) {
            for (key, label) in
                [(format!("{table}.a"), &labels.a), (format!("{table}.b"), &labels.b)]
            {
                if let Some(other) = seen.insert(label, key.clone()) {
                    let what = format!("{other} and {key} both name the partition {label:?}");
                    let set = if self.0.contains_key(&key) { key } else { other };
                    return Err(self.contradiction(&set, what));
                }
            }
        }
        Ok(())
    }

    fn contradiction(&self, key: &str, what: String) -> ConfigError {
        let nowhere = Place { file: PathBuf::new(), line: 0 };
        ConfigError::Invalid { place: self.place(key).unwrap_or(nowhere), what }
    }
}
