// SPDX-License-Identifier: MIT OR Apache-2.0

//! Directories that vendor, runtime and administrator fill with files of the same
//! kind: merged by file name, the administrator's winning, `/dev/null` masking
//! (as systemd's `*.d` directories, systemd.unit(5)).
//!
//! `liboverdrop` does the same, but skips symbolic links to files and
//! directories that it cannot read without a word.

use crate::codes;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use flipside_core::host::{Root, trust};

/// Where files are looked for, the winner first.
pub const LEVELS: [&str; 3] = ["etc", "run", "usr/lib"];

/// Those whose files may protect the host.
const PROTECTING: [&str; 2] = ["etc", "usr/lib"];

/// What cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// A file or directory that cannot be looked at.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// One that others than root and the caller could change.
    #[error(transparent)]
    Untrusted(#[from] trust::Untrusted),
}

impl Unusable {
    /// The file or directory.
    pub fn path(&self) -> &Path {
        match self {
            Self::Unreadable { path, .. } => path,
            Self::Untrusted(error) => &error.path,
        }
    }
}

impl flipside_image::code::Coded for Unusable {
    fn code(&self) -> flipside_image::code::Code {
        match self {
            Self::Unreadable { .. } => codes::FILE_UNREADABLE,
            Self::Untrusted(_) => codes::FILE_UNTRUSTED,
        }
    }
}

