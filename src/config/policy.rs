// SPDX-License-Identifier: MIT OR Apache-2.0

//! `[policy]`: what is asked before an update.

use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::form::{self, Address, Size, TimeLimit, Word};
use flipside_image::rollout::Wariness;

/// `[policy]`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct Policy {
    /// `policy.min_version`: nothing lower is installed.
    pub min_version: Option<String>,
    /// `policy.document`.
    pub document: DocumentMode,
    /// `policy.clock`.
    pub clock: ClockMode,
    /// `policy.wariness`: this host's place in every rollout; `None` is another one for each.
    pub wariness: Option<Wariness>,
    /// `[policy.hooks]`.
    pub hooks: Hooks,
    /// `[policy.signature]`.
    pub signature: SignaturePolicy,
}

/// `policy.clock`: whether dates count where nobody has set the clock since the boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClockMode {
    /// No.
    #[default]
    Synchronized,
    /// Yes: the host has a clock of its own.
    Trusted,
}

/// `policy.signature.mode`: whether images have to be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
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
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct SignaturePolicy {
    /// `policy.signature.mode`.
    pub mode: SignatureMode,
    /// `policy.signature.identity`: the repository that a simple signature has to name; `None`
    /// is the tracked one.
    #[serde(deserialize_with = "form::not_empty")]
    pub identity: Option<Address>,
    /// `policy.signature.product`: the `product_info.id` that an image accepted by a bundle has
    /// to have; `None` is the running system's `ID`.
    #[serde(deserialize_with = "form::not_empty")]
    pub product: Option<Word>,
}

/// `policy.document`: whether a policy document has to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DocumentMode {
    /// A document that is there is obeyed. Once one was seen, there has to be one.
    #[default]
    Auto,
    /// It has to be there.
    Require,
    /// It is not asked for.
    Off,
}

/// `[policy.hooks]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct Hooks {
    /// `policy.hooks.timeout`: a hook that takes longer is ended.
    pub timeout: TimeLimit,
    /// `policy.hooks.on_timeout`: what that comes to.
    pub on_timeout: OnTimeout,
    /// `policy.hooks.memory`: bytes of memory that a hook may use.
    #[serde(deserialize_with = "memory")]
    pub memory: Size,
    /// `[policy.hooks.container]`: a hook that is a container image.
    pub container: ContainerHook,
}

impl Default for Hooks {
    fn default() -> Self {
        Self {
            timeout: TimeLimit(Duration::from_secs(60)),
            on_timeout: OnTimeout::default(),
            memory: Size(256 << 20),
            container: ContainerHook::default(),
        }
    }
}

/// Empty text is the default.
fn memory<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Size, D::Error> {
    let size = Option::deserialize(deserializer)?;
    Ok(size.unwrap_or_else(|| Hooks::default().memory))
}

/// `policy.hooks.on_timeout`: what a hook says that does not answer in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnTimeout {
    /// Later: it may answer at the next run.
    #[default]
    Defer,
    /// No: a person has to look at it.
    Block,
}

/// `[policy.hooks.container]`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct ContainerHook {
    /// `policy.hooks.container.image`: a tag or digest in a registry.
    #[serde(deserialize_with = "form::not_empty")]
    pub image: Option<Address>,
    /// `policy.hooks.container.network`: it has the host's network.
    pub network: bool,
}
