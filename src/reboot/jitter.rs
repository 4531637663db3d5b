// SPDX-License-Identifier: MIT OR Apache-2.0

//! A host's own place within a window, so that not all hosts of a fleet reboot at once: always
//! the same on one host, spread evenly over many.

use std::time::Duration;

use uuid::Uuid;

use crate::system::MachineId;
use flipside_core::host::Root;

/// Names flipside's spread in hashes of a machine ID, as `sd_id128_get_machine_app_specific(3)`
/// asks for: the machine ID itself is not to be shown to anybody.
const APPLICATION: Uuid = Uuid::from_u128(0x6b1f_0c8e_41d7_4c3a_9e52_d0a7_35f8_14be);

/// Which share of a window goes by before this host's turn: in units of 2⁻⁶⁴.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share(u64);

impl Share {
    /// Of the host below `root`. One without a machine ID comes first.
    pub fn of(root: &Root) -> Self {
        MachineId::read(root).map_or(Self(0), Self::of_machine)
    }

    pub(super) fn of_machine(id: MachineId) -> Self {
        let hash = id.hash(APPLICATION);
        Self(hash.first_chunk().map_or(0, |first| u64::from_be_bytes(*first)))
    }

    #[cfg(test)]
    pub(super) const fn half() -> Self {
        Self(1 << 63)
    }

    /// That share of `room`, in whole seconds.
    pub fn within(self, room: Duration) -> Duration {
        let seconds = (u128::from(room.as_secs()) * u128::from(self.0)) >> 64;
        Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_one_place_and_many_hosts_are_spread_evenly() {
        let hour = Duration::from_secs(3600);
        let mut counts = [0; 6];
        for id in 1..=600_u128 {
            let id = MachineId::new(Uuid::from_u128(id << 64 | 0x77));
            let place = Share::of_machine(id).within(hour);
            assert_eq!(place, Share::of_machine(id).within(hour));
            assert!(place < hour);
            counts[usize::try_from(place.as_secs() / 600).unwrap()] += 1;
        }
        assert!(counts.iter().all(|count| (60..140).contains(count)), "{counts:?}");
        assert_eq!(Share(u64::MAX).within(Duration::ZERO), Duration::ZERO);
        assert!(Share(u64::MAX).within(Duration::MAX) < Duration::MAX);
    }

    #[test]
    fn the_machine_id_is_read_below_the_root_and_its_hash_is_the_one_that_systemd_makes() {
        let directory = tempfile::tempdir().unwrap();
        let root = Root::new(directory.path());
        assert_eq!(Share::of(&root), Share(0));
        std::fs::create_dir(directory.path().join("etc")).unwrap();
        let write = |text: &str| std::fs::write(directory.path().join("etc/machine-id"), text);
        write("uninitialized\n").unwrap();
        assert_eq!(Share::of(&root), Share(0));
        // HMAC-SHA256 with the ID as key: `openssl dgst -mac HMAC` says the same.
        write("0123456789abcdef0123456789abcdef\n").unwrap();
        assert_eq!(Share::of(&root), Share(0x4788_dcdb_a0a0_fdd0));
    }
}
