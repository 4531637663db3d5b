// SPDX-License-Identifier: MIT OR Apache-2.0

//! `EFI_LOAD_OPTION` and device paths as the firmware reads them (UEFI 2.10, sections 3.1.3
//! and 10.3), only as much as booting from a disk takes. Written apart from the updater's
//! own, so that one cannot hide the other's mistake.

use uuid::Uuid;

/// `LOAD_OPTION_ACTIVE`.
pub(super) const ACTIVE: u32 = 1;
/// `LOAD_OPTION_CATEGORY`: what is not zero here is no boot option but an application.
pub(super) const CATEGORY: u32 = 0x1f00;

const MEDIA: u8 = 4;
const HARD_DRIVE: u8 = 1;
const FILE_PATH: u8 = 4;
const END: u8 = 0x7f;
const END_ENTIRE: u8 = 0xff;
/// The end of one instance of a path; another follows.
const END_INSTANCE: u8 = 0x01;
/// `SignatureType`: a GUID.
const SIGNATURE_GUID: u8 = 2;
/// `PartitionFormat`: GPT.
const FORMAT_GPT: u8 = 2;

/// What a `Boot####` variable holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LoadOption {
    pub(super) attributes: u32,
    pub(super) description: String,
    pub(super) path: Vec<Node>,
    pub(super) optional: Vec<u8>,
}

/// One node of a device path; the end node is not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    /// A partition: number, start and size in blocks, GUID. Section 10.3.5.1.
    HardDrive { number: u32, start: u64, size: u64, guid: Uuid },
    /// A file below the nodes before it. Section 10.3.5.4.
    File(String),
    /// Any other: type, sub-type, the bytes behind the four of the header.
    Other(u8, u8, Vec<u8>),
}

/// Takes bytes from the front; `None` where there are not enough.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn byte(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// UCS-2 up to and with its NUL.
    fn text(&mut self) -> Option<String> {
        let mut units = Vec::new();
        loop {
            match self.u16()? {
                0 => return Some(String::from_utf16_lossy(&units)),
                unit => units.push(unit),
            }
        }
    }
}

/// `text` in UCS-2 with its NUL, as names and paths stand in variables.
pub(super) fn ucs2(text: &str) -> Vec<u8> {
    text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect()
}

/// What a variable with text says, with or without the NUL.
pub(super) fn from_ucs2(bytes: &[u8]) -> String {
    let units: Vec<u16> = bytes
        .chunks_exact(2)
        .filter_map(|pair| pair.try_into().ok().map(u16::from_le_bytes))
        .take_while(|unit| *unit != 0)
        .collect();
    String::from_utf16_lossy(&units)
}

impl LoadOption {
    /// Reads a variable's data; `None` where the firmware could not use it.
    pub(super) fn parse(data: &[u8]) -> Option<Self> {
        let mut bytes = Bytes(data);
        let attributes = bytes.u32()?;
        let length = usize::from(bytes.u16()?);
        let description = bytes.text()?;
        let path = parse_path(bytes.take(length)?)?;
        Some(Self { attributes, description, path, optional: bytes.0.to_vec() })
    }

    /// A variable's data. `None` where a path is too long for its 16-bit length.
    pub(super) fn to_bytes(&self) -> Option<Vec<u8>> {
        let path = path_bytes(&self.path)?;
        let mut data = self.attributes.to_le_bytes().to_vec();
        data.extend(u16::try_from(path.len()).ok()?.to_le_bytes());
        data.extend(ucs2(&self.description));
        data.extend(path);
        data.extend(&self.optional);
        Some(data)
    }

    /// The partition that the path leads to and the file on it; `None` for what lies on no
    /// partition. Without a file it is the removable-media one that is meant. Of several instances
    /// of a path, this firmware takes the first.
    pub(super) fn target(&self) -> Option<(Uuid, Option<String>)> {
        let is_end = |node: &&Node| matches!(node, Node::Other(END, END_INSTANCE, _));
        let mut nodes = self.path.iter().take_while(|node| !is_end(node));
        let guid = nodes.find_map(|node| match node {
            Node::HardDrive { guid, .. } => Some(*guid),
            _ => None,
        })?;
        let mut file = None;
        for node in nodes {
            match node {
                Node::File(name) => file.get_or_insert_with(String::new).push_str(name),
                _ => return None,
            }
        }
        Some((guid, file))
    }
}

/// The nodes of a device path up to its end, which has to be there.
fn parse_path(data: &[u8]) -> Option<Vec<Node>> {
    let mut bytes = Bytes(data);
    let mut path = Vec::new();
    loop {
        let (kind, subtype) = (bytes.byte()?, bytes.byte()?);
        let length = usize::from(bytes.u16()?).checked_sub(4)?;
        let body = bytes.take(length)?;
        if (kind, subtype) == (END, END_ENTIRE) {
            return Some(path);
        }
        path.push(parse_node(kind, subtype, body));
    }
}

fn parse_node(kind: u8, subtype: u8, body: &[u8]) -> Node {
    let known = match (kind, subtype) {
        (MEDIA, HARD_DRIVE) => parse_hard_drive(body),
        (MEDIA, FILE_PATH) => Bytes(body).text().map(Node::File),
        _ => None,
    };
    known.unwrap_or_else(|| Node::Other(kind, subtype, body.to_vec()))
}

