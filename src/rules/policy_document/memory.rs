// SPDX-License-Identifier: MIT OR Apache-2.0

//! The last policy document that this host saw at a tag: a record and no authority (P8).

use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use flipside_core::host::Files;
use flipside_core::host::Root;
use flipside_core::host::open::read_at_most;
use flipside_core::state::journal::STATE_DIRECTORY;
use flipside_image::Digest;
use flipside_image::document::{Document, DocumentManifest};
use flipside_image::unknown_fields::Extensible;
use flipside_source::signatures::SIGNATURE_ANNOTATION;
use flipside_source::{FetchedDocument, Signature, Source};

/// More than the file of one has, in bytes: a document of the largest size, as text in JSON.
const LIMIT: u64 = 4 << 20;

/// A document that this host saw, as it is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Seen {
    /// 1.
    format: u32,
    /// The tag that is followed, with its repository.
    tag: String,
    /// The digest at the document's tag.
    pub digest: Digest,
    /// Its manifest, which is hashed against the digest.
    manifest: String,
    /// The document, which is hashed against the manifest.
    document: String,
    /// Its signature, which is verified anew each time; `None` where nobody asked.
    #[serde(default)]
    pub signature: Option<Kept>,
}

/// A signature by simple signing, as it came: its two parts as text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    payload: String,
    signature: String,
}

/// Where it is remembered.
#[derive(Debug, Clone)]
pub(super) struct Memory {
    pub path: PathBuf,
    tag: String,
}

impl Seen {
    /// `None` for bytes that are no text, which no document is made of.
    pub fn new(
        memory: &Memory,
        digest: Digest,
        fetched: &FetchedDocument,
        signature: Option<Kept>,
    ) -> Option<Self> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_owned()).ok();
        Some(Self {
            format: 1,
            tag: memory.tag.clone(),
            digest,
            manifest: text(&fetched.manifest)?,
            document: text(&fetched.document)?,
            signature,
        })
    }

    /// As it came, where every byte of it still is what it was.
    pub fn as_fetched(&self) -> Option<FetchedDocument> {
        let manifest = DocumentManifest::parse(self.manifest.as_bytes());
        let manifest =
            manifest.ok().filter(|_| Digest::of(self.manifest.as_bytes()) == self.digest)?;
        let layer = manifest.layer()?;
        (layer.digest == Digest::of(self.document.as_bytes())).then(|| FetchedDocument {
            manifest: self.manifest.clone().into_bytes(),
            tag: manifest.tag().map(str::to_owned),
            document: self.document.clone().into_bytes(),
        })
    }

    pub fn document(&self) -> Option<Document> {
        Document::parse(self.document.as_bytes()).ok()
    }

    pub fn issued(&self) -> Option<Timestamp> {
        self.document().map(|document| document.issued)
    }
}

impl Kept {
    /// One that was verified: it is small. `None` of a bundle, which is not accepted here.
    pub fn of(signature: Signature) -> Option<Self> {
        let Signature::Simple { payload, mut annotations } = signature else { return None };
        let payload = String::from_utf8(payload).ok()?;
        Some(Self { payload, signature: annotations.remove(SIGNATURE_ANNOTATION)? })
    }

    pub fn as_found(&self) -> Signature {
        let annotations = [(SIGNATURE_ANNOTATION.to_owned(), self.signature.clone())].into();
        Signature::Simple { payload: self.payload.clone().into_bytes(), annotations }
    }
}

impl Memory {
    pub fn of(root: &Root, source: &dyn Source, tag: &str) -> Self {
        let tag = format!("{}:{tag}", source.repository());
        let name: String = Digest::of(tag.as_bytes()).hex().chars().take(16).collect();
        let directory = root.path(STATE_DIRECTORY).join("policy");
        Self { path: directory.join(format!("{name}.json")), tag }
    }

    /// What was seen last at this tag. What cannot be understood is nothing (P8).
    pub fn recall(&self) -> Option<Seen> {
        std::fs::symlink_metadata(&self.path).ok()?;
        let seen = self.read().map(|seen| seen.known).filter(|seen| self.is_intact(seen));
        if seen.is_none() {
            let path = self.path.display();
            tracing::warn!("{path} says nothing: an older policy document would not be noticed");
        }
        seen
    }

    fn is_intact(&self, seen: &Seen) -> bool {
        seen.format == 1 && seen.tag == self.tag && seen.as_fetched().is_some()
    }

    fn read(&self) -> Option<Extensible<Seen>> {
        serde_json::from_slice(&read_at_most(&self.path, LIMIT).ok()?).ok()
    }

    /// Remembers `seen`, unless another run has remembered a later document meanwhile. What the
    /// other slot's flipside added is kept, as long as the file stays short enough to be read.
    pub fn write(&self, files: &Files, seen: &Seen) -> std::io::Result<()> {
        let Some(directory) = self.path.parent() else { return Ok(()) };
        let last = self.read();
        let known = last.as_ref().map(|last| &last.known).filter(|last| self.is_intact(last));
        if known.and_then(Seen::issued) > seen.issued() {
            return Ok(());
        }
        files.make_directory(directory)?;
        let unknown = last.map(|last| last.unknown).unwrap_or_default();
        let mut seen = Extensible { known: seen.clone(), unknown };
        let mut text = serde_json::to_vec(&seen)?;
        if text.len() as u64 > LIMIT {
            seen.unknown.clear();
            text = serde_json::to_vec(&seen)?;
        }
        files.replace(&self.path, &text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flipside_core::host::durable::Durable;

    fn seen(memory: &Memory, day: u32) -> Seen {
        let document = format!(
            r#"{{"format_version":"1","issued":"2026-11-{day}T00:00:00Z",
            "expires":"2026-12-30T00:00:00Z","releases":[]}}"#
        );
        let document = document.into_bytes();
        let manifest = DocumentManifest::new(&document, "stable").to_bytes().unwrap();
        let digest = Digest::of(&manifest);
        let tag = Some("stable".to_owned());
        Seen::new(memory, digest, &FetchedDocument { manifest, tag, document }, None).unwrap()
    }

    /// A check and an update may have asked at the same time.
    #[test]
    fn what_is_remembered_never_gives_way_to_an_older_document() {
        let directory = tempfile::tempdir().unwrap();
        let files = Files::new(&Root::new(directory.path()), &Durable::new());
        let path = directory.path().join("var/lib/flipside/policy/x.json");
        let memory = Memory { path, tag: "registry.example/os:stable".into() };
        for (day, expected) in [(12, 12), (11, 12), (12, 12), (13, 13), (10, 13)] {
            memory.write(&files, &seen(&memory, day)).unwrap();
            assert_eq!(memory.recall(), Some(seen(&memory, expected)), "{day}");
        }
        // Who can write it has seen nothing (P8).
        std::fs::write(&memory.path, "{}").unwrap();
        memory.write(&files, &seen(&memory, 10)).unwrap();
        assert_eq!(memory.recall(), Some(seen(&memory, 10)));
    }
}
