// SPDX-License-Identifier: MIT OR Apache-2.0

//! Configuration: TOML files and drop-ins in, one validated [`Config`] out.
//! Nothing after this module checks a setting again.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use flipside_core::cancel::Cancel;
use flipside_core::host::Root;
use flipside_core::host::trust::{self, Untrusted};
use flipside_core::settings::{BootBackend, HostConfig, Settings, SlotLabels};
use flipside_image::moment::Moment;
use flipside_source::Options;
use form::{
    Address, HostPath, HttpUrl, NoProxy, PathOrAuto, PlainHost, ProxyUrl, Rate, Size, TimeLimit,
    Wait, Word,
};
use window::Window;

pub mod drop_in;
mod error;
pub mod form;
mod fragment;
mod hold;
mod initiative;
mod keys;
mod load;
mod merged;
pub mod overlay;
mod policy;
#[cfg(test)]
mod tests;
mod value;
pub mod window;

pub use flipside_image::units;

pub use error::{ConfigError, Place};
pub use hold::Hold;
pub use initiative::Initiative;
pub use policy::{
    ClockMode, ContainerHook, DocumentMode, Hooks, OnTimeout, Policy, SignatureMode,
    SignaturePolicy,
};

/// Every setting, validated, with its default where none was given. The fields are the keys, and
/// stand in the order of docs/configuration.md.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct Config {
    /// `[track]`: what to follow.
    pub track: Track,
    /// `[update]`: how updates are made.
    pub update: Update,
    /// `[host]`: where things are on this host, and what it is.
    pub host: Host,
    /// `[boot]`: how slots are booted.
    pub boot: Boot,
    /// `[trial]`: how a trial is judged.
    pub trial: Trial,
    /// `[health]`: how a system that has booted is judged.
    pub health: Health,
    /// `[policy]`: what is asked before an update.
    pub policy: Policy,
    /// `[reboot]`: how and when to reboot into an update.
    pub reboot: Reboot,
}

impl Config {
    /// What of them core goes by.
    pub fn core(&self) -> Settings {
        Settings {
            host: HostConfig {
                esp: self.host.esp.0.clone(),
                disk: self.host.disk.0.clone(),
                slots: self.host.slots.clone(),
                payloads: self.host.payloads.clone(),
            },
            boot: self.boot.backend,
            attempts: self.trial.attempts,
            read_back: self.update.read_back,
        }
    }
}

/// `[track]`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct Track {
    /// `track.image`: what to follow; without it every command is a no-op.
    #[serde(deserialize_with = "form::followed")]
    pub image: Option<Address>,
    /// `track.mirrors`: asked first for manifests and blobs by digest; the registry decides.
    pub mirrors: Vec<Address>,
    /// `track.plain_http`: hosts (`host:port`) that may be spoken to without TLS.
    pub plain_http: Vec<PlainHost>,
    /// `track.ca`: PEM files, besides the system's.
    pub ca: Vec<HostPath>,
    /// `track.client_cert`: PEM, for mutual TLS.
    pub client_cert: Option<HostPath>,
    /// `track.client_key`: PEM, for mutual TLS.
    pub client_key: Option<HostPath>,
    /// `track.auth_file`: credentials; `None` searches the usual places.
    pub auth_file: Option<HostPath>,
    /// `track.token_realms`: token services (`host[:port]`) that may have the credentials besides
    /// the registry's own.
    pub token_realms: Vec<Address>,
    /// `track.proxy`: leads to every host; `None` takes the environment's.
    pub proxy: Option<ProxyUrl>,
    /// `track.no_proxy`: who is reached without it; empty is what the environment says.
    pub no_proxy: Vec<NoProxy>,
    /// `track.max_rate`: bytes per second; `None` is as fast as it goes.
    pub max_rate: Option<Size>,
    /// `track.min_rate`: bytes per second that a mirror has to give; 0 is any rate, `None` 16 KiB, or
    /// a quarter of `max_rate` where that is less.
    pub min_rate: Option<Rate>,
    /// `track.time_limit`: how long the payloads of one image may take; `None` is any time.
    pub time_limit: Option<TimeLimit>,
    /// `track.graph`: a Cincinnati server that says what comes next, in place of the tag.
    pub graph: Option<HttpUrl>,
}

/// `track.min_rate`, where it is not set.
const MIN_RATE: u64 = 16 << 10;

impl Track {
    /// Bytes per second that a mirror has to give.
    fn least_rate(&self) -> u64 {
        let default = self.max_rate.as_deref().map_or(MIN_RATE, |most| MIN_RATE.min(most / 4));
        self.min_rate.as_deref().copied().unwrap_or(default)
    }

    /// Refuses files that say whom to trust or who this host is, and that others could change.
    ///
    /// # Errors
    /// [`Untrusted`]. A file that is absent is told by who reads it.
    pub fn check_files(&self, root: &Root) -> Result<(), Untrusted> {
        let named = [&self.client_cert, &self.client_key, &self.auth_file];
        let named = self.ca.iter().chain(named.into_iter().flatten()).map(|path| path.0.as_path());
        let own = flipside_source::credentials::AUTH_FILES.iter().map(Path::new);
        let own = own.filter(|_| self.auth_file.is_none());
        let mut files = named.chain(own).map(|path| root.path(path));
        files.try_for_each(|path| if path.exists() { trust::check(root, &path) } else { Ok(()) })
    }

