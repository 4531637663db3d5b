// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the facts of a host mean. Pure, so that every case stands in a table of tests.
//!
//! - `running`: which slot runs
//! - `situation`: the facts, and what follows from them
//! - `course`: what to do about a release
//! - `journal`, `failed`: what is remembered, as record and as authority
//! - `transition`: what the program is told of each step

pub mod course;
pub mod failed;
pub mod journal;
pub mod running;
pub mod situation;
pub mod transition;

pub use course::Course;
pub use situation::{Aftermath, Situation, SlotFacts};
pub use transition::{Observer, Transition};
