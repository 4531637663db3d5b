// SPDX-License-Identifier: MIT OR Apache-2.0

//! How people name an image on the command line: as in settings, and a directory by its path alone.

#[cfg(feature = "publish")]
use std::path::PathBuf;

#[cfg(feature = "publish")]
use super::Failure;
#[cfg(feature = "publish")]
use crate::codes;
use flipside_source::{Location, SourceError};

/// For clap: an image. A directory needs no `oci:` before it.
pub(super) fn parse_image(text: &str) -> Result<Location, SourceError> {
    let layout = |directory, tag| Location::Layout { directory, tag };
    let path = std::path::Path::new(text);
    // A registry's address may be the path of a directory too: only a layout is meant by it.
    if path.join("index.json").is_file() {
        return Ok(layout(path.to_owned(), None));
    }
    text.parse().or_else(|error| match format!("oci:{text}").parse() {
        _ if path.is_dir() => Ok(layout(path.to_owned(), None)),
        Ok(Location::Layout { directory, tag }) if directory.is_dir() => Ok(layout(directory, tag)),
        _ => Err(error),
    })
}

/// For clap: a layout, `DIR[:TAG]` with or without `oci:`. The directory need not exist.
#[cfg(feature = "publish")]
pub(super) fn parse_layout(text: &str) -> Result<(PathBuf, Option<String>), SourceError> {
    match parse_image(text) {
        Ok(Location::Layout { directory, tag }) => Ok((directory, tag)),
        _ => match format!("oci:{text}").parse()? {
            Location::Layout { directory, tag } => Ok((directory, tag)),
            _ => Ok((text.into(), None)),
        },
    }
}

/// The tag of an image that is written: that of `--tag`, or that of the layout.
///
/// # Errors
/// `argument-invalid` where there are two.
#[cfg(feature = "publish")]
pub(super) fn one_tag(
    option: Option<String>,
    layout: Option<String>,
) -> Result<Option<String>, Failure> {
    match (option, layout) {
        (Some(one), Some(other)) if one != other => {
            let message = format!("--tag names the tag {one}, and the layout's name has {other}");
            Err(Failure::error(codes::ARGUMENT_INVALID, message))
        }
        (option, layout) => Ok(option.or(layout)),
    }
}
