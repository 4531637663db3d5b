// SPDX-License-Identifier: MIT OR Apache-2.0

//! May this host update now? Whatever is asked answers with a [`Verdict`]; nothing
//! here touches the host.
//!
//! Each question is a [`Rule`], its answer a [`Ruling`], all answers about one update together
//! an [`Explanation`]. They are asked in the order of [`Rule::ALL`], the cheap ones first, in
//! [`approve`] and nowhere else. `docs/policy.md` describes every rule.

mod container_hook;
mod error;
mod evaluation;
pub mod graph;
mod hold;
mod image_hook;
mod offer;
mod policy_document;
mod requires;
mod rule;
pub mod signature;
mod update_window;
mod upgrade_path;
mod version;

pub use crate::refusal::Verdict;
pub use error::Error;
pub use evaluation::{
    Approval, Depth, Unasked, approve, hook_context, nobody_holds, settings_now, time_allows,
};
pub use offer::{Means, Offer};
pub use policy_document::still_stands;
pub use rule::{Explanation, Rule, Ruling};
