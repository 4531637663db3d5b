// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a mounted file system stands on, down to partitions: through overlays,
//! device mapper, RAID and loop devices.

use super::Root;
use super::device::BlockDevice;
use super::mounts::{Mount, Mounts};

/// An overlay on a file in an image on a RAID: nobody goes deeper.
const DEEPEST: u32 = 8;

/// Which part of an overlay is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// What is read from it: the lower directories.
    Read,
    /// Where writes to it go: the upper directory.
    Write,
}

/// The devices at the bottom of what is mounted there, as far as this system tells.
/// Empty for tmpfs, network file systems, and where nothing can be told.
pub(super) fn devices_behind(
    root: &Root,
    mounts: &Mounts,
    mount: &Mount,
    side: Side,
) -> Vec<BlockDevice> {
    let mut found = Vec::new();
    Walk { root, mounts, side }.mount(mount, DEEPEST, &mut found);
    found
}

struct Walk<'a> {
    root: &'a Root,
    mounts: &'a Mounts,
    side: Side,
}

impl Walk<'_> {
    fn mount(&self, mount: &Mount, depth: u32, found: &mut Vec<BlockDevice>) {
        let Some(depth) = depth.checked_sub(1) else { return };
        if mount.kind == "overlay" {
            let option = if self.side == Side::Read { "lowerdir" } else { "upperdir" };
            for path in mount.paths_of(option) {
                self.holder_of(&path, mount, depth, found);
            }
            return;
        }
        let device = if !mount.device.is_anonymous() {
            BlockDevice::by_number(self.root, mount.device)
        } else if mount.source.starts_with("/dev") {
            // btrfs numbers its subvolumes itself and tells a device as its source.
            BlockDevice::by_node(self.root, &mount.source)
        } else if mount.kind == "erofs" && mount.source.is_absolute() {
            // Linux 6.12 mounts an image in a file without a loop device.
            return self.holder_of(&mount.source, mount, depth, found);
        } else {
            None
        };
        let Some(device) = device else { return };
        for bottom in device.bottom() {
            let file = bottom
                .backing_file()
                .or_else(|| bottom.disk().and_then(|disk| disk.backing_file()));
            if !found.contains(&bottom) {
                found.push(bottom);
            }
            if let Some(file) = file {
                self.holder_of(&file, mount, depth, found);
            }
        }
    }

    fn holder_of(
        &self,
        path: &std::path::Path,
        asker: &Mount,
        depth: u32,
        found: &mut Vec<BlockDevice>,
    ) {
        // An overlay may lie on what it covers. A path may also be from before the root was
        // switched; then it leads back to the asker, or to nothing.
        if let Some(holder) = self.mounts.holding_below(path, asker) {
            self.mount(holder, depth, found);
        }
    }
}
