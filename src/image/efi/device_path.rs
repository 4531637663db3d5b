// SPDX-License-Identifier: MIT OR Apache-2.0

//! Device paths (UEFI 2.10, chapter 10), as far as flipside has to understand them: a file on
//! a GPT partition. All other paths are opaque.

use uuid::Uuid;

use super::text;
use crate::bytes::{guid_at, u32_at, u64_at};

const HARDWARE: u8 = 1;
const ACPI: u8 = 2;
const MESSAGING: u8 = 3;
const MEDIA: u8 = 4;
const END: u8 = 0x7f;
/// Media: hard drive (section 10.3.5.1).
const HARD_DRIVE: u8 = 1;
/// Media: file path (section 10.3.5.4).
const FILE_PATH: u8 = 4;
const END_ENTIRE: u8 = 0xff;
/// Another path follows, an instance of the same device path (section 10.3.1).
const END_INSTANCE: u8 = 0x01;
const FORMAT_GPT: u8 = 2;
const SIGNATURE_GUID: u8 = 2;
/// MAC, IPv4, IPv6, URI, DNS, BLE, Wi-Fi: what leads over a network (section 10.3.4).
const NETWORK: [u8; 6] = [11, 12, 13, 24, 28, 31];

/// A partition as a hard drive node names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionNode {
    /// From 1, as in the partition table.
    pub number: u32,
    /// First block, in the disk's own blocks.
    pub start_lba: u64,
    /// Number of blocks.
    pub size_lba: u64,
    /// The partition's own GUID.
    pub uuid: Uuid,
}

/// What a device path leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A GPT partition, with or without the disk's path before it.
    Partition {
        /// The partition.
        partition: PartitionNode,
        /// The file on it; `None` leaves it to the firmware: the removable-media path.
        file: Option<FilePath>,
    },
    /// A file on whichever file system has it: the short form of a path that firmware completes by
    /// itself (section 3.1.2).
    File(FilePath),
    /// A local device as a whole: firmware makes such entries for disks, and boots the
    /// removable-media path of an ESP that it finds there.
    Device,
    /// Anything else: network, firmware volumes, MBR partitions, and what is malformed.
    Other,
}

impl Target {
    /// The file, where it names one.
    pub fn file(self) -> Option<FilePath> {
        match self {
            Self::Partition { file, .. } => file,
            Self::File(file) => Some(file),
            Self::Device | Self::Other => None,
        }
    }

    /// Whether both are the same file of the same partition, wherever on its disk that lies.
    fn is_same_file(&self, other: &Self) -> bool {
        let place = |target: &Self| match target {
            Self::Partition { partition, file } => Some((partition.uuid, file.clone())),
            Self::File(_) | Self::Device | Self::Other => None,
        };
        place(self).is_some_and(|one| Some(one) == place(other))
    }
}

/// A file's path in UEFI's notation. Compared as FAT does: case is ignored, and `/` is
/// `\`.
#[derive(Debug, Clone)]
pub struct FilePath(String);

impl FilePath {
    /// The path in `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    fn parts(&self) -> impl Iterator<Item = &str> {
        self.0.split(['\\', '/']).filter(|part| !part.is_empty())
    }
}

impl PartialEq for FilePath {
    fn eq(&self, other: &Self) -> bool {
        let (mut one, mut two) = (self.parts(), other.parts());
        loop {
            match (one.next(), two.next()) {
                (None, None) => return true,
                (Some(a), Some(b)) if a.eq_ignore_ascii_case(b) => {}
                _ => return false,
            }
        }
    }
}

impl Eq for FilePath {}

/// As it was written.
impl std::fmt::Display for FilePath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

struct Node<'a> {
    kind: u8,
    subkind: u8,
    body: &'a [u8],
}

/// The first node and what follows it; `None` where it is cut short or has an impossible length.
fn split_node(bytes: &[u8]) -> Option<(Node<'_>, &[u8])> {
    let (header, _) = bytes.split_first_chunk::<4>()?;
    let [kind, subkind, low, high] = *header;
    let (node, rest) = bytes.split_at_checked(u16::from_le_bytes([low, high]).into())?;
    Some((Node { kind, subkind, body: node.get(header.len()..)? }, rest))
}

/// Type and subtype of all nodes to the end of the bytes, also behind the end of the path. `None`
/// where one is cut short or has an impossible length.
pub(super) fn kinds(mut bytes: &[u8]) -> Option<Vec<(u8, u8)>> {
    let mut kinds = Vec::new();
    while !bytes.is_empty() {
        let (node, rest) = split_node(bytes)?;
        kinds.push((node.kind, node.subkind));
        bytes = rest;
    }
    Some(kinds)
}

