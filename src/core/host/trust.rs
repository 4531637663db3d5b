// SPDX-License-Identifier: MIT OR Apache-2.0

//! Who may change a file that decides something: settings, keys, programs that are run.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::Root;

/// Who but the owner may write (inode(7)).
const OTHERS_WRITE: u32 = 0o022;
/// In such a directory nobody replaces what is another's.
const STICKY: u32 = 0o1000;

/// A file, or a directory on the way to it, that somebody else could change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} {what}", path.display())]
pub struct Untrusted {
    /// The file or directory, without symbolic links.
    pub path: PathBuf,
    /// Who can change it, and the remedy.
    pub what: String,
}

/// Refuses `path`, a file or a directory of the host below `root`, where another user than root
/// and the caller could change it: by its owner or mode, or by those of a directory on the way to
/// it. Where links lead to it, each of them is on the way, and so is what leads to that. What is above
/// `root` is not looked at.
///
/// # Errors
/// [`Untrusted`], also where `path` cannot be looked at.
pub fn check(root: &Root, path: &Path) -> Result<(), Untrusted> {
    let top = real(root.directory())?;
    let target = real(path)?;
    check_one(&target, false)?;
    let stands_in = real(path.parent().unwrap_or(path))?;
    // Others may add a file to a sticky directory, but not replace a directory in it.
    check_one(&stands_in, stands_in == top || target.is_dir())?;
    check_way(path, &top)
}

fn real(path: &Path) -> Result<PathBuf, Untrusted> {
    fs::canonicalize(path).map_err(|error| unseen(path, &error))
}

fn unseen(path: &Path, error: &io::Error) -> Untrusted {
    Untrusted { path: path.to_owned(), what: format!("cannot be looked at: {error}") }
}

/// Follows `path` name by name, as the kernel does, and refuses a directory in which others could put
/// something else in the place of what comes next.
fn check_way(path: &Path, top: &Path) -> Result<(), Untrusted> {
    let names = |path: &Path| -> Vec<PathBuf> {
        path.components().rev().map(|name| PathBuf::from(name.as_os_str())).collect()
    };
    let mut left = names(&std::path::absolute(path).map_err(|error| unseen(path, &error))?);
    let mut here = PathBuf::new();
    while let Some(name) = left.pop() {
        if name == Path::new("..") {
            here.pop();
            continue;
        }
        let next = here.join(name);
        let found = fs::symlink_metadata(&next).map_err(|error| unseen(&next, &error))?;
        let is_below = !top.starts_with(&here);
        if is_below {
            check_one(&here, true)?;
        }
        if !found.is_symlink() {
            here = next;
            continue;
        }
        // In a sticky directory it can be replaced by its owner.
        if is_below {
            check_owner(&next, &found)?;
        }
        left.extend(names(&fs::read_link(&next).map_err(|error| unseen(&next, &error))?));
    }
    Ok(())
}

fn check_one(path: &Path, may_be_sticky: bool) -> Result<(), Untrusted> {
    let found = fs::metadata(path).map_err(|error| unseen(path, &error))?;
    check_owner(path, &found)?;
    let is_sticky = found.is_dir() && found.mode() & STICKY != 0 && may_be_sticky;
    if found.mode() & OTHERS_WRITE == 0 || is_sticky {
        return Ok(());
    }
    let mode = found.mode() & 0o7777;
    let what = format!("can be changed by others: its mode is {mode:04o} (`chmod go-w`)");
    Err(Untrusted { path: path.to_owned(), what })
}

fn check_owner(path: &Path, found: &Metadata) -> Result<(), Untrusted> {
    if is_own(found.uid()) {
        return Ok(());
    }
    let what = format!("belongs to user {}, who could change it (`chown root`)", found.uid());
    Err(Untrusted { path: path.to_owned(), what })
}

