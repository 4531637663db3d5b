// SPDX-License-Identifier: MIT OR Apache-2.0

//! The disks that a power cut may leave: for each moment, what was flushed is there; of what was
//! written since, each sector is there or not.

use super::write_log::{Entry, WriteLog};
use crate::random::Random;

/// What a drive keeps or loses as a whole.
const SECTOR: usize = 512;

/// How the writes fare that no flush has followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    AllLost,
    AllThere,
    /// Each write for itself is there or not.
    SomeWrites(u64),
    /// Each sector for itself is.
    SomeSectors(u64),
    /// All are there but the last, of which the first sectors are.
    Torn(u64),
}

/// A moment, by the number of entries before it, and what became of the rest.
#[derive(Debug, Clone, Copy)]
pub struct Cut {
    pub after: usize,
    pub fate: Fate,
}

/// At least `wanted` cuts over the whole log.
pub fn cuts(log: &WriteLog, wanted: usize, random: &mut Random) -> Vec<Cut> {
    let mut open = 0_usize;
    let mut moments = Vec::new();
    for (index, entry) in log.entries.iter().enumerate() {
        open = if matches!(entry, Entry::Flush) { 0 } else { open + 1 };
        moments.push((index + 1, open));
    }
    let undecided = moments.iter().filter(|(_, open)| *open > 0).count().max(1);
    // Each moment with all and with nothing, and as many random fates as it takes.
    let extra = wanted.saturating_sub(2 * undecided).div_ceil(undecided).max(3);
    let mut cuts = Vec::new();
    for (after, open) in moments {
        cuts.push(Cut { after, fate: Fate::AllThere });
        if open == 0 {
            continue;
        }
        cuts.push(Cut { after, fate: Fate::AllLost });
        for turn in 0..extra {
            let seed = random.next();
            let fate = match turn % 3 {
                0 => Fate::SomeSectors(seed),
                1 => Fate::SomeWrites(seed),
                _ => Fate::Torn(seed),
            };
            cuts.push(Cut { after, fate });
        }
    }
    cuts
}

/// Builds disks from a log, moment by moment.
pub struct Disks<'a> {
    log: &'a WriteLog,
    /// With all writes up to the last flush before `at`.
    durable: Vec<u8>,
    at: usize,
}

impl<'a> Disks<'a> {
    /// Begins with the disk as it was before the log.
    pub fn new(log: &'a WriteLog, before: Vec<u8>) -> Self {
        Self { log, durable: before, at: 0 }
    }

    /// The disk after `cut`, into `disk`. Cuts come in the order of their moments.
    pub fn build(&mut self, cut: &Cut, disk: &mut Vec<u8>) {
        let flushed = self.last_flush(cut.after);
        for index in self.at..flushed {
            if let Some(Entry::Write { at, data }) = self.log.entries.get(index) {
                put(&mut self.durable, *at, self.log.data(data));
            }
        }
        self.at = self.at.max(flushed);
        disk.clone_from(&self.durable);
        let pending = self.log.entries.get(self.at..cut.after).unwrap_or_default();
        for (index, entry) in pending.iter().enumerate() {
            let Entry::Write { at, data } = entry else { continue };
            let data = self.log.data(data);
            let is_last = index + 1 == pending.len();
            for (sector, bytes) in data.chunks(SECTOR).enumerate() {
                if cut.fate.keeps(index, sector, data.len() / SECTOR, is_last) {
                    put(disk, at + sector * SECTOR, bytes);
                }
            }
        }
    }

    fn last_flush(&self, after: usize) -> usize {
        let before = self.log.entries.get(..after).unwrap_or_default();
        before.iter().rposition(|entry| matches!(entry, Entry::Flush)).map_or(0, |at| at + 1)
    }
}

impl Fate {
    fn keeps(self, write: usize, sector: usize, sectors: usize, is_last: bool) -> bool {
        let coin = |seed: u64, word: String| Random::of(&format!("{seed} {word}")).next();
        match self {
            Self::AllLost => false,
            Self::AllThere => true,
            Self::SomeWrites(seed) => coin(seed, format!("{write}")) % 2 == 0,
            // A cheaper coin: there are thousands of sectors.
            Self::SomeSectors(seed) => {
                let mixed = (seed ^ (write as u64) << 32 ^ sector as u64)
                    .wrapping_mul(0x9e37_79b9_7f4a_7c15);
                (mixed >> 61) & 1 == 0
            }
            Self::Torn(seed) => {
                !is_last || (sector as u64) < coin(seed, format!("{write}")) % (sectors as u64 + 1)
            }
        }
    }
}

fn put(disk: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(place) = disk.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}
