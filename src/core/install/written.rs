// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a run wrote, and a sum of it by which it is recognised when it is read back.

use twox_hash::XxHash3_128;

use super::batch::Batch;

/// Makes sums with XXH3 (128 bits; <https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md>)
/// of bytes whose SHA-256 was checked. A medium that errs is found out by it at a fraction of the cost.
/// One that lies on purpose is not: who can do that can write the disk anyway.
#[derive(Debug, Clone, Copy)]
pub(super) struct QuickSum {
    /// Another one for each run, so that nobody can prepare for it.
    seed: u64,
}

/// A batch that was written, and the sum of its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WrittenBatch {
    pub(super) batch: Batch,
    sum: u128,
}

impl QuickSum {
    /// For one run.
    pub(super) fn new() -> Self {
        let (seed, _) = uuid::Uuid::new_v4().as_u64_pair();
        Self { seed }
    }

    /// `batch`, as which `bytes` were written.
    pub(super) fn of(self, batch: Batch, bytes: &[u8]) -> WrittenBatch {
        WrittenBatch { batch, sum: XxHash3_128::oneshot_with_seed(self.seed, bytes) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flipside_image::ChunkIndex;

    #[test]
    fn any_changed_bit_is_another_sum() {
        let (quick, batch) = (QuickSum::new(), Batch::of(ChunkIndex(0)));
        let mut bytes = vec![7; 5000];
        let written = quick.of(batch, &bytes);
        assert_eq!(quick.of(batch, &bytes), written);
        for (at, bit) in [(0, 1), (2500, 128), (4999, 4)] {
            bytes[at] ^= bit;
            assert_ne!(quick.of(batch, &bytes), written);
            bytes[at] ^= bit;
        }
        assert_ne!(quick.of(batch, &bytes[..4999]), written);
        assert_ne!(QuickSum::new().of(batch, &bytes), written);
    }
}
