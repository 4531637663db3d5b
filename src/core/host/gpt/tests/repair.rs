// SPDX-License-Identifier: MIT OR Apache-2.0

//! The command that a refusal names makes the table what it was: the real programs are run.

use std::fs;
use std::process::Command;

use super::*;

fn refusal(bytes: &[u8], path: &Path) -> String {
    HostError::table(path, false, read_image(bytes).unwrap_err()).to_string()
}

fn command_in(sentence: &str) -> &str {
    sentence.split_once("copy, run: ").map_or_else(|| panic!("{sentence}"), |(_, command)| command)
}

/// Damages `bytes` of a disk with sectors of 512 bytes.
type Damage = fn(&mut Vec<u8>);

fn end(bytes: &[u8]) -> usize {
    bytes.len()
}

const DAMAGES: &[(&str, &str, Damage)] = &[
    ("the primary header", "the backup copy", |b| b[512 + 40] ^= 1),
    ("no primary header", "the backup copy", |b| b[512..1024].fill(0)),
    ("the primary's entries", "the backup copy", |b| b[1024 + 300] ^= 1),
    ("no primary at all", "the backup copy", |b| b[512..34 * 512].fill(0)),
    ("no primary and no MBR", "the backup copy", |b| b[..34 * 512].fill(0)),
    ("no primary and another MBR", "the backup copy", |b| {
        b[512..34 * 512].fill(0);
        b[450] = 0x83;
    }),
    ("the backup header", "the primary copy", |b| {
        let end = end(b);
        b[end - 512 + 40] ^= 1;
    }),
    ("no backup header", "the primary copy", |b| {
        let end = end(b);
        b[end - 512..].fill(0);
    }),
    ("the backup's entries", "the primary copy", |b| {
        let end = end(b);
        b[end - 33 * 512 + 300] ^= 1;
    }),
    ("no backup at all", "the primary copy", |b| {
        let end = end(b);
        b[end - 33 * 512..].fill(0);
    }),
    ("no backup and no MBR", "the primary copy", |b| {
        let end = end(b);
        b[end - 33 * 512..].fill(0);
        b[..512].fill(0);
    }),
];

#[test]
fn the_command_for_a_damaged_copy_makes_the_table_whole() {
    let directory = tempfile::tempdir().unwrap();
    // A name that a shell would take apart.
    let path = directory.path().join("a disk's $image.img");
    let sound = image(512);
    for (name, from, damage) in DAMAGES {
        let mut bytes = sound.clone();
        damage(&mut bytes);
        fs::write(&path, &bytes).unwrap();
        let sentence = refusal(&bytes, &path);
        assert!(sentence.contains(&format!("restore it from {from}")), "{name}: {sentence}");
        let path_of_programs = "/usr/sbin:/sbin:/usr/bin:/bin";
        run(Command::new("sh").args(["-c", command_in(&sentence)]).env("PATH", path_of_programs));
        let repaired = fs::read(&path).unwrap();
        assert_eq!(repaired[512..], sound[512..], "{name}: {sentence}");
        assert_eq!(read_image(&repaired).unwrap().agreement, Agreement::Same, "{name}");
    }
}

#[test]
fn copies_of_two_disks_are_settled_by_the_guid_that_linux_uses() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("disk.img");
    let (older, size) = (image(512), image(512).len());
    fs::write(&path, &older).unwrap();
    run(program("sgdisk").args(["-U", "R"]).arg(&path));
    let newer = fs::read(&path).unwrap();
    let mixed = [&newer[..size - 33 * 512], &older[size - 33 * 512..]].concat();
    fs::write(&path, &mixed).unwrap();
    let sentence = refusal(&mixed, &path);
    assert!(command_in(&sentence).starts_with("sgdisk -e -U "), "{sentence}");
    run(Command::new("sh")
        .args(["-c", command_in(&sentence)])
        .env("PATH", "/usr/sbin:/usr/bin:/bin"));
    assert_eq!(read_image(&fs::read(&path).unwrap()).unwrap().disk_uuid, {
        read_image(&newer).unwrap().disk_uuid
    });
}

#[test]
fn the_command_fits_the_disk() {
    let bytes = |sector_size: u32| {
        let mut bytes = image(sector_size);
        bytes[sector_size as usize + 40] ^= 1;
        bytes
    };
    let said = |sector_size, path: &str, is_block_device| {
        let error = read_image(&bytes(sector_size)).unwrap_err();
        let sentence = HostError::table(Path::new(path), is_block_device, error).to_string();
        command_in(&sentence).to_owned()
    };
    // A device tells sgdisk its sectors, a file does not.
    assert_eq!(said(512, "/dev/vda", true), "sgdisk -e /dev/vda");
    assert_eq!(said(4096, "/dev/nvme0n1", true), "sgdisk -e /dev/nvme0n1");
    assert_eq!(
        said(4096, "/h/disk.img", false),
        "loop=$(losetup --find --show --sector-size 4096 /h/disk.img) && sgdisk -e \"$loop\"; \
         losetup --detach \"$loop\""
    );
}

#[test]
fn a_command_that_only_looks_is_named_where_no_copy_is_sound() {
    let mut bytes = image(512);
    let size = bytes.len();
    bytes[512 + 40] ^= 1;
    bytes[size - 512 + 40] ^= 1;
    let only_looks = |told: &str| {
        told.matches("sgdisk").eq(["sgdisk"]) && told.contains("sgdisk --verify disk.img")
    };
    let told = refusal(&bytes, Path::new("disk.img"));
    assert!(only_looks(&told), "{told}");
    // The other copy has the same senseless entries.
    let mut table = image(512);
    let entry = 1024 + 128;
    // Slot A begins where the ESP does.
    let first: [u8; 8] = table[1024 + 32..1024 + 40].try_into().unwrap();
    table[entry + 32..entry + 40].copy_from_slice(&first);
    let entries = table[1024..1024 + 16384].to_vec();
    let checksum = crc32fast::hash(&entries);
    for (header, at) in [(512, 1024), (size - 512, size - 33 * 512)] {
        table[at..at + 16384].copy_from_slice(&entries);
        table[header + 88..header + 92].copy_from_slice(&checksum.to_le_bytes());
        table[header + 16..header + 20].fill(0);
        let own = crc32fast::hash(&table[header..header + 92]);
        table[header + 16..header + 20].copy_from_slice(&own.to_le_bytes());
    }
    let sentence = refusal(&table, Path::new("disk.img"));
    assert!(sentence.contains("overlap") && only_looks(&sentence), "{sentence}");
    // Nor where the one that has a sound checksum is as senseless.
    table[512 + 40] ^= 1;
    let sentence = refusal(&table, Path::new("disk.img"));
    assert!(sentence.contains("primary copy") && only_looks(&sentence), "{sentence}");
}
