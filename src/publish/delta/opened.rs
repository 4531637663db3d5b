// SPDX-License-Identifier: MIT OR Apache-2.0

//! An image that a delta is from, or that it makes.

use std::path::PathBuf;

use flipside_image::{Architecture, Descriptor, Image, MANIFEST_TYPE};
use flipside_source::{Location, Options, Source, open};

use super::super::{PublishError, find_image};

/// An image, and where its payloads are.
pub struct OpenedImage {
    pub(super) source: Box<dyn Source>,
    pub(super) image: Image,
    /// Its manifest.
    pub(super) descriptor: Descriptor,
    /// The layout directory that it is in.
    pub(super) layout: Option<PathBuf>,
}

impl OpenedImage {
    /// The image at `location`; of several, the one for `architecture`, or for the machine this
    /// program was built for.
    ///
    /// # Errors
    /// Those of [`find_image`].
    pub fn open(
        location: &Location,
        architecture: Option<Architecture>,
        options: &Options,
    ) -> Result<Self, PublishError> {
        let source = open(location, options)?;
        let image = find_image(source.as_ref(), architecture)?;
        let size = source.manifest(&image.digest)?.len() as u64;
        let descriptor = Descriptor::new(MANIFEST_TYPE, image.digest, size);
        let layout = match location {
            Location::Layout { directory, .. } => Some(directory.clone()),
            Location::Registry(_) | Location::Archive { .. } => None,
        };
        Ok(Self { source, image, descriptor, layout })
    }

    /// The image.
    pub fn image(&self) -> &Image {
        &self.image
    }
}
