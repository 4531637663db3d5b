// SPDX-License-Identifier: MIT OR Apache-2.0

//! The manifests and indexes under tags that belong to an image. What they list stays as it is, with
//! whatever fields it has. Errors say what is wrong; who asks knows what it was for.

use flipside_image::Descriptor;
use flipside_image::bounded::{ENTRIES, optional_list};
use flipside_source::{Source, SourceError, is_absent};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

/// What a tag names now.
pub(super) fn existing(source: &dyn Source, tag: &str) -> Result<Option<Vec<u8>>, SourceError> {
    let sibling = source.sibling(tag)?;
    match sibling.resolve() {
        Ok(digest) => Ok(Some(sibling.manifest(&digest)?)),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What is listed already.
#[derive(Deserialize)]
pub(super) struct Listed {
    #[serde(default, deserialize_with = "optional_list::<ENTRIES, _, _>")]
    pub(super) layers: Option<Vec<Box<RawValue>>>,
    #[serde(default, deserialize_with = "optional_list::<ENTRIES, _, _>")]
    pub(super) manifests: Option<Vec<Box<RawValue>>>,
}

/// Reads what a tag names.
pub(super) fn listed(bytes: &[u8]) -> Result<Listed, String> {
    serde_json::from_slice(bytes).map_err(|error| error.to_string())
}

/// The same with more in it: a manifest or an index.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Written<'a> {
    pub(super) schema_version: u32,
    pub(super) media_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) config: Option<&'a Descriptor>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) layers: Option<&'a [Box<RawValue>]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) manifests: Option<&'a [Box<RawValue>]>,
}

impl Written<'_> {
    pub(super) fn new(media_type: &'static str) -> Self {
        Self { schema_version: 2, media_type, config: None, layers: None, manifests: None }
    }

    pub(super) fn to_bytes(&self) -> Result<Vec<u8>, String> {
        serde_json::to_vec(self).map_err(|error| error.to_string())
    }
}

/// A descriptor as an entry.
pub(super) fn raw(descriptor: &Descriptor) -> Result<Box<RawValue>, String> {
    to_raw_value(descriptor).map_err(|error| error.to_string())
}
