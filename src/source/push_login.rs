// SPDX-License-Identifier: MIT OR Apache-2.0

//! Logging in for a push, which the registry client of the builder's side then uses.

use super::endpoint::Endpoint;
use super::http::Http;
use super::login::Shown;
use super::retry::Failure;
use super::{Options, Reference};

/// What a push to `reference` has to show the registry: a token for its repository alone, or a
/// password; and what to say where that is refused. `None` where nothing is asked for.
///
/// # Errors
/// The registry's, and those of its token service.
pub async fn log_in_to_push(
    reference: &Reference,
    options: &Options,
) -> Result<Option<(Shown, String)>, Failure> {
    Endpoint::registry(reference).log_in_to_push(&Http::new(options.clone())).await
}
