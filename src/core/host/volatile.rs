// SPDX-License-Identifier: MIT OR Apache-2.0

//! Whether what is written somewhere outlives the boot.

use std::path::Path;

use super::Root;
use super::mounts::{self, Mount, Mounts, real_path};

/// How many overlays may lie one over the other.
const DEPTH: usize = 8;

/// Whether `path`, a file or directory of the host below `root`, lies in memory and is gone with
/// this boot: on a tmpfs, or on an overlay that writes to one. `false` also where that cannot be
/// told.
pub fn is_volatile(root: &Root, path: &Path) -> bool {
    if let Ok(Some(mounts)) = mounts::read(root) {
        return is_in_memory(&mounts, root, path);
    }
    // A host in a directory has no list of its own. What is mounted inside of it counts, and not
    // what the directory itself lies on.
    let (Ok(Some(mounts)), Ok(top)) =
        (mounts::read(&Root::live()), std::fs::canonicalize(root.directory()))
    else {
        return false;
    };
    let path = top.join(real_path(root, path).strip_prefix("/").unwrap_or(path));
    let is_inside = |mount: &Mount| mount.point != top && mount.point.starts_with(&top);
    mounts.holding(&path).is_some_and(is_inside) && is_in_memory(&mounts, &Root::live(), &path)
}

/// The same of a host whose mounts these are.
pub fn is_in_memory(mounts: &Mounts, root: &Root, path: &Path) -> bool {
    let mut path = real_path(root, path);
    for _ in 0..DEPTH {
        let Some(mount) = mounts.holding(&path) else { return false };
        if mount.is_in_memory() {
            return true;
        }
        let upper = mount.paths_of("upperdir").into_iter().next();
        match upper.filter(|_| mount.kind == "overlay") {
            Some(upper) => path = real_path(root, &upper),
            None => return false,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_found_below_overlays() {
        let directory = tempfile::tempdir().unwrap();
        let root = Root::new(directory.path());
        for (mounts, path, expected) in [
            ("20 1 8:1 / / rw - ext4 /dev/sda1 rw\n", "/var/lib/flipside", false),
            ("20 1 0:20 / / rw - tmpfs tmpfs rw\n", "/var/lib/flipside", true),
            (
                "20 1 8:1 / / ro - erofs /dev/sda1 ro\n21 20 0:21 / /var rw - tmpfs tmpfs rw\n",
                "/var/lib/flipside",
                true,
            ),
            (
                "20 1 8:1 / / ro - erofs /dev/sda1 ro\n21 20 0:21 / /var rw - tmpfs tmpfs rw\n",
                "/etc/flipside",
                false,
            ),
            (
                "20 1 8:1 / / ro - erofs /dev/sda1 ro\n21 20 0:21 / /run rw - tmpfs tmpfs rw\n\
                 22 20 0:22 / /var rw - overlay overlay rw,lowerdir=/var,upperdir=/run/o/up,workdir=/run/o/w\n",
                "/var/lib/flipside",
                true,
            ),
            (
                "20 1 8:1 / / ro - erofs /dev/sda1 ro\n21 20 8:2 / /data rw - ext4 /dev/sda2 rw\n\
                 22 20 0:22 / /etc rw - overlay overlay rw,lowerdir=/etc,upperdir=/data/etc,workdir=/data/w\n",
                "/etc/flipside",
                false,
            ),
            (
                "20 1 0:20 / / rw - overlay overlay rw,lowerdir=/a,upperdir=/b,workdir=/c\n",
                "/var/lib/flipside",
                false,
            ),
            ("", "/var/lib/flipside", false),
        ] {
            let mounts = Mounts::parse(mounts.as_bytes());
            assert_eq!(is_in_memory(&mounts, &root, Path::new(path)), expected, "{mounts:?}");
        }
    }

    #[test]
    fn a_hosts_own_list_counts() {
        let directory = tempfile::tempdir().unwrap();
        let root = Root::new(directory.path());
        std::fs::create_dir_all(root.path("/proc/self")).unwrap();
        // Whatever the directory itself lies on.
        assert!(!is_volatile(&root, Path::new("/var/lib/flipside")));
        for (kind, expected) in [("tmpfs", true), ("ext4", false)] {
            let text = format!(
                "20 1 8:1 / / rw - ext4 /dev/sda1 rw\n21 20 0:21 / /var rw - {kind} x rw\n"
            );
            std::fs::write(root.path("/proc/self/mountinfo"), text).unwrap();
            assert_eq!(is_volatile(&root, Path::new("/var/lib/flipside")), expected);
        }
    }
}
