// SPDX-License-Identifier: MIT OR Apache-2.0

//! The images that a machine may hold: what of them can be told from a slot's bytes.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use flipside_image::{
    Architecture, Compression, Digest, Hasher, Image, ImageError, Layer, MANIFEST_LIMIT, Manifest,
    ManifestOrIndex,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::SimError;
use super::error::At as _;

/// The payload that becomes the boot file.
pub(super) const KERNEL: &str = "kernel.efi";
/// The payload that is the root file system.
pub(super) const SYSTEM: &str = "system";

/// An image and what its payloads are, uncompressed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KnownImage {
    pub(super) digest: Digest,
    pub(super) id: String,
    pub(super) name: String,
    pub(super) version: String,
    pub(super) variant: String,
    pub(super) payloads: Vec<KnownPayload>,
}

/// A payload of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KnownPayload {
    pub(super) name: String,
    /// In bytes.
    pub(super) size: u64,
    /// Of all its bytes.
    pub(super) sha256: Digest,
    /// The GUID by which its kernel looks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) partition: Option<Uuid>,
}

impl KnownImage {
    pub(super) fn payload(&self, name: &str) -> Option<&KnownPayload> {
        self.payloads.iter().find(|payload| payload.name == name)
    }
}

/// An OCI layout directory, and one of its tags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Location {
    pub(super) layout: PathBuf,
    pub(super) tag: Option<String>,
}

impl Location {
    /// Reads `oci:DIR` or `oci:DIR:TAG`, and makes the directory absolute.
    pub(super) fn parse(text: &str) -> Result<Self, SimError> {
        let wrong = || SimError::Location { text: text.to_owned() };
        let rest = text.strip_prefix("oci:").ok_or_else(wrong)?;
        let (directory, tag) = match rest.rsplit_once(':') {
            Some((directory, tag)) if !Path::new(rest).is_dir() => (directory, Some(tag)),
            _ => (rest, None),
        };
        let path = Path::new(directory);
        let layout = path.canonicalize().at("open the OCI layout", path)?;
        Ok(Self { layout, tag: tag.map(str::to_owned) })
    }
}

/// Adds to `known` every OS image for `architecture` in `layout` that is not there yet.
pub(super) fn learn(
    known: &mut Vec<KnownImage>,
    layout: &Path,
    architecture: Architecture,
) -> Result<(), SimError> {
    let path = layout.join("index.json");
    let bytes = read_limited(&path)?;
    let top = ManifestOrIndex::parse(&bytes).map_err(|source| SimError::Image {
        layout: layout.to_owned(),
        digest: "index.json".to_owned(),
        source: source.into(),
    })?;
    let ManifestOrIndex::Index(index) = top else { return Ok(()) };
    let mut wanted: Vec<Digest> = index.manifests.iter().map(|d| d.digest).collect();
    // An index may stand in another; nobody nests them deeper, and this ends at any rate.
    let mut seen = Vec::new();
    while let Some(digest) = wanted.pop() {
        if seen.contains(&digest) || known.iter().any(|image| image.digest == digest) {
            continue;
        }
        seen.push(digest);
        let of_image = |source| SimError::Image {
            layout: layout.to_owned(),
            digest: digest.to_string(),
            source: Box::new(source),
        };
        let bytes = read_limited(&blob(layout, &digest))?;
        digest.check("manifest", &bytes).map_err(of_image)?;
        match ManifestOrIndex::parse(&bytes) {
            Ok(ManifestOrIndex::Index(inner)) => {
                wanted.extend(inner.manifests.iter().map(|d| d.digest));
            }
            Ok(ManifestOrIndex::Manifest(manifest)) => {
                let image = open(layout, digest, manifest)?;
                if image.config.product_info.architecture() == Some(architecture) {
                    known.push(describe(layout, &image)?);
                }
            }
            // Signatures and other artifacts stand beside images.
            Err(ImageError::NotAnOsImage { .. }) => {}
            Err(source) => return Err(of_image(source)),
        }
    }
    Ok(())
}

fn open(layout: &Path, digest: Digest, manifest: Manifest) -> Result<Image, SimError> {
    let path = blob(layout, &manifest.config.digest);
    let config = std::fs::read(&path).at("read", &path)?;
    Image::with_config(digest, manifest, config).map_err(|source| SimError::Image {
        layout: layout.to_owned(),
        digest: digest.to_string(),
        source: Box::new(source),
    })
}

