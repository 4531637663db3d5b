// SPDX-License-Identifier: MIT OR Apache-2.0

//! What OCI documents are called and how large they may be (OCI image spec v1.1, "Media Types").

/// The media type of an OCI image manifest.
pub const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
/// The media type of an OCI image index.
pub const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";
/// The media type of a config without content (OCI image spec, "Guidance for an Empty
/// Descriptor"). What lists a cosign bundle by its config's type shows this.
pub const EMPTY_TYPE: &str = "application/vnd.oci.empty.v1+json";
/// The artifact type of an OS image.
pub const ARTIFACT_TYPE: &str = "application/vnd.monogon.os.image.v1";
/// The media type of an OS image's config.
pub const CONFIG_TYPE: &str = "application/vnd.monogon.os.image.config.v1+json";
/// The annotation that repeats the version (OCI image spec, "Annotations").
pub const VERSION_ANNOTATION: &str = "org.opencontainers.image.version";
/// The most bytes that a manifest or an index may have.
pub const MANIFEST_LIMIT: u64 = 4 << 20;
/// The most bytes of a config that a host takes, and that an image is built with.
pub const CONFIG_LIMIT: u64 = 16 << 20;
/// The most bytes of a config that the format allows, for who only looks at an image or copies it.
pub const FORMAT_CONFIG_LIMIT: u64 = 50 << 20;
