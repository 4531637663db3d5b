// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the facts of a host mean.
//!
//! Pure, so that every case stands in a table of tests:
//!
//! - `host_state`: the facts, and what follows from them
//! - `action`: what to do about a release
//! - `failed`: what is not tried again; `adopted`: what a slot's content was called later
//! - `transition`: what the program is told of each step
//!
//! `running` says which slot runs, and asks `host` for the facts that it needs. `journal` is the
//! record of the last transition, and keeps its own files.

pub mod action;
pub mod adopted;
pub mod failed;
pub mod host_state;
pub mod journal;
pub mod running;
pub mod transition;

pub use action::Action;
pub use host_state::{HostState, SlotFacts, TrialOutcome};
pub use transition::{Observer, Transition};
