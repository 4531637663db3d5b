// SPDX-License-Identifier: MIT OR Apache-2.0

use std::panic::catch_unwind;

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::bytes::{guid_at, u32_at, u64_at};
use crate::efi::text;

/// The data of a variable that OVMF wrote.
macro_rules! ovmf {
    ($number:literal) => {
        &include_bytes!(concat!(
            "../../../../tests/fixtures/efivars-ovmf/Boot",
            $number,
            "-8be4df61-93ca-11d2-aa0d-00e098032b8c"
        ))[4..]
    };
}

fn captured() -> [&'static [u8]; 6] {
    [ovmf!("0000"), ovmf!("0001"), ovmf!("0002"), ovmf!("0003"), ovmf!("0004"), ovmf!("0005")]
}

const BOOT_B: &str = "\\EFI\\flipside\\boot-b.efi";

pub(in crate::efi) fn esp() -> PartitionNode {
    PartitionNode {
        number: 1,
        start_lba: 2048,
        size_lba: 98304,
        uuid: "3f6e2a51-9c04-4b7d-8e12-5a0d6c7b8f90".parse().unwrap(),
    }
}

/// The path HD(partition)/File(file).
pub(in crate::efi) fn path(partition: &PartitionNode, file: &str) -> Vec<u8> {
    entry("", partition, file).file_path_list.unwrap().to_bytes()
}

/// An entry put together from the specification, as flipside's own encoder did.
fn by_hand(description: &str, partition: &PartitionNode, file: &str) -> Vec<u8> {
    let file = text::encode(file);
    let mut data = vec![1, 0, 0, 0];
    data.extend(u16::try_from(42 + 4 + file.len() + 4).unwrap().to_le_bytes());
    data.extend(text::encode(description));
    data.extend([4, 1, 42, 0]);
    data.extend(partition.number.to_le_bytes());
    data.extend(partition.start_lba.to_le_bytes());
    data.extend(partition.size_lba.to_le_bytes());
    data.extend(partition.uuid.to_bytes_le());
    data.extend([2, 2, 4, 4]);
    data.extend(u16::try_from(4 + file.len()).unwrap().to_le_bytes());
    data.extend(file);
    data.extend([0x7f, 0xff, 4, 0]);
    data
}

#[test]
fn an_entry_of_ours_is_the_one_that_firmware_makes() {
    assert_eq!(encode("Acme OS B", &esp(), BOOT_B), ovmf!("0005"));
}

#[test]
fn of_the_captured_entries_only_the_short_form_is_confirmed() {
    let confirmed = captured().map(confirmed);
    assert_eq!(confirmed[5], Some((esp(), FilePath::new(BOOT_B))));
    assert_eq!(confirmed[..5], [None, None, None, None, None]);
}

/// Changes to the short form. Firmware would boot slot B by all of those that are refused, or the
/// first reading finds that it does.
#[test]
fn other_paths_to_the_same_file_are_not_confirmed() {
    let path = path(&esp(), BOOT_B);
    let (hd, rest) = path.split_at(42);
    let (file, end) = rest.split_at(rest.len() - 4);
    let pci: &[u8] = &[1, 1, 6, 0, 0, 2];
    let instance: &[u8] = &[0x7f, 1, 4, 0];
    let mut without_nul = file[..file.len() - 2].to_vec();
    without_nul[2] -= 2;
    let mut surrogate = file.to_vec();
    surrogate[4..6].copy_from_slice(&[0, 0xd8]);
    let mut odd_format = hd.to_vec();
    odd_format[40] = 1;
    let mut odd_signature = hd.to_vec();
    odd_signature[41] = 3;
    for (name, nodes, is_confirmed) in [
        ("the short form", vec![hd, file, end], true),
        ("its nodes after those of the disk", vec![pci, hd, file, end], false),
        ("two instances", vec![hd, file, instance, hd, file, end], false),
        ("a file in two nodes", vec![hd, file, file, end], false),
        ("no file", vec![hd, end], false),
        ("no partition", vec![file, end], false),
        ("the file first", vec![file, hd, end], false),
        ("no end", vec![hd, file], false),
        ("an end of an instance", vec![hd, file, instance], false),
        ("something behind the end", vec![hd, file, end, pci], false),
        ("another file behind the end", vec![hd, file, end, file, end], false),
        ("a file without its NUL", vec![hd, &without_nul, end], false),
        ("a file that is no text", vec![hd, &surrogate, end], false),
        ("a partition of an MBR", vec![&odd_format, file, end], false),
        ("a signature that is no GUID", vec![&odd_signature, file, end], false),
    ] {
        let nodes = nodes.concat();
        let mut data = vec![1, 0, 0, 0];
        data.extend(u16::try_from(nodes.len()).unwrap().to_le_bytes());
        data.extend(text::encode("Acme OS B"));
        data.extend(nodes);
        assert_eq!(confirmed(&data).is_some(), is_confirmed, "{name}");
    }
}

