// SPDX-License-Identifier: MIT OR Apache-2.0

//! What is in an image, for people and programs.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use flipside_image::document::Draft;
use flipside_image::signature::{self, simple};
use flipside_image::{Compression, Digest, Image, Layer, PartitionIdentity, ProductInfo};
use flipside_source::{FetchedDocument, Source, fetch_document};
use serde::Serialize;

use super::PublishError;
use super::disk::Size;
use super::policy::text;

mod signatures;

pub use signatures::{SignatureInspection, inspect_signatures};

/// What `image inspect --json` prints.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Inspection {
    /// The manifest's digest.
    pub digest: Digest,
    /// The image config's digest.
    pub config: Digest,
    /// What the OS is.
    pub product_info: ProductInfo,
    /// `x86_64` or `aarch64`; `null` where the variant names neither.
    pub architecture: Option<String>,
    /// The manifest's annotations.
    pub annotations: BTreeMap<String, String>,
    /// Of all payloads, uncompressed, in bytes.
    pub size: u64,
    /// Of all layers, as they are stored, in bytes.
    pub stored_size: u64,
    /// The payloads, in the image's order.
    pub payloads: Vec<PayloadInspection>,
    /// Its signatures; `None` where nobody looked for them, or where they could not be looked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signatures: Option<Vec<SignatureInspection>>,
}

/// One payload.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PayloadInspection {
    /// Its name.
    pub name: String,
    /// Uncompressed, in bytes.
    pub size: u64,
    /// How its layer is stored.
    pub storage: StoredAs,
    /// Of its layer, in bytes.
    pub stored_size: u64,
    /// Its layer's digest.
    pub layer: Digest,
    /// The size of its chunks, in bytes.
    pub chunk_size: u32,
    /// How many there are.
    pub chunks: u32,
    /// What the partition that receives it is to be called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partition: Option<PartitionIdentity>,
}

/// How a layer is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StoredAs {
    /// One zstd frame per chunk, whose sizes the config has: read in any order.
    ZstdFrames,
    /// One zstd stream, read from its start.
    ZstdStream,
    /// As the payload is.
    Uncompressed,
}

impl StoredAs {
    fn of(layer: &Layer<'_>) -> Self {
        match (layer.compression, layer.frames) {
            (Compression::None, _) => Self::Uncompressed,
            (Compression::Zstd, Some(_)) => Self::ZstdFrames,
            (Compression::Zstd, None) => Self::ZstdStream,
        }
    }

    const fn for_people(self) -> &'static str {
        match self {
            Self::ZstdFrames => "zstd, a frame per chunk",
            Self::ZstdStream => "zstd, one stream",
            Self::Uncompressed => "uncompressed",
        }
    }
}

/// What is stored beside an image, and is none.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Companion {
    /// A policy document.
    PolicyDocument {
        /// Its manifest's digest.
        digest: Digest,
        /// The tag that it is about.
        tag: Option<String>,
        /// What it says.
        document: Draft,
    },
    /// Signatures, unverified.
    Signatures {
        /// Their manifest's digest.
        digest: Digest,
        /// `simple-signing` or `sigstore-bundle`.
        form: &'static str,
        /// How many there are.
        count: usize,
        /// What they are for, where they say so.
        subject: Option<Digest>,
    },
}

/// Looks at what `source` names, where that is no image but is stored beside one.
///
/// # Errors
/// The source's; [`PublishError::Policy`].
pub fn inspect_companion(source: &dyn Source) -> Result<Option<Companion>, PublishError> {
    let digest = source.resolve()?;
    if let Ok(FetchedDocument { tag, document, .. }) = fetch_document(source, &digest)? {
        let document = Draft::parse(&document)?;
        return Ok(Some(Companion::PolicyDocument { digest, tag, document }));
    }
    let manifest = source.manifest(&digest)?;
    let payloads = signature::payloads(&manifest)?;
    if let Some(first) = payloads.first() {
        let payload = source.blob("signature", first, signature::PAYLOAD_LIMIT)?;
        let payload: Option<simple::Payload> = serde_json::from_slice(&payload).ok();
        let subject = payload.and_then(|payload| payload.subject());
        let (form, count) = ("simple-signing", payloads.len());
        return Ok(Some(Companion::Signatures { digest, form, count, subject }));
    }
    let (count, subject) = signature::attached_bundles(&manifest)?;
    let form = "sigstore-bundle";
    Ok((count > 0).then_some(Companion::Signatures { digest, form, count, subject }))
}

