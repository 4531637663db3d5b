// SPDX-License-Identifier: MIT OR Apache-2.0

//! One chunk as a zstd frame that refers to the old payload.

use zstd::zstd_safe::{CCtx, CParameter, SafeResult, compress_bound, get_error_name};

use super::super::PublishError;

/// The window of a frame: it reaches over any prefix and any chunk, 6 MiB together.
const WINDOW_LOG: u32 = 23;

/// What one worker needs at most, in bytes: zstd's tables (measured for chunks of 2 MiB: 41 MiB at
/// level 12, 66 MiB at level 15, 133 MiB at level 22), the windows, and the frames that wait.
pub(super) const fn memory(level: i32) -> u64 {
    match level {
        ..=12 => 64 << 20,
        13..=18 => 96 << 20,
        _ => 160 << 20,
    }
}

/// The frame that decodes to `chunk` behind `prefix`: with its content size in the header, which a
/// reader needs to bound its memory, and without a checksum, since the chunk's SHA-256 says more.
pub(super) fn compress(level: i32, prefix: &[u8], chunk: &[u8]) -> Result<Vec<u8>, PublishError> {
    let mut frame = Vec::with_capacity(compress_bound(chunk.len()));
    let compressed = try_compress(level, prefix, chunk, &mut frame);
    let failed = |code| format!("zstd refused: {}", get_error_name(code));
    compressed.map_err(|code| PublishError::Delta { what: failed(code) })?;
    Ok(frame)
}

fn try_compress(level: i32, prefix: &[u8], chunk: &[u8], frame: &mut Vec<u8>) -> SafeResult {
    // One for each frame: its prefix has to outlive it.
    let mut context = CCtx::create();
    for parameter in [
        CParameter::CompressionLevel(level),
        CParameter::WindowLog(WINDOW_LOG),
        CParameter::EnableLongDistanceMatching(true),
        CParameter::ContentSizeFlag(true),
        CParameter::ChecksumFlag(false),
    ] {
        context.set_parameter(parameter)?;
    }
    context.ref_prefix(prefix)?;
    context.compress2(frame, chunk)
}