#[test]
fn attributes_that_the_crate_does_not_know_and_optional_data_are_no_matter() {
    for attributes in [0, 1, 0x1f00, 4, u32::MAX] {
        let mut data = ovmf!("0005").to_vec();
        data[..4].copy_from_slice(&u32::to_le_bytes(attributes));
        data.extend(b"\0\0VenHw");
        assert!(confirmed(&data).is_some(), "{attributes:x}");
    }
}

/// xorshift64*: the same mutations in every run.
struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % below
    }
}

/// Bytes changed, cut off, doubled or put in.
fn mutate(data: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..=random.next(3) {
        let at = random.next(data.len().max(1));
        match (random.next(8), data.get_mut(at)) {
            (0, _) => data.truncate(at),
            (1, _) => data.insert(at, random.next(256) as u8),
            (2, _) => {
                let some = data.split_off(at);
                data.extend(some.iter().take(4).copied().collect::<Vec<_>>());
                data.extend(some);
            }
            (3, Some(byte)) => *byte = [0, 1, 2, 3, 4, 0x7f, 0x80, 0xff][random.next(8)],
            (_, Some(byte)) => *byte ^= 1 << random.next(8),
            (_, None) => {}
        }
    }
}

/// What a confirmed entry holds, taken from where the short form has it: not by either reader.
fn by_place(data: &[u8]) -> (PartitionNode, String) {
    let name = data[6..].chunks_exact(2).take_while(|pair| *pair != [0, 0]).count();
    let path = &data[6 + 2 * (name + 1)..];
    let length = |at: usize| usize::from(u16::from_le_bytes([path[at], path[at + 1]]));
    let file = length(2);
    let end = file + length(file + 2);
    assert_eq!((&path[..2], &path[file..file + 2]), (&[4, 1][..], &[4, 4][..]));
    assert_eq!(&path[end..end + 4], [0x7f, 0xff, 4, 0]);
    assert_eq!(end + 4, usize::from(u16::from_le_bytes([data[4], data[5]])));
    assert_eq!(&path[40..42], [2, 2]);
    let units: Vec<u16> = path[file + 4..end]
        .chunks_exact(2)
        .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
        .take_while(|unit| *unit != 0)
        .collect();
    let partition = PartitionNode {
        number: u32_at(path, 4).unwrap(),
        start_lba: u64_at(path, 8).unwrap(),
        size_lba: u64_at(path, 16).unwrap(),
        uuid: guid_at(path, 24).unwrap(),
    };
    (partition, String::from_utf16(&units).unwrap())
}

#[test]
fn a_million_mutations_of_captured_entries_neither_panic_nor_are_misread() {
    let mut random = Random(0x1d05_ee1f);
    let (mut taken, captured) = (0, captured());
    for mutation in 0..1_000_000 {
        // Every second one of the short form, which alone can be confirmed.
        let index = if mutation % 2 == 0 { 5 } else { random.next(captured.len()) };
        let mut data = captured[index].to_vec();
        mutate(&mut data, &mut random);
        if let Some((partition, file)) = confirmed(&data) {
            let (expected, path) = by_place(&data);
            assert_eq!((partition, &file), (expected, &FilePath::new(path)), "{data:02x?}");
            taken += 1;
        }
    }
    assert!((10_000..900_000).contains(&taken), "{taken}");
}

/// What the guard is for.
#[test]
fn the_crate_panics_without_the_guard() {
    let mut panics = 0;
    for at in 0..ovmf!("0005").len() {
        for change in [1, 2, 4, 0x80, 0xff] {
            let mut data = ovmf!("0005").to_vec();
            data[at] ^= change;
            let raw = data.clone();
            if catch_unwind(|| BootEntry::parse(raw).is_ok()).is_err() {
                panics += 1;
                assert_eq!(confirmed(&data), None, "{at} {change}");
            }
        }
    }
    assert!(panics > 0);
}

proptest! {
    #[test]
    fn what_was_written_is_confirmed_and_has_the_bytes_of_the_specification(
        description in "[^\0]{0,60}", number: u32, start: u64, size: u64, guid: u128,
        file in "(\\\\[A-Za-z0-9äß日.-]{1,12}){1,4}",
    ) {
        let uuid = Uuid::from_u128(guid);
        let partition = PartitionNode { number, start_lba: start, size_lba: size, uuid };
        let data = entry(&description, &partition, &file).to_bytes();
        prop_assert_eq!(&data, &by_hand(&description, &partition, &file));
        prop_assert_eq!(confirmed(&data), Some((partition, FilePath::new(file))));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..160)) {
        confirmed(&bytes);
    }
}
