// SPDX-License-Identifier: MIT OR Apache-2.0

//! Which hooks this host has.

use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};

use crate::config::overlay::{self, Unusable};
use flipside_core::host::{Root, trust};

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
    /// Why it is not asked, where it is not meant to be.
    pub ignored: Option<&'static str>,
    /// Why it cannot be asked, where it was meant to be. It has to be treated as one that refuses.
    pub fault: Option<String>,
}

/// The hooks in the order in which they are asked. Masked ones, hidden files and what editors and
/// package managers leave behind are not listed.
///
/// # Errors
/// A directory that cannot be read or that others can change, or a link that leads nowhere.
pub fn discover(root: &Root) -> Result<Vec<Hook>, Unusable> {
    discover_in(root, DIRECTORY)
}

/// The same, of another kind of program, in `directory` below `/etc` and `/usr/lib`.
///
/// # Errors
/// As [`discover`].
pub fn discover_in(root: &Root, directory: &str) -> Result<Vec<Hook>, Unusable> {
    let files = overlay::scan(root, &LEVELS, directory, is_hook_name)?;
    let hook = |path: PathBuf| {
        let name = name_of(&path);
        let is_executable = access(&path, AccessFlags::X_OK).is_ok();
        let is_readme = name.starts_with("README") && path.is_file() && !is_executable;
        let ignored = is_readme.then_some("it is a README");
        let fault = if is_readme { None } else { fault(root, &path, is_executable) };
        Hook { name, ignored, fault, path }
    };
    Ok(files.into_iter().map(hook).collect())
}

/// The links to `/dev/null` by which hooks are masked, by name.
///
/// # Errors
/// As [`discover`].
pub fn masked(root: &Root) -> Result<Vec<Hook>, Unusable> {
    let mut masks = Vec::new();
    for path in overlay::winners(root, &LEVELS, DIRECTORY, is_hook_name)? {
        if overlay::is_null(&path)? {
            let ignored = Some("a link to /dev/null masks it");
            masks.push(Hook { name: name_of(&path), path, ignored, fault: None });
        }
    }
    Ok(masks)
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn fault(root: &Root, path: &Path, is_executable: bool) -> Option<String> {
    let found = std::fs::metadata(path).ok();
    if !found.as_ref().is_some_and(|found| found.is_file()) {
        Some("it is not a regular file; remove it".to_owned())
    } else if found.is_some_and(|found| found.size() == 0) {
        Some("it is empty; a link to /dev/null would mask it".to_owned())
    } else if !is_executable {
        Some("it is not executable (`chmod +x`)".to_owned())
    } else {
        trust::check(root, path).err().map(|error| error.to_string())
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
        let faults: Vec<_> =
            found.iter().map(|h| (h.name.as_str(), h.fault.as_deref().unwrap_or(""))).collect();
        assert_eq!(
            faults,
            [
                ("10-own", ""),
                ("20-vendor", ""),
                ("30-both", "it is not executable (`chmod +x`)"),
                ("50-link", ""),
                ("60-directory", "it is not a regular file; remove it"),
            ]
        );
        assert!(found.iter().all(|hook| hook.ignored.is_none()));
        let masked: Vec<_> = masked(&root).unwrap().into_iter().map(|h| h.name).collect();
        assert_eq!(masked, ["40-masked"]);
    }

    #[test]
    fn what_cannot_be_asked_is_a_fault_unless_it_is_a_readme() {
        let directory = tempfile::tempdir().unwrap();
        let root = Root::new(directory.path());
        let hooks = root.path("etc").join(DIRECTORY);
        std::fs::create_dir_all(&hooks).unwrap();
        let program = "#!/bin/sh\n";
        for (name, text, mode, is_ignored, fault) in [
            ("good", program, 0o755, false, ""),
            ("README", "words", 0o644, true, ""),
            ("README.md", "", 0o644, true, ""),
            ("README.sh", program, 0o755, false, ""),
            ("lost", program, 0o644, false, "not executable"),
            ("readme", "words", 0o644, false, "not executable"),
            ("empty", "", 0o644, false, "empty"),
            ("empty-executable", "", 0o755, false, "empty"),
            ("groups", program, 0o775, false, "mode is 0775"),
            ("others", program, 0o757, false, "mode is 0757"),
        ] {
            let path = hooks.join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let found = discover(&root).unwrap().pop().unwrap();
            assert_eq!(found.ignored.is_some(), is_ignored, "{name}");
            let said = found.fault.unwrap_or_default();
            assert_eq!(said.is_empty(), fault.is_empty(), "{name}: {said}");
            assert!(said.contains(fault), "{name}: {said}");
            std::fs::remove_file(path).unwrap();
        }
    }

    #[test]
    fn a_host_without_hooks_has_none() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(discover(&Root::new(directory.path())).unwrap(), []);
    }
}
