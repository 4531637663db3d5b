// SPDX-License-Identifier: MIT OR Apache-2.0

//! Any source in, an OCI layout out, byte for byte.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use flipside_core::blob_source::FetchError;
use flipside_core::cancel::{Cancel, Stopped};
use flipside_core::progress::{Event, Phase, Progress};
use flipside_image::{
    Architecture, Descriptor, Digest, FORMAT_CONFIG_LIMIT, Hasher, INDEX_TYPE, Image, ImageError,
    MANIFEST_TYPE, Manifest, ManifestOrIndex, Platform, is_attestation,
};
use flipside_source::Source;

use super::PublishError;
use super::attestation;
use super::layout::LayoutWriter;
use super::sign::{Home, Signatures};

/// How much is read at a time, in bytes.
const PIECE: usize = 256 << 10;

/// What was pulled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pulled {
    /// The manifest or index that the tag points to.
    pub digest: Digest,
    /// Bytes of layers that came.
    pub fetched: u64,
    /// Bytes of layers that stood there already, whole.
    pub kept: u64,
}

/// A run of [`pull`].
struct Pull<'a> {
    source: &'a dyn Source,
    layout: LayoutWriter,
    progress: &'a dyn Progress,
    stop: &'a Cancel,
    fetched: u64,
    kept: u64,
    /// Layers of this run; images of an index may share them.
    done: BTreeSet<Digest>,
}

/// Copies what `source` points to into the layout in `directory`, and lists it there under
/// `tag`. Of an index, every image that it lists, and the attestations that a builder put beside
/// them; with `architecture`, only the image for that machine.
///
/// Signatures come along.
///
/// Every blob is hashed before it gets its name. Blobs that stand there whole are kept, so
/// a pull that broke off goes on with the blob that was missing.
///
/// # Errors
/// [`PublishError`]: the source's, the layout's, and anything that is no OS image.
pub fn pull(
    source: &dyn Source,
    directory: &Path,
    tag: Option<&str>,
    architecture: Option<Architecture>,
    progress: &dyn Progress,
    stop: &Cancel,
) -> Result<Pulled, PublishError> {
    progress.event(Event::Phase(Phase::Checking));
    let mut digest = source.resolve()?;
    let mut bytes = source.manifest(&digest)?;
    let mut top = ManifestOrIndex::parse(&bytes)?;
    if let (ManifestOrIndex::Index(index), Some(architecture)) = (&top, architecture) {
        digest = index.select(architecture)?.digest;
        bytes = source.manifest(&digest)?;
        top = ManifestOrIndex::Manifest(Manifest::parse(&bytes)?);
    }
    let layout = LayoutWriter::open(directory)?;
    let (fetched, kept, done) = (0, 0, BTreeSet::new());
    let mut pull = Pull { source, layout, progress, stop, fetched, kept, done };
    progress.event(Event::Phase(Phase::Writing));
    let mut entry = Descriptor::new(INDEX_TYPE, digest, bytes.len() as u64);
    match top {
        ManifestOrIndex::Manifest(manifest) => {
            let image = pull.image(digest, manifest)?;
            if let Some(architecture) = architecture {
                image.config.check_architecture(architecture)?;
            }
            entry.media_type = MANIFEST_TYPE.to_owned();
            entry.artifact_type = Some(flipside_image::ARTIFACT_TYPE.to_owned());
            entry.platform = platform(&image);
        }
        ManifestOrIndex::Index(index) => {
            for member in &index.manifests {
                let bytes = source.manifest(&member.digest)?;
                match is_attestation(member) {
                    true => pull.attestation(&bytes)?,
                    false => drop(pull.image(member.digest, Manifest::parse(&bytes)?)?),
                }
                pull.layout.write_blob(&bytes)?;
            }
        }
    }
    pull.layout.write_blob(&bytes)?;
    pull.layout.list(&entry, tag)?;
    Signatures::of(source, &digest)?.bring_to(&Home::Layout(directory))?;
    progress.event(Event::Phase(Phase::Done));
    Ok(Pulled { digest, fetched: pull.fetched, kept: pull.kept })
}

fn platform(image: &Image) -> Option<Platform> {
    image.config.product_info.architecture().map(|architecture| Platform {
        architecture: architecture.oci_name().to_owned(),
        os: "linux".to_owned(),
    })
}

impl Pull<'_> {
    /// Config first (P3 holds for mirrors as well), then the layers.
    fn image(&mut self, digest: Digest, manifest: Manifest) -> Result<Image, PublishError> {
        let config = self.source.blob("config", &manifest.config, FORMAT_CONFIG_LIMIT)?;
        let image = Image::with_config(digest, manifest, config)?;
        self.layout.write_blob(&image.config_bytes)?;
        for layer in image.layers() {
            let name = layer.payload.name.as_str();
            self.blob(name, &format!("layer of payload {name}"), layer.descriptor)?;
        }
        Ok(image)
    }

    fn attestation(&mut self, manifest: &[u8]) -> Result<(), PublishError> {
        for blob in attestation::blobs(manifest)? {
            self.blob("attestation", "blob of an attestation", &blob)?;
        }
        Ok(())
    }

    fn blob(&mut self, name: &str, object: &str, blob: &Descriptor) -> Result<(), PublishError> {
        if !self.done.insert(blob.digest) {
            return Ok(());
        }
        let is_whole = self.is_whole(blob)?;
        let fetch = if is_whole { 0 } else { blob.size };
        let (size, kept) = (blob.size, blob.size - fetch);
        self.progress.event(Event::Payload { name: name.to_owned(), size, kept, fetch });
        if !is_whole {
            self.fetch(object, blob)?;
        }
        self.fetched = self.fetched.saturating_add(fetch);
        self.kept = self.kept.saturating_add(kept);
        Ok(())
    }

    /// Whether the blob stands in the layout with the bytes that its name promises.
    fn is_whole(&self, blob: &Descriptor) -> Result<bool, PublishError> {
        let path = self.layout.blob_path(&blob.digest);
        let failed = || PublishError::file("read", &path);
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(failed()(error)),
        };
        if file.metadata().map_err(failed())?.len() != blob.size {
            return Ok(false);
        }
        let mut hasher = Hasher::new();
        let mut piece = vec![0; PIECE];
        loop {
            self.stop.check()?;
            match file.read(&mut piece).map_err(failed())? {
                0 => return Ok(hasher.finish() == blob.digest),
                read => hasher.update(piece.get(..read).unwrap_or_default()),
            }
        }
    }

    fn fetch(&self, object: &str, blob: &Descriptor) -> Result<(), PublishError> {
        let mut file = self.layout.new_blob()?;
        let mut hasher = Hasher::new();
        let mut failure = None;
        let streamed = self.source.stream(blob, 0..blob.size, &mut |piece| {
            self.stop.check()?;
            hasher.update(piece);
            file.write(piece).map_err(|error| {
                failure = Some(error);
                Stopped
            })?;
            let bytes = piece.len() as u64;
            self.progress.event(Event::Fetched(bytes));
            self.progress.event(Event::Written(bytes));
            Ok(())
        });
        match (failure, streamed) {
            (Some(failure), Err(FetchError::Stopped(_))) => return Err(failure),
            (_, streamed) => streamed?,
        }
        let actual = hasher.finish();
        if actual != blob.digest {
            let (object, expected) = (object.to_owned(), blob.digest);
            return Err(ImageError::DigestMismatch { object, expected, actual }.into());
        }
        file.commit(&actual)
    }
}
