// SPDX-License-Identifier: MIT OR Apache-2.0

//! A host in a directory: the ESP's content is a directory, disks are `*.img`.

use std::fs;
use std::path::PathBuf;

use uuid::Uuid;

use super::{Place, is_esp, uuids_on};
use crate::host::Root;
use crate::host::disk::Disk;
use crate::host::durable::Durable;
use crate::host::error::HostError;
use crate::settings::HostConfig;

const USUAL_DIRECTORIES: [&str; 3] = ["efi", "boot", "boot/efi"];

pub(super) fn find(
    root: &Root,
    config: &HostConfig,
    hint: Option<Uuid>,
    durable: &Durable,
) -> Result<Place, HostError> {
    let esp_directory = esp_directory(root, config)?;
    let configured = config.disk.as_ref().map(|path| root.path(path));
    let mut images = images(root)?;
    if let Some(path) = configured.iter().find(|path| !images.contains(path)) {
        images.push(path.clone());
    }

    // The disk with the ESP: the one the loader named, else the configured one, else the
    // only one that has any.
    let esps: Vec<(&PathBuf, Vec<Uuid>)> =
        images.iter().map(|path| (path, uuids_on(path, None, is_esp))).collect();
    let with_esp = |wanted: &dyn Fn(&PathBuf, &[Uuid]) -> bool| {
        let found = esps.iter().filter(|(path, uuids)| wanted(path, uuids));
        found.map(|(path, _)| (*path).clone()).collect::<Vec<_>>()
    };
    let mut candidates = match (hint, &configured) {
        (Some(hint), _) => with_esp(&|_, uuids| uuids.contains(&hint)),
        (None, Some(disk)) => with_esp(&|path, uuids| path == disk && !uuids.is_empty()),
        (None, None) => Vec::new(),
    };
    if candidates.is_empty() {
        candidates = with_esp(&|_, uuids| !uuids.is_empty());
    }
    let path = match candidates.as_slice() {
        // Perhaps for a damaged table, which is then what to report.
        [] => match images.first() {
            Some(image) => image.clone(),
            None => return Err(HostError::DiskMissing { directory: root.directory().to_owned() }),
        },
        [path, ..] => path.clone(),
    };
    let esp_disk = Disk::open(root, &path, durable)?;
    let named = hint.and_then(|hint| esp_disk.by_uuid(hint));
    let Some(esp) = named.or_else(|| esp_disk.esps().next()).cloned() else {
        return Err(HostError::DiskMissing { directory: root.directory().to_owned() });
    };
    if let Some(expected) = hint.filter(|hint| *hint != esp.uuid) {
        return Err(HostError::EspMismatch { point: esp_directory, found: esp.uuid, expected });
    }
    let ambiguous = |reason| Err(HostError::EspAmbiguous { uuid: esp.uuid, reason });
    if hint.is_none() && esp_disk.esps().count() > 1 {
        return ambiguous(format!("{} has another one", path.display()));
    }
    for other in images.iter().filter(|image| **image != path) {
        let has_it = |entry: &flipside_image::gpt::Entry| entry.uuid == esp.uuid;
        if !uuids_on(other, None, has_it).is_empty() {
            return ambiguous(format!("{} has a partition with that GUID too", other.display()));
        }
        if hint.is_none() && candidates.contains(other) {
            return ambiguous(format!("{} has one, too", other.display()));
        }
    }
    let (disk, esp_disk) = match configured {
        Some(disk) if disk != path => (Disk::open(root, &disk, durable)?, Some(esp_disk)),
        _ => (esp_disk, None),
    };
    Ok(Place { disk, esp_directory, esp, esp_disk, mount: None, _held: None })
}

fn esp_directory(root: &Root, config: &HostConfig) -> Result<PathBuf, HostError> {
    let candidates = match &config.esp {
        Some(configured) => vec![root.path(configured)],
        None => USUAL_DIRECTORIES.map(|name| root.path(name)).to_vec(),
    };
    // An empty directory is what a missing mount looks like.
    if let Some(found) = candidates.iter().find(|directory| directory.join("EFI").is_dir()) {
        return Ok(found.clone());
    }
    let points = candidates.iter().map(|path| root.on_host(path).display().to_string()).collect();
    Err(HostError::EspNotMounted { points })
}

/// The disks but for `disk`; what their sector sizes are, nothing says.
pub(super) fn other_disks(root: &Root, disk: &Disk) -> Vec<(PathBuf, Option<u32>)> {
    let own = fs::canonicalize(disk.path()).ok();
    let mut images = images(root).unwrap_or_default();
    images.retain(|image| fs::canonicalize(image).ok() != own);
    images.into_iter().map(|image| (image, None)).collect()
}

pub(super) fn images(root: &Root) -> Result<Vec<PathBuf>, HostError> {
    let failed = || HostError::io("list", root.directory());
    let mut images = Vec::new();
    for entry in fs::read_dir(root.directory()).map_err(failed())? {
        let path = entry.map_err(failed())?.path();
        if path.extension().is_some_and(|extension| extension == "img") && path.is_file() {
            images.push(path);
        }
    }
    images.sort();
    // One file under two names is one disk; its own name counts rather than a link's.
    images.sort_by_key(|path| path.is_symlink());
    let mut seen = Vec::new();
    images.retain(|path| {
        let real = fs::canonicalize(path).unwrap_or_else(|_| path.clone());
        let is_new = !seen.contains(&real);
        seen.push(real);
        is_new
    });
    Ok(images)
}
