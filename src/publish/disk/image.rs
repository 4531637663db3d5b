// SPDX-License-Identifier: MIT OR Apache-2.0

//! The image that goes onto the disk, in an OCI layout directory.

use std::fs::File;

use flipside_image::{Architecture, Digest, Image, Layer};
use flipside_source::{LayoutSource, LocalError, Source as _, SourceError};

use super::{DiskBuildError, Plan};
use crate::find_image;

/// An image whose manifest and config are read and checked.
pub(super) struct Opened {
    pub source: LayoutSource,
    pub image: Image,
    /// What the tag points to, where that is an index.
    pub index_digest: Option<Digest>,
    pub architecture: Architecture,
}

impl Opened {
    /// Opens the image that `plan` names.
    pub(super) fn new(plan: &Plan) -> Result<Self, DiskBuildError> {
        let named = LayoutSource::open(&plan.image, plan.tag.as_deref())?.resolve()?;
        // By its digest from here on: a tag may move.
        let source = LayoutSource::open(&plan.image, Some(&named.to_string()))?;
        let image = find_image(&source, plan.architecture)?;
        let product = &image.config.product_info;
        let architecture = product.architecture().ok_or_else(|| {
            let variant = product.variant.chars().take(40).collect();
            DiskBuildError::ArchitectureUnknown { variant }
        })?;
        let index_digest = (named != image.digest).then_some(named);
        Ok(Self { source, image, index_digest, architecture })
    }

    /// The payload called `name`.
    pub(super) fn layer(&self, name: &str) -> Result<Layer<'_>, DiskBuildError> {
        self.image
            .layer(name)
            .ok_or_else(|| DiskBuildError::PayloadMissing { name: name.to_owned() })
    }

    /// The file of a layer, of the size that the manifest states.
    pub(super) fn blob(&self, layer: &Layer<'_>) -> Result<File, DiskBuildError> {
        let digest = layer.descriptor.digest;
        let path = self.source.directory().join("blobs/sha256").join(digest.hex());
        let failed =
            |source| DiskBuildError::Source(LocalError::File { path: path.clone(), source }.into());
        let file = File::open(&path).map_err(failed)?;
        let (actual, expected) = (file.metadata().map_err(failed)?.len(), layer.descriptor.size);
        if actual == expected {
            return Ok(file);
        }
        let place = self.source.to_string();
        let wrong = LocalError::BlobWrongSize { place, digest, expected, actual };
        Err(SourceError::from(wrong).into())
    }
}
