// SPDX-License-Identifier: MIT OR Apache-2.0

//! The FAT of an ESP. The first two bytes say how large the partition is; behind what the fuzzer
//! gives, it is empty.

#![no_main]

use std::io;

use flipside_core::host::fat::{self, Use};
use flipside_core::host::storage::Storage;
use libfuzzer_sys::fuzz_target;

struct Partition<'a> {
    bytes: &'a [u8],
    size: u64,
}

impl Storage for Partition<'_> {
    fn name(&self) -> String {
        "fuzz".to_owned()
    }

    fn capacity(&self) -> u64 {
        self.size
    }

    fn write_at(&self, _: u64, _: &[u8]) -> io::Result<()> {
        panic!("it is only looked at")
    }

    fn sync(&self) -> io::Result<()> {
        panic!("it is only looked at")
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let end = offset.checked_add(bytes.len() as u64).filter(|end| *end <= self.size);
        end.ok_or(io::ErrorKind::UnexpectedEof)?;
        bytes.fill(0);
        let given = self.bytes.get(offset as usize..).unwrap_or_default();
        let length = given.len().min(bytes.len());
        bytes[..length].copy_from_slice(&given[..length]);
        Ok(())
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((size, bytes)) = bytes.split_first_chunk::<2>() else { return };
    let size = u64::from(u16::from_le_bytes(*size)) << 12;
    for used in [Use::Offline, Use::Mounted] {
        let _ = fat::check(&Partition { bytes, size }, used);
    }
});
