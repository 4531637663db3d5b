// SPDX-License-Identifier: MIT OR Apache-2.0

//! Directories that vendor, runtime and administrator fill with files of the same
//! kind: merged by file name, the administrator's winning, `/dev/null` masking
//! (as systemd's `*.d` directories, systemd.unit(5)).
//!
//! `liboverdrop` does the same, but skips symbolic links to files and
//! directories that it cannot read without a word.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use flipside_core::host::Root;

/// Where files are looked for, the winner first.
pub const LEVELS: [&str; 3] = ["etc", "run", "usr/lib"];

/// What cannot be looked at.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {}", path.display())]
pub struct Unreadable {
    /// The file or directory.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub source: io::Error,
}

impl flipside_image::code::Coded for Unreadable {
    fn code(&self) -> &'static str {
        "directory-unreadable"
    }
}

/// The files called `below` + name in all of `levels` (the winner first), by name in byte
/// order: of each name the winner's, unless that is masked. Names that `wanted`
/// refuses are not looked at.
///
/// # Errors
/// A directory that exists and cannot be read, or a name that leads nowhere.
pub fn scan(
    root: &Root,
    levels: &[&str],
    below: &str,
    wanted: impl Fn(&OsStr) -> bool,
) -> Result<Vec<PathBuf>, Unreadable> {
    let mut files = winners(root, levels, below, wanted)?;
    let mut failure = None;
    files.retain(|path| match is_mask(path) {
        Ok(is_mask) => !is_mask,
        Err(error) => {
            failure.get_or_insert(error);
            false
        }
    });
    failure.map_or(Ok(files), Err)
}

/// As [`scan`], and masked names too.
///
/// # Errors
/// As [`scan`], except that names may lead nowhere.
pub fn winners(
    root: &Root,
    levels: &[&str],
    below: &str,
    wanted: impl Fn(&OsStr) -> bool,
) -> Result<Vec<PathBuf>, Unreadable> {
    let mut winners: BTreeMap<OsString, PathBuf> = BTreeMap::new();
    for level in levels {
        let directory = root.path(level).join(below);
        let unreadable = |source| Unreadable { path: directory.clone(), source };
        let entries = match std::fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if is_absent(&error) => continue,
            Err(error) => return Err(unreadable(error)),
        };
        for entry in entries {
            let name = entry.map_err(unreadable)?.file_name();
            if wanted(&name) && !winners.contains_key(&name) {
                let path = directory.join(&name);
                winners.insert(name, path);
            }
        }
    }
    Ok(winners.into_values().collect())
}

/// The first of `levels` that has `below`; `None` where there is none or it is masked.
///
/// # Errors
/// As [`scan`].
pub fn first(root: &Root, levels: &[&str], below: &str) -> Result<Option<PathBuf>, Unreadable> {
    for level in levels {
        let path = root.path(level).join(below);
        match std::fs::symlink_metadata(&path) {
            Ok(_) => return Ok(if is_mask(&path)? { None } else { Some(path) }),
            Err(error) if is_absent(&error) => {}
            Err(source) => return Err(Unreadable { path, source }),
        }
    }
    Ok(None)
}

/// `/dev/null` itself or a link to it, or an empty file.
fn is_mask(path: &Path) -> Result<bool, Unreadable> {
    let is_empty =
        |path| std::fs::metadata(path).is_ok_and(|file| file.is_file() && file.len() == 0);
    Ok(is_null(path)? || is_empty(path))
}

/// Whether `path` is `/dev/null` itself or a link to it.
///
/// # Errors
/// A link that leads nowhere.
pub fn is_null(path: &Path) -> Result<bool, Unreadable> {
    // Below another root there may be no /dev.
    if std::fs::read_link(path).is_ok_and(|target| target == Path::new("/dev/null")) {
        return Ok(true);
    }
    let metadata =
        std::fs::metadata(path).map_err(|source| Unreadable { path: path.to_owned(), source })?;
    // Major 1, minor 3: Documentation/admin-guide/devices.txt.
    let null = rustix::fs::makedev(1, 3);
    Ok(metadata.file_type().is_char_device() && metadata.rdev() == null)
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn host(files: &[(&str, &str)]) -> (tempfile::TempDir, Root) {
        let directory = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = directory.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            match text.strip_prefix("-> ") {
                Some(target) => symlink(target, path).unwrap(),
                None => std::fs::write(path, text).unwrap(),
            }
        }
        let root = Root::new(directory.path());
        (directory, root)
    }

    fn names(root: &Root) -> Vec<String> {
        let files = scan(root, &LEVELS, "x.d", |name| !name.as_encoded_bytes().starts_with(b"."));
        let relative = |path: PathBuf| root.on_host(&path).to_string_lossy().into_owned();
        files.unwrap().into_iter().map(relative).collect()
    }

    #[test]
    fn names_are_merged_in_byte_order_and_the_administrator_wins() {
        let (_directory, root) = host(&[
            ("usr/lib/x.d/10", "vendor"),
            ("usr/lib/x.d/20", "vendor"),
            ("run/x.d/20", "runtime"),
            ("etc/x.d/05", "administrator"),
            ("run/x.d/Z", "runtime"),
            ("etc/x.d/20", "administrator"),
            ("etc/x.d/.hidden", "editor"),
        ]);
        assert_eq!(names(&root), ["/etc/x.d/05", "/usr/lib/x.d/10", "/etc/x.d/20", "/run/x.d/Z"]);
    }

    #[test]
    fn null_and_empty_files_mask_lower_levels_only() {
        let (_directory, root) = host(&[
            ("usr/lib/x.d/10", "vendor"),
            ("usr/lib/x.d/20", "vendor"),
            ("run/x.d/10", "-> /dev/null"),
            ("etc/x.d/20", ""),
            ("usr/lib/x.d/30", "-> /dev/null"),
            ("etc/x.d/30", "administrator"),
            ("etc/x.d/40", "-> 30"),
        ]);
        assert_eq!(names(&root), ["/etc/x.d/30", "/etc/x.d/40"]);
        assert_eq!(first(&root, &LEVELS, "x.d/20").unwrap(), None);
        assert_eq!(first(&root, &LEVELS, "x.d/50").unwrap(), None);
        assert!(first(&root, &LEVELS, "x.d/30").unwrap().unwrap().ends_with("etc/x.d/30"));
    }

    #[test]
    fn a_link_that_leads_nowhere_is_an_error() {
        let (_directory, root) = host(&[("etc/x.d/10", "-> ../gone")]);
        let error = scan(&root, &LEVELS, "x.d", |_| true).unwrap_err();
        assert!(error.path.ends_with("etc/x.d/10"));
        assert!(first(&root, &LEVELS, "x.d/10").is_err());
    }
}
