// SPDX-License-Identifier: MIT OR Apache-2.0

//! zstd frames that refer to what stands before them, and frames that lie.

use zstd::zstd_safe::{CCtx, CParameter};

/// The frame of `chunk` behind `prefix`.
pub fn patch(prefix: &[u8], chunk: &[u8]) -> Vec<u8> {
    let mut encoder = CCtx::create();
    encoder.set_parameter(CParameter::CompressionLevel(3)).unwrap();
    encoder.set_parameter(CParameter::WindowLog(23)).unwrap();
    encoder.ref_prefix(prefix).unwrap();
    let mut frame = Vec::with_capacity(chunk.len() + 1024);
    encoder.compress2(&mut frame, chunk).unwrap();
    frame
}

/// A frame of so many zeroes that does not say how many they are.
pub fn bomb(length: u64) -> Vec<u8> {
    zstd::stream::encode_all(std::io::Read::take(std::io::repeat(0), length), 1).unwrap()
}

/// A frame to be passed over, of so many bytes (RFC 8878, section 3.1.2).
pub fn skippable(length: u32) -> Vec<u8> {
    let mut frame = [&[0x50, 0x2a, 0x4d, 0x18], &length.to_le_bytes()[..]].concat();
    frame.resize(8 + length as usize, 7);
    frame
}

/// A frame that stores `chunk` as it is, in a window of two to the power of `log` bytes, from 10 to
/// 41 (RFC 8878, section 3.1.1.1.2).
pub fn frame_of_window(log: u8, chunk: &[u8]) -> Vec<u8> {
    [&[0x28, 0xb5, 0x2f, 0xfd, 0, (log - 10) << 3], &raw_block(chunk)[..]].concat()
}

/// The same, said to hold `size` bytes.
pub fn with_content_size(size: u64, chunk: &[u8]) -> Vec<u8> {
    // Single segment, and a content size of eight bytes.
    let head = [&[0x28, 0xb5, 0x2f, 0xfd, 0xe0], &size.to_le_bytes()[..]].concat();
    [head, raw_block(chunk)].concat()
}

/// One last block, as it is (section 3.1.1.2).
fn raw_block(chunk: &[u8]) -> Vec<u8> {
    let head = (chunk.len() as u32) << 3 | 1;
    [&head.to_le_bytes()[..3], chunk].concat()
}
