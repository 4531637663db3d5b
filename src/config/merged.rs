// SPDX-License-Identifier: MIT OR Apache-2.0

//! All files together: of each key the last setting.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use super::ContainerHook;
use super::fragment::{Fragment, Setting};
use super::hold::Hold;
use super::keys::Value;
use super::window::Window;
use super::{
    Automatic, Boot, Config, ConfigError, DocumentMode, Health, Hooks, OnTimeout, Place, Policy,
    Reboot, RebootStrategy, SignatureMode, SignaturePolicy, Track, Trial, Update,
};
use flipside_core::settings::{BootBackend, HostConfig, SlotLabels};

/// Of each key the setting of the file that was taken last. Lists are replaced as a whole.
#[derive(Debug, Default)]
pub(super) struct Merged(BTreeMap<String, Setting>);

impl Merged {
    /// Lays `fragment` over what there is.
    pub(super) fn overlay(&mut self, fragment: Fragment) {
        for setting in fragment.0 {
            self.0.insert(setting.key.clone(), setting);
        }
    }

    fn value(&self, key: &str) -> Option<&Value> {
        self.0.get(key).map(|setting| &setting.value)
    }

    fn text(&self, key: &str) -> Option<String> {
        match self.value(key) {
            Some(Value::Text(text)) if !text.is_empty() => Some(text.clone()),
            _ => None,
        }
    }

    fn path(&self, key: &str) -> Option<PathBuf> {
        self.text(key).filter(|text| text != "auto").map(PathBuf::from)
    }

    fn texts(&self, key: &str) -> Vec<String> {
        match self.value(key) {
            Some(Value::Texts(texts)) => texts.clone(),
            _ => Vec::new(),
        }
    }

    fn flag(&self, key: &str, default: bool) -> bool {
        match self.value(key) {
            Some(Value::Flag(flag)) => *flag,
            _ => default,
        }
    }

    fn count(&self, key: &str, default: u32) -> u32 {
        match self.value(key) {
            Some(Value::Count(count)) => *count,
            _ => default,
        }
    }

    fn duration(&self, key: &str, default: Duration) -> Duration {
        match self.value(key) {
            Some(Value::Duration(duration)) => *duration,
            _ => default,
        }
    }

    fn size(&self, key: &str) -> Option<u64> {
        match self.value(key) {
            Some(Value::Size(size)) => Some(*size),
            _ => None,
        }
    }

    fn windows(&self, key: &str) -> Vec<Window> {
        match self.value(key) {
            Some(Value::Windows(windows)) => windows.clone(),
            _ => Vec::new(),
        }
    }

    /// Where `key` was set last.
    pub(super) fn place(&self, key: &str) -> Option<Place> {
        self.0.get(key).map(|setting| setting.place.clone())
    }

    /// Checks what no single setting shows, and gives every other key its default.
    pub(super) fn validate(&self) -> Result<Config, ConfigError> {
        let config = Config {
            track: self.track()?,
            update: self.update(),
            host: self.host()?,
            compatible: self.texts("host.compatible"),
            boot: Boot {
                backend: match self.text("boot.backend").as_deref() {
                    Some("systemd-boot") => BootBackend::SystemdBoot,
                    _ => BootBackend::Uefi,
                },
            },
            trial: self.trial(),
            health: Health { timeout: self.duration("health.timeout", Health::default().timeout) },
            policy: Policy {
                min_version: self.text("policy.min_version"),
                document: match self.text("policy.document").as_deref() {
                    Some("require") => DocumentMode::Require,
                    Some("off") => DocumentMode::Off,
                    _ => DocumentMode::Auto,
                },
                wariness: match self.value("policy.wariness") {
                    Some(Value::Share(wariness)) => Some(*wariness),
                    _ => None,
                },
                clock_is_trusted: self.text("policy.clock").as_deref() == Some("trusted"),
                hooks: Hooks {
                    timeout: self.duration("policy.hooks.timeout", Hooks::default().timeout),
                    on_timeout: match self.text("policy.hooks.on_timeout").as_deref() {
                        Some("block") => OnTimeout::Block,
                        _ => OnTimeout::Defer,
                    },
                    memory: self.size("policy.hooks.memory").unwrap_or(Hooks::default().memory),
                    container: self.text("policy.hooks.container.image").map(|image| {
                        let network = self.flag("policy.hooks.container.network", false);
                        ContainerHook { image, network }
                    }),
                },
                signature: self.signature(),
            },
            reboot: self.reboot()?,
        };
        self.check_labels(&config.host)?;
        Ok(config)
    }

    /// Leaves room below `track.max_rate`: a mirror that gives all that it may is not to be left
    /// for its rate.
    fn min_rate(&self, max_rate: Option<u64>) -> Result<Option<u64>, ConfigError> {
        let min_rate = self.size("track.min_rate");
        let (least, most) = (min_rate.unwrap_or(0), max_rate.unwrap_or(u64::MAX));
        if least > 0 && least >= most.div_ceil(2) {
            let what = "track.min_rate is half of track.max_rate or more".to_owned();
            return Err(self.contradiction("track.min_rate", what));
        }
        Ok(min_rate)
    }

