// SPDX-License-Identifier: MIT OR Apache-2.0

//! Numbers that look random and come again from the same seed (SplitMix64, Steele and others,
//! "Fast splittable pseudorandom number generators", 2014).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use flipside_image::Digest;

/// The environment variable with which a run is repeated.
const SEED: &str = "FLIPSIDE_VM_SEED";

/// A generator.
pub struct Random(u64);

impl Random {
    /// One that goes its own way for each `word`.
    pub fn of(word: &str) -> Self {
        let hex: String = Digest::of(word.as_bytes()).hex().chars().take(16).collect();
        Self(u64::from_str_radix(&hex, 16).unwrap_or_default())
    }

    /// The seed of this run: from the environment, or another one each time.
    pub fn seed() -> u64 {
        let given = std::env::var(SEED).ok().and_then(|text| text.parse().ok());
        given.unwrap_or_else(|| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            now.as_secs() % 1_000_000
        })
    }

    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// One below `limit`, which is not 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }

    /// A part of `whole`.
    pub fn part_of(&mut self, whole: Duration) -> Duration {
        let millis = u64::try_from(whole.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(self.below(millis))
    }

    /// Fills `bytes`.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let number = self.next().to_le_bytes();
            for (byte, random) in chunk.iter_mut().zip(number) {
                *byte = random;
            }
        }
    }
}
