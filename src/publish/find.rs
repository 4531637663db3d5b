// SPDX-License-Identifier: MIT OR Apache-2.0

//! The image behind a tag, for whoever only looks at it.

use flipside_image::{Architecture, FORMAT_CONFIG_LIMIT, Image, Manifest, ManifestOrIndex};
use flipside_source::Source;

use super::PublishError;

/// The image that `source` names, for any machine. Of an index that lists several, the one
/// for `architecture`, or for the machine this program was built for.
///
/// # Errors
/// [`PublishError::Source`] and [`PublishError::Image`]; also where the image is for
/// another machine than an `architecture` that was asked for.
pub fn find_image(
    source: &dyn Source,
    architecture: Option<Architecture>,
) -> Result<Image, PublishError> {
    let mut digest = source.resolve()?;
    let manifest = match ManifestOrIndex::parse(&source.manifest(&digest)?)? {
        ManifestOrIndex::Manifest(manifest) => manifest,
        ManifestOrIndex::Index(index) => {
            let here = Architecture::of_this_build().unwrap_or(Architecture::X86_64);
            digest = match index.manifests.as_slice() {
                [only] => only.digest,
                _ => index.select(architecture.unwrap_or(here))?.digest,
            };
            Manifest::parse(&source.manifest(&digest)?)?
        }
    };
    let config = source.blob("config", &manifest.config, FORMAT_CONFIG_LIMIT)?;
    let image = Image::with_config(digest, manifest, config)?;
    if let Some(architecture) = architecture {
        image.config.check_architecture(architecture)?;
    }
    Ok(image)
}
