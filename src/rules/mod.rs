// SPDX-License-Identifier: MIT OR Apache-2.0

//! May this host update now? Whatever is asked answers with a [`Verdict`]; nothing
//! here touches the host.
//!
//! Each question is a [`Rule`], its answer a [`Ruling`], all answers about one update together
//! an [`Explanation`]. They are asked in the order of [`Rule::ALL`], the cheap ones first, in
//! `update::approve` and nowhere else. `docs/policy.md` describes every rule.

pub mod hold;
pub mod policy_document;
pub mod requires;
mod rule;
pub mod signature;
pub mod update_window;
pub mod version;

pub use crate::refusal::Verdict;
pub use rule::{Explanation, Rule, Ruling};