fn parse_hard_drive(body: &[u8]) -> Option<Node> {
    let mut bytes = Bytes(body);
    let (number, start, size) = (bytes.u32()?, bytes.u64()?, bytes.u64()?);
    let guid = Uuid::from_bytes_le(bytes.array()?);
    let gpt = (bytes.byte()?, bytes.byte()?) == (FORMAT_GPT, SIGNATURE_GUID);
    (gpt && bytes.0.is_empty()).then_some(Node::HardDrive { number, start, size, guid })
}

fn path_bytes(path: &[Node]) -> Option<Vec<u8>> {
    let mut data = Vec::new();
    for node in path {
        let (kind, subtype, body) = match node {
            Node::HardDrive { number, start, size, guid } => {
                let mut body = number.to_le_bytes().to_vec();
                body.extend(start.to_le_bytes());
                body.extend(size.to_le_bytes());
                body.extend(guid.to_bytes_le());
                body.extend([FORMAT_GPT, SIGNATURE_GUID]);
                (MEDIA, HARD_DRIVE, body)
            }
            Node::File(name) => (MEDIA, FILE_PATH, ucs2(name)),
            Node::Other(kind, subtype, body) => (*kind, *subtype, body.clone()),
        };
        data.extend([kind, subtype]);
        data.extend(u16::try_from(body.len().checked_add(4)?).ok()?.to_le_bytes());
        data.extend(body);
    }
    data.extend([END, END_ENTIRE, 4, 0]);
    Some(data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry() -> LoadOption {
        LoadOption {
            attributes: ACTIVE,
            description: "Acme OS Ä".into(),
            path: vec![
                Node::Other(2, 1, vec![0xd0, 0x41, 3, 0x0a, 0, 0, 0, 0]),
                Node::HardDrive { number: 1, start: 2048, size: 4096, guid: Uuid::from_u128(7) },
                Node::File("\\EFI\\x.efi".into()),
            ],
            optional: vec![1, 2, 3],
        }
    }

    #[test]
    fn an_entry_survives_the_round_trip() {
        let bytes = entry().to_bytes().unwrap();
        assert_eq!(LoadOption::parse(&bytes), Some(entry()));
        assert_eq!(entry().target(), Some((Uuid::from_u128(7), Some("\\EFI\\x.efi".into()))));
    }

    /// What OVMF wrote, without the attributes.
    fn ovmf(number: u16) -> Vec<u8> {
        let name = format!("Boot{number:04X}-8be4df61-93ca-11d2-aa0d-00e098032b8c");
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/efivars-ovmf");
        std::fs::read(std::path::Path::new(directory).join(name)).unwrap()[4..].to_vec()
    }

    #[test]
    fn entries_of_ovmf_are_read_and_written_alike() {
        let esp = Uuid::from_u128(0x3f6e2a51_9c04_4b7d_8e12_5a0d6c7b8f90);
        let drive = Node::HardDrive { number: 1, start: 2048, size: 98304, guid: esp };
        for (number, attributes, description, target) in [
            (0, 0x109, "UiApp", None),
            (1, 1, "UEFI QEMU DVD-ROM QM00005 ", None),
            (2, 1, "UEFI Misc Device", None),
            (3, 1, "EFI Internal Shell", None),
            (4, 1, "Acme OS A", Some("\\EFI\\flipside\\boot-a.efi")),
            (5, 1, "Acme OS B", Some("\\EFI\\flipside\\boot-b.efi")),
        ] {
            let entry = LoadOption::parse(&ovmf(number)).unwrap();
            assert_eq!((entry.attributes, entry.description.as_str()), (attributes, description));
            assert_eq!(entry.target(), target.map(|file| (esp, Some(file.to_owned()))));
            assert_eq!(entry.path.contains(&drive), target.is_some());
            assert_eq!(entry.to_bytes().unwrap(), ovmf(number), "{number}");
        }
    }

    #[test]
    fn an_entry_cut_short_is_not_used() {
        let mut plain = entry();
        plain.optional.clear();
        let bytes = plain.to_bytes().unwrap();
        for length in 0..bytes.len() {
            assert_eq!(LoadOption::parse(&bytes[..length]), None, "{length}");
        }
    }

    #[test]
    fn a_path_that_ends_in_no_partition_has_no_target() {
        let mut other = entry();
        other.path.remove(1);
        assert_eq!(other.target(), None);
        other.path = vec![entry().path[1].clone()];
        assert_eq!(other.target(), Some((Uuid::from_u128(7), None)));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = LoadOption::parse(&bytes);
        }

        #[test]
        fn what_is_read_is_written_alike(at in any::<proptest::sample::Index>(), byte in any::<u8>()) {
            let mut bytes = entry().to_bytes().unwrap();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if let Some(read) = LoadOption::parse(&bytes) {
                let again = LoadOption::parse(&read.to_bytes().unwrap());
                prop_assert_eq!(again, Some(read));
            }
        }
    }
}
