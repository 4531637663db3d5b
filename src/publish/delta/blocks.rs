// SPDX-License-Identifier: MIT OR Apache-2.0

//! Where the blocks of the old payload are: file systems move content by whole blocks.

use std::hash::{DefaultHasher, Hasher as _};

use super::super::PublishError;
use super::ordered::in_order;
use super::payload_file::PayloadFile;
use super::run::Run;

/// The size of a block in bytes, and what offsets of blocks are multiples of.
pub(super) const BLOCK: u64 = 4096;
/// A block that the old payload has more often says nothing about where content has moved.
const OFTEN: usize = 16;
/// How much of the payload is read and hashed at a time, in bytes.
const PIECE: u64 = 4 << 20;

/// A block of the old payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Block {
    hash: u64,
    /// Its offset in blocks.
    number: u32,
}

/// The blocks of a payload by their hash, without those of zeroes and those that it has often. It
/// takes 16 bytes for each.
#[derive(Debug, Default)]
pub(super) struct Blocks(Vec<Block>);

impl Blocks {
    /// Reads all of `old`.
    pub(super) fn of(old: &PayloadFile, run: &Run<'_>) -> Result<Self, PublishError> {
        let mut all: Vec<Block> = Vec::new();
        let hash_piece = |piece: u64| {
            run.stop.check()?;
            let start = piece.saturating_mul(PIECE);
            let bytes = old.read(start, PIECE.min(old.size().saturating_sub(start)))?;
            Ok(hashes(&bytes, start).collect::<Vec<_>>())
        };
        in_order(old.size().div_ceil(PIECE), run.workers, &hash_piece, &mut |blocks| {
            all.extend(blocks);
            Ok(())
        })?;
        all.sort_unstable();
        let rare = all.chunk_by(|one, other| one.hash == other.hash);
        let rare = rare.filter(|same| same.len() <= OFTEN).flatten();
        Ok(Self(rare.copied().collect()))
    }

    /// The offsets at which the old payload has, as far as the hash tells, these bytes. In order.
    fn offsets(&self, hash: u64) -> impl Iterator<Item = u64> {
        let start = self.0.partition_point(|block| block.hash < hash);
        let found = self.0.get(start..).unwrap_or_default();
        let same = found.iter().take_while(move |block| block.hash == hash);
        same.map(|block| u64::from(block.number) * BLOCK)
    }

    /// The blocks in `bytes`, which are at `start` of the new payload, that the old payload has.
    pub(super) fn find(&self, bytes: &[u8], start: u64) -> Vec<Found> {
        // Blocks are counted from the payload's start.
        let skipped = start.next_multiple_of(BLOCK).saturating_sub(start);
        let aligned = usize::try_from(skipped).ok().and_then(|skipped| bytes.get(skipped..));
        let aligned_start = start.saturating_add(skipped);
        let found = hashes(aligned.unwrap_or_default(), aligned_start).map(|block| {
            let at = u64::from(block.number) * BLOCK;
            Found { at, old: self.offsets(block.hash).collect() }
        });
        found.filter(|found| !found.old.is_empty()).collect()
    }
}

/// A block of the new payload, and where the old one has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// Its offset in the new payload.
    pub(super) at: u64,
    /// Its offsets in the old one.
    pub(super) old: Vec<u64>,
}

/// The whole blocks of `bytes`, which are at `start`, a multiple of the block size.
fn hashes(bytes: &[u8], start: u64) -> impl Iterator<Item = Block> {
    let first = start / BLOCK;
    let blocks = (first..).zip(bytes.chunks_exact(BLOCK as usize));
    blocks.filter_map(|(number, block)| {
        let number = u32::try_from(number).ok()?;
        Some(Block { hash: hash(block)?, number })
    })
}

/// `None` for zeroes. Only whether two hashes are the same decides anything, and what they find is
/// compared or compressed: any good hash gives the same delta.
fn hash(block: &[u8]) -> Option<u64> {
    if block.iter().all(|byte| *byte == 0) {
        return None;
    }
    let mut hasher = DefaultHasher::new();
    hasher.write(block);
    Some(hasher.finish())
}
