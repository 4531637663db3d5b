// SPDX-License-Identifier: MIT OR Apache-2.0

//! Whether a partition may hold what the machine has written there since it started.

use super::device::BlockDevice;
use super::lower_devices::{Side, devices_behind};
use super::partition::Partition;
use super::{Root, mounts};

/// Whether `partition` is mounted for writing, or was written to since the kernel started, as mounting
/// a file system for writing does. `true` also where that cannot be told of a block device.
pub(crate) fn is_mounted_for_writing(root: &Root, partition: &Partition) -> bool {
    // A partition of a disk in a file is never mounted.
    let Some(node) = &partition.node else { return false };
    let device = BlockDevice::by_number(root, node.number);
    let Some(sectors) = device.as_ref().and_then(BlockDevice::sectors_written) else { return true };
    if sectors > 0 {
        return true;
    }
    let Ok(Some(mounts)) = mounts::read(root) else { return true };
    let is_above = |mount: &&mounts::Mount| {
        let devices = devices_behind(root, &mounts, mount, Side::Write);
        devices.iter().any(|device| device.number() == node.number)
    };
    mounts.all().iter().filter(|mount| !mount.is_file_system_read_only).any(|m| is_above(&m))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::partition::Node;
    use crate::host::test_host::Host;

    /// Whether vda2 is, where its statistics are `stat` and `mounts` is mounted.
    fn is_it(stat: &str, mounts: &str) -> bool {
        let host = Host::new();
        let node = Node { path: "/dev/vda2".into(), number: "254:2".parse().unwrap() };
        let directory = std::fs::canonicalize(host.root().path("sys/dev/block/254:2")).unwrap();
        std::fs::write(directory.join("stat"), stat).unwrap();
        host.write("proc/self/mountinfo", mounts);
        let partition =
            Partition { node: Some(node), ..host.disk().by_label("system-a").unwrap().clone() };
        is_mounted_for_writing(&host.root(), &partition)
    }

    #[test]
    fn a_payload_that_is_or_was_mounted_for_writing_is_found_out() {
        let never = "  1234  1 5678 9  0 0 0 0  0 1 2\n";
        let read_only = "20 1 254:2 / / ro - ext4 /dev/vda2 ro\n";
        assert!(!is_it(never, read_only));
        assert!(!is_it(never, ""));
        assert!(is_it(never, "20 1 254:2 / / ro - ext4 /dev/vda2 rw\n"));
        assert!(!is_it(never, "20 1 254:3 / / rw - ext4 /dev/vda3 rw\n"));
        // It was mounted for writing in the initrd.
        assert!(is_it("1234 1 5678 9 3 0 24 0 0 1 2\n", read_only));
        assert!(is_it("nonsense\n", read_only));
        assert!(is_it("", read_only));
    }
}
