// SPDX-License-Identifier: MIT OR Apache-2.0

//! Signing images, in the forms that `policy::signature` verifies and cosign reads.

mod form;
mod key;

pub use form::{bundle, simple};
pub use key::{KeyKind, PrivateKey};
