// SPDX-License-Identifier: MIT OR Apache-2.0

//! Which hooks this host has.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use crate::config::overlay::{self, Unreadable};
use flipside_core::host::Root;

/// Where hooks are, below `/etc` and `/usr/lib`.
pub const DIRECTORY: &str = "flipside/hooks/pre-upgrade.d";

/// The administrator's wins. Not `/run`: who may write there may not decide this.
const LEVELS: [&str; 2] = ["etc", "usr/lib"];

/// A file in a hook directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// Its file name, by which hooks are ordered and masked.
    pub name: String,
    /// Where it stands.
    pub path: PathBuf,
    /// Why it is not asked, where it is not.
    pub ignored: Option<&'static str>,
}

/// The hooks in the order in which they are asked. Files that are not executable are
/// listed as ignored; hidden files and what editors and package managers leave
/// behind are not listed.
///
/// # Errors
/// A directory that cannot be read, or a link that leads nowhere.
pub fn discover(root: &Root) -> Result<Vec<Hook>, Unreadable> {
    discover_in(root, DIRECTORY)
}

/// The same, of another kind of program, in `directory` below `/etc` and `/usr/lib`.
///
/// # Errors
/// As [`discover`].
pub fn discover_in(root: &Root, directory: &str) -> Result<Vec<Hook>, Unreadable> {
    let files = overlay::scan(root, &LEVELS, directory, is_hook_name)?;
    let hook = |path: PathBuf| Hook {
        name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        ignored: why_ignored(&path),
        path,
    };
    Ok(files.into_iter().map(hook).collect())
}

fn why_ignored(path: &Path) -> Option<&'static str> {
    if !path.is_file() {
        Some("it is not a regular file")
    } else if access(path, Access::EXEC_OK).is_err() {
        Some("it is not executable")
    } else {
        None
    }
}

fn is_hook_name(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    let is_left_behind = [".dpkg-", ".ucf-", ".rpm"].iter().any(|mark| {
        name.rsplit_once('.').is_some_and(|(_, end)| format!(".{end}").starts_with(mark))
    });
    let is_backup = ["~", "#", ".bak", ".orig", ".swp"].iter().any(|end| name.ends_with(end));
    !name.starts_with('.') && !is_left_behind && !is_backup
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    #[test]
    fn names_of_hooks() {
        for (name, is_hook) in [
            ("10-check", true),
            ("10-check.py", true),
            ("maintenance", true),
            ("x.rpmish.sh", true),
            (".hidden", false),
            ("10-check~", false),
            ("#10-check#", false),
            ("10-check.dpkg-old", false),
            ("10-check.dpkg-dist", false),
            ("10-check.rpmnew", false),
            ("10-check.bak", false),
        ] {
            assert_eq!(is_hook_name(OsStr::new(name)), is_hook, "{name}");
        }
    }

    #[test]
    fn vendor_and_administrator_are_merged() {
        let directory = tempfile::tempdir().unwrap();
        let root = Root::new(directory.path());
        for level in LEVELS {
            std::fs::create_dir_all(root.path(level).join(DIRECTORY)).unwrap();
        }
        let put = |level: &str, name: &str, mode| {
            let path = root.path(level).join(DIRECTORY).join(name);
            std::fs::write(&path, "#!/bin/sh\n").unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        put("usr/lib", "20-vendor", 0o755);
        put("usr/lib", "30-both", 0o755);
        put("usr/lib", "40-masked", 0o755);
        put("etc", "10-own", 0o755);
        put("etc", "30-both", 0o644);
        put("etc", "10-own~", 0o755);
        let etc = root.path("etc").join(DIRECTORY);
        symlink("/dev/null", etc.join("40-masked")).unwrap();
        symlink("10-own", etc.join("50-link")).unwrap();
        std::fs::create_dir(etc.join("60-directory")).unwrap();
        let found = discover(&root).unwrap();
        let found: Vec<_> = found.iter().map(|h| (h.name.as_str(), h.ignored)).collect();
        assert_eq!(
            found,
            [
                ("10-own", None),
                ("20-vendor", None),
                ("30-both", Some("it is not executable")),
                ("50-link", None),
                ("60-directory", Some("it is not a regular file")),
            ]
        );
    }

    #[test]
    fn a_host_without_hooks_has_none() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(discover(&Root::new(directory.path())).unwrap(), []);
    }
}
