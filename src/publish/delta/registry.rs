// SPDX-License-Identifier: MIT OR Apache-2.0

//! Deltas in a registry: beside the image that they make, where its referrers are found.

use std::collections::BTreeMap;
use std::path::Path;

use flipside_core::progress::{Event, Phase, Progress};
use flipside_image::delta::{DELTA_TYPE, FROM_ANNOTATION};
use flipside_image::{Descriptor, Digest, INDEX_TYPE, MANIFEST_TYPE};
use flipside_source::signatures::referrers_tag;
use flipside_source::{Blob, Location, Options, Reference, Repository, Source, SourceError, open};
use serde_json::value::RawValue;

use super::super::PublishError;
use super::super::attached::{Written, existing, listed, raw};
use super::listed::ListedDelta;
use super::make::entry;

/// Sends a delta, whose blobs are in the layout `directory`, to the repository of `reference`. What is
/// there is not sent again. In the list that stands in for the referrers API, it takes the place of
/// an older delta from the same image.
pub(in super::super) fn send(
    directory: &Path,
    delta: &ListedDelta,
    repository: &Repository,
    reference: &Reference,
    options: &Options,
    progress: &dyn Progress,
) -> Result<(), PublishError> {
    send_blobs(directory, delta, repository, progress)?;
    let source = open(&Location::Registry(reference.clone()), options)?;
    let entry = entry(&delta.bytes, &delta.manifest.from);
    let tag = referrers_tag(&delta.manifest.subject.digest);
    let mut entries = match existing(source.as_ref(), &tag)? {
        Some(index) => listed(&index)
            .and_then(|index| index.manifests.ok_or_else(|| "it lists no manifests".to_owned()))
            .map_err(|what| failed(&tag, &what))?,
        None => Vec::new(),
    };
    let is_listed = entries.iter().any(|other| is_same(other, &entry));
    if is_listed && is_there(source.as_ref(), &entry.digest)? {
        return Ok(());
    }
    let digest = entry.digest.to_string();
    let has_referrers = repository.put_referrer(&digest, MANIFEST_TYPE, &delta.bytes)?;
    if has_referrers || is_listed {
        return Ok(());
    }
    // Nobody else lists it. Two who do this at the same moment can lose one entry of the two.
    entries.retain(|other| !is_replaced(other, &entry));
    entries.push(raw(&entry).map_err(|what| failed(&tag, &what))?);
    let index = Written { manifests: Some(&entries), ..Written::new(INDEX_TYPE) };
    let index = index.to_bytes().map_err(|what| failed(&tag, &what))?;
    repository.put_manifest(&tag, INDEX_TYPE, &index)?;
    Ok(())
}

fn failed(tag: &str, what: &str) -> PublishError {
    PublishError::Delta { what: format!("the list of referrers {tag} cannot be used: {what}") }
}

fn send_blobs(
    directory: &Path,
    delta: &ListedDelta,
    repository: &Repository,
    progress: &dyn Progress,
) -> Result<(), PublishError> {
    let blobs = std::iter::once(&delta.manifest.config).chain(&delta.manifest.layers);
    let blobs: BTreeMap<Digest, &Descriptor> = blobs.map(|blob| (blob.digest, blob)).collect();
    let (all, mut size, mut missing) = (blobs.len(), 0_u64, Vec::new());
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
    for blob in missing {
        let path = directory.join("blobs/sha256").join(blob.digest.hex());
        let sent = |bytes| progress.event(Event::Written(bytes));
        repository.put_blob(&Blob::open(&path, blob)?, &sent)?;
    }
    Ok(())
}

fn is_there(source: &dyn Source, digest: &Digest) -> Result<bool, PublishError> {
    match source.manifest(digest) {
        Ok(_) => Ok(true),
        Err(SourceError::ManifestNotFound { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn is_same(other: &RawValue, entry: &Descriptor) -> bool {
    serde_json::from_str::<Descriptor>(other.get()).is_ok_and(|other| other == *entry)
}

/// Whether `entry` takes the place of `other`: another delta from the same image. Its own digest may
/// be listed with less said about it.
fn is_replaced(other: &RawValue, entry: &Descriptor) -> bool {
    serde_json::from_str::<Descriptor>(other.get()).is_ok_and(|other| {
        let is_delta = other.artifact_type.as_deref() == Some(DELTA_TYPE);
        let from = other.annotations.get(FROM_ANNOTATION);
        other.digest == entry.digest
            || (is_delta && from.is_some() && from == entry.annotations.get(FROM_ANNOTATION))
    })
}
