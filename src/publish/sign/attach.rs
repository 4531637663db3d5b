// SPDX-License-Identifier: MIT OR Apache-2.0

//! Signatures put beside the image that they sign: to those that are there, in the places where
//! [`flipside_source::signatures`] finds them again.

use std::collections::BTreeMap;
use std::path::Path;

use flipside_image::{Descriptor, Digest, INDEX_TYPE, MANIFEST_TYPE};
use flipside_source::signatures::{
    BUNDLE_TYPE, EMPTY_TYPE, SIMPLE_TYPE, all, referrers_tag, signature_tag,
};
use flipside_source::{
    LayoutSource, Location, Options, Reference, Repository, Signature, Source, open,
};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::super::attached::{self, Listed, Written, existing};
use super::super::layout::LayoutWriter;
use super::super::{PublishError, upload};

/// The content of a config that has none.
const EMPTY: &[u8] = b"{}";
/// The config of a manifest of simple signatures.
const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";

/// A repository or a layout that is written to.
pub(crate) enum Home<'a> {
    /// In a registry.
    Registry(&'a Repository, &'a Reference, &'a Options),
    /// A layout directory.
    Layout(&'a Path),
}

/// A manifest with a name, and the blobs that it lists.
struct Put<'a> {
    /// `None` is its digest.
    tag: Option<&'a str>,
    media_type: &'static str,
    manifest: Vec<u8>,
    blobs: Vec<&'a [u8]>,
}

