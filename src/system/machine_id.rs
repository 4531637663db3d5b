// SPDX-License-Identifier: MIT OR Apache-2.0

//! This host's identity (machine-id(5)), which is shown to nobody: only hashes of it are used, each
//! for one purpose.

use std::io::Read as _;

use aws_lc_rs::hmac;
use uuid::Uuid;

use flipside_core::host::Root;

/// Where it stands.
const FILE: &str = "/etc/machine-id";
/// More than the file has, in bytes: 32 digits and a line feed.
const LIMIT: u64 = 64;

/// The machine ID.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct MachineId(Uuid);

impl MachineId {
    /// The ID of the host below `root`. `None` where it has none (yet): the file is missing, empty,
    /// says `uninitialized`, or holds anything else but 32 hexadecimal digits that are not all zero.
    pub fn read(root: &Root) -> Option<Self> {
        let mut text = String::new();
        let file = std::fs::File::open(root.path(FILE)).ok()?;
        file.take(LIMIT).read_to_string(&mut text).ok()?;
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

#[cfg(test)]
mod tests {
    use super::*;

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
