// SPDX-License-Identifier: MIT OR Apache-2.0

//! This host's identity (machine-id(5)), which is shown to nobody: only hashes of it are used, each
//! for one purpose.

use std::io::{self, Read as _};
use std::path::Path;

use aws_lc_rs::hmac;
use uuid::Uuid;

use flipside_core::host::mounts::{self, Mount, real_path};
use flipside_core::host::{Files, Root, is_in_memory};

/// Where it stands.
const FILE: &str = "/etc/machine-id";
/// Where one is kept that outlives the slots. The initrd part binds it over [`FILE`] where a slot
/// has none of its own.
const KEPT: &str = "/var/lib/flipside/machine-id";
/// What the initrd part leaves in each boot of a slot.
const BOOTED: &str = "/run/flipside/boot/slot";
/// More than the file has, in bytes: 32 digits and a line feed.
const LIMIT: u64 = 64;

/// The machine ID.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct MachineId(Uuid);

impl MachineId {
    /// The ID of the host below `root`. `None` where it has none (yet): the file is missing, empty,
    /// says `uninitialized`, or holds anything else but 32 hexadecimal digits that are not all zero.
    pub fn read(root: &Root) -> Option<Self> {
        Self::parse(&text_of(root, FILE)?)
    }

    /// Whether the ID of the host below `root` will be the same after the next boot, as far as that
    /// can be told: it is not where the file is one that systemd makes anew at each boot, since the
    /// root is read-only and has none.
    pub fn lasts(root: &Root) -> bool {
        let Some(text) = text_of(root, FILE) else { return true };
        let Some(id) = Self::parse(&text) else {
            return !matches!(text.trim_end(), "" | "uninitialized");
        };
        let Some(mounts) = mounts::read(root).ok().flatten() else { return true };
        let is_volatile = |file| is_in_memory(&mounts, root, Path::new(file));
        let kept = text_of(root, KEPT).and_then(|text| Self::parse(&text));
        (kept == Some(id) && !is_volatile(KEPT)) || !is_volatile(FILE)
    }

    /// Keeps the ID of a host that its initrd part booted, where none is kept yet: the next boots
    /// have it, of either slot. One that an image brought is none of the host's own, and is not
    /// kept. Whether one was.
    ///
    /// # Errors
    /// The file system's.
    pub fn keep(root: &Root, files: &Files) -> io::Result<bool> {
        if text_of(root, KEPT).is_some_and(|text| Self::parse(&text).is_some())
            || !root.path(BOOTED).is_file()
        {
            return Ok(false);
        }
        let Some(id) = Self::read(root) else { return Ok(false) };
        let mounts = mounts::read(root)?.unwrap_or_default();
        let is_own = |mount: &Mount| {
            mount.is_in_memory() || !(mount.is_read_only || mount.is_file_system_read_only)
        };
        if !mounts.holding(&real_path(root, Path::new(FILE))).is_none_or(is_own) {
            return Ok(false);
        }
        let path = root.path(KEPT);
        if let Some(directory) = path.parent() {
            files.make_directory(directory)?;
        }
        files.replace(&path, format!("{}\n", id.0.as_simple()).as_bytes())?;
        Ok(true)
    }

    fn parse(text: &str) -> Option<Self> {
        let digits = text.trim_end();
        let is_plain = digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let id = is_plain.then(|| Uuid::try_parse(digits).ok()).flatten()?;
        (!id.is_nil()).then_some(Self(id))
    }

    /// The machine ID `id`.
    pub const fn new(id: Uuid) -> Self {
        Self(id)
    }

    /// HMAC-SHA256 of `application`, with the ID as its key.
    pub fn hash(&self, application: Uuid) -> [u8; 32] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.0.as_bytes());
        let mut hash = [0; 32];
        hash.copy_from_slice(hmac::sign(&key, application.as_bytes()).as_ref());
        hash
    }

    /// The ID that `application` may know this machine by, from which the machine ID cannot be had:
    /// what `sd_id128_get_machine_app_specific(3)` gives, the first half of [`MachineId::hash`] made
    /// a random UUID (version 4).
    pub fn app_specific(&self, application: Uuid) -> Uuid {
        let hash = self.hash(application);
        let half = hash.first_chunk().copied().unwrap_or_default();
        uuid::Builder::from_random_bytes(half).into_uuid()
    }
}

