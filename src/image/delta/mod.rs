// SPDX-License-Identifier: MIT OR Apache-2.0

//! Deltas: an OCI artifact that says how the payloads of a new image are made from those of an old
//! one. `docs/image-format.md` describes the format.
//!
//! Nothing in it is trusted. What comes out of it is hashed against the new image's config, so the
//! worst that a delta can do is to be of no use.

use serde::{Deserialize, Serialize};

use crate::bounded;
use crate::printable;
use crate::{Digest, Image, PayloadName};

mod manifest;
mod old_image;
mod payload;

pub use manifest::DeltaManifest;
pub use old_image::{Download, OldImage};
pub use payload::{ChunkDelta, PayloadDelta, Window};

/// The artifact type of a delta.
pub const DELTA_TYPE: &str = "application/vnd.flipside.delta.v1";
/// The media type of a delta's config.
pub const DELTA_CONFIG_TYPE: &str = "application/vnd.flipside.delta.config.v1+json";
/// The media type of a layer of patch frames.
pub const DELTA_FRAMES_TYPE: &str = "application/vnd.flipside.delta.frames.v1";
/// The annotation with the digest of the old image's config.
pub const FROM_ANNOTATION: &str = "org.flipside.delta.from";

/// The most manifests that a host looks at for a delta.
pub const DELTA_CANDIDATES: usize = 32;
/// The most bytes of a delta's manifest.
pub const DELTA_MANIFEST_LIMIT: u64 = 64 << 10;
/// The most bytes of a delta's config.
pub const DELTA_CONFIG_LIMIT: u64 = 8 << 20;
/// The largest chunks of a payload that a delta may be of, in bytes.
pub const DELTA_CHUNK_LIMIT: u32 = 2 << 20;
/// The most windows of the old payload that one chunk is made from.
pub const WINDOWS: usize = 4;
/// The most bytes that the windows of one chunk have together.
pub const WINDOWS_LIMIT: u64 = 4 << 20;
/// The most bytes that the windows of a payload have together: so many times the payload's own, ...
const WINDOWS_FACTOR: u64 = 40;
/// ... and so many more.
const WINDOWS_BESIDES: u64 = 64 << 20;

/// The only format version there is.
const FORMAT_VERSION: &str = "1";
/// The most payloads of a delta, and layers of its manifest.
const PAYLOADS: usize = 100;
/// The most characters of a version.
const VERSION_LIMIT: usize = 128;

/// Why a delta is of no use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the delta cannot be used: {0}")]
pub struct DeltaFlaw(pub String);

/// A delta that was checked against the image that it makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delta {
    /// The digest of the old image's config.
    pub from: Digest,
    /// The old image's version.
    pub from_version: String,
    /// How the new payloads are made. Those that are missing here have to be fetched.
    pub payloads: Vec<PayloadDelta>,
}

/// The config as it stands in JSON.
#[derive(Deserialize)]
struct RawConfig<'a> {
    format_version: String,
    from: RawFrom,
    to: RawTo,
    #[serde(borrow, deserialize_with = "bounded::list::<PAYLOADS, _, _>")]
    payloads: Vec<payload::Raw<'a>>,
}

#[derive(Serialize, Deserialize)]
struct RawFrom {
    config: Digest,
    version: String,
}

#[derive(Serialize, Deserialize)]
struct RawTo {
    manifest: Digest,
    version: String,
}

/// The same, to be written.
#[derive(Serialize)]
struct WrittenConfig<'a> {
    format_version: &'a str,
    from: RawFrom,
    to: RawTo,
    payloads: Vec<payload::Written<'a>>,
}

impl Delta {
    /// Reads the config of the delta that `manifest` brings, which makes `image`.
    ///
    /// # Errors
    /// [`DeltaFlaw`]: it is malformed, over a limit, or of other images.
    pub fn parse(bytes: &[u8], manifest: &DeltaManifest, image: &Image) -> Result<Self, DeltaFlaw> {
        let size = bytes.len() as u64;
        if size > DELTA_CONFIG_LIMIT {
            return Err(DeltaFlaw(format!("its config has {size} bytes")));
        }
        let raw: RawConfig<'_> = bounded::parse(bytes).map_err(malformed)?;
        if raw.format_version != FORMAT_VERSION {
            let version: String = raw.format_version.chars().take(40).collect();
            return Err(DeltaFlaw(format!("its format version is {version:?}")));
        }
        if raw.to.manifest != image.digest || raw.from.config != manifest.from {
            return Err(DeltaFlaw("it is of other images".to_owned()));
        }
        if raw.payloads.len() != manifest.layers.len() {
            let (payloads, layers) = (raw.payloads.len(), manifest.layers.len());
            return Err(DeltaFlaw(format!("it has {payloads} payloads and {layers} layers")));
        }
        let mut payloads: Vec<PayloadDelta> = Vec::new();
        for (raw, layer) in raw.payloads.iter().zip(&manifest.layers) {
            let payload = PayloadDelta::check(raw, layer, image)?;
            if payloads.iter().any(|other| other.name == payload.name) {
                return Err(DeltaFlaw(format!("it has payload {} twice", payload.name)));
            }
            payloads.push(payload);
        }
        let from_version = printable::line(&raw.from.version, VERSION_LIMIT);
        Ok(Self { from: raw.from.config, from_version, payloads })
    }

    /// The bytes of the config to publish, for the new image `to`.
    ///
    /// # Errors
    /// [`DeltaFlaw`], which does not happen for values of this type.
    pub fn to_bytes(&self, to: &Image) -> Result<Vec<u8>, DeltaFlaw> {
        let written = WrittenConfig {
            format_version: FORMAT_VERSION,
            from: RawFrom { config: self.from, version: self.from_version.clone() },
            to: RawTo { manifest: to.digest, version: to.version().to_owned() },
            payloads: self.payloads.iter().map(PayloadDelta::written).collect(),
        };
        serde_json::to_vec(&written).map_err(malformed)
    }

    /// How the payload called `name` is made.
    pub fn payload(&self, name: &PayloadName) -> Option<&PayloadDelta> {
        self.payloads.iter().find(|payload| payload.name == *name)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn malformed(error: serde_json::Error) -> DeltaFlaw {
    DeltaFlaw(format!("it is malformed: {error}"))
}

#[cfg(test)]
mod tests;
