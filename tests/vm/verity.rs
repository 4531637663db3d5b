// SPDX-License-Identifier: MIT OR Apache-2.0

//! dm-verity's hash tree behind a file system (Linux,
//! `Documentation/admin-guide/device-mapper/verity.rst`).

use flipside_image::Digest;

const BLOCK: usize = 4096;

/// `system` with its hash tree behind it, and the table for a device that holds both.
pub fn protect(mut system: Vec<u8>, device: &str) -> (Vec<u8>, String) {
    system.resize(system.len().next_multiple_of(BLOCK), 0);
    let blocks = system.len() / BLOCK;
    let mut levels = vec![hashes(&system)];
    while let Some(last) = levels.last()
        && last.len() > BLOCK
    {
        levels.push(hashes(last));
    }
    let root = levels.last().map(|top| Digest::of(top).hex()).unwrap_or_default();
    // The topmost comes first.
    for level in levels.iter().rev() {
        system.extend(level);
    }
    let sectors = blocks * BLOCK / 512;
    let table = format!(
        "0 {sectors} verity 1 {device} {device} {BLOCK} {BLOCK} {blocks} {blocks} sha256 {root} -"
    );
    (system, table)
}

/// The hashes of all blocks, in whole blocks.
fn hashes(bytes: &[u8]) -> Vec<u8> {
    let mut hashes: Vec<u8> =
        bytes.chunks(BLOCK).flat_map(|block| *Digest::of(block).as_bytes()).collect();
    hashes.resize(hashes.len().next_multiple_of(BLOCK), 0);
    hashes
}
