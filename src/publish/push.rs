// SPDX-License-Identifier: MIT OR Apache-2.0

//! From an OCI layout directory into a registry (OCI distribution spec v1.1,
//! "Push"): blobs first, then manifests by digest, the tag last, so that
//! nobody ever sees a tag whose parts are missing.

use std::path::Path;

use flipside_core::progress::{Event, Phase, Progress};
use flipside_image::{Digest, INDEX_TYPE, MANIFEST_TYPE, ManifestOrIndex};
use flipside_source::{LayoutSource, Options, Reference, Repository, Source, SourceError};

use super::PublishError;
use super::second_reading;
use super::sign::{Home, Signatures};
use super::upload::{put, put_images};

/// Pushes the image, or the index, in the layout `directory` to `reference`: the one
/// whose name is `tag`, or else the only one, and the signatures that the layout has of it.
/// Blobs that the registry has are not sent again. Returns what the tag points to afterwards.
///
/// # Errors
/// [`PublishError`]: the layout is none, the registry refuses, or other tools would not read the name
/// or a manifest as it is meant.
pub fn push(
    directory: &Path,
    tag: Option<&str>,
    reference: &Reference,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Digest, PublishError> {
    second_reading::check_name(reference).map_err(SourceError::from)?;
    let layout = LayoutSource::open(directory, tag)?;
    let top = layout.resolve()?;
    let repository = Repository::new(reference, options)?;
    let bytes = layout.manifest(&top)?;
    let read = second_reading::read(&bytes)?;
    let media_type = match read {
        ManifestOrIndex::Manifest(_) => MANIFEST_TYPE,
        ManifestOrIndex::Index(_) => INDEX_TYPE,
    };
    put_images(&repository, &layout, read, progress)?;
    // Before the tag: nobody sees it name what is not signed yet.
    let signatures = Signatures::of(&layout, &top)?;
    if !signatures.is_empty() {
        repository.put_manifest(&top.to_string(), media_type, &bytes)?;
        signatures.bring_to(&Home::Registry(&repository, reference, options))?;
    }
    repository.put_manifest(reference.tag(), media_type, &bytes)?;
    progress.event(Event::Phase(Phase::Done));
    Ok(top)
}

/// Pushes an artifact whose manifest lists nothing but `blobs` to `reference`. Returns its digest.
///
/// # Errors
/// [`SourceError`]: the registry refuses.
pub fn push_artifact(
    manifest: &[u8],
    blobs: &[&[u8]],
    reference: &Reference,
    options: &Options,
) -> Result<Digest, SourceError> {
    second_reading::check_name(reference)?;
    let repository = Repository::new(reference, options)?;
    put(&repository, reference.tag(), manifest, MANIFEST_TYPE, blobs)?;
    Ok(Digest::of(manifest))
}
