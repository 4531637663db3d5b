// SPDX-License-Identifier: MIT OR Apache-2.0

//! The command that makes a table of two sound copies again where one is damaged. flipside does not
//! run it: whose disk it is decides.

use std::path::Path;

use uuid::Uuid;

use super::ReadAt;

/// What sgdisk and gdisk (1.0.9) take for a disk with one sound copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repair {
    sector_size: u32,
    mbr: Mbr,
    /// The disk's GUID, where the copies disagree about it.
    disk_uuid: Option<Uuid>,
}

/// What the disk's first sector holds (UEFI 2.10, section 5.2). sgdisk gives up on a damaged GPT
/// without a protective MBR; gdisk asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mbr {
    Protective,
    Other,
    Absent,
}

impl Repair {
    pub(super) fn of<R: ReadAt + ?Sized>(
        disk: &R,
        sector_size: u32,
        disk_uuid: Option<Uuid>,
    ) -> Self {
        Self { sector_size, mbr: mbr(disk), disk_uuid }
    }

    /// The command for the disk at `path`, for a shell. In a file only sectors of 512 bytes can be
    /// repaired without a loop device.
    pub fn command(&self, path: &Path, is_block_device: bool) -> String {
        let path = quoted(&path.display().to_string());
        if is_block_device || self.sector_size == 512 {
            return self.command_on(&path);
        }
        let sector_size = self.sector_size;
        format!(
            "loop=$(losetup --find --show --sector-size {sector_size} {path}) && {}; \
             losetup --detach \"$loop\"",
            self.command_on("\"$loop\"")
        )
    }

    /// The command that shows what is wrong with the disk at `path`, and changes nothing.
    pub fn look(path: &Path) -> String {
        format!("sgdisk --verify {}", quoted(&path.display().to_string()))
    }

    fn command_on(&self, disk: &str) -> String {
        match (self.mbr, self.disk_uuid) {
            (Mbr::Protective, None) => format!("sgdisk -e {disk}"),
            (Mbr::Protective, Some(uuid)) => format!("sgdisk -e -U {uuid} {disk}"),
            // "Found valid MBR and corrupt GPT": the second answer is the GPT.
            (Mbr::Other, _) => format!("printf '2\\nw\\ny\\n' | gdisk {disk}"),
            (Mbr::Absent, _) => format!("printf '1\\nw\\ny\\n' | gdisk {disk}"),
        }
    }
}

fn mbr<R: ReadAt + ?Sized>(disk: &R) -> Mbr {
    let mut sector = [0; 512];
    if disk.read_exact_at(&mut sector, 0).is_err() || !sector.ends_with(&[0x55, 0xaa]) {
        return Mbr::Absent;
    }
    let kinds = sector.iter().skip(446 + 4).step_by(16).take(4);
    if kinds.into_iter().any(|kind| *kind == 0xee) { Mbr::Protective } else { Mbr::Other }
}

/// As one word of a shell.
fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:,@%".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}
