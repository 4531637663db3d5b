// SPDX-License-Identifier: MIT OR Apache-2.0

//! An image config. What is taken is within its limits, and is written and read again the same.

#![no_main]

use flipside_image::{ChunkIndex, ImageConfig, MAX_CHUNK_SIZE};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(config) = ImageConfig::parse(bytes) else { return };
    let _ = config.check_bootable();
    for payload in &config.payloads {
        assert!(payload.chunk_size.bytes() <= MAX_CHUNK_SIZE);
        assert_eq!(payload.chunks.len() as u64, payload.chunk_size.count(payload.size));
        let covered: u64 = payload
            .chunks()
            .map(|(index, _)| {
                let range = payload.chunk_range(index);
                range.end - range.start
            })
            .sum();
        assert_eq!(covered, payload.size);
        assert!(payload.chunk_range(ChunkIndex(payload.chunk_count())).is_empty());
    }
    let again = config.to_bytes().expect("it can be written");
    assert_eq!(ImageConfig::parse(&again).expect("it is still one"), config);
});
