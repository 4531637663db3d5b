// SPDX-License-Identifier: MIT OR Apache-2.0

//! An OCI archive. Members lie within the file; what the source gives lies within a member.

#![no_main]

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;

use flipside_source::{ArchiveSource, Source as _, tar};
use libfuzzer_sys::fuzz_target;
use nix::sys::memfd::{MFdFlags, memfd_create};

/// Blocks with a right checksum: the fuzzer would not find one in its life.
fn with_checksums(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for block in bytes.chunks_exact_mut(512).filter(|block| block[257..].starts_with(b"ustar")) {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
    bytes
}

fuzz_target!(|bytes: &[u8]| {
    let bytes = with_checksums(bytes);
    let mut file = File::from(memfd_create("fuzz", MFdFlags::MFD_CLOEXEC).unwrap());
    file.write_all(&bytes).unwrap();
    let length = bytes.len() as u64;
    let _ = tar::members(&file, length, &mut |member| {
        assert!(member.offset.checked_add(member.size).is_some_and(|end| end <= length));
        Ok(())
    });
    let path = PathBuf::from(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file)));
    let Ok(source) = ArchiveSource::open(&path, None) else { return };
    if let Ok(digest) = source.resolve() {
        let _ = source.manifest(&digest);
    }
});
