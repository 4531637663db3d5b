// SPDX-License-Identifier: MIT OR Apache-2.0

//! Boot entries of flipside's own, written and read by the `efivar` crate. Their path is
//! HD(partition)/File(path), the short form that firmware completes by itself (UEFI 2.10, section
//! 3.1.2): it survives a disk that moves to another port.
//!
//! Of a path the crate keeps the last hard drive and the last file, drops all other nodes and reads
//! on behind its end, so it cannot tell what entries of others lead to: [`device_path`] does. For
//! the short form it is the second reading.

use efivar::boot::{
    BootEntry, BootEntryAttributes, EFIHardDrive, EFIHardDriveType, FilePath as FileNode,
    FilePathList,
};

use super::device_path::{self, FilePath, PartitionNode, Target};
use super::load_option::LoadOption;

/// The attributes that the crate knows: active, force reconnect, hidden, category "application". Of
/// any other it makes an error.
const ATTRIBUTES: u32 = 0x10b;
/// The format of a hard drive node for a GPT partition.
const FORMAT_GPT: u8 = 2;
/// The nodes of the short form: hard drive, file, end of the entire path.
const NODES: [(u8, u8); 3] = [(4, 1), (4, 4), (0x7f, 0xff)];

/// The data of an active entry that boots `file`, without optional data. `file` is a constant: the
/// crate panics on a path that does not fit into 64 KiB.
pub fn encode(description: &str, partition: &PartitionNode, file: &'static str) -> Vec<u8> {
    entry(description, partition, file).to_bytes()
}

fn entry(description: &str, partition: &PartitionNode, file: &str) -> BootEntry {
    BootEntry {
        attributes: BootEntryAttributes::LOAD_OPTION_ACTIVE,
        description: description.to_owned(),
        file_path_list: Some(FilePathList {
            file_path: FileNode { path: file.to_owned() },
            hard_drive: EFIHardDrive {
                partition_number: partition.number,
                partition_start: partition.start_lba,
                partition_size: partition.size_lba,
                partition_sig: partition.uuid,
                format: FORMAT_GPT,
                sig_type: EFIHardDriveType::Gpt,
            },
        }),
        optional_data: Vec::new(),
    }
}

/// The partition and the file of an entry whose path is the short form and nothing else, where both
/// readings find the same. `None` for every other entry.
pub fn confirmed(data: &[u8]) -> Option<(PartitionNode, FilePath)> {
    let option = LoadOption::parse(data)?;
    // The crate panics on a node that is shorter than its header, or longer than what is left.
    if device_path::kinds(&option.path)? != NODES {
        return None;
    }
    let mut guarded = (option.attributes & ATTRIBUTES).to_le_bytes().to_vec();
    guarded.extend(data.get(guarded.len()..)?);
    let FilePathList { file_path, hard_drive } = BootEntry::parse(guarded).ok()?.file_path_list?;
    let is_gpt = hard_drive.format == FORMAT_GPT && hard_drive.sig_type == EFIHardDriveType::Gpt;
    let partition = PartitionNode {
        number: hard_drive.partition_number,
        start_lba: hard_drive.partition_start,
        size_lba: hard_drive.partition_size,
        uuid: hard_drive.partition_sig,
    };
    let file = FilePath::new(file_path.path);
    let second = Target::Partition { partition, file: Some(file.clone()) };
    (is_gpt && device_path::target(&option.path) == second).then_some((partition, file))
}

#[cfg(test)]
pub(super) mod tests;
