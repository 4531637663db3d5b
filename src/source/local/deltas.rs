// SPDX-License-Identifier: MIT OR Apache-2.0

//! Deltas in a layout, listed as signatures are.

use flipside_image::delta::{DELTA_CONFIG_LIMIT, DELTA_MANIFEST_LIMIT, Delta};
use flipside_image::{Descriptor, Digest, Image};

use super::super::deltas::{Miss, Wanted, pass_over};
use super::referrers::{Listed, referrers};
use super::{Files, SourceError, index, read};

/// The delta that makes `image` from the image whose config has the digest `from`.
pub(super) fn find(
    files: &dyn Files,
    image: &Image,
    from: &Digest,
) -> Result<Option<Delta>, SourceError> {
    let Listed { entries, cut_short } = referrers(files, &index(files)?, &image.digest)?;
    let wanted = Wanted { image, from };
    let mut candidates = wanted.candidates();
    let _ = candidates.add(entries);
    for entry in &candidates.entries {
        match delta_in(files, entry, wanted) {
            Ok(delta) => return Ok(Some(delta)),
            Err(miss) => pass_over(&files.place(), entry, miss)?,
        }
    }
    cut_short.map_or(Ok(None), |error| Err(error.into()))
}

fn delta_in(files: &dyn Files, entry: &Descriptor, wanted: Wanted<'_>) -> Result<Delta, Miss> {
    let manifest = read(files, "manifest of a delta", entry, DELTA_MANIFEST_LIMIT)?;
    let manifest = wanted.manifest(entry, &manifest)?;
    let config = read(files, "config of a delta", &manifest.config, DELTA_CONFIG_LIMIT)?;
    wanted.delta(&manifest, &config)
}
