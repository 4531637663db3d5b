// SPDX-License-Identifier: MIT OR Apache-2.0

//! Where images come from: a registry, an OCI layout directory, an OCI archive.

#![cfg_attr(test, allow(clippy::too_many_lines))]

use std::fmt;

use flipside_core::blob_source::BlobSource;
use flipside_image::delta::Delta;
use flipside_image::{
    Architecture, CONFIG_LIMIT, Descriptor, Digest, Image, ImageError, Manifest, ManifestOrIndex,
};

mod answer;
mod archive;
mod body;
mod certs_d;
mod choice;
pub mod codes;
mod content;
mod content_range;
mod credential_helper;
pub mod credentials;
mod deltas;
mod document;
mod endpoint;
mod error;
mod failure;
mod graph;
mod http;
mod layout;
mod local;
mod local_error;
mod location;
mod login;
mod network;
mod options;
pub mod proxy;
mod push;
mod rate;
mod realm;
mod registry;
mod retry;
mod secret;
pub mod signatures;
pub mod tar;
#[cfg(feature = "testing")]
pub mod testing;
mod tls;
mod transfer;
mod upload;

pub use archive::ArchiveSource;
pub use choice::TAG_ANNOTATION;
pub use content::Blob;
pub use document::{FetchedDocument, fetch_document, is_absent};
pub use error::SourceError;
pub use flipside_image::reference::{Reference, ReferenceError};
pub use graph::fetch_graph;
pub use layout::LayoutSource;
pub use local_error::LocalError;
pub use location::Location;
pub use options::{Options, Timing};
pub use push::Repository;
pub use retry::jitter;
pub use signatures::{Judge, Signature, Worth};

/// One tag somewhere, and the blobs behind it. Displayed as people write it.
///
/// Blocking: several threads may call one source at a time.
pub trait Source: BlobSource + fmt::Display {
    /// What the tag points to now. One request at a registry, after authentication.
    ///
    /// # Errors
    /// [`SourceError`]: the tag does not exist, or the source does not answer.
    fn resolve(&self) -> Result<Digest, SourceError>;

    /// The same, and who says so. Where a registry cannot be reached, a mirror answers in its
    /// place; the caller decides what that is worth.
    ///
    /// # Errors
    /// As of [`Self::resolve`]; [`SourceError::NotAtMirrors`].
    fn tagged(&self) -> Result<Tagged, SourceError> {
        Ok(Tagged { digest: self.resolve()?, mirror: None })
    }

    /// The same of a tag that mostly does not exist, which a registry may say in one answer.
    ///
    /// # Errors
    /// As of [`Self::tagged`].
    fn tagged_if_any(&self) -> Result<Tagged, SourceError> {
        self.tagged()
    }

    /// The manifest or index called `digest`, hash checked, at most
    /// [`flipside_image::MANIFEST_LIMIT`] bytes.
    ///
    /// # Errors
    /// [`SourceError`].
    fn manifest(&self, digest: &Digest) -> Result<Vec<u8>, SourceError>;

    /// A whole small blob, hash checked, of the size that its descriptor states.
    ///
    /// # Errors
    /// [`SourceError`]; also where the descriptor states more than `limit` bytes.
    fn blob(
        &self,
        object: &'static str,
        blob: &Descriptor,
        limit: u64,
    ) -> Result<Vec<u8>, SourceError>;

    /// The repository without tag or digest, as a slot's record keeps it.
    fn repository(&self) -> String;

    /// Another tag or digest (`sha256:...`) of the same repository, by the same mirrors and
    /// with the same credentials. Asks nobody yet.
    ///
    /// # Errors
    /// [`SourceError::ReferenceInvalid`] for what is neither.
    fn sibling(&self, name: &str) -> Result<Box<dyn Source>, SourceError>;

