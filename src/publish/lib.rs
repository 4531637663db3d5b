// SPDX-License-Identifier: MIT OR Apache-2.0

//! The builder's side: OS images made from files, looked at, and moved between
//! layouts and registries; deltas of two of them; disks made of them.

#![cfg_attr(test, allow(clippy::too_many_lines))]

mod attached;
mod attestation;
pub mod build;
pub mod codes;
pub mod container;
pub mod delta;
pub mod disk;
mod error;
mod extract;
mod find;
mod input;
pub mod inspect;
mod layer;
pub mod layout;
pub mod os_release;
pub mod policy;
pub mod pull;
pub mod push;
mod second_reading;
pub mod sign;
pub mod tree;
pub mod uki;
mod upload;

pub use error::PublishError;
pub use extract::extract;
pub use find::find_image;
