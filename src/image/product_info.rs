// SPDX-License-Identifier: MIT OR Apache-2.0

//! What an image says about the OS in it.

use serde::{Deserialize, Serialize};

use super::Architecture;
use crate::bounded;

/// The most parts of an OS.
const COMPONENTS: usize = 10_000;

/// What the OS is: names, version, origin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProductInfo {
    /// Machine-readable name, as `ID` in os-release.
    pub id: String,
    /// Name for people.
    pub name: String,
    /// The version of the OS.
    pub version: String,
    /// The architecture, then further parts behind `-`, such as `x86_64-debug`.
    pub variant: String,
    /// The commit that it was built from; empty where unknown.
    #[serde(default)]
    pub commit_hash: String,
    /// The date of that commit, RFC 3339; empty where unknown.
    #[serde(default)]
    pub commit_date: String,
    /// Whether the tree had uncommitted changes.
    #[serde(default)]
    pub build_tree_dirty: bool,
    /// The parts of which the OS is made.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "bounded::optional_list::<COMPONENTS, _, _>"
    )]
    pub components: Option<Vec<Component>>,
}

impl ProductInfo {
    /// The architecture that the variant begins with, where flipside knows it.
    pub fn architecture(&self) -> Option<Architecture> {
        Architecture::from_name(self.variant.split('-').next().unwrap_or_default())
    }

    /// Has the variant begin with `architecture`.
    pub fn set_architecture(&mut self, architecture: Architecture) {
        let rest = self.variant.split_once('-').map(|(_, rest)| format!("-{rest}"));
        self.variant = format!("{architecture}{}", rest.unwrap_or_default());
    }
}

/// A part of the OS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Component {
    /// Its name.
    pub id: String,
    /// Its version.
    pub version: String,
}
