// SPDX-License-Identifier: MIT OR Apache-2.0

//! From an OCI layout directory into a registry (OCI distribution spec v1.1,
//! "Push"): blobs first, then manifests by digest, the tag last, so that
//! nobody ever sees a tag whose parts are missing.

use std::path::Path;

use flipside_core::progress::{Event, Phase, Progress};
use flipside_image::{Digest, INDEX_TYPE, MANIFEST_TYPE, ManifestOrIndex};
use flipside_source::{LayoutSource, Options, Reference, Repository, Source, SourceError};

use super::PublishError;
use super::delta::{DeltaSources, MadeDelta, PushedDeltas};
use super::second_reading;
use super::sign::{Home, Signatures};
use super::upload::{put, put_images};

/// What was pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// What the tag points to.
    pub digest: Digest,
    /// The deltas that were made on the way.
    pub deltas: Vec<MadeDelta>,
}

/// Pushes the image, or the index, in the layout `directory` to `reference`: the one
/// whose name is `tag`, or else the only one, with the signatures and the deltas that the layout has
/// of it. Blobs that the registry has are not sent again. Returns what the tag points to afterwards.
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
    let none = DeltaSources::default();
    Ok(push_with_deltas(directory, tag, reference, none, options, progress)?.digest)
}

/// The same, with new deltas from `sources`. They are there before the tag is moved. One that would be
/// too large, or from the same content, is left out with a warning.
///
/// # Errors
/// As [`push`], and those of making a delta.
pub fn push_with_deltas(
    directory: &Path,
    tag: Option<&str>,
    reference: &Reference,
    sources: DeltaSources<'_>,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Pushed, PublishError> {
    second_reading::check_name(reference).map_err(SourceError::from)?;
    let layout = LayoutSource::open(directory, tag)?;
    let digest = layout.resolve()?;
    let repository = Repository::new(reference, options)?;
    let bytes = layout.manifest(&digest)?;
    let read = second_reading::read(&bytes)?;
    let media_type = match read {
        ManifestOrIndex::Manifest(_) => MANIFEST_TYPE,
        ManifestOrIndex::Index(_) => INDEX_TYPE,
    };
    // Where a delta is from may be what the tag names until now.
    let deltas = PushedDeltas::find(directory, &digest, &read, sources, options)?;
    put_images(&repository, &layout, read, progress)?;
    // Before the tag: nobody sees it name what is not signed yet, or has no deltas.
    let signatures = Signatures::of(&layout, &digest)?;
    if !signatures.is_empty() || !deltas.is_empty() {
        repository.put_manifest(&digest.to_string(), media_type, &bytes)?;
        signatures.bring_to(&Home::Registry(&repository, reference, options))?;
    }
    let deltas = deltas.send(directory, &repository, reference, options, progress)?;
    repository.put_manifest(reference.tag(), media_type, &bytes)?;
    progress.event(Event::Phase(Phase::Done));
    Ok(Pushed { digest, deltas })
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