/// The nodes of each instance of the path, of which most have one; `None` where it is cut short or
/// has a node of an impossible length.
fn instances(mut bytes: &[u8]) -> Option<Vec<Vec<Node<'_>>>> {
    let (mut instances, mut nodes) = (Vec::new(), Vec::new());
    loop {
        let (node, rest) = split_node(bytes)?;
        match (node.kind, node.subkind) {
            (END, END_ENTIRE) => {
                instances.push(nodes);
                return Some(instances);
            }
            (END, END_INSTANCE) => instances.push(std::mem::take(&mut nodes)),
            (END, _) => return None,
            _ => nodes.push(node),
        }
        bytes = rest;
    }
}

fn partition(node: &Node<'_>) -> Option<PartitionNode> {
    let body = node.body;
    let is_gpt = body.get(36) == Some(&FORMAT_GPT) && body.get(37) == Some(&SIGNATURE_GUID);
    if !is_gpt {
        return None;
    }
    Some(PartitionNode {
        number: u32_at(body, 0)?,
        start_lba: u64_at(body, 4)?,
        size_lba: u64_at(body, 12)?,
        uuid: guid_at(body, 20)?,
    })
}

/// What each instance of `path` leads to, at least one. Never fails: what is not understood is
/// [`Target::Other`].
pub fn targets(path: &[u8]) -> Vec<Target> {
    let target = |nodes: Vec<Node<'_>>| partition_target(&nodes).unwrap_or(Target::Other);
    match instances(path) {
        Some(instances) => instances.into_iter().map(target).collect(),
        None => vec![Target::Other],
    }
}

/// What `path` leads to. Firmware takes whichever instance of a path it likes, so one of several
/// leads somewhere only where all of them lead to the same file.
pub fn target(path: &[u8]) -> Target {
    let mut targets = targets(path).into_iter();
    let first = targets.next().unwrap_or(Target::Other);
    match targets.all(|other| other.is_same_file(&first)) {
        true => first,
        false => Target::Other,
    }
}

