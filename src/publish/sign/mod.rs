// SPDX-License-Identifier: MIT OR Apache-2.0

//! Signing images, in the forms that `flipside_image::signature` verifies and cosign reads.

mod attach;
mod carry;
mod form;
mod key;

pub(super) use attach::Home;
pub(super) use carry::Signatures;
pub use carry::sign;
pub use form::{bundle, simple};
pub use key::{KeyKind, PrivateKey};
