// SPDX-License-Identifier: MIT OR Apache-2.0

//! A frame table: a chunk size, a payload size, and the sizes of frames.

#![no_main]

use flipside_image::{ChunkIndex, ChunkSize, FrameTable};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u64, u64, Vec<u64>)| {
    let (chunk_size, size, sizes) = input;
    let Ok(chunk_size) = ChunkSize::new(chunk_size) else { return };
    let Ok(table) = FrameTable::new(&sizes, chunk_size, size) else { return };
    assert_eq!(table.len() as u64, chunk_size.count(size));
    assert_eq!(table.sizes(), sizes);
    let mut end = 0;
    for index in 0..table.len() as u32 {
        let range = table.range(ChunkIndex(index)).expect("every chunk has a frame");
        assert_eq!(range.start, end);
        assert!(range.end > range.start);
        end = range.end;
    }
    assert_eq!(end, table.layer_size());
    assert_eq!(table.range(ChunkIndex(table.len() as u32)), None);
});
