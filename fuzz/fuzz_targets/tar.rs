// SPDX-License-Identifier: MIT OR Apache-2.0

//! Members of a tar file. The first bytes say what is put right: a header's sum, which the fuzzer would
//! not find in its life, in each block that they name.

#![no_main]

use std::fs::File;
use std::io::Write as _;

use flipside_source::tar;
use libfuzzer_sys::fuzz_target;
use nix::sys::memfd::{MFdFlags, memfd_create};

fuzz_target!(|bytes: &[u8]| {
    let Some((which, bytes)) = bytes.split_first_chunk::<4>() else { return };
    let (which, mut bytes) = (u32::from_le_bytes(*which), bytes.to_vec());
    for (nth, block) in bytes.chunks_exact_mut(512).take(32).enumerate() {
        if which >> nth & 1 == 1 {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
    let mut file = File::from(memfd_create("fuzz", MFdFlags::MFD_CLOEXEC).unwrap());
    file.write_all(&bytes).unwrap();
    let length = bytes.len() as u64;
    let mut before = 0;
    let _ = tar::members(&file, length, &mut |member| {
        assert!(member.offset > before, "members do not overlap");
        before = member.offset;
        assert!(member.offset.checked_add(member.size).is_some_and(|end| end <= length));
        Ok(())
    });
});