/// Whether `user` is root or the caller.
pub(crate) fn is_own(user: u32) -> bool {
    user == 0 || user == nix::unistd::geteuid().as_raw()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    fn host() -> (tempfile::TempDir, Root) {
        let directory = tempfile::tempdir().unwrap();
        let root = Root::new(directory.path());
        fs::create_dir_all(root.path("/etc/flipside/keys")).unwrap();
        for path in ["/etc", "/etc/flipside", "/etc/flipside/keys"] {
            set_mode(&root.path(path), 0o755);
        }
        fs::write(root.path("/etc/flipside/keys/x.pub"), "").unwrap();
        set_mode(&root.path("/etc/flipside/keys/x.pub"), 0o644);
        (directory, root)
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn what_others_can_change_is_refused() {
        for (path, mode, is_trusted) in [
            ("/etc/flipside/keys/x.pub", 0o644, true),
            ("/etc/flipside/keys/x.pub", 0o400, true),
            ("/etc/flipside/keys/x.pub", 0o664, false),
            ("/etc/flipside/keys/x.pub", 0o646, false),
            ("/etc/flipside/keys", 0o775, false),
            ("/etc/flipside/keys", 0o1777, false),
            ("/etc/flipside", 0o757, false),
            ("/etc", 0o777, false),
            ("/etc", 0o1777, true),
        ] {
            let (_directory, root) = host();
            set_mode(&root.path(path), mode);
            let checked = check(&root, &root.path("/etc/flipside/keys/x.pub"));
            assert_eq!(checked.is_ok(), is_trusted, "{path} {mode:o}");
            if let Err(error) = checked {
                let text = error.to_string();
                assert!(text.contains(path) && text.contains("chmod go-w"), "{text}");
            }
        }
    }

    #[test]
    fn a_directory_is_safe_in_a_sticky_one_and_a_file_is_not() {
        let (_directory, root) = host();
        set_mode(&root.path("/etc/flipside"), 0o1777);
        assert_eq!(check(&root, &root.path("/etc/flipside/keys")), Ok(()));
        fs::write(root.path("/etc/flipside/flipside.toml"), "").unwrap();
        set_mode(&root.path("/etc/flipside/flipside.toml"), 0o644);
        assert!(check(&root, &root.path("/etc/flipside/flipside.toml")).is_err());
        set_mode(&root.path("/etc/flipside"), 0o777);
        assert!(check(&root, &root.path("/etc/flipside/keys")).is_err());
    }

    #[test]
    fn both_ends_of_a_link_count() {
        let (_directory, root) = host();
        let link = root.path("/etc/flipside/keys/y.pub");
        symlink("../../../srv/y.pub", &link).unwrap();
        assert!(check(&root, &link).is_err(), "it leads nowhere");
        fs::create_dir(root.path("/srv")).unwrap();
        fs::write(root.path("/srv/y.pub"), "").unwrap();
        set_mode(&root.path("/srv/y.pub"), 0o644);
        for (mode, is_trusted) in [(0o755, true), (0o777, false), (0o1777, true)] {
            set_mode(&root.path("/srv"), mode);
            assert_eq!(check(&root, &link).is_ok(), is_trusted, "{mode:o}");
        }
    }

    #[test]
    fn each_link_on_the_way_counts() {
        let (_directory, root) = host();
        for directory in ["/srv", "/opt/f/keys"] {
            fs::create_dir_all(root.path(directory)).unwrap();
        }
        for path in ["/opt/x.pub", "/opt/f/keys/x.pub"] {
            fs::write(root.path(path), "").unwrap();
            set_mode(&root.path(path), 0o644);
        }
        // From link to link, by a directory that is one, and up again.
        symlink("/gone", root.path("/srv/elsewhere")).unwrap();
        symlink("../opt/x.pub", root.path("/srv/hop")).unwrap();
        symlink("../opt/f", root.path("/srv/f")).unwrap();
        symlink("../../../srv/hop", root.path("/etc/flipside/keys/y.pub")).unwrap();
        symlink("../../../srv/f/keys/x.pub", root.path("/etc/flipside/keys/z.pub")).unwrap();
        symlink("../../../srv/../opt/x.pub", root.path("/etc/flipside/keys/up.pub")).unwrap();
        for name in ["y.pub", "z.pub", "up.pub"] {
            let link = root.path("/etc/flipside/keys").join(name);
            for (mode, is_trusted) in [(0o755, true), (0o777, name == "up.pub"), (0o1777, true)] {
                set_mode(&root.path("/srv"), mode);
                assert_eq!(check(&root, &link).is_ok(), is_trusted, "{name} {mode:o}");
            }
        }
        // Who owns a link can replace it, also in a sticky directory.
        let hop = root.path("/srv/hop");
        if std::os::unix::fs::lchown(&hop, Some(12345), None).is_ok() {
            let text =
                check(&root, &root.path("/etc/flipside/keys/y.pub")).unwrap_err().to_string();
            assert!(text.contains("/srv/hop belongs to user 12345"), "{text}");
        }
    }

    #[test]
    fn what_belongs_to_another_user_is_refused() {
        let (_directory, root) = host();
        let path = root.path("/etc/flipside/keys/x.pub");
        // Only root can give a file away.
        if std::os::unix::fs::chown(&path, Some(12345), None).is_ok() {
            let text = check(&root, &path).unwrap_err().to_string();
            assert!(text.contains("belongs to user 12345"), "{text}");
        }
    }
}
