// SPDX-License-Identifier: MIT OR Apache-2.0

//! May this host update now? Whatever is asked answers with a [`Decision`]; nothing
//! here touches the host.
//!
//! Each question is a [`Rule`], its answer a [`Ruling`], all answers about one update together
//! an [`Explanation`]. They are asked in the order of [`Rule::ALL`], the cheap ones first, in
//! `update::approve` and nowhere else. `docs/policy.md` describes every rule.

use serde::{Deserialize, Serialize};

pub mod asks;
pub mod document;
pub mod fitness;
pub mod floor;
pub mod graph;
pub mod hold;
pub mod hooks;
pub mod rollout;
pub mod route;
mod rule;
pub mod signature;
pub mod update_window;

pub use flipside_image::version;

pub use rule::{Explanation, Rule, Ruling};

/// An answer to the question whether to go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "decision", rename_all = "lowercase")]
pub enum Decision {
    /// Go on.
    Allow,
    /// Not now: ask again next time.
    Defer {
        /// The stable code.
        code: &'static str,
        /// One sentence for people, naming who says so.
        reason: String,
    },
    /// Not until something changes.
    Block {
        /// The stable code.
        code: &'static str,
        /// One sentence for people, naming who says so.
        reason: String,
    },
}

impl Decision {
    /// Not now; `reason` is one sentence.
    pub fn defer(code: &'static str, reason: impl Into<String>) -> Self {
        Self::Defer { code, reason: reason.into() }
    }

    /// Not until something changes; `reason` is one sentence.
    pub fn block(code: &'static str, reason: impl Into<String>) -> Self {
        Self::Block { code, reason: reason.into() }
    }

    /// Whether to go on.
    pub fn is_allow(&self) -> bool {
        *self == Self::Allow
    }
}

/// Why an update is made: by the timer or by a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Initiative {
    /// The timer's.
    Automatic,
    /// A person's.
    Manual,
}
