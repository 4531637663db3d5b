// SPDX-License-Identifier: MIT OR Apache-2.0

//! A tree in, the payloads of an OS image out.

use std::fs;
use std::path::{Path, PathBuf};

use flipside_image::{Architecture, SYSTEM_PAYLOAD};
use tempfile::TempDir;

use super::super::PublishError;
use super::erofs::{Recipe, make_erofs, uuid_of};
use super::kernel::{file, find_kernel};
use super::root::complete_root;
use super::state::move_state;
use super::tidy::tidy;
use super::unpack::small;
use super::{Tree, boot_file};

/// The most bytes of an os-release file.
const OS_RELEASE_LIMIT: u64 = 1 << 20;

/// What is done to a tree.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Names that stay, of those that are taken out.
    pub keep: Vec<String>,
    /// /var stays as it is.
    pub leave_var: bool,
    /// No mount points and no fstab are made.
    pub leave_root: bool,
    /// The version of the kernel, where there are several.
    pub kernel: Option<String>,
    /// A stub of the caller's own.
    pub stub: Option<PathBuf>,
    /// A command line of the caller's own.
    pub command_line: Option<String>,
    /// As in [`Recipe::compression`].
    pub compression: Option<String>,
    /// When the image was made, in seconds since 1970. No file is younger.
    pub created: i64,
}

/// What was made of a tree. Dropped, the files are gone.
#[derive(Debug)]
pub struct Made {
    /// The payload `system`.
    pub system: PathBuf,
    /// The payload `kernel.efi`.
    pub boot_file: PathBuf,
    /// What was taken out and added, in words for people.
    pub told: Vec<String>,
    _scratch: TempDir,
}

/// A directory for what an image is made of, in `TMPDIR` or else /var/tmp: /tmp is often memory.
///
/// # Errors
/// [`PublishError::File`].
pub fn scratch() -> Result<TempDir, PublishError> {
    let parent = std::env::var_os("TMPDIR").map_or_else(|| "/var/tmp".into(), PathBuf::from);
    TempDir::with_prefix_in("flipside-", &parent)
        .map_err(PublishError::file("create a directory in", parent))
}

/// The os-release file of `tree`, which has to hold a system.
///
/// # Errors
/// [`PublishError::Tree`] for what is no system that a host could boot.
pub fn os_release(tree: &Tree) -> Result<Vec<u8>, PublishError> {
    let refuse = |what: &str| Err(PublishError::Tree(what.to_owned()));
    if tree.find("usr").is_none_or(|usr| !usr.is_directory()) {
        return refuse("it has no /usr, so it is no root file system");
    }
    if tree.find("usr/lib/systemd/systemd").is_none() {
        return refuse(
            "it has no systemd; install systemd-sysv (Debian) or systemd (Fedora) in it",
        );
    }
    let found = file(tree, "usr/lib/os-release").or_else(|| file(tree, "etc/os-release"));
    match found.and_then(|content| small(&content, OS_RELEASE_LIMIT)) {
        Some(bytes) => Ok(bytes),
        None => refuse("it has no /usr/lib/os-release, nor /etc/os-release"),
    }
}

/// Makes the payloads of `tree`, which is of the product `id` and for `architecture`.
///
/// # Errors
/// [`PublishError`]: of the tree, of the tools, and of files.
pub fn build(
    mut tree: Tree,
    (id, architecture): (&str, Architecture),
    options: &Options,
    scratch: TempDir,
) -> Result<Made, PublishError> {
    let os_release = os_release(&tree)?;
    let kernel = find_kernel(&tree, options.kernel.as_deref())?;
    let boot_file = scratch.path().join("kernel.efi");
    let parts = subdirectory(scratch.path(), "parts")?;
    boot_file::make_boot_file(
        &tree,
        &kernel,
        (architecture, os_release),
        (options.stub.as_deref(), options.command_line.as_deref()),
        (&boot_file, &parts),
    )?;
    remove(&parts)?;

    let mut told = Vec::new();
    let mut tell = |done: Vec<String>, what: &str| {
        told.extend(done.into_iter().map(|line| format!("{what} {line}")));
    };
    tell(tidy(&mut tree, &options.keep)?, "removed");
    if !options.leave_var {
        tell(move_state(&mut tree)?, "moved");
    }
    if !options.leave_root {
        tell(complete_root(&mut tree)?, "made");
    }
    tree.clamp_times(options.created);

    let system = scratch.path().join("system.img");
    let uuid = uuid_of(id, SYSTEM_PAYLOAD);
    let recipe = Recipe { compression: options.compression.clone(), time: options.created, uuid };
    let root = subdirectory(scratch.path(), "root")?;
    make_erofs(&tree, &recipe, &system, &root)?;
    remove(&root)?;
    Ok(Made { system, boot_file, told, _scratch: scratch })
}

fn subdirectory(scratch: &Path, name: &str) -> Result<PathBuf, PublishError> {
    let path = scratch.join(name);
    fs::create_dir(&path).map_err(PublishError::file("create", &path))?;
    Ok(path)
}

fn remove(directory: &Path) -> Result<(), PublishError> {
    fs::remove_dir_all(directory).map_err(PublishError::file("remove", directory))
}