/// The files called `below` + name in all of `levels` (the winner first), by name in byte
/// order: of each name the winner's, unless that is masked. Names that `wanted`
/// refuses are not looked at.
///
/// # Errors
/// A directory that exists and cannot be read or that others can change, or a name that leads
/// nowhere. Not a file that others can change: see [`trust::check`].
pub fn scan(
    root: &Root,
    levels: &[&str],
    below: &str,
    wanted: impl Fn(&OsStr) -> bool,
) -> Result<Vec<PathBuf>, Unusable> {
    let mut files = winners(root, levels, below, wanted)?;
    let mut failure = None;
    files.retain(|path| match is_null(path) {
        Ok(is_null) => !is_null,
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
) -> Result<Vec<PathBuf>, Unusable> {
    let mut winners: BTreeMap<OsString, PathBuf> = BTreeMap::new();
    for level in levels {
        let directory = root.path(level).join(below);
        let unreadable = |source| Unusable::Unreadable { path: directory.clone(), source };
        if is_absent(root, &directory)? {
            continue;
        }
        std::fs::metadata(&directory).map_err(unreadable)?;
        trust::check(root, &directory)?;
        for entry in std::fs::read_dir(&directory).map_err(unreadable)? {
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
pub fn first(root: &Root, levels: &[&str], below: &str) -> Result<Option<PathBuf>, Unusable> {
    for level in levels {
        let path = root.path(level).join(below);
        if !is_absent(root, &path)? {
            return Ok(if is_null(&path)? { None } else { Some(path) });
        }
    }
    Ok(None)
}

/// Whether `path` is `/dev/null` itself or a link to it.
///
/// # Errors
/// A link that leads nowhere.
pub fn is_null(path: &Path) -> Result<bool, Unusable> {
    // Below another root there may be no /dev.
    if std::fs::read_link(path).is_ok_and(|target| target == Path::new("/dev/null")) {
        return Ok(true);
    }
    let metadata = std::fs::metadata(path)
        .map_err(|source| Unusable::Unreadable { path: path.to_owned(), source })?;
    // Major 1, minor 3: Documentation/admin-guide/devices.txt.
    let null = nix::sys::stat::makedev(1, 3);
    Ok(metadata.file_type().is_char_device() && metadata.rdev() == null)
}

/// Whether no name on the way from `root` leads to `path`.
///
/// # Errors
/// A link on the way that leads nowhere, or a file where a directory belongs: what stood behind it
/// may have been a key. So may what stood in a directory out of which others can take it; files
/// in `/run` and `/var` decide nothing that protects the host.
fn is_absent(root: &Root, path: &Path) -> Result<bool, Unusable> {
    let mut way: Vec<&Path> =
        path.ancestors().take_while(|above| *above != root.directory()).collect();
    way.reverse();
    for here in way {
        let unreadable = |source| Unusable::Unreadable { path: here.to_owned(), source };
        match std::fs::symlink_metadata(here) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let decides =
                    |above: &&Path| PROTECTING.iter().any(|p| above.starts_with(root.path(p)));
                here.parent().filter(decides).map_or(Ok(()), |above| trust::check(root, above))?;
                return Ok(true);
            }
            Err(error) => return Err(unreadable(error)),
            Ok(_) if here == path => {}
            Ok(_) if std::fs::metadata(here).map_err(unreadable)?.is_dir() => {}
            Ok(_) => return Err(unreadable(io::ErrorKind::NotADirectory.into())),
        }
    }
    Ok(false)
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
    fn links_to_null_mask_lower_levels_and_empty_files_do_not() {
        let (_directory, root) = host(&[
            ("usr/lib/x.d/10", "vendor"),
            ("usr/lib/x.d/20", "vendor"),
            ("run/x.d/10", "-> /dev/null"),
            ("etc/x.d/20", "-> /dev/null"),
            ("usr/lib/x.d/30", "-> /dev/null"),
            ("etc/x.d/30", "administrator"),
            ("etc/x.d/40", "-> 30"),
            ("usr/lib/x.d/60", "vendor"),
            ("etc/x.d/60", ""),
        ]);
        assert_eq!(names(&root), ["/etc/x.d/30", "/etc/x.d/40", "/etc/x.d/60"]);
        assert_eq!(first(&root, &LEVELS, "x.d/20").unwrap(), None);
        assert_eq!(first(&root, &LEVELS, "x.d/50").unwrap(), None);
        assert!(first(&root, &LEVELS, "x.d/30").unwrap().unwrap().ends_with("etc/x.d/30"));
    }

    #[test]
    fn a_link_that_leads_nowhere_is_an_error() {
        let (_directory, root) = host(&[("etc/x.d/10", "-> ../gone")]);
        let error = scan(&root, &LEVELS, "x.d", |_| true).unwrap_err();
        assert!(error.path().ends_with("etc/x.d/10"));
        assert!(first(&root, &LEVELS, "x.d/10").is_err());
    }

    #[test]
    fn what_is_no_directory_is_not_taken_for_an_empty_one() {
        for (path, text) in [("etc/x.d", ""), ("etc/x.d", "-> ../gone"), ("etc", "a file")] {
            let (_directory, root) = host(&[("usr/lib/x.d/10", "vendor"), (path, text)]);
            assert!(scan(&root, &LEVELS, "x.d", |_| true).is_err(), "{path} {text}");
            assert!(first(&root, &LEVELS, "x.d/10").is_err(), "{path} {text}");
        }
        let (_directory, root) = host(&[("usr/lib/x.d/10", "vendor"), ("etc", "-> usr")]);
        assert_eq!(names(&root), ["/usr/lib/x.d/10"]);
    }

    #[test]
    fn what_is_missing_where_others_could_take_it_away_is_an_error() {
        use std::os::unix::fs::PermissionsExt as _;
        let (_directory, root) = host(&[("usr/lib/y/x.d/10", "vendor"), ("etc/y/z", "")]);
        for (mode, is_used) in [(0o775, false), (0o757, false), (0o755, true)] {
            let permissions = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(root.path("/etc/y"), permissions).unwrap();
            assert_eq!(scan(&root, &LEVELS, "y/x.d", |_| true).is_ok(), is_used, "{mode:o}");
            assert_eq!(first(&root, &LEVELS, "y/x.d/10").is_ok(), is_used, "{mode:o}");
        }
    }

    #[test]
    fn a_directory_that_others_can_change_is_not_used() {
        use std::os::unix::fs::PermissionsExt as _;
        let (_directory, root) = host(&[("usr/lib/x.d/10", "vendor")]);
        for (mode, is_used) in [(0o775, false), (0o757, false), (0o1777, false), (0o755, true)] {
            let permissions = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(root.path("/usr/lib/x.d"), permissions).unwrap();
            assert_eq!(scan(&root, &LEVELS, "x.d", |_| true).is_ok(), is_used, "{mode:o}");
        }
    }
}
