// SPDX-License-Identifier: MIT OR Apache-2.0

//! Configuration: TOML files and drop-ins in, one validated [`Config`] out.
//! Nothing after this module checks a setting again.

use std::path::PathBuf;
use std::time::Duration;

use flipside_core::cancel::Cancel;
use flipside_core::host::Root;
use flipside_core::settings::{BootBackend, HostConfig, Settings};
use flipside_image::rollout::Wariness;
use flipside_source::Options;
use window::Window;

pub mod drop_in;
mod error;
mod fragment;
mod hold;
mod initiative;
mod keys;
mod load;
mod merged;
pub mod overlay;
#[cfg(test)]
mod tests;
pub mod window;

pub use flipside_image::units;

pub use error::{ConfigError, Place};
pub use hold::Hold;
pub use initiative::Initiative;

/// Every setting, validated, with its default where none was given.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Config {
    /// `[track]`: what to follow.
    pub track: Track,
    /// `[update]`: how updates are made.
    pub update: Update,
    /// `[host]`: where things are on this host.
    pub host: HostConfig,
    /// `host.compatible`: what this host is, for images that are for some hosts only.
    pub compatible: Vec<String>,
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
            host: self.host.clone(),
            boot: self.boot.backend,
            attempts: self.trial.attempts,
            read_back: self.update.read_back,
        }
    }
}

/// `[track]`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Track {
    /// `track.image`: what to follow; without it every command is a no-op.
    pub image: Option<String>,
    /// `track.mirrors`: asked first for manifests and blobs by digest; the registry decides.
    pub mirrors: Vec<String>,
    /// `track.plain_http`: hosts (`host:port`) that may be spoken to without TLS.
    pub plain_http: Vec<String>,
    /// `track.ca`: PEM files, besides the system's.
    pub ca: Vec<PathBuf>,
    /// `track.client_cert`: PEM, for mutual TLS.
    pub client_cert: Option<PathBuf>,
    /// `track.client_key`: PEM, for mutual TLS.
    pub client_key: Option<PathBuf>,
    /// `track.auth_file`: credentials; `None` searches the usual places.
    pub auth_file: Option<PathBuf>,
    /// `track.token_realms`: token services (`host[:port]`) that may have the credentials besides
    /// the registry's own.
    pub token_realms: Vec<String>,
    /// `track.max_rate`: bytes per second; `None` is as fast as it goes.
    pub max_rate: Option<u64>,
    /// `track.min_rate`: bytes per second that a mirror has to give; 0 is any rate, `None` 16 KiB, or
    /// a quarter of `max_rate` where that is less.
    pub min_rate: Option<u64>,
    /// `track.time_limit`: how long the payloads of one image may take; `None` is any time.
    pub time_limit: Option<Duration>,
    /// `track.graph`: a Cincinnati server that says what comes next, in place of the tag.
    pub graph: Option<String>,
}

/// `track.min_rate`, where it is not set.
const MIN_RATE: u64 = 16 << 10;

impl Track {
    /// Bytes per second that a mirror has to give.
    fn least_rate(&self) -> u64 {
        let default = || self.max_rate.map_or(MIN_RATE, |max_rate| MIN_RATE.min(max_rate / 4));
        self.min_rate.unwrap_or_else(default)
    }

    /// How its sources are reached.
    pub fn source_options(&self, root: Root, stop: Cancel) -> Options {
        Options {
            mirrors: self.mirrors.clone(),
            plain_http: self.plain_http.clone(),
            ca: self.ca.clone(),
            client_cert: self.client_cert.clone(),
            client_key: self.client_key.clone(),
            auth_file: self.auth_file.clone(),
            token_realms: self.token_realms.clone(),
            max_rate: self.max_rate,
            min_rate: Some(self.least_rate()).filter(|rate| *rate > 0),
            time_limit: self.time_limit,
            ..Options::new(root, stop)
        }
    }
}

/// `update.automatic`: what the timer may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Automatic {
    /// Nothing.
    Off,
    /// Look for an update and say so.
    Check,
    /// Install it.
    #[default]
    Install,
}

/// `[update]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Update {
    /// `update.automatic`.
    pub automatic: Automatic,
    /// `update.allow_downgrade`.
    pub allow_downgrade: bool,
    /// `update.read_back`: read everything back from the medium before it may boot.
    pub read_back: bool,
    /// `update.windows`: when the timer may install; empty is any time.
    pub windows: Vec<Window>,
    /// `update.hold`: no automatic updates for a while.
    pub hold: Option<Hold>,
}