    /// Hands over what stands as a signature of the manifest or index `subject`, unverified,
    /// until `judge` has enough; in both homes, the tag `sha256-<hex>.sig` and the referrers. The
    /// registry itself is asked, and its mirrors only where it does not answer.
    ///
    /// # Errors
    /// [`SourceError`] where the registry did not answer and no mirror had enough, and where there
    /// are more than are looked at ([`SourceError::TooManySignatures`]). That there is no
    /// signature is no error.
    fn signatures(&self, subject: &Digest, judge: &mut Judge<'_>) -> Result<(), SourceError>;

    /// The delta that makes `image` from the image whose config has the digest `from`; `None` where
    /// there is none that can be used. Mirrors are asked first and then the registry itself, up to
    /// the first that has it. The layers are left to [`BlobSource::stream`].
    ///
    /// # Errors
    /// [`SourceError`] where no mirror had it and the registry itself, the layout or the archive
    /// failed; [`SourceError::Stopped`]. What is wrong with one artifact is only told.
    fn delta(&self, image: &Image, from: &Digest) -> Result<Option<Delta>, SourceError>;
}

/// What a tag points to, and who says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tagged {
    /// The digest.
    pub digest: Digest,
    /// The mirror (`host[:port]`) whose word it is, where the registry could not be reached.
    /// Mirrors may be late.
    pub mirror: Option<String>,
}

/// The source of what is at `location`. Asks nobody yet where that is a registry.
///
/// # Errors
/// [`SourceError`]: a mirror that makes no sense, a directory or a file that
/// cannot be read.
pub fn open(location: &Location, options: &Options) -> Result<Box<dyn Source>, SourceError> {
    match location {
        Location::Registry(reference) => Ok(Box::new(registry::Registry::new(reference, options)?)),
        Location::Layout { directory, tag } => {
            Ok(Box::new(LayoutSource::open(directory, tag.as_deref())?))
        }
        Location::Archive { file, tag } => Ok(Box::new(ArchiveSource::open(file, tag.as_deref())?)),
    }
}

/// A manifest, and how it was found.
#[derive(Debug, Clone)]
pub struct FoundManifest {
    /// Its digest.
    pub digest: Digest,
    /// The manifest.
    pub manifest: Manifest,
    /// The index that lists it, where it was found through one.
    pub index: Option<Digest>,
}

/// The manifest called `digest`; an index is followed by architecture. Hash checked, and nothing
/// else is fetched.
///
/// # Errors
/// [`SourceError`].
pub fn find_manifest(
    source: &dyn Source,
    digest: &Digest,
    architecture: Architecture,
) -> Result<FoundManifest, SourceError> {
    let index = match ManifestOrIndex::parse(&source.manifest(digest)?)? {
        ManifestOrIndex::Manifest(manifest) => {
            return Ok(FoundManifest { digest: *digest, manifest, index: None });
        }
        ManifestOrIndex::Index(index) => index,
    };
    let entry = index.select(architecture)?;
    match ManifestOrIndex::parse(&source.manifest(&entry.digest)?)? {
        ManifestOrIndex::Manifest(manifest) => {
            Ok(FoundManifest { digest: entry.digest, manifest, index: Some(*digest) })
        }
        ManifestOrIndex::Index(_) => {
            let what = "an index in an index".to_owned();
            Err(ImageError::NotAnOsImage { what }.into())
        }
    }
}

/// The image of a manifest: its config is fetched, and hash checked. P3: call it once the
/// manifest is known to be signed.
///
/// # Errors
/// [`SourceError`], also where the image is for another architecture.
pub fn fetch_config(
    source: &dyn Source,
    found: FoundManifest,
    architecture: Architecture,
) -> Result<Image, SourceError> {
    let config = source.blob("config", &found.manifest.config, CONFIG_LIMIT)?;
    let image = Image::with_config(found.digest, found.manifest, config)?;
    image.config.check_architecture(architecture)?;
    Ok(image)
}

/// Both: the image called `digest`, for who need not ask whether it is signed.
///
/// # Errors
/// As [`find_manifest`] and [`fetch_config`].
pub fn fetch_image(
    source: &dyn Source,
    digest: &Digest,
    architecture: Architecture,
) -> Result<Image, SourceError> {
    fetch_config(source, find_manifest(source, digest, architecture)?, architecture)
}
