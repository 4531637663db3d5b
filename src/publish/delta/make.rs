// SPDX-License-Identifier: MIT OR Apache-2.0

//! A delta of two images.

use std::collections::BTreeMap;

use flipside_core::cancel::Cancel;
use flipside_core::progress::Progress;
use flipside_image::delta::{
    DELTA_CONFIG_LIMIT, DELTA_CONFIG_TYPE, DELTA_TYPE, Delta, DeltaManifest, FROM_ANNOTATION,
};
use flipside_image::{ContentId, Descriptor, Digest, Image, MANIFEST_TYPE};

use super::super::PublishError;
use super::super::layout::LayoutWriter;
use super::opened::OpenedImage;
use super::payload;
use super::run::{DeltaSettings, Run, temporary_directory};

/// The most that hosts fetch with a delta, as a percentage of the image: above, it is not published.
const LARGEST: u64 = 60;

/// A delta that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadeDelta {
    /// The digest of the old image's config.
    pub from: Digest,
    /// The old image's version.
    pub from_version: String,
    /// The digest of the new image's manifest.
    pub to: Digest,
    /// The new image's version.
    pub to_version: String,
    /// The delta's manifest, as an index lists it.
    pub manifest: Descriptor,
    /// The size of the delta's layers in bytes.
    pub size: u64,
    /// What a host fetches with the delta, in bytes: its layers, and the frames that it still needs of
    /// the new image.
    pub fetch: u64,
    /// What a host fetches without it: the layers of the new image, in bytes.
    pub full: u64,
}

/// Makes the delta from `from` to `to`. Its blobs and its manifest are put into `layout` and not
/// listed there; none is, if there is an error.
///
/// # Errors
/// [`PublishError`]: the images are the same or of different machines, the delta is too large, and
/// what reading payloads can end in.
pub(super) fn make(
    from: &OpenedImage,
    to: &OpenedImage,
    layout: &LayoutWriter,
    settings: DeltaSettings,
    progress: &dyn Progress,
    stop: &Cancel,
) -> Result<MadeDelta, PublishError> {
    let run = Run::new(settings, progress, stop)?;
    check_pair(&from.image, &to.image)?;
    let directory = temporary_directory()?;
    let mut blobs = Vec::new();
    let mut payloads = Vec::new();
    let (mut full, mut fetch, mut size) = (0_u64, 0_u64, 0_u64);
    for layer in to.image.layers() {
        let whole = layer.descriptor.size;
        full = full.saturating_add(whole);
        let mut blob = layout.new_blob()?;
        match payload::make(from, to, layer, directory.path(), &mut blob, &run)? {
            Some(made) => {
                let patches = made.delta.layer.size;
                size = size.saturating_add(patches);
                fetch = fetch.saturating_add(patches).saturating_add(made.full);
                blobs.push((blob, made.delta.layer.digest));
                payloads.push(made.delta);
            }
            None => fetch = fetch.saturating_add(whole),
        }
    }
    let from_version = from.image.version().to_owned();
    if u128::from(fetch) * 100 > u128::from(full) * u128::from(LARGEST) {
        return Err(PublishError::DeltaTooLarge { from: from_version, fetch, full });
    }
    let delta = Delta { from: from.image.manifest.config.digest, from_version, payloads };
    let (config, manifest) = describe(&delta, to)?;
    for (blob, digest) in blobs {
        blob.commit(&digest)?;
    }
    layout.write_blob(&config)?;
    layout.write_blob(&manifest)?;
    Ok(MadeDelta {
        from: delta.from,
        from_version: delta.from_version,
        to: to.image.digest,
        to_version: to.image.version().to_owned(),
        manifest: entry(&manifest, &delta.from),
        size,
        fetch,
        full,
    })
}

/// A manifest of a delta from the config `from`, as an index lists it.
pub(super) fn entry(manifest: &[u8], from: &Digest) -> Descriptor {
    Descriptor {
        artifact_type: Some(DELTA_TYPE.to_owned()),
        annotations: BTreeMap::from([(FROM_ANNOTATION.to_owned(), from.to_string())]),
        ..Descriptor::of(MANIFEST_TYPE, manifest)
    }
}

/// The bytes of the config and of the manifest.
fn describe(delta: &Delta, to: &OpenedImage) -> Result<(Vec<u8>, Vec<u8>), PublishError> {
    let config = delta.to_bytes(&to.image)?;
    if config.len() as u64 > DELTA_CONFIG_LIMIT {
        let what = "it has too many chunks: build images with a larger --chunk-size".to_owned();
        return Err(PublishError::Delta { what });
    }
    let manifest = DeltaManifest {
        subject: to.descriptor.clone(),
        from: delta.from,
        config: Descriptor::of(DELTA_CONFIG_TYPE, &config),
        layers: delta.payloads.iter().map(|payload| payload.layer.clone()).collect(),
    };
    let bytes = manifest.to_bytes()?;
    // Reads the delta as hosts will: what they would refuse is not published.
    Delta::parse(&config, &DeltaManifest::parse(&bytes)?, &to.image)?;
    Ok((config, bytes))
}

fn check_pair(from: &Image, to: &Image) -> Result<(), PublishError> {
    let content = |image: &Image| ContentId::of(image.config.payloads.iter());
    let is_same =
        from.manifest.config.digest == to.manifest.config.digest || content(from) == content(to);
    if is_same {
        return Err(PublishError::DeltaOfSame { version: to.version().to_owned() });
    }
    if let Some(architecture) = to.config.product_info.architecture() {
        from.config.check_architecture(architecture)?;
    }
    Ok(())
}