    /// How its sources are reached.
    pub fn source_options(&self, root: Root, stop: Cancel) -> Options {
        let texts = |addresses: &[Address]| addresses.iter().map(|a| a.0.clone()).collect();
        let path = |path: &Option<HostPath>| path.as_deref().map(Path::to_owned);
        Options {
            mirrors: texts(&self.mirrors),
            plain_http: self.plain_http.iter().map(|host| host.0.clone()).collect(),
            ca: self.ca.iter().map(|path| path.0.clone()).collect(),
            client_cert: path(&self.client_cert),
            client_key: path(&self.client_key),
            auth_file: path(&self.auth_file),
            token_realms: texts(&self.token_realms),
            proxy: self.proxy.as_ref().map(|proxy| proxy.0.clone()),
            no_proxy: self.no_proxy.iter().map(|host| host.0.clone()).collect(),
            max_rate: self.max_rate.as_deref().copied(),
            min_rate: Some(self.least_rate()).filter(|rate| *rate > 0),
            time_limit: self.time_limit.as_deref().copied(),
            ..Options::new(root, stop)
        }
    }
}

/// `update.automatic`: what the timer may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Automatic {
    /// Nothing.
    Off,
    /// Look for an update and say so.
    Check,
    /// Install it.
    #[default]
    Install,
}

/// `update.deltas`: whether chunks are taken from the slot that runs, as they are or by a delta.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Deltas {
    /// No: `false`.
    Off,
    /// From payloads that nothing was written to since the machine started: `true`.
    #[default]
    On,
    /// Also from others: `"writable"`.
    Writable,
}

/// `[update]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct Update {
    /// `update.automatic`.
    pub automatic: Automatic,
    /// `update.allow_downgrade`.
    pub allow_downgrade: bool,
    /// `update.read_back`: read everything back from the medium before it may boot.
    pub read_back: bool,
    /// `update.deltas`: whether an image is made from the one that runs.
    pub deltas: Deltas,
    /// `update.windows`: when the timer may install; empty is any time.
    pub windows: Vec<Window>,
    /// `update.hold`: no automatic updates for a while.
    #[serde(rename = "hold")]
    pub is_held: bool,
    /// `update.hold_until`: `None` is until somebody lifts it.
    pub hold_until: Option<Moment>,
    /// `update.hold_reason`.
    pub hold_reason: Option<String>,
}

impl Default for Update {
    fn default() -> Self {
        Self {
            automatic: Automatic::default(),
            allow_downgrade: false,
            read_back: true,
            deltas: Deltas::default(),
            windows: Vec::new(),
            is_held: false,
            hold_until: None,
            hold_reason: None,
        }
    }
}

impl Update {
    /// The hold, with its time and reason.
    pub fn hold(&self) -> Option<Hold> {
        let (until, reason) = (self.hold_until.clone(), self.hold_reason.clone());
        self.is_held.then_some(Hold { until, reason })
    }
}

/// `[host]`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct Host {
    /// `host.esp`: where the ESP is mounted; `None` is `"auto"`.
    pub esp: PathOrAuto,
    /// `host.disk`: the disk with the slots; `None` is `"auto"`, the one that holds the ESP.
    pub disk: PathOrAuto,
    /// `host.compatible`: what this host is, for images that are for some hosts only.
    pub compatible: Vec<Word>,
    /// `host.slots`: GPT labels of the `system` payload's partitions.
    pub slots: SlotLabels,
    /// `host.payloads`: further payloads and the labels of their partitions.
    pub payloads: BTreeMap<String, SlotLabels>,
}

/// `[boot]`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct Boot {
    /// `boot.backend`.
    pub backend: BootBackend,
}

/// `[trial]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct Trial {
    /// `trial.deadline`: a trial that is not promoted by then is rebooted.
    pub deadline: TimeLimit,
    /// `trial.attempts`: trials that a digest gets before it counts as failed, at least 1.
    #[serde(deserialize_with = "form::count")]
    pub attempts: u32,
}

impl Default for Trial {
    fn default() -> Self {
        Self { deadline: TimeLimit(Duration::from_secs(600)), attempts: 2 }
    }
}

/// `[health]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct Health {
    /// `health.timeout`: a health check that takes longer is ended, and has failed.
    pub timeout: TimeLimit,
}

impl Default for Health {
    fn default() -> Self {
        Self { timeout: TimeLimit(Duration::from_secs(60)) }
    }
}

/// `reboot.strategy`: when flipside reboots into an installed update by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RebootStrategy {
    /// Never: that is somebody else's matter.
    #[default]
    None,
    /// As soon as it is installed.
    Immediate,
    /// In a window of time.
    Window,
}

/// `[reboot]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct Reboot {
    /// `reboot.strategy`.
    pub strategy: RebootStrategy,
    /// `reboot.windows`: not empty with [`RebootStrategy::Window`], each longer than the notice.
    pub windows: Vec<Window>,
    /// `reboot.notice`: how long before the reboot people who are logged in are told.
    pub notice: Wait,
    /// `reboot.kexec`: start the new kernel from the old one, past firmware and boot loader.
    pub kexec: bool,
}

impl Default for Reboot {
    fn default() -> Self {
        Self {
            strategy: RebootStrategy::default(),
            windows: Vec::new(),
            notice: Wait(Duration::from_secs(600)),
            kexec: false,
        }
    }
}