impl Default for Update {
    fn default() -> Self {
        Self {
            automatic: Automatic::default(),
            allow_downgrade: false,
            read_back: true,
            windows: Vec::new(),
            hold: None,
        }
    }
}

/// `[boot]`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Boot {
    /// `boot.backend`.
    pub backend: BootBackend,
}

/// `[trial]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Trial {
    /// `trial.deadline`: a trial that is not promoted by then is rebooted.
    pub deadline: Duration,
    /// `trial.attempts`: trials that a digest gets before it counts as failed, at least 1.
    pub attempts: u32,
}

impl Default for Trial {
    fn default() -> Self {
        Self { deadline: Duration::from_secs(600), attempts: 2 }
    }
}

/// `[health]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Health {
    /// `health.timeout`: a health check that takes longer is ended, and has failed.
    pub timeout: Duration,
}

impl Default for Health {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(60) }
    }
}

/// `[policy]`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Policy {
    /// `policy.min_version`: nothing lower is installed.
    pub min_version: Option<String>,
    /// `policy.document`.
    pub document: DocumentMode,
    /// `policy.wariness`: this host's place in every rollout; `None` is another one for each.
    pub wariness: Option<Wariness>,
    /// `policy.clock`: whether dates count where nobody has set the clock since the boot.
    pub clock_is_trusted: bool,
    /// `[policy.hooks]`.
    pub hooks: Hooks,
    /// `[policy.signature]`.
    pub signature: SignaturePolicy,
}

/// `policy.signature.mode`: whether images have to be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SignatureMode {
    /// Where the host has a key.
    #[default]
    Auto,
    /// Yes; without a key nothing runs.
    Require,
    /// No, whatever keys there are.
    Off,
}

/// `[policy.signature]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SignaturePolicy {
    /// `policy.signature.mode`.
    pub mode: SignatureMode,
    /// `policy.signature.identity`: the repository that a simple signature has to name; `None`
    /// is the tracked one.
    pub identity: Option<String>,
    /// `policy.signature.product`: the `product_info.id` that an image accepted by a bundle has
    /// to have; `None` is the running system's `ID`.
    pub product: Option<String>,
}

/// `policy.document`: whether a policy document has to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DocumentMode {
    /// It is gone by where there is one; once one was seen it has to be there.
    #[default]
    Auto,
    /// It has to be there.
    Require,
    /// It is not asked for.
    Off,
}

/// `[policy.hooks]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Hooks {
    /// `policy.hooks.timeout`: a hook that takes longer is ended.
    pub timeout: Duration,
    /// `policy.hooks.on_timeout`: what that comes to.
    pub on_timeout: OnTimeout,
    /// `policy.hooks.memory`: bytes of memory that a hook may use.
    pub memory: u64,
    /// `[policy.hooks.container]`: a hook that is a container image.
    pub container: Option<ContainerHook>,
}

/// `policy.hooks.on_timeout`: what a hook says that does not answer in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnTimeout {
    /// Later: it may answer at the next run.
    #[default]
    Defer,
    /// No: a person has to look at it.
    Block,
}

/// `[policy.hooks.container]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerHook {
    /// `policy.hooks.container.image`: a tag or digest in a registry.
    pub image: String,
    /// `policy.hooks.container.network`: it has the host's network.
    pub network: bool,
}

impl Default for Hooks {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(60),
            on_timeout: OnTimeout::default(),
            memory: 256 << 20,
            container: None,
        }
    }
}

/// `reboot.strategy`: when flipside reboots into an installed update by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
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
#[derive(Debug, Clone, PartialEq)]
pub struct Reboot {
    /// `reboot.strategy`.
    pub strategy: RebootStrategy,
    /// `reboot.windows`: not empty with [`RebootStrategy::Window`], each longer than the notice.
    pub windows: Vec<Window>,
    /// `reboot.notice`: how long before the reboot people who are logged in are told.
    pub notice: Duration,
    /// `reboot.kexec`: start the new kernel from the old one, past firmware and boot loader.
    pub kexec: bool,
}

impl Default for Reboot {
    fn default() -> Self {
        Self {
            strategy: RebootStrategy::default(),
            windows: Vec::new(),
            notice: Duration::from_secs(600),
            kexec: false,
        }
    }
}
