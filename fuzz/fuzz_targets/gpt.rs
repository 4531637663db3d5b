// SPDX-License-Identifier: MIT OR Apache-2.0

//! A partition table: on a disk of 512-byte sectors, of which the fuzzer gives the first 40 and the
//! last 33. Whatever is taken lies on the disk.

#![no_main]

use flipside_core::host::gpt;
use libfuzzer_sys::fuzz_target;

const SECTORS: usize = 128;
const FIRST: usize = 40;

/// The sums of a header and of its entries: the fuzzer would not find them in its life. The first
/// byte says whether to put them right.
fn with_sums(disk: &mut [u8], at: usize) {
    let number = |disk: &[u8], at: usize| {
        disk.get(at..at + 8).map_or(0, |b| u64::from_le_bytes(b.try_into().expect("8 bytes")))
    };
    let start = number(disk, at + 72).saturating_mul(512) as usize;
    let counts = number(disk, at + 80);
    let length = (counts & 0xffff_ffff).saturating_mul(counts >> 32) as usize;
    let entries = start.checked_add(length).and_then(|end| disk.get(start..end));
    let Some(sum) = entries.map(crc) else { return };
    disk[at + 88..at + 92].copy_from_slice(&sum.to_le_bytes());
    disk[at + 16..at + 20].fill(0);
    let sum = crc(&disk[at..at + 92]);
    disk[at + 16..at + 20].copy_from_slice(&sum.to_le_bytes());
}

fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |sum: u32, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| (sum >> 1) ^ (0xedb8_8320 & (sum & 1).wrapping_neg()))
    })
}

fuzz_target!(|bytes: &[u8]| {
    let Some((choice, bytes)) = bytes.split_first() else { return };
    let mut disk = vec![0; SECTORS * 512];
    let (first, last) = bytes.split_at(bytes.len().min(FIRST * 512));
    disk[..first.len()].copy_from_slice(first);
    let last = &last[..last.len().min(33 * 512)];
    let start = disk.len() - last.len();
    disk[start..].copy_from_slice(last);
    if choice & 1 == 1 {
        with_sums(&mut disk, 512);
        with_sums(&mut disk, (SECTORS - 1) * 512);
    }
    let size = disk.len() as u64;
    for sector_size in [None, Some(512), Some(4096)] {
        let _ = gpt::glance(&disk[..], size, sector_size);
        if let Ok(table) = gpt::read(&disk[..], size, sector_size) {
            for entry in &table.entries {
                assert!(entry.last < size / u64::from(table.sector_size));
            }
        }
    }
});