impl Home<'_> {
    fn source(&self) -> Result<Box<dyn Source>, PublishError> {
        Ok(match self {
            Self::Registry(_, reference, options) => {
                open(&Location::Registry((*reference).clone()), options)?
            }
            Self::Layout(directory) => Box::new(LayoutSource::open(directory, None)?),
        })
    }

    fn put(&self, put: &Put<'_>) -> Result<Descriptor, PublishError> {
        let put_descriptor = Descriptor::of(put.media_type, &put.manifest);
        let digest = put_descriptor.digest;
        match self {
            Self::Registry(repository, ..) => {
                let name = put.tag.map_or_else(|| digest.to_string(), str::to_owned);
                upload::put(repository, &name, &put.manifest, put.media_type, &put.blobs)?;
            }
            Self::Layout(directory) => {
                let layout = LayoutWriter::open(directory)?;
                for blob in put.blobs.iter().copied().chain([&put.manifest[..]]) {
                    layout.write_blob(blob)?;
                }
                if put.tag.is_some() {
                    layout.list(&put_descriptor, put.tag)?;
                }
            }
        }
        Ok(put_descriptor)
    }

    /// Attaches `signatures` to `subject`. What is there stays, and is not put there again.
    /// Returns how many were new.
    ///
    /// # Errors
    /// [`PublishError`]: somebody does not answer, or takes nothing.
    pub fn attach(
        &self,
        subject: &Descriptor,
        signatures: &[Signature],
    ) -> Result<usize, PublishError> {
        if signatures.is_empty() {
            return Ok(0);
        }
        let source = self.source()?;
        let present = all(source.as_ref(), &subject.digest)?;
        let new: Vec<_> = signatures.iter().filter(|one| !present.contains(one)).collect();
        let mut simple = Vec::new();
        for signature in &new {
            match signature {
                Signature::Simple { payload, annotations } => {
                    simple.push((&payload[..], annotations));
                }
                Signature::Bundle { bundle, annotations } => {
                    self.bundle(source.as_ref(), subject, bundle, annotations)?;
                }
                Signature::Unreadable { .. } => {}
            }
        }
        if !simple.is_empty() {
            self.simple(source.as_ref(), &subject.digest, &simple)?;
        }
        Ok(new.len())
    }

    fn simple(
        &self,
        source: &dyn Source,
        subject: &Digest,
        signatures: &[(&[u8], &BTreeMap<String, String>)],
    ) -> Result<(), PublishError> {
        let tag = signature_tag(subject);
        let mut layers = match existing(source, &tag)? {
            Some(manifest) => listed(&manifest)?.layers.ok_or_else(|| no_list("layers"))?,
            None => Vec::new(),
        };
        for (payload, annotations) in signatures {
            let annotations = (*annotations).clone();
            layers.push(raw(&Descriptor { annotations, ..Descriptor::of(SIMPLE_TYPE, payload) })?);
        }
        // cosign's config: layers are stored as they are, so that their hashes are the same.
        let hashes: Vec<_> = layers.iter().filter_map(|layer| digest_of(layer)).collect();
        let config = json!({
            "architecture": "",
            "os": "",
            "config": {},
            "rootfs": { "type": "layers", "diff_ids": hashes },
        });
        let config = config.to_string().into_bytes();
        let descriptor = Descriptor::of(CONFIG_TYPE, &config);
        let manifest = Written {
            config: Some(&descriptor),
            layers: Some(&layers),
            ..Written::new(MANIFEST_TYPE)
        };
        let manifest = manifest.to_bytes().map_err(refused)?;
        let blobs = signatures.iter().map(|(payload, _)| *payload).chain([&config[..]]).collect();
        self.put(&Put { tag: Some(&tag), media_type: MANIFEST_TYPE, manifest, blobs })?;
        Ok(())
    }

    fn bundle(
        &self,
        source: &dyn Source,
        subject: &Descriptor,
        bundle: &[u8],
        annotations: &BTreeMap<String, String>,
    ) -> Result<(), PublishError> {
        // Some versions of cosign look for the type here, and nowhere else.
        let artifact_type = Some(BUNDLE_TYPE.to_owned());
        let config = Descriptor { artifact_type, ..Descriptor::of(EMPTY_TYPE, EMPTY) };
        let (kind, digest, size) = (&subject.media_type, &subject.digest, subject.size);
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "artifactType": BUNDLE_TYPE,
            "config": config,
            "layers": [Descriptor::of(BUNDLE_TYPE, bundle)],
            "subject": { "mediaType": kind, "digest": digest, "size": size },
            "annotations": annotations,
        });
        let manifest = manifest.to_string().into_bytes();
        let blobs = vec![EMPTY, bundle];
        let mut listed =
            self.put(&Put { tag: None, media_type: MANIFEST_TYPE, manifest, blobs })?;
        // A registry with a referrers API lists it now. Others need somebody who does.
        let attached =
            Signature::Bundle { bundle: bundle.to_vec(), annotations: annotations.clone() };
        if all(source, digest)?.contains(&attached) {
            return Ok(());
        }
        listed.artifact_type = Some(BUNDLE_TYPE.to_owned());
        listed.annotations.clone_from(annotations);
        let tag = referrers_tag(digest);
        let mut entries = match existing(source, &tag)? {
            Some(index) => self::listed(&index)?.manifests.ok_or_else(|| no_list("manifests"))?,
            None => Vec::new(),
        };
        entries.push(raw(&listed)?);
        let manifest = Written { manifests: Some(&entries), ..Written::new(INDEX_TYPE) };
        let manifest = manifest.to_bytes().map_err(refused)?;
        self.put(&Put { tag: Some(&tag), media_type: INDEX_TYPE, manifest, blobs: Vec::new() })?;
        Ok(())
    }
}

/// What is no such list is not replaced.
fn listed(bytes: &[u8]) -> Result<Listed, PublishError> {
    attached::listed(bytes).map_err(|error| {
        refused(format!("what stands where signatures are cannot be read: {error}"))
    })
}

fn no_list(name: &str) -> PublishError {
    refused(format!("what stands where signatures are has no list of {name}"))
}

fn raw(descriptor: &Descriptor) -> Result<Box<RawValue>, PublishError> {
    attached::raw(descriptor).map_err(refused)
}

fn refused(what: String) -> PublishError {
    PublishError::Sign { what }
}

fn digest_of(entry: &RawValue) -> Option<String> {
    #[derive(Deserialize)]
    struct Named {
        digest: String,
    }
    serde_json::from_str::<Named>(entry.get()).ok().map(|named| named.digest)
}
