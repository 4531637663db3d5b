// SPDX-License-Identifier: MIT OR Apache-2.0

//! The formats that flipside reads and writes, and what follows from their bytes alone. There is
//! no I/O here: bytes go in, checked values come out.
//!
//! An image is an OCI image manifest with the artifact type of Monogon OS images, one config,
//! and one layer per payload. `docs/image-format.md` describes it. Everything here takes
//! untrusted bytes: limits are checked before anything is allocated, and nothing panics.

mod architecture;
pub mod bounded;
mod bytes;
mod chunk;
pub mod code;
pub mod codes;
mod config;
pub mod constraints;
mod content_id;
pub mod delta;
mod der;
mod descriptor;
mod digest;
pub mod document;
pub mod efi;
mod error;
pub mod fat;
mod frames;
pub mod gpt;
pub mod graph;
mod index;
mod manifest;
mod media_types;
pub mod moment;
pub mod os_release;
mod payload;
mod payload_name;
pub mod pe;
pub mod printable;
pub mod proc;
mod product_info;
pub mod redact;
pub mod reference;
pub mod rollout;
pub mod secure_boot;
pub mod signature;
pub mod systemd_boot;
mod unbootable;
pub mod units;
pub mod unknown_fields;
pub mod version;

pub use architecture::Architecture;
pub use chunk::{ChunkIndex, ChunkSize, ChunkSizeError, DEFAULT_CHUNK_SIZE, MAX_CHUNK_SIZE};
pub use config::ImageConfig;
pub use content_id::ContentId;
pub use descriptor::{Compression, Descriptor, Platform};
pub use digest::{Digest, Hasher, MalformedDigest};
pub use error::ImageError;
pub use frames::FrameTable;
pub use index::{Index, is_attestation};
pub use manifest::{Manifest, ManifestOrIndex};
pub use media_types::{
    ARTIFACT_TYPE, CONFIG_LIMIT, CONFIG_TYPE, EMPTY_TYPE, FORMAT_CONFIG_LIMIT, INDEX_TYPE,
    MANIFEST_LIMIT, MANIFEST_TYPE, VERSION_ANNOTATION,
};
pub use payload::{PartitionIdentity, Payload};
pub use payload_name::{BOOT_FILE_PAYLOAD, HOOK_LIMIT, HOOK_PAYLOAD, PayloadName, SYSTEM_PAYLOAD};
pub use product_info::{Component, ProductInfo};
pub use unbootable::{Unbootable, check_identities};

/// A whole image description: manifest and config, each checked by itself and
/// against the other. Holding one means that the bytes behind `digest` were
/// hashed and that payload `i` of the config is layer `i` of the manifest.
#[derive(Debug, Clone)]
pub struct Image {
    /// The manifest's digest: the image's name.
    pub digest: Digest,
    /// The manifest.
    pub manifest: Manifest,
    /// The config.
    pub config: ImageConfig,
    /// Its bytes, which hash to what the manifest says.
    pub config_bytes: Vec<u8>,
}

/// One payload with the layer that carries it.
#[derive(Debug, Clone, Copy)]
pub struct Layer<'a> {
    /// What the payload is: name, size, chunk hashes.
    pub payload: &'a Payload,
    /// Where its bytes are.
    pub descriptor: &'a Descriptor,
    /// How they are stored.
    pub compression: Compression,
    /// Where each chunk's frame lies in the layer; `None` for a layer that is
    /// one plain zstd stream.
    pub frames: Option<&'a FrameTable>,
}

impl Image {
    /// Joins a manifest and a config, given as the bytes that were fetched.
    ///
    /// # Errors
    /// Any [`ImageError`]: wrong digest, wrong type, over a limit, or a
    /// manifest and a config that do not belong together.
    pub fn assemble(
        digest: Digest,
        manifest_bytes: &[u8],
        config_bytes: &[u8],
    ) -> Result<Self, ImageError> {
        digest.check("manifest", manifest_bytes)?;
        let manifest = Manifest::parse(manifest_bytes)?;
        Self::with_config(digest, manifest, config_bytes.to_vec())
    }

    /// Joins an already checked manifest and the bytes of its config.
    ///
    /// # Errors
    /// As [`Image::assemble`].
    pub fn with_config(
        digest: Digest,
        manifest: Manifest,
        config_bytes: Vec<u8>,
    ) -> Result<Self, ImageError> {
        manifest.config.digest.check("config", &config_bytes)?;
        let config = ImageConfig::parse(&config_bytes)?;
        config.check_against(&manifest)?;
        Ok(Self { digest, manifest, config, config_bytes })
    }

    /// The layer of the payload called `name`, if the image has it.
    pub fn layer(&self, name: &str) -> Option<Layer<'_>> {
        self.layers().find(|layer| layer.payload.name.as_str() == name)
    }

    /// All layers, in the config's order.
    pub fn layers(&self) -> impl Iterator<Item = Layer<'_>> {
        self.config.payloads.iter().zip(&self.manifest.layers).filter_map(
            |(payload, descriptor)| {
                // Unknown layer types were refused by `Manifest::parse`.
                let compression = descriptor.compression()?;
                let frames = match compression {
                    Compression::Zstd => payload.frames.as_ref(),
                    Compression::None => None,
                };
                Some(Layer { payload, descriptor, compression, frames })
            },
        )
    }

    /// The version of the OS in the image.
    pub fn version(&self) -> &str {
        &self.config.product_info.version
    }
}
