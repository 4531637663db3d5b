// SPDX-License-Identifier: MIT OR Apache-2.0

//! Images to make deltas of, and a host that applies them and knows of the format alone.

use std::fs;
use std::path::PathBuf;

use flipside_core::cancel::Cancel;
use flipside_core::host::Root;
use flipside_core::progress::Silent;
use flipside_image::delta::{ChunkDelta, Delta, WINDOWS, WINDOWS_LIMIT};
use flipside_image::{
    ChunkSize, Compression, DEFAULT_CHUNK_SIZE, Layer, ProductInfo, SYSTEM_PAYLOAD,
};
use flipside_source::{Location, Options};
use zstd::zstd_safe::DCtx;

use super::super::super::build::{LayerEncoding, PayloadFile, Plan, build};
use super::super::OpenedImage;

/// Bytes that a seed decides. Some blocks repeat and some compress, as in a file system.
pub(super) fn content(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
        if state.is_multiple_of(16) {
            bytes.extend([0; 64]);
        }
    }
    bytes.truncate(length);
    bytes
}

/// An image with these payloads, in a layout of its own.
pub(super) struct Built {
    directory: tempfile::TempDir,
    payloads: Vec<(&'static str, Vec<u8>)>,
}

pub(super) fn options() -> Options {
    Options::new(Root::live(), Cancel::new())
}

impl Built {
    pub(super) fn with(
        version: &str,
        payloads: &[(&'static str, Vec<u8>)],
        encoding: LayerEncoding,
        chunk_size: ChunkSize,
    ) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let info = ProductInfo {
            id: "acme".into(),
            name: "Acme OS".into(),
            version: version.into(),
            variant: "x86_64".into(),
            commit_hash: String::new(),
            commit_date: String::new(),
            build_tree_dirty: false,
            components: None,
        };
        let files = payloads.iter().map(|(name, bytes)| {
            let file = directory.path().join(name);
            fs::write(&file, bytes).unwrap();
            PayloadFile { name: name.parse().unwrap(), file, partition: None }
        });
        let mut plan = Plan::new(info, files.collect(), directory.path().join("layout"));
        plan.encoding = encoding;
        plan.chunk_size = chunk_size;
        plan.allow_unbootable = true;
        build(&plan, &Silent, &Cancel::new()).unwrap();
        Self { directory, payloads: payloads.to_vec() }
    }

    pub(super) fn of(version: &str, system: Vec<u8>) -> Self {
        let payloads = [(SYSTEM_PAYLOAD, system)];
        Self::with(version, &payloads, LayerEncoding::Zstd(3), DEFAULT_CHUNK_SIZE)
    }

    pub(super) fn layout(&self) -> PathBuf {
        self.directory.path().join("layout")
    }

    pub(super) fn open(&self) -> OpenedImage {
        let location = Location::Layout { directory: self.layout(), tag: None };
        OpenedImage::open(&location, None, &options()).unwrap()
    }

    pub(super) fn payload(&self, name: &str) -> &[u8] {
        &self.payloads.iter().find(|(other, _)| *other == name).unwrap().1
    }
}

/// What a host that has `old` makes of the delta.
pub(super) fn applied(
    old: &[u8],
    layer: &Layer<'_>,
    full: &[u8],
    delta: &Delta,
    frames: &[u8],
) -> Vec<u8> {
    let payload = delta.payload(&layer.payload.name).unwrap();
    let (mut new, mut at) = (Vec::new(), 0);
    for ((index, _), chunk) in layer.payload.chunks().zip(payload.chunks()) {
        let range = layer.payload.chunk_range(index);
        let length = usize::try_from(range.end - range.start).unwrap();
        let mut bytes = Vec::with_capacity(length);
        match chunk {
            ChunkDelta::Copy(offset) => {
                let offset = usize::try_from(offset).unwrap();
                bytes.extend_from_slice(&old[offset..offset + length]);
            }
            ChunkDelta::Patch { size, windows } => {
                assert!((1..=WINDOWS).contains(&windows.len()));
                let mut prefix = Vec::new();
                for window in windows {
                    let start = usize::try_from(window.offset).unwrap();
                    prefix.extend_from_slice(&old[start..start + window.length as usize]);
                }
                assert!(prefix.len() as u64 <= WINDOWS_LIMIT);
                let frame = &frames[at..at + usize::try_from(size).unwrap()];
                at += frame.len();
                // RFC 8878, 3.1.1.1.1: a content size and no checksum.
                assert_eq!(frame[4] & 0b100, 0);
                let said = zstd::zstd_safe::get_frame_content_size(frame).unwrap();
                assert_eq!(said, Some(length as u64));
                let mut context = DCtx::create();
                context.ref_prefix(&prefix).unwrap();
                context.decompress(&mut bytes, frame).unwrap();
            }
            ChunkDelta::Full if layer.compression == Compression::None => {
                let start = usize::try_from(range.start).unwrap();
                bytes.extend_from_slice(&full[start..start + length]);
            }
            ChunkDelta::Full => {
                let range = layer.frames.unwrap().range(index).unwrap();
                let start = usize::try_from(range.start).unwrap();
                let end = usize::try_from(range.end).unwrap();
                DCtx::create().decompress(&mut bytes, &full[start..end]).unwrap();
            }
        }
        new.extend(bytes);
    }
    assert_eq!(at, frames.len());
    new
}