/// Looks at `image`, and not at what is stored beside it.
pub fn inspect(image: &Image) -> Inspection {
    let payloads: Vec<_> = image.layers().map(|layer| inspect_layer(&layer)).collect();
    let sum = |size: fn(&PayloadInspection) -> u64| {
        payloads.iter().fold(0_u64, |sum, payload| sum.saturating_add(size(payload)))
    };
    Inspection {
        digest: image.digest,
        config: image.manifest.config.digest,
        product_info: image.config.product_info.clone(),
        architecture: image.config.product_info.architecture().map(|a| a.name().to_owned()),
        annotations: image.manifest.annotations.clone(),
        size: sum(|payload| payload.size),
        stored_size: sum(|payload| payload.stored_size),
        payloads,
        signatures: None,
    }
}

fn inspect_layer(layer: &Layer<'_>) -> PayloadInspection {
    PayloadInspection {
        name: layer.payload.name.as_str().to_owned(),
        size: layer.payload.size,
        storage: StoredAs::of(layer),
        stored_size: layer.descriptor.size,
        layer: layer.descriptor.digest,
        chunk_size: layer.payload.chunk_size.bytes(),
        chunks: layer.payload.chunk_count(),
        partition: layer.payload.partition,
    }
}

/// The text for people. What comes from the image is shown without control characters:
/// it must not be able to paint on a terminal.
impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let info = &self.product_info;
        let mut line = |key: &str, value: &str| match value {
            "" => Ok(()),
            value => writeln!(f, "{key:<10}{}", plain(value)),
        };
        line("image", &self.digest.to_string())?;
        line("product", &format!("{} ({})", info.name, info.id))?;
        line("version", &info.version)?;
        line("variant", &info.variant)?;
        let dirty = if info.build_tree_dirty { " (with uncommitted changes)" } else { "" };
        if !info.commit_hash.is_empty() {
            line("commit", &format!("{} {}{dirty}", info.commit_hash, info.commit_date))?;
        }
        for component in info.components.iter().flatten() {
            line("component", &format!("{} {}", component.id, component.version))?;
        }
        for (key, value) in &self.annotations {
            line("annotation", &format!(" {key}={value}"))?;
        }
        for signature in self.signatures.iter().flatten() {
            line("signature", &signature.to_string())?;
        }
        if self.signatures.as_ref().is_some_and(Vec::is_empty) {
            line("signature", "none")?;
        }
        let stored = Size(self.stored_size);
        line("size", &format!("{}, stored as {stored}", Size(self.size)))?;
        let name_width = self.payloads.iter().map(|p| p.name.len()).max().unwrap_or(0);
        for payload in &self.payloads {
            write!(f, "\n{payload:>name_width$}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Companion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PolicyDocument { digest, tag, document } => {
                let tag = plain(tag.as_deref().unwrap_or("no tag"));
                write!(f, "policy document {digest} about {tag}\n{}", text(document))
            }
            Self::Signatures { digest, form, count, subject } => {
                let subject = subject.map_or("an unknown image".to_owned(), |of| of.to_string());
                let form = format!("{form}, {count} in all");
                write!(f, "signatures {digest}\nfor        {subject}\nform       {form}")
            }
        }
    }
}

impl fmt::Display for PayloadInspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = f.width().unwrap_or(0);
        let (size, stored) = (Size(self.size).to_string(), Size(self.stored_size).to_string());
        write!(f, "{:<width$}  {size:>10}  {stored:>10}  ", self.name)?;
        let chunk_size = Size(u64::from(self.chunk_size));
        let chunks = if self.chunks == 1 { "chunk" } else { "chunks" };
        write!(f, "{} {chunks} of {chunk_size}, {}", self.chunks, self.storage.for_people())?;
        let Some(partition) = self.partition else { return Ok(()) };
        let mut words = String::new();
        if let Some(uuid) = partition.uuid {
            write!(words, " uuid={uuid}")?;
        }
        if let Some(uuid) = partition.type_uuid {
            write!(words, " type={uuid}")?;
        }
        if let Some(flags) = partition.flags {
            write!(words, " flags={flags:#x}")?;
        }
        write!(f, "; partition{words}")
    }
}

fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(500).collect()
}