fn partition_target(nodes: &[Node<'_>]) -> Option<Target> {
    let mut found = None;
    let mut file: Option<String> = None;
    for node in nodes {
        match (node.kind, node.subkind, &found) {
            (HARDWARE | ACPI, _, None) if file.is_none() => {}
            (MESSAGING, subkind, None) if file.is_none() && !NETWORK.contains(&subkind) => {}
            (MEDIA, HARD_DRIVE, None) if file.is_none() => found = Some(partition(node)?),
            // Section 10.3.5.4: a path may be split over several nodes.
            (MEDIA, FILE_PATH, _) if found.is_some() || nodes.first().is_some_and(is_file) => {
                let path = file.get_or_insert_default();
                path.push('\\');
                path.push_str(&text::decode(node.body));
            }
            _ => return None,
        }
    }
    let file = file.map(|path| FilePath(path.replacen("\\\\", "\\", 1)));
    match (found, file) {
        (Some(partition), file) => Some(Target::Partition { partition, file }),
        (None, Some(file)) => Some(Target::File(file)),
        (None, None) if nodes.is_empty() => None,
        (None, None) => Some(Target::Device),
    }
}

fn is_file(node: &Node<'_>) -> bool {
    (node.kind, node.subkind) == (MEDIA, FILE_PATH)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::efi::short_form::tests::{esp, path as build};

    const END_NODE: [u8; 4] = [0x7f, 0xff, 4, 0];

    fn hard_drive() -> Vec<u8> {
        build(&esp(), "x")[..42].to_vec()
    }

    fn path(nodes: &[&[u8]]) -> Vec<u8> {
        nodes.concat()
    }

    #[test]
    fn paths_compare_as_fat_does() {
        let a = FilePath::new("\\EFI\\flipside\\boot-a.efi");
        for same in [
            "/efi/flipside/BOOT-A.EFI",
            "EFI\\flipside\\boot-a.efi",
            "\\\\EFI//flipside/boot-a.efi",
        ] {
            assert_eq!(a, FilePath::new(same), "{same}");
        }
        for other in ["\\EFI\\flipside\\boot-b.efi", "\\EFI\\flipside", "boot-a.efi", ""] {
            assert_ne!(a, FilePath::new(other), "{other}");
        }
    }

    #[test]
    fn a_partition_is_recognised_in_every_form() {
        let file = |text: &str| {
            let text = text::encode(text);
            let mut node = vec![4, 4];
            node.extend(u16::try_from(text.len() + 4).unwrap().to_le_bytes());
            node.extend(text);
            node
        };
        let pci = [1, 1, 6, 0, 0, 2];
        let acpi = [2, 1, 12, 0, 0xd0, 0x41, 3, 10, 0, 0, 0, 0];
        let nvme: &[u8] = &[3, 0x17, 16, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let hd = hard_drive();
        let boot_a = Some(FilePath::new("\\EFI\\flipside\\boot-a.efi"));
        for (bytes, expected) in [
            (path(&[&hd, &file("\\EFI\\flipside\\boot-a.efi"), &END_NODE]), boot_a.clone()),
            (
                path(&[&acpi, &pci, nvme, &hd, &file("/EFI/flipside/boot-a.efi"), &END_NODE]),
                boot_a.clone(),
            ),
            (path(&[&hd, &file("\\EFI\\flipside"), &file("boot-a.efi"), &END_NODE]), boot_a),
            (path(&[&hd, &END_NODE]), None),
        ] {
            let expected = Target::Partition { partition: esp(), file: expected };
            assert_eq!(target(&bytes), expected, "{bytes:?}");
        }
        let boot_a = FilePath::new("\\EFI\\flipside\\boot-a.efi");
        for (bytes, expected) in [
            (
                path(&[&file("\\EFI\\flipside\\boot-a.efi"), &END_NODE]),
                Target::File(boot_a.clone()),
            ),
            (path(&[&file("EFI/flipside"), &file("boot-a.efi"), &END_NODE]), Target::File(boot_a)),
            (path(&[&pci, &file("boot-a.efi"), &END_NODE]), Target::Other),
            (path(&[&file("boot-a.efi"), &pci, &END_NODE]), Target::Other),
            (path(&[&file("boot-a.efi"), &hd, &END_NODE]), Target::Other),
        ] {
            assert_eq!(target(&bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn a_path_of_several_instances_leads_where_all_of_them_lead() {
        let hd = hard_drive();
        let one = build(&esp(), "\\EFI\\flipside\\boot-a.efi");
        let instance = one.strip_suffix(&END_NODE).unwrap();
        let other = build(&esp(), "\\EFI\\flipside\\boot-b.efi");
        let moved = build(&PartitionNode { start_lba: 34, ..esp() }, "/efi/flipside/BOOT-A.efi");
        let pci = [1, 1, 6, 0, 0, 2];
        let end: &[u8] = &[0x7f, 1, 4, 0];
        let file = Some(FilePath::new("\\EFI\\flipside\\boot-a.efi"));
        let leads_to = |file| Target::Partition { partition: esp(), file };
        for (bytes, count, expected) in [
            (path(&[instance, end, &one]), 2, leads_to(file.clone())),
            (path(&[instance, end, &pci, instance, end, &moved]), 3, leads_to(file.clone())),
            (path(&[&hd, end, &hd, &END_NODE]), 2, leads_to(None)),
            (path(&[instance, end, &other]), 2, Target::Other),
            (path(&[instance, end, &hd, &END_NODE]), 2, Target::Other),
            // What follows the end of the path is of no path.
            (path(&[instance, &END_NODE, end, &other]), 1, leads_to(file)),
        ] {
            assert_eq!(targets(&bytes).len(), count, "{bytes:?}");
            assert_eq!(target(&bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn what_is_no_local_partition_is_opaque() {
        let hd = hard_drive();
        let mut mbr = hd.clone();
        mbr[40] = 1;
        let mac: &[u8] = &[3, 11, 5, 0, 1];
        let instance_end: &[u8] = &[0x7f, 1, 4, 0];
        let pci = [1, 1, 6, 0, 0, 2];
        let other_disk =
            build(&PartitionNode { uuid: Uuid::from_u128(7), ..esp() }, "x")[..42].to_vec();
        let mut short = hd[..41].to_vec();
        short[2] = 41;
        for bytes in [
            vec![],
            END_NODE.to_vec(),
            hd.clone(),
            path(&[&mbr, &END_NODE]),
            path(&[mac, &END_NODE]),
            path(&[&hd, instance_end]),
            path(&[&hd, instance_end, &END_NODE]),
            path(&[&hd, instance_end, &pci, &END_NODE]),
            path(&[&pci, instance_end, &pci, &END_NODE]),
            path(&[&hd, instance_end, &other_disk, &END_NODE]),
            path(&[&hd, &hd, &END_NODE]),
            path(&[&short, &END_NODE]),
            vec![4, 1, 0, 0],
            vec![4, 1, 3, 0],
            vec![4, 1, 255, 255, 0],
            vec![0x7f],
        ] {
            assert_eq!(target(&bytes), Target::Other, "{bytes:?}");
        }
        assert_eq!(target(&[1, 1, 6, 0, 0, 2, 0x7f, 0xff, 4, 0]), Target::Device);
    }

    proptest! {
        #[test]
        fn what_was_built_is_recognised(
            number in any::<u32>(), start in any::<u64>(), size in any::<u64>(), guid in any::<u128>(),
            file in "(\\\\[A-Za-z0-9.-]{1,12}){1,4}",
        ) {
            let partition = PartitionNode { number, start_lba: start, size_lba: size, uuid: Uuid::from_u128(guid) };
            let expected = Target::Partition { partition, file: Some(FilePath::new(file.clone())) };
            prop_assert_eq!(target(&build(&partition, &file)), expected);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..160)) {
            target(&bytes);
            prop_assert!(!targets(&bytes).is_empty());
        }

        #[test]
        fn no_damage_makes_it_panic(at in 0usize..90, byte in any::<u8>(), cut in 0usize..100) {
            let mut bytes = build(&esp(), "\\EFI\\flipside\\boot-a.efi");
            if let Some(b) = bytes.get_mut(at) { *b = byte; }
            bytes.truncate(cut);
            target(&bytes);
        }
    }
}