    fn track(&self) -> Result<Track, ConfigError> {
        let max_rate = self.size("track.max_rate");
        let track = Track {
            image: self.text("track.image"),
            mirrors: self.texts("track.mirrors"),
            plain_http: self.texts("track.plain_http"),
            ca: self.texts("track.ca").into_iter().map(PathBuf::from).collect(),
            client_cert: self.path("track.client_cert"),
            client_key: self.path("track.client_key"),
            auth_file: self.path("track.auth_file"),
            token_realms: self.texts("track.token_realms"),
            max_rate,
            min_rate: self.min_rate(max_rate)?,
            time_limit: match self.value("track.time_limit") {
                Some(Value::Duration(limit)) => Some(*limit),
                _ => None,
            },
            graph: self.text("track.graph"),
        };
        let (given, missing) = match (&track.client_cert, &track.client_key) {
            (Some(_), None) => ("track.client_cert", "track.client_key"),
            (None, Some(_)) => ("track.client_key", "track.client_cert"),
            _ => return Ok(track),
        };
        Err(self.contradiction(given, format!("{given} is set, and {missing} is not")))
    }

    fn update(&self) -> Update {
        let default = Update::default();
        Update {
            automatic: match self.text("update.automatic").as_deref() {
                Some("off") => Automatic::Off,
                Some("check") => Automatic::Check,
                Some("install") => Automatic::Install,
                _ => default.automatic,
            },
            allow_downgrade: self.flag("update.allow_downgrade", default.allow_downgrade),
            read_back: self.flag("update.read_back", default.read_back),
            windows: self.windows("update.windows"),
            hold: self.flag("update.hold", false).then(|| Hold {
                until: match self.value("update.hold_until") {
                    Some(Value::Moment(until)) => Some(until.clone()),
                    _ => None,
                },
                reason: self.text("update.hold_reason"),
            }),
        }
    }

    fn host(&self) -> Result<HostConfig, ConfigError> {
        let slots = HostConfig::default().slots;
        let mut payloads = BTreeMap::new();
        for name in self.payload_names() {
            let key = |slot| format!("host.payloads.{name}.{slot}");
            let labels = match (self.text(&key("a")), self.text(&key("b"))) {
                (Some(a), Some(b)) => SlotLabels { a, b },
                (a, _) => {
                    let (given, missing) =
                        if a.is_some() { (key("a"), key("b")) } else { (key("b"), key("a")) };
                    let what = format!("{given} is set, and {missing} is not");
                    return Err(self.contradiction(&given, what));
                }
            };
            payloads.insert(name, labels);
        }
        Ok(HostConfig {
            esp: self.path("host.esp"),
            disk: self.path("host.disk"),
            slots: SlotLabels {
                a: self.text("host.slots.a").unwrap_or(slots.a),
                b: self.text("host.slots.b").unwrap_or(slots.b),
            },
            payloads,
        })
    }

    fn payload_names(&self) -> BTreeSet<String> {
        let keys = self.0.keys().filter_map(|key| key.strip_prefix("host.payloads."));
        keys.filter_map(|rest| rest.rsplit_once('.').map(|(name, _)| name.to_owned())).collect()
    }

    fn trial(&self) -> Trial {
        let default = Trial::default();
        Trial {
            deadline: self.duration("trial.deadline", default.deadline),
            attempts: self.count("trial.attempts", default.attempts),
        }
    }

    fn signature(&self) -> SignaturePolicy {
        SignaturePolicy {
            mode: match self.text("policy.signature.mode").as_deref() {
                Some("require") => SignatureMode::Require,
                Some("off") => SignatureMode::Off,
                _ => SignatureMode::Auto,
            },
            identity: self.text("policy.signature.identity"),
            product: self.text("policy.signature.product"),
        }
    }

    fn reboot(&self) -> Result<Reboot, ConfigError> {
        let default = Reboot::default();
        let reboot = Reboot {
            strategy: match self.text("reboot.strategy").as_deref() {
                Some("immediate") => RebootStrategy::Immediate,
                Some("window") => RebootStrategy::Window,
                _ => RebootStrategy::None,
            },
            windows: self.windows("reboot.windows"),
            notice: self.duration("reboot.notice", default.notice),
            kexec: self.flag("reboot.kexec", default.kexec),
        };
        if reboot.strategy == RebootStrategy::Window && reboot.windows.is_empty() {
            let what = "reboot.strategy is \"window\", and reboot.windows lists none";
            return Err(self.contradiction("reboot.strategy", what.to_owned()));
        }
        // The end of the notice has to lie inside the window that it was given in.
        if reboot.windows.iter().any(|window| window.length() <= reboot.notice) {
            let what = "reboot.windows has a window that is over before reboot.notice is";
            return Err(self.contradiction("reboot.windows", what.to_owned()));
        }
        Ok(reboot)
    }

    /// Two payloads in one partition, or both slots in one, destroy each other.
    fn check_labels(&self, host: &HostConfig) -> Result<(), ConfigError> {
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
        let place = self.0.get(key).map_or(nowhere, |setting| setting.place.clone());
        ConfigError::Contradiction { place, what }
    }
}
