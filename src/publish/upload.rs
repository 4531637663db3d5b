// SPDX-License-Identifier: MIT OR Apache-2.0

//! Which blobs and manifests of a layout go into a registry, and in which order.

use std::collections::BTreeMap;

use flipside_core::progress::{Event, Phase, Progress};
use flipside_image::{
    Descriptor, Digest, MANIFEST_TYPE, Manifest, ManifestOrIndex, is_attestation,
};
use flipside_source::{Blob, LayoutSource, Repository, Source, SourceError};

use super::{attestation, second_reading};

/// Puts the blobs of `top`, which is in `layout`, and the manifests that an index lists; not the
/// manifest or index itself. Blobs that the registry has are not sent again. It is asked for all of
/// them first, so that `progress` has one total.
///
/// # Errors
/// [`SourceError`]: the layout is damaged, or the registry refuses.
pub(super) fn put_images(
    repository: &Repository,
    layout: &LayoutSource,
    top: ManifestOrIndex,
    progress: &dyn Progress,
) -> Result<(), SourceError> {
    progress.event(Event::Phase(Phase::Comparing));
    let mut manifests = Vec::new();
    let mut blobs = BTreeMap::new();
    match top {
        ManifestOrIndex::Manifest(manifest) => list(&mut blobs, of_image(manifest)),
        ManifestOrIndex::Index(index) => {
            for entry in &index.manifests {
                let bytes = layout.manifest(&entry.digest)?;
                if is_attestation(entry) {
                    list(&mut blobs, attestation::blobs(&bytes)?);
                } else {
                    list(&mut blobs, of_image(second_reading::read(&bytes)?.into_manifest()?));
                }
                manifests.push(entry.digest);
            }
        }
    }
    let (all, mut size) = (blobs.len(), 0_u64);
    let mut missing = Vec::new();
    for blob in blobs.into_values() {
        if !repository.has_blob(&blob.digest)? {
            size = size.saturating_add(blob.size);
            missing.push(blob);
        }
    }
    if !missing.is_empty() {
        let (sent, present) = (missing.len() as u64, all.saturating_sub(missing.len()) as u64);
        progress.event(Event::Phase(Phase::Pushing));
        progress.event(Event::Pushing { blobs: sent, present, size });
    }
    for blob in &missing {
        let path = layout.directory().join("blobs/sha256").join(blob.digest.hex());
        let sent = |bytes| progress.event(Event::Written(bytes));
        repository.put_blob(&Blob::open(&path, blob)?, &sent)?;
    }
    for digest in &manifests {
        let manifest = layout.manifest(digest)?;
        repository.put_manifest(&digest.to_string(), MANIFEST_TYPE, &manifest)?;
    }
    Ok(())
}

/// Puts small blobs, and a manifest of them under a tag or a digest.
///
/// # Errors
/// [`SourceError`]: the registry refuses.
pub(super) fn put(
    repository: &Repository,
    name: &str,
    manifest: &[u8],
    media_type: &'static str,
    blobs: &[&[u8]],
) -> Result<(), SourceError> {
    for blob in blobs {
        if !repository.has_blob(&Digest::of(blob))? {
            repository.put_blob(&Blob::of(blob.to_vec()), &|_| ())?;
        }
    }
    repository.put_manifest(name, media_type, manifest)
}

fn of_image(manifest: Manifest) -> impl Iterator<Item = Descriptor> {
    std::iter::once(manifest.config).chain(manifest.layers)
}

fn list(blobs: &mut BTreeMap<Digest, Descriptor>, more: impl Iterator<Item = Descriptor>) {
    blobs.extend(more.map(|blob| (blob.digest, blob)));
}