fn describe(layout: &Path, image: &Image) -> Result<KnownImage, SimError> {
    let info = &image.config.product_info;
    let payloads = image.layers().map(|layer| -> Result<_, SimError> {
        let name = layer.payload.name.to_string();
        let path = blob(layout, &layer.descriptor.digest);
        let file = File::open(&path).at("open", &path)?;
        let damaged = || SimError::Payload {
            layout: layout.to_owned(),
            digest: image.digest.to_string(),
            payload: name.clone(),
        };
        let sha256 = hash(&layer, file).map_err(|_| damaged())?.ok_or_else(damaged)?;
        let partition = layer.payload.partition.and_then(|partition| partition.uuid);
        Ok(KnownPayload { name, size: layer.payload.size, sha256, partition })
    });
    Ok(KnownImage {
        digest: image.digest,
        id: info.id.clone(),
        name: info.name.clone(),
        version: info.version.clone(),
        variant: info.variant.clone(),
        payloads: payloads.collect::<Result<_, _>>()?,
    })
}

/// The hash of a whole payload; `None` where its chunks do not have the hashes of the config.
/// The layer is decoded as one stream, whether it has a frame table or not.
fn hash(layer: &Layer<'_>, file: File) -> io::Result<Option<Digest>> {
    let mut stream: Box<dyn Read> = match layer.compression {
        Compression::None => Box::new(BufReader::new(file)),
        Compression::Zstd => Box::new(zstd::Decoder::new(file)?),
    };
    let mut whole = Hasher::new();
    let mut chunk = Vec::new();
    for (index, expected) in layer.payload.chunks() {
        let range = layer.payload.chunk_range(index);
        chunk.resize(usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(0), 0);
        stream.read_exact(&mut chunk)?;
        if Digest::of(&chunk) != *expected {
            return Ok(None);
        }
        whole.update(&chunk);
    }
    // What comes behind the last chunk would be no part of it.
    let more = stream.read(&mut [0])? > 0;
    Ok((!more).then(|| whole.finish()))
}

fn blob(layout: &Path, digest: &Digest) -> PathBuf {
    layout.join("blobs/sha256").join(digest.hex())
}

pub(super) fn read_limited(path: &Path) -> Result<Vec<u8>, SimError> {
    let mut bytes = Vec::new();
    // One more than the limit, for the parser to refuse.
    let file = File::open(path).at("open", path)?;
    file.take(MANIFEST_LIMIT + 1).read_to_end(&mut bytes).at("read", path)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixture(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures").join(name)
    }

    #[test]
    fn the_reference_images_are_known_by_the_hashes_of_their_payloads() {
        let hashes = std::fs::read_to_string(fixture("payloads.sha256")).unwrap();
        for name in ["reference-image-zstd", "reference-image-uncompressed"] {
            let mut known = Vec::new();
            learn(&mut known, &fixture(name), Architecture::X86_64).unwrap();
            let [image] = known.as_slice() else { panic!("one image") };
            for payload in &image.payloads {
                assert!(hashes.contains(&payload.sha256.hex()), "{name} {}", payload.name);
            }
            learn(&mut known, &fixture(name), Architecture::X86_64).unwrap();
            assert_eq!(known.len(), 1, "nothing is learnt twice");
            let mut other = Vec::new();
            learn(&mut other, &fixture(name), Architecture::Aarch64).unwrap();
            assert!(other.is_empty());
        }
    }

    #[test]
    fn a_damaged_payload_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let source = fixture("reference-image-uncompressed");
        let blobs = directory.path().join("blobs/sha256");
        std::fs::create_dir_all(&blobs).unwrap();
        std::fs::copy(source.join("index.json"), directory.path().join("index.json")).unwrap();
        for file in std::fs::read_dir(source.join("blobs/sha256")).unwrap() {
            let file = file.unwrap();
            let mut bytes = std::fs::read(file.path()).unwrap();
            if bytes.len() > 100_000 {
                bytes[99_999] ^= 1;
            }
            std::fs::write(blobs.join(file.file_name()), bytes).unwrap();
        }
        let error = learn(&mut Vec::new(), directory.path(), Architecture::X86_64).unwrap_err();
        assert!(matches!(error, SimError::Payload { .. }), "{error}");
    }

    #[test]
    fn a_tag_is_what_stands_behind_the_directory() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().canonicalize().unwrap();
        let text = format!("oci:{}", path.display());
        assert_eq!(Location::parse(&text).unwrap().tag, None);
        let tagged = Location::parse(&format!("{text}:stable")).unwrap();
        assert_eq!((tagged.layout, tagged.tag.as_deref()), (path, Some("stable")));
        assert!(Location::parse("registry.example/x:y").is_err());
        assert!(Location::parse("oci:/nowhere").is_err());
    }
}
