// SPDX-License-Identifier: MIT OR Apache-2.0

//! Deltas in a layout: entries of its index without a tag.

use std::path::Path;

use flipside_image::delta::{DELTA_MANIFEST_LIMIT, DELTA_TYPE, DeltaManifest};
use flipside_image::{Descriptor, Digest, Index, MANIFEST_LIMIT};
use flipside_source::{LayoutSource, Source as _};

use super::super::PublishError;
use super::super::layout::LayoutWriter;

/// A delta in a layout.
pub(in super::super) struct ListedDelta {
    /// The bytes of its manifest.
    pub(in super::super) bytes: Vec<u8>,
    pub(in super::super) manifest: DeltaManifest,
}

impl ListedDelta {
    /// The delta whose manifest is called `digest`.
    pub(super) fn read(directory: &Path, digest: &Digest) -> Result<Self, PublishError> {
        let bytes = LayoutSource::open(directory, None)?.manifest(digest)?;
        let manifest = DeltaManifest::parse(&bytes)?;
        Ok(Self { bytes, manifest })
    }
}

/// The deltas that the layout in `directory` lists for one of `subjects`. What says that it is a
/// delta and cannot be read is left out with a warning.
pub(in super::super) fn listed(
    directory: &Path,
    subjects: &[Digest],
) -> Result<Vec<ListedDelta>, PublishError> {
    let path = directory.join("index.json");
    let size = std::fs::metadata(&path).map_err(PublishError::file("read", &path))?.len();
    let invalid = |what| PublishError::LayoutInvalid { path: directory.to_owned(), what };
    if size > MANIFEST_LIMIT {
        return Err(invalid(format!("its index has {size} bytes")));
    }
    let bytes = std::fs::read(&path).map_err(PublishError::file("read", &path))?;
    let index = Index::parse(&bytes)?;
    let mut found = Vec::new();
    for entry in index.manifests.iter().filter(|entry| is_delta(entry)) {
        match ListedDelta::read(directory, &entry.digest) {
            Ok(delta) if subjects.contains(&delta.manifest.subject.digest) => found.push(delta),
            Ok(_) => {}
            Err(error) => tracing::warn!("a delta in {} is left out: {error}", directory.display()),
        }
    }
    Ok(found)
}

fn is_delta(entry: &Descriptor) -> bool {
    entry.artifact_type.as_deref() == Some(DELTA_TYPE) && entry.size <= DELTA_MANIFEST_LIMIT
}

/// Lists the delta `entry` for the image `subject` in the layout, in place of an older one from the
/// same image.
pub(super) fn list(
    layout: &LayoutWriter,
    entry: &Descriptor,
    subject: &Digest,
) -> Result<(), PublishError> {
    layout.attach(entry, |other| {
        is_delta(other)
            && other.annotations == entry.annotations
            && ListedDelta::read(layout.directory(), &other.digest)
                .is_ok_and(|other| other.manifest.subject.digest == *subject)
    })
}
