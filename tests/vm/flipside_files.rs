// SPDX-License-Identifier: MIT OR Apache-2.0

//! flipside in the guests: its Debian packages, as `make package` leaves them in `debian` of
//! cargo's target directory.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::programs;

/// The packages that a guest has. The one for dracut would be in the other's way.
const PACKAGES: [&str; 2] = ["flipside_", "flipside-initramfs-tools_"];

/// The packages' files, the newest of each.
///
/// # Errors
/// One is missing.
pub fn packages(target: &Path) -> Result<Vec<PathBuf>> {
    PACKAGES.iter().map(|prefix| newest(target, prefix)).collect()
}

/// The package with the part for dracut.
///
/// # Errors
/// It is missing.
pub fn dracut_part(target: &Path) -> Result<PathBuf> {
    newest(target, "flipside-dracut_")
}

fn newest(target: &Path, prefix: &str) -> Result<PathBuf> {
    let directory = target.join("debian");
    let mut found = Vec::new();
    for entry in fs::read_dir(&directory)
        .with_context(|| format!("no packages in {}: `make package`", directory.display()))?
    {
        found.push(entry?.path());
    }
    let is_wanted = |path: &&PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with(prefix) && name.ends_with(".deb")
    };
    let modified = |path: &&PathBuf| path.metadata().and_then(|data| data.modified()).ok();
    let package = found.iter().filter(is_wanted).max_by_key(modified).cloned();
    package.with_context(|| format!("no {prefix}*.deb in {}", directory.display()))
}

/// Installs them into a tree, with dpkg there.
///
/// # Errors
/// dpkg's.
pub fn install(packages: &[PathBuf], tree: &Path) -> Result<()> {
    let place = tree.join("tmp/packages");
    fs::create_dir_all(&place)?;
    let mut dpkg = Command::new("chroot");
    dpkg.arg(tree).args(["dpkg", "--install"]);
    for package in packages {
        let name = package.file_name().unwrap_or_default();
        fs::copy(package, place.join(name))?;
        dpkg.arg(Path::new("/tmp/packages").join(name));
    }
    programs::run(dpkg.env("DEBIAN_FRONTEND", "noninteractive"))?;
    ensure!(tree.join("usr/bin/flipside").exists(), "the packages have no /usr/bin/flipside");
    Ok(fs::remove_dir_all(place)?)
}
