// SPDX-License-Identifier: MIT OR Apache-2.0

//! OS images: payloads in files, and the OCI layout made of them.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::lab::Lab;
use crate::programs;

/// An OS image in an OCI layout directory.
#[derive(Debug)]
pub struct OsImage {
    pub version: String,
    /// `sha256:…`.
    pub digest: String,
    pub layout: PathBuf,
    /// The payloads, uncompressed, to compare slots with.
    pub system: PathBuf,
    pub kernel: PathBuf,
}

impl OsImage {
    /// Makes one in `directory` from the files `system.img`, `kernel.efi`, `os-release` and, where
    /// there are some, `pre-upgrade` (a hook) and `annotations` there.
    ///
    /// # Errors
    /// Those of `flipside image build`.
    pub fn build(lab: &Lab, directory: &Path) -> Result<()> {
        let at = |name: &str| directory.join(name).display().to_string();
        let mut build = lab.flipside();
        build.args(["image", "build", "--json", "--level", "1"]);
        build.args(["--payload", &format!("system={}", at("system.img"))]);
        build.args(["--payload", &format!("kernel.efi={}", at("kernel.efi"))]);
        if directory.join("pre-upgrade").exists() {
            build.args(["--pre-upgrade", &at("pre-upgrade")]);
        }
        for annotation in std::fs::read_to_string(at("annotations")).unwrap_or_default().lines() {
            build.args(["--annotation", annotation]);
        }
        build.args(["--os-release", &at("os-release"), "--output", &at("oci")]);
        let built: serde_json::Value = serde_json::from_str(&programs::output(&mut build)?)?;
        let digest = built.get("digest").and_then(|digest| digest.as_str());
        let digest = digest.context("`image build --json` names no digest")?;
        Ok(std::fs::write(at("digest"), digest)?)
    }

    /// What [`OsImage::build`] made.
    ///
    /// # Errors
    /// There is none.
    pub fn open(directory: &Path, version: &str) -> Result<Self> {
        Ok(Self {
            version: version.to_owned(),
            digest: std::fs::read_to_string(directory.join("digest"))?,
            layout: directory.join("oci"),
            system: directory.join("system.img"),
            kernel: directory.join("kernel.efi"),
        })
    }
}
