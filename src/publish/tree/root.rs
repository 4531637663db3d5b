// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a read-only root has to have: mount points, and what is mounted there.

use super::super::PublishError;
use super::{Inode, Kind, NameError, Tree, unpack};

/// Mount points and their modes.
const MOUNT_POINTS: [(&str, u32); 9] = [
    ("boot", 0o755),
    ("dev", 0o755),
    ("efi", 0o755),
    ("mnt", 0o755),
    ("proc", 0o555),
    ("run", 0o755),
    ("sys", 0o555),
    ("tmp", 0o1777),
    ("var", 0o755),
];

const FSTAB: &str = "\
# Made by `flipside image build`: there was no fstab.
/dev/flipside/system /    auto  defaults,ro                                0 0
PARTLABEL=esp        /efi vfat  umask=0077,shortname=winnt                 0 2
PARTLABEL=data       /var ext4  defaults,x-systemd.makefs,x-systemd.growfs 0 2
tmpfs                /tmp tmpfs mode=1777,nosuid,nodev                     0 0
";

/// The most bytes of an fstab that are looked at.
const FSTAB_LIMIT: u64 = 1 << 20;

/// Makes what is missing, and says what.
///
/// # Errors
/// [`PublishError::Tree`] where a mount point is something else.
pub fn complete_root(tree: &mut Tree) -> Result<Vec<String>, PublishError> {
    let failed = |error: NameError| PublishError::Tree(error.to_string());
    let mut told = Vec::new();
    for (name, mode) in MOUNT_POINTS {
        match tree.get(name.as_bytes()).map(Inode::is_directory) {
            Some(true) => {}
            Some(false) => {
                return Err(PublishError::Tree(format!("/{name} is no directory")));
            }
            None => {
                tree.put(name.as_bytes(), Inode::directory(mode)).map_err(failed)?;
                told.push(format!("/{name}"));
            }
        }
    }
    if !has_fstab(tree) {
        tree.put(b"etc/fstab", Inode::text(FSTAB)).map_err(failed)?;
        told.push("/etc/fstab".to_owned());
    }
    Ok(told)
}

/// Whether an fstab mounts anything. Debian's packages leave one that says it is not configured.
fn has_fstab(tree: &Tree) -> bool {
    let Some(Inode { kind: Kind::File(content), .. }) = tree.find("etc/fstab") else {
        return false;
    };
    let Some(bytes) = unpack::small(content, FSTAB_LIMIT) else { return true };
    let text = String::from_utf8_lossy(&bytes);
    text.lines().map(str::trim).any(|line| !line.is_empty() && !line.starts_with('#'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_made_and_told_once() {
        let mut tree = Tree::default();
        tree.put(b"etc/fstab", Inode::text("# UNCONFIGURED\n\n")).unwrap();
        let told = complete_root(&mut tree).unwrap();
        assert_eq!((told.len(), told.last().unwrap().as_str()), (10, "/etc/fstab"));
        assert_eq!(tree.get(b"tmp").unwrap().mode, 0o1777);
        assert_eq!(complete_root(&mut tree).unwrap(), [""; 0]);
    }

    #[test]
    fn an_fstab_of_ones_own_stays_and_a_file_is_no_mount_point() {
        let mut tree = Tree::default();
        tree.put(b"etc/fstab", Inode::text("/dev/sda1 / ext4 ro 0 0\n")).unwrap();
        assert!(!complete_root(&mut tree).unwrap().contains(&"/etc/fstab".to_owned()));
        tree.put(b"efi", Inode::text("x")).unwrap();
        assert!(complete_root(&mut tree).is_err());
    }
}
