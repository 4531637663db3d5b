// SPDX-License-Identifier: MIT OR Apache-2.0

//! A container image with busybox and one script, put into a registry (OCI image specification,
//! "Image Layer Filesystem Changeset" and "OCI Image Configuration").

use std::path::Path;

use anyhow::Result;
use flipside_image::{Architecture, Digest};
use serde_json::{Value, json};

use crate::put::{Repository, oci_manifest};

/// What the script uses of busybox.
const APPLETS: [&str; 9] = ["sh", "cat", "grep", "head", "ls", "sleep", "tail", "wc", "wget"];

/// Puts an image that runs `script` at `tag`, in the place of what is there.
///
/// # Errors
/// There is no busybox at `busybox`.
pub fn put(repository: &Repository, tag: &str, busybox: &Path, script: &str) -> Result<()> {
    let layer = layer(busybox, script)?;
    let config = config(&Digest::of(&layer));
    let config = repository.blob("application/vnd.oci.image.config.v1+json", &config);
    let layer = repository.blob("application/vnd.oci.image.layer.v1.tar", &layer);
    repository.manifest(Some(tag), &oci_manifest(config, vec![layer]));
    Ok(())
}

fn layer(busybox: &Path, script: &str) -> Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut add = |path: &str, bytes: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o755);
        header.set_size(bytes.len() as u64);
        archive.append_data(&mut header, path, bytes)
    };
    add("bin/busybox", &std::fs::read(busybox)?)?;
    add("hook", script.as_bytes())?;
    for applet in APPLETS {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_mode(0o777);
        header.set_size(0);
        archive.append_link(&mut header, format!("bin/{applet}"), "busybox")?;
    }
    Ok(archive.into_inner()?)
}

fn config(layer: &Digest) -> Vec<u8> {
    let config: Value = json!({
        "architecture": Architecture::of_this_build().map(|this| this.oci_name()),
        "os": "linux",
        "config": {"Entrypoint": ["/bin/sh", "/hook"], "Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [layer]},
    });
    config.to_string().into_bytes()
}
