// SPDX-License-Identifier: MIT OR Apache-2.0

//! Signatures in a layout: under the tags that registries have them under, and besides as
//! `oras` (entries that name their subject) and `cosign save` (entries of a kind) write them.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use flipside_image::{Descriptor, Digest, Index, MANIFEST_LIMIT};

use super::super::choice::{KIND_ANNOTATION, TAG_ANNOTATION};
use super::super::signatures::{
    BUNDLE_LIMIT, BUNDLE_MANIFEST_LIMIT, Judge, LIMIT, PAYLOAD_LIMIT, Signature, bundles,
    may_hold_bundle, payloads, referrers_tag, signature_tag, unreadable,
};
use super::{Files, SourceError, find_sized};

/// What `cosign save` says of an entry with signatures.
const KIND_SIGNATURES: &str = "dev.cosignproject.cosign/sigs";

/// A search in one layout.
struct Search<'a, 'j> {
    files: &'a dyn Files,
    subject: &'a Digest,
    judge: &'a mut Judge<'j>,
    /// How many were handed over.
    number: usize,
}

/// Hands over the signatures of `subject` until `judge` has enough.
pub(super) fn find(
    files: &dyn Files,
    subject: &Digest,
    judge: &mut Judge<'_>,
) -> Result<(), SourceError> {
    let bytes = files.index_file()?.read_all("index", MANIFEST_LIMIT)?;
    let index = Index::parse(&bytes)?;
    Search { files, subject, judge, number: 0 }.run(&index).map(|_| ())
}

impl Search<'_, '_> {
    fn run(&mut self, index: &Index) -> Result<ControlFlow<()>, SourceError> {
        let annotated = |key, value: &str| {
            let is =
                move |entry: &&Descriptor| entry.annotations.get(key).is_some_and(|v| v == value);
            index.manifests.iter().filter(is).cloned().collect::<Vec<_>>()
        };
        let mut simple = annotated(TAG_ANNOTATION, &signature_tag(self.subject));
        simple.extend(annotated(KIND_ANNOTATION, KIND_SIGNATURES));
        for entry in &simple {
            if self.simple(entry)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        let mut referrers = Vec::new();
        for entry in annotated(TAG_ANNOTATION, &referrers_tag(self.subject)) {
            match read(self.files, "list of referrers", &entry, MANIFEST_LIMIT) {
                Ok(bytes) => referrers.extend(Index::parse(&bytes)?.manifests),
                Err(error) => drop(unreadable(error)?),
            }
        }
        let untagged = |entry: &&Descriptor| !entry.annotations.contains_key(TAG_ANNOTATION);
        referrers.extend(index.manifests.iter().filter(untagged).cloned());
        let mut seen = BTreeSet::new();
        for entry in referrers {
            let fresh = may_hold_bundle(&entry) && entry.size <= BUNDLE_MANIFEST_LIMIT;
            if fresh && seen.insert(entry.digest) && self.bundles(&entry)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn simple(&mut self, entry: &Descriptor) -> Result<ControlFlow<()>, SourceError> {
        let found = read(self.files, "manifest of signatures", entry, MANIFEST_LIMIT);
        let layers = match found.and_then(|bytes| Ok(payloads(&bytes)?)) {
            Ok(layers) => layers,
            Err(error) => return self.give(unreadable(error)?),
        };
        for layer in layers {
            let signature = match read(self.files, "signed payload", &layer, PAYLOAD_LIMIT) {
                Ok(payload) => Signature::Simple { payload, annotations: layer.annotations },
                Err(error) => unreadable(error)?,
            };
            if self.give(signature)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn bundles(&mut self, entry: &Descriptor) -> Result<ControlFlow<()>, SourceError> {
        let found = read(self.files, "manifest of a bundle", entry, BUNDLE_MANIFEST_LIMIT);
        let (layers, annotations) = match found.and_then(|b| Ok(bundles(&b, self.subject)?)) {
            Ok(found) => found,
            Err(error) => return self.give(unreadable(error)?),
        };
        for layer in layers {
            let signature = match read(self.files, "bundle", &layer, BUNDLE_LIMIT) {
                Ok(bundle) => Signature::Bundle { bundle, annotations: annotations.clone() },
                Err(error) => unreadable(error)?,
            };
            if self.give(signature)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn give(&mut self, signature: Signature) -> Result<ControlFlow<()>, SourceError> {
        // Both homes of a layout are read from one list.
        if self.number >= 2 * LIMIT {
            let (place, subject) = (self.files.place(), *self.subject);
            return Err(SourceError::TooManySignatures { place, subject });
        }
        self.number += 1;
        Ok((self.judge)(signature))
    }
}

fn read(
    files: &dyn Files,
    object: &'static str,
    blob: &Descriptor,
    limit: u64,
) -> Result<Vec<u8>, SourceError> {
    blob.check_size(object, limit)?;
    let bytes = find_sized(files, blob)?.read_all(object, limit)?;
    blob.digest.check(object, &bytes)?;
    Ok(bytes)
}
