// SPDX-License-Identifier: MIT OR Apache-2.0

//! Signatures in a layout: under the tags that registries have them under, and besides as
//! `oras` (entries that name their subject) and `cosign save` (entries of a kind) write them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use flipside_image::{Descriptor, Digest, Index, MANIFEST_LIMIT};

use super::super::choice::{KIND_ANNOTATION, TAG_ANNOTATION};
use super::super::signatures::{
    BUNDLE_LIMIT, BUNDLE_MANIFEST_LIMIT, BUNDLES, Judge, LIMIT, Looked, PAYLOAD_LIMIT, Signature,
    bundles, may_hold_bundle, no_signature, payloads, says_something_else, signature_tag,
    unreadable,
};
use super::referrers::{Listed, annotated, referrers};
use super::{Files, SourceError, index, read};

/// What `cosign save` says of an entry with signatures.
const KIND_SIGNATURES: &str = "dev.cosignproject.cosign/sigs";

/// A search in one layout.
struct Search<'a, 'j> {
    files: &'a dyn Files,
    subject: &'a Digest,
    judge: &'a mut Judge<'j>,
}

/// Hands over the signatures of `subject` until `judge` has enough.
pub(super) fn find(
    files: &dyn Files,
    subject: &Digest,
    judge: &mut Judge<'_>,
) -> Result<(), SourceError> {
    let index = index(files)?;
    let mut search = Search { files, subject, judge };
    let simple = search.simple(&index);
    if matches!(simple, Ok(ControlFlow::Break(()))) {
        return Ok(());
    }
    // Whatever is wrong with one home, the other may have what is enough.
    match search.bundles(&index)? {
        ControlFlow::Break(()) => Ok(()),
        ControlFlow::Continue(()) => simple.map(|_| ()),
    }
}

impl Search<'_, '_> {
    fn simple(&mut self, index: &Index) -> Result<ControlFlow<()>, SourceError> {
        let tag = signature_tag(self.subject);
        let entries = annotated(index, TAG_ANNOTATION, &tag).chain(annotated(
            index,
            KIND_ANNOTATION,
            KIND_SIGNATURES,
        ));
        // Many signatures may be over one payload.
        let mut payloads_read = BTreeMap::new();
        for entry in entries {
            let found = read(self.files, "manifest of signatures", entry, MANIFEST_LIMIT);
            let layers = match found.and_then(|bytes| Ok(payloads(&bytes)?)) {
                Ok(layers) => layers,
                Err(error) => match (self.judge)(unreadable(error)?) {
                    ControlFlow::Break(()) => return Ok(ControlFlow::Break(())),
                    ControlFlow::Continue(_) => continue,
                },
            };
            for layer in layers {
                let signature = match no_signature(&layer) {
                    Some(none) => none,
                    None => self.signed_payload(layer, &mut payloads_read)?,
                };
                if (self.judge)(signature).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// The signature that is `layer`. What was read before is not read again.
    fn signed_payload(
        &self,
        layer: Descriptor,
        read_before: &mut BTreeMap<(Digest, u64), Result<Vec<u8>, Signature>>,
    ) -> Result<Signature, SourceError> {
        let name = (layer.digest, layer.size);
        if !read_before.contains_key(&name) {
            if read_before.len() >= LIMIT {
                return Err(self.too_many());
            }
            let payload = match read(self.files, "signed payload", &layer, PAYLOAD_LIMIT) {
                Ok(payload) => Ok(payload),
                Err(error) => Err(unreadable(error)?),
            };
            read_before.insert(name, payload);
        }
        Ok(match read_before.get(&name) {
            Some(Ok(payload)) => {
                Signature::Simple { payload: payload.clone(), annotations: layer.annotations }
            }
            Some(Err(none)) => none.clone(),
            None => return Err(self.too_many()),
        })
    }

    fn bundles(&mut self, index: &Index) -> Result<ControlFlow<()>, SourceError> {
        let Listed { mut entries, cut_short } = referrers(self.files, index, self.subject)?;
        entries.sort_by_key(says_something_else);
        let (mut looked, mut seen) = (Looked::default(), BTreeSet::new());
        for entry in entries {
            if !may_hold_bundle(&entry) || !seen.insert(entry.digest) {
                continue;
            }
            if !looked.may_fetch() {
                return Err(self.too_many());
            }
            for signature in self.bundles_in(&entry)? {
                match (self.judge)(signature) {
                    ControlFlow::Break(()) => return Ok(ControlFlow::Break(())),
                    ControlFlow::Continue(worth) if looked.may_go_on(worth) => {}
                    ControlFlow::Continue(_) => return Err(self.too_many()),
                }
            }
        }
        cut_short.map_or(Ok(ControlFlow::Continue(())), |error| Err(error.into()))
    }

    fn bundles_in(&self, entry: &Descriptor) -> Result<Vec<Signature>, SourceError> {
        let found = read(self.files, "manifest of a bundle", entry, BUNDLE_MANIFEST_LIMIT);
        let (layers, annotations) = match found.and_then(|b| Ok(bundles(&b, self.subject)?)) {
            Ok(found) => found,
            Err(error) => return Ok(vec![unreadable(error)?]),
        };
        let read = |layer: &Descriptor| match read(self.files, "bundle", layer, BUNDLE_LIMIT) {
            Ok(bundle) => Ok(Signature::Bundle { bundle, annotations: annotations.clone() }),
            Err(error) => unreadable(error),
        };
        layers.iter().take(BUNDLES).map(read).collect()
    }

    fn too_many(&self) -> SourceError {
        SourceError::TooManySignatures { place: self.files.place(), subject: *self.subject }
    }
}
