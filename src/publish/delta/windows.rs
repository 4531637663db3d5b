// SPDX-License-Identifier: MIT OR Apache-2.0

//! Which parts of the old payload a chunk is made from.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::ops::Range;

use flipside_image::delta::{WINDOWS, WINDOWS_LIMIT, Window};

use super::blocks::{BLOCK, Found};

/// How much of the old payload is taken before and behind what the chunk is made from, in bytes. More
/// makes patches 1 % smaller, and hosts read three times as much.
const MARGIN: u64 = 128 << 10;
/// The same where chunks are smaller than this.
const LEAST_MARGIN: u64 = 64 << 10;
/// The most bytes of the window around the chunk. The rest is for content from elsewhere.
const AROUND: u64 = 3 << 20;
/// How much a block that stands at one offset alone counts.
const WEIGHT: u32 = 16;
/// How many blocks, each at one offset alone, have to say the same before they are believed.
const ENOUGH: u32 = 8 * WEIGHT;

/// How far content has moved: the offset in the old payload less that in the new one.
pub(super) type Shift = i64;

/// How much speaks for each shift.
#[derive(Debug, Default)]
pub(super) struct Votes(HashMap<Shift, u32>);

impl Votes {
    pub(super) fn add<'a>(&mut self, found: impl IntoIterator<Item = &'a Found>) {
        for block in found {
            // A block in many places says less about each of them.
            let weight = WEIGHT / u32::try_from(block.old.len().max(1)).unwrap_or(WEIGHT);
            for old in &block.old {
                let votes = self.0.entry(shift(*old, block.at)).or_default();
                *votes = votes.saturating_add(weight.max(1));
            }
        }
    }

    /// The shift that most speaks for, the nearest one of several, and how much that is.
    pub(super) fn best(&self) -> Option<(Shift, u32)> {
        let best = self.0.iter().max_by_key(|(shift, votes)| {
            (**votes, Reverse(shift.unsigned_abs()), Reverse(**shift))
        });
        best.map(|(shift, votes)| (*shift, *votes))
    }

    /// The same, if enough speaks for it.
    pub(super) fn clear(&self) -> Option<Shift> {
        self.best().filter(|(_, votes)| *votes >= ENOUGH).map(|(shift, _)| shift)
    }
}

fn shift(old: u64, new: u64) -> Shift {
    // Offsets are far below 2^63.
    old.wrapping_sub(new).cast_signed()
}

/// Where `range` of the new payload stands in an old one of `size` bytes; `None` where that is not
/// wholly inside.
pub(super) fn moved(range: &Range<u64>, shift: Shift, size: u64) -> Option<Range<u64>> {
    let start = range.start.checked_add_signed(shift)?;
    let end = range.end.checked_add_signed(shift)?;
    (end <= size).then_some(start..end)
}

/// The windows for the chunk at `range`: the old payload around the chunk's place after `shift`,
/// and before it in the list what has those of the chunk's blocks that are not there. None if the
/// old payload is empty.
pub(super) fn choose(
    range: &Range<u64>,
    shift: Shift,
    found: &[Found],
    old_size: u64,
) -> Vec<Window> {
    let around = around(range, shift, old_size);
    let mut left: Vec<&Found> = found.iter().filter(|block| !has(&around, block)).collect();
    let mut budget = WINDOWS_LIMIT.saturating_sub(length(&around));
    let mut windows = Vec::new();
    while windows.len() + 1 < WINDOWS && !left.is_empty() && budget >= BLOCK {
        let mut votes = Votes::default();
        votes.add(left.iter().copied());
        let Some((shift, _)) = votes.best() else { break };
        let Some(window) = span(&left, shift, budget, old_size) else { break };
        budget = budget.saturating_sub(length(&window));
        left.retain(|block| !has(&window, block));
        windows.push(window);
    }
    // What is nearest to the chunk has the shortest distances.
    windows.push(around);
    let windows = windows.into_iter().filter(|window| !window.is_empty());
    windows
        .map(|window| Window {
            offset: window.start,
            length: u32::try_from(length(&window)).unwrap_or(u32::MAX),
        })
        .collect()
}

fn length(range: &Range<u64>) -> u64 {
    range.end.saturating_sub(range.start)
}

/// The old payload around the place of the chunk; its end, if the place is behind that.
fn around(range: &Range<u64>, shift: Shift, old_size: u64) -> Range<u64> {
    let chunk = length(range);
    let margin = chunk.clamp(LEAST_MARGIN, MARGIN).min(AROUND.saturating_sub(chunk) / 2);
    let start = range.start.saturating_add_signed(shift).saturating_sub(margin);
    let end = range.end.saturating_add_signed(shift).saturating_add(margin).min(old_size);
    let latest = old_size.saturating_sub(chunk.saturating_add(margin));
    start.min(latest).min(end)..end
}

/// The old payload from the first to the last block that has moved by `shift`, of at most `budget`
/// bytes.
fn span(left: &[&Found], shift: Shift, budget: u64, old_size: u64) -> Option<Range<u64>> {
    let has_moved =
        |block: &&&Found| block.old.iter().any(|old| self::shift(*old, block.at) == shift);
    let first = left.iter().find(has_moved)?.at;
    let last = left.iter().rfind(has_moved)?.at;
    let start = first.checked_add_signed(shift)?;
    let end = last.checked_add_signed(shift)?.checked_add(BLOCK)?;
    let end = end.min(start.saturating_add(budget)).min(old_size);
    (start < end).then_some(start..end)
}

/// Whether `window` of the old payload has the block.
fn has(window: &Range<u64>, block: &Found) -> bool {
    let inside = |old: &u64| *old >= window.start && old.saturating_add(BLOCK) <= window.end;
    block.old.iter().any(inside)
}
