// SPDX-License-Identifier: MIT OR Apache-2.0

//! Container images, as far as an OS image is made of one: which layers there are, and what the image
//! says of itself (OCI image spec v1.1, "Image Manifest" and "Image Configuration"; Docker's image
//! manifest, version 2, schema 2).

use std::collections::BTreeMap;

use flipside_image::bounded::{self, ANNOTATIONS, ENTRIES};
use flipside_image::{Architecture, Descriptor, Digest, Index, MANIFEST_LIMIT};
use flipside_source::Source;
use serde::Deserialize;

use super::PublishError;
use super::os_release::architecture;

/// The most bytes of an image configuration.
const CONFIG_LIMIT: u64 = 4 << 20;

/// A container image.
#[derive(Debug, Clone)]
pub struct Container {
    /// The digest of its manifest.
    pub digest: Digest,
    /// For which machine it is.
    pub architecture: Architecture,
    /// When it was made, where it says so.
    pub created: Option<jiff::Timestamp>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The lowest first.
    pub layers: Vec<Layer>,
}

/// A layer.
#[derive(Debug, Clone)]
pub struct Layer {
    /// The blob.
    pub descriptor: Descriptor,
    /// How it is stored.
    pub compression: LayerCompression,
}

/// How a layer is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerCompression {
    /// As it is.
    None,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

#[derive(Deserialize)]
struct RawManifest {
    config: Descriptor,
    #[serde(deserialize_with = "bounded::list::<ENTRIES, _, _>")]
    layers: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct IsIndex {
    manifests: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct RawConfig {
    architecture: String,
    os: String,
    created: Option<jiff::Timestamp>,
    #[serde(default)]
    config: RunConfig,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RunConfig {
    #[serde(default, deserialize_with = "labels")]
    labels: BTreeMap<String, String>,
}

/// No labels are often `null`.
fn labels<'de, D: serde::Deserializer<'de>>(from: D) -> Result<BTreeMap<String, String>, D::Error> {
    #[derive(Deserialize)]
    struct Labels(
        #[serde(deserialize_with = "bounded::map::<ANNOTATIONS, _, _>")] BTreeMap<String, String>,
    );
    Ok(Option::<Labels>::deserialize(from)?.map(|Labels(labels)| labels).unwrap_or_default())
}

fn invalid(what: impl Into<String>) -> PublishError {
    PublishError::Container(what.into())
}

/// The container image that `source` points to. Of several, the one for `wanted`, or else for the
/// machine that this program was built for.
///
/// # Errors
/// The source's, and [`PublishError::Container`] for what is none.
pub fn find_container(
    source: &dyn Source,
    wanted: Option<Architecture>,
) -> Result<Container, PublishError> {
    let mut digest = source.resolve()?;
    let mut bytes = source.manifest(&digest)?;
    let is_index: IsIndex = parse("manifest", &bytes)?;
    if is_index.manifests.is_some() {
        let here = Architecture::of_this_build().unwrap_or(Architecture::X86_64);
        digest = Index::parse(&bytes)?.select(wanted.unwrap_or(here))?.digest;
        bytes = source.manifest(&digest)?;
    }
    let manifest: RawManifest = parse("manifest", &bytes)?;
    let config = source.blob("config", &manifest.config, CONFIG_LIMIT)?;
    let config: RawConfig = parse("configuration", &config)?;
    if config.os != "linux" {
        return Err(invalid(format!("it is for {:?}, not for Linux", config.os)));
    }
    let name = &config.architecture;
    let architecture = architecture(name)
        .ok_or_else(|| invalid(format!("it is for {name:?}, neither amd64 nor arm64")))?;
    if let Some(wanted) = wanted.filter(|wanted| *wanted != architecture) {
        return Err(invalid(format!("it is for {architecture}, not for {wanted}")));
    }
    let layers = manifest.layers.into_iter().map(Layer::new).collect::<Result<_, _>>()?;
    let created = config.created;
    Ok(Container { digest, architecture, created, labels: config.config.labels, layers })
}

fn parse<'a, T: Deserialize<'a>>(what: &str, bytes: &'a [u8]) -> Result<T, PublishError> {
    if bytes.len() as u64 > MANIFEST_LIMIT {
        return Err(invalid(format!("its {what} has {} bytes", bytes.len())));
    }
    serde_json::from_slice(bytes).map_err(|error| invalid(format!("its {what}: {error}")))
}

impl Layer {
    fn new(descriptor: Descriptor) -> Result<Self, PublishError> {
        let compression = match descriptor.media_type.as_str() {
            "application/vnd.oci.image.layer.v1.tar"
            | "application/vnd.docker.image.rootfs.diff.tar" => LayerCompression::None,
            "application/vnd.oci.image.layer.v1.tar+gzip"
            | "application/vnd.docker.image.rootfs.diff.tar.gzip" => LayerCompression::Gzip,
            "application/vnd.oci.image.layer.v1.tar+zstd"
            | "application/vnd.docker.image.rootfs.diff.tar.zstd" => LayerCompression::Zstd,
            other => return Err(invalid(format!("it has a layer of the type {other:?}"))),
        };
        Ok(Self { descriptor, compression })
    }
}
