// SPDX-License-Identifier: MIT OR Apache-2.0

//! The file system of a tree: EROFS, made by `mkfs.erofs`.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;

use flipside_image::Digest;
use uuid::Uuid;

use super::super::PublishError;
use super::Tree;
use super::unpack::unpack;

/// How a file system is made.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// The algorithm of `mkfs.erofs -z`, such as `lz4hc`; `None`: uncompressed.
    pub compression: Option<String>,
    /// The time of the file system itself, in seconds since 1970.
    pub time: i64,
    /// Its UUID.
    pub uuid: Uuid,
}

/// The UUID of the file system in the payload `payload` of the product `id`: the same in every
/// version, since a new one would change blocks that a delta has to bring.
pub fn uuid_of(id: &str, payload: &str) -> Uuid {
    let digest = Digest::of(format!("flipside:erofs:{id}:{payload}").as_bytes());
    let bytes = digest.as_bytes().first_chunk().copied().unwrap_or_default();
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

/// Writes the file system of `tree` to `output`, the same bytes for the same tree and recipe. What it
/// needs meanwhile stands in `scratch`, which is empty.
///
/// # Errors
/// [`PublishError::ToolMissing`], [`PublishError::Tool`] and [`PublishError::File`];
/// [`PublishError::Tree`] without the right to give files to their owners.
pub fn make_erofs(
    tree: &Tree,
    recipe: &Recipe,
    output: &Path,
    scratch: &Path,
) -> Result<(), PublishError> {
    if !nix::unistd::geteuid().is_root() {
        return Err(PublishError::Tree(
            "only root can give the files their owners; run this as root, or by `podman unshare`"
                .to_owned(),
        ));
    }
    unpack(tree, scratch)?;
    let mut arguments: Vec<OsString> = ["--quiet", "-x1"].map(Into::into).into();
    arguments.push(format!("-T{}", recipe.time).into());
    arguments.push(format!("-U{}", recipe.uuid).into());
    if let Some(compression) = &recipe.compression {
        arguments.push(format!("-z{compression}").into());
    }
    arguments.extend([output.into(), scratch.into()]);
    run("mkfs.erofs", "erofs-utils", &arguments)
}

/// Runs a program that a package brings. What it says on stderr is its error.
pub(super) fn run(
    program: &'static str,
    package: &'static str,
    arguments: &[OsString],
) -> Result<(), PublishError> {
    let ended =
        Command::new(program).args(arguments).output().map_err(|error| match error.kind() {
            ErrorKind::NotFound => PublishError::ToolMissing { program, package },
            _ => PublishError::file("run", program)(error),
        })?;
    if ended.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&ended.stderr);
    let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let what = lines.last().map_or_else(|| ended.status.to_string(), |line| (*line).to_owned());
    Err(PublishError::Tool { program, what })
}
