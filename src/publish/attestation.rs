// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a builder says about an image, in an index beside it (BuildKit, "Image attestation storage").
//! It is copied as it is: the index is not whole without it.

use flipside_image::bounded::{self, ENTRIES};
use flipside_image::{Descriptor, ImageError};
use serde::Deserialize;

/// What a manifest of any kind lists.
#[derive(Deserialize)]
struct Listed {
    #[serde(default)]
    config: Option<Descriptor>,
    #[serde(default, deserialize_with = "bounded::list::<ENTRIES, _, _>")]
    layers: Vec<Descriptor>,
}

/// The blobs of the manifest of an attestation.
///
/// # Errors
/// [`ImageError::Json`].
pub(super) fn blobs(manifest: &[u8]) -> Result<impl Iterator<Item = Descriptor>, ImageError> {
    let Listed { config, layers } = bounded::parse(manifest)
        .map_err(|source| ImageError::Json { object: "manifest of an attestation", source })?;
    Ok(config.into_iter().chain(layers))
}