/// As much of the file as an ID has; `None` where it cannot be read.
fn text_of(root: &Root, file: &str) -> Option<String> {
    let mut text = String::new();
    let file = std::fs::File::open(root.path(file)).ok()?;
    file.take(LIMIT).read_to_string(&mut text).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef";
    const ROOT: &str = "25 1 254:2 / / ro - erofs /dev/vda2 ro\n";
    const VAR: &str = "26 25 254:4 / /var rw - ext4 /dev/vda4 rw\n";
    /// What systemd mounts over a read-only root's, and what the initrd part binds.
    const MADE: &str = "30 25 0:22 /machine-id /etc/machine-id ro - tmpfs tmpfs rw\n";
    const BOUND: &str =
        "30 25 0:22 /flipside/boot/machine-id /etc/machine-id ro - tmpfs tmpfs rw\n";

    fn host(mounts: &str, files: &[(&str, &str)]) -> (tempfile::TempDir, Root) {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files.iter().chain(&[("proc/self/mountinfo", mounts)]) {
            let path = directory.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let root = Root::new(directory.path());
        (directory, root)
    }

    #[test]
    fn an_id_lasts_unless_each_boot_makes_another() {
        let other = "fedcba9876543210fedcba9876543210\n";
        let volatile = "26 25 0:40 / /var rw - tmpfs tmpfs rw\n";
        let overlay = |upper: &str| {
            format!(
                "31 25 0:50 / /etc rw - overlay o rw,lowerdir=/etc,upperdir={upper},workdir=/w\n"
            )
        };
        let run = "32 25 0:30 / /run rw - tmpfs tmpfs rw\n";
        for (name, mounts, id, kept, expected) in [
            ("in the image, or on a writable root", format!("{ROOT}{VAR}"), ID, None, true),
            ("made by systemd", format!("{ROOT}{VAR}{MADE}"), ID, None, false),
            ("made, and kept since", format!("{ROOT}{VAR}{MADE}"), ID, Some(ID), true),
            ("bound by the initrd", format!("{ROOT}{VAR}{BOUND}"), ID, Some(ID), true),
            ("another is kept", format!("{ROOT}{VAR}{MADE}"), ID, Some(other), false),
            ("kept in memory", format!("{ROOT}{volatile}{BOUND}"), ID, Some(ID), false),
            (
                "an overlay in memory",
                format!("{ROOT}{run}{}", overlay("/run/etc")),
                ID,
                None,
                false,
            ),
            (
                "an overlay on disk",
                format!("{ROOT}{VAR}{run}{}", overlay("/var/etc")),
                ID,
                None,
                true,
            ),
            ("none yet", format!("{ROOT}{VAR}"), "uninitialized\n", None, false),
            ("an empty one", format!("{ROOT}{VAR}"), "", None, false),
        ] {
            let mut files = vec![("etc/machine-id", id)];
            files.extend(kept.map(|kept| ("var/lib/flipside/machine-id", kept)));
            let (_directory, root) = host(&mounts, &files);
            assert_eq!(MachineId::lasts(&root), expected, "{name}");
        }
    }

    #[test]
    fn the_first_id_of_a_host_is_kept_and_no_image_s() {
        let writable = "25 1 254:2 / / rw - ext4 /dev/vda2 rw\n";
        let slot = ("run/flipside/boot/slot", "a\n");
        let kept = ("var/lib/flipside/machine-id", "fedcba9876543210fedcba9876543210\n");
        let id = ("etc/machine-id", ID);
        for (name, mounts, files, expected) in [
            ("made by systemd", format!("{ROOT}{VAR}{MADE}"), vec![slot, id], true),
            ("on a writable root", writable.to_owned(), vec![slot, id], true),
            ("of the image", format!("{ROOT}{VAR}"), vec![slot, id], false),
            ("kept already", format!("{ROOT}{VAR}{MADE}"), vec![slot, id, kept], false),
            (
                "a damaged one is kept",
                format!("{ROOT}{VAR}{MADE}"),
                vec![slot, id, (kept.0, "x")],
                true,
            ),
            ("not booted by the initrd part", format!("{ROOT}{VAR}{MADE}"), vec![id], false),
            ("no ID", format!("{ROOT}{VAR}"), vec![slot, (id.0, "uninitialized\n")], false),
        ] {
            let (directory, root) = host(&mounts, &files);
            let durable = flipside_core::host::durable::Durable::new();
            let was_kept = MachineId::keep(&root, &Files::new(&root, &durable)).unwrap();
            assert_eq!(was_kept, expected, "{name}");
            if expected {
                let text = std::fs::read_to_string(directory.path().join(kept.0)).unwrap();
                assert_eq!(text, format!("{ID}\n"), "{name}");
            }
        }
    }

    #[test]
    fn only_an_id_that_was_made_counts() {
        let directory = tempfile::tempdir().unwrap();
        let root = Root::new(directory.path());
        assert!(MachineId::read(&root).is_none());
        std::fs::create_dir(directory.path().join("etc")).unwrap();
        let path = directory.path().join("etc/machine-id");
        for (text, is_id) in [
            ("0123456789abcdef0123456789abcdef\n", true),
            ("0123456789abcdef0123456789abcdef", true),
            ("", false),
            ("\n", false),
            ("uninitialized\n", false),
            ("00000000000000000000000000000000\n", false),
            ("0123456789abcdef0123456789abcde\n", false),
            ("01234567-89ab-cdef-0123-456789abcdef\n", false),
            ("0123456789abcdef0123456789abcdeg\n", false),
        ] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(MachineId::read(&root).is_some(), is_id, "{text:?}");
        }
        std::fs::write(&path, [0xff; 33]).unwrap();
        assert!(MachineId::read(&root).is_none());
    }

    #[test]
    fn the_app_specific_id_is_the_one_that_systemd_makes() {
        // As `systemd-id128 machine-id --app-specific=8c5f…` says on a machine with this ID.
        let machine = MachineId::new(Uuid::from_u128(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef));
        let application = Uuid::from_u128(0x8c5f_2a44_6b0d_4e1b_9d3a_07f1_c2e8_5b96);
        assert_eq!(
            machine.app_specific(application),
            Uuid::from_u128(0xefd9_c308_82ca_4c6c_a689_be83_32ca_c36c)
        );
    }
}
