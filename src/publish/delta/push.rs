// SPDX-License-Identifier: MIT OR Apache-2.0

//! Deltas that are pushed with the image that they make: those that stand beside it in the layout,
//! and new ones.

use std::path::Path;

use flipside_core::progress::Progress;
use flipside_image::{Digest, ImageError, ManifestOrIndex, is_attestation};
use flipside_source::{Location, Options, Reference, Repository};

use super::super::PublishError;
use super::listed::{ListedDelta, listed};
use super::make::MadeDelta;
use super::opened::OpenedImage;
use super::publish::make_and_send;
use super::registry::send;
use super::run::DeltaSettings;

/// The images from which deltas are made on the way.
#[derive(Debug, Clone, Copy, Default)]
pub struct DeltaSources<'a> {
    /// Where they are.
    pub from: &'a [Location],
    /// How the deltas are made.
    pub settings: DeltaSettings,
}

/// The deltas of one push.
pub(in super::super) struct PushedDeltas {
    /// Those that stand in the layout.
    listed: Vec<ListedDelta>,
    /// The images that are pushed, as far as deltas make them.
    images: Vec<OpenedImage>,
    /// Older images, and which of the images a delta from them makes.
    pairs: Vec<(OpenedImage, usize)>,
    settings: DeltaSettings,
}

impl PushedDeltas {
    /// Finds what there is to send and to make for `top`, which is called `digest`, in the layout
    /// `directory`. Nothing is read of the payloads yet.
    pub(in super::super) fn find(
        directory: &Path,
        digest: &Digest,
        top: &ManifestOrIndex,
        sources: DeltaSources<'_>,
        options: &Options,
    ) -> Result<Self, PublishError> {
        let digests: Vec<Digest> = match top {
            ManifestOrIndex::Manifest(_) => vec![*digest],
            ManifestOrIndex::Index(index) => {
                let images = index.manifests.iter().filter(|entry| !is_attestation(entry));
                images.map(|entry| entry.digest).collect()
            }
        };
        let (settings, listed) = (sources.settings, listed(directory, &digests)?);
        let (mut images, mut pairs) = (Vec::new(), Vec::new());
        if !sources.from.is_empty() {
            for digest in &digests {
                let tag = Some(digest.to_string());
                let location = Location::Layout { directory: directory.to_owned(), tag };
                images.push(OpenedImage::open(&location, None, options)?);
            }
        }
        for location in sources.from {
            pairs.extend(partners(location, &images, options)?);
        }
        Ok(Self { listed, images, pairs, settings })
    }

    pub(in super::super) fn is_empty(&self) -> bool {
        self.listed.is_empty() && self.pairs.is_empty()
    }

    /// Sends them to the repository of `reference`, where the images are. A delta that is of no use is
    /// left out with a warning: the image is as good without it. Returns what was made.
    pub(in super::super) fn send(
        &self,
        directory: &Path,
        repository: &Repository,
        reference: &Reference,
        options: &Options,
        progress: &dyn Progress,
    ) -> Result<Vec<MadeDelta>, PublishError> {
        for delta in &self.listed {
            send(directory, delta, repository, reference, options, progress)?;
        }
        let mut made = Vec::new();
        for (from, to) in &self.pairs {
            let Some(to) = self.images.get(*to) else { continue };
            let settings = self.settings;
            match make_and_send(from, to, repository, reference, settings, options, progress) {
                Ok(delta) => made.push(delta),
                Err(
                    error @ (PublishError::DeltaTooLarge { .. } | PublishError::DeltaOfSame { .. }),
                ) => tracing::warn!("{error}"),
                Err(error) => return Err(error),
            }
        }
        Ok(made)
    }
}

/// The older images at `location`, one for each of `images` whose machine it has one for.
fn partners(
    location: &Location,
    images: &[OpenedImage],
    options: &Options,
) -> Result<Vec<(OpenedImage, usize)>, PublishError> {
    let (mut found, mut missing) = (Vec::new(), None);
    for (number, image) in images.iter().enumerate() {
        let architecture = image.image.config.product_info.architecture();
        match OpenedImage::open(location, architecture, options) {
            Ok(from) => found.push((from, number)),
            Err(PublishError::Image(
                error
                @ (ImageError::WrongArchitecture { .. } | ImageError::NoSingleManifest { .. }),
            )) => missing = Some(error),
            Err(error) => return Err(error),
        }
    }
    match missing {
        Some(error) if found.is_empty() => Err(error.into()),
        _ => Ok(found),
    }
}
