// SPDX-License-Identifier: MIT OR Apache-2.0

//! How many threads and buffers there are: as many as use the cores, but no
//! more than a small device has memory for, whatever the image's size.

use std::num::NonZeroUsize;
use std::thread;

use super::Options;

/// What all buffers of a payload have together, in bytes, unless its chunks are so large
/// that the fewest buffers that work have more.
const MEMORY: usize = 16 << 20;

/// Connections to the source at a time.
const CONNECTIONS: usize = 2;

/// Threads and buffers of the way from the source to the medium.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MemoryLimit {
    /// Threads that fetch.
    pub(super) connections: usize,
    /// Threads that decode, hash and write.
    pub(super) workers: usize,
    /// Buffers that go between them.
    pub(super) items: usize,
}

impl MemoryLimit {
    /// For work items of `item` bytes, from each of which a worker decodes `decoded` bytes.
    pub(super) fn new(options: &Options, item: usize, decoded: usize) -> Self {
        let mut memory_limit =
            Self { connections: CONNECTIONS, workers: workers(options), items: 0 };
        loop {
            let left = MEMORY.saturating_sub(memory_limit.workers.saturating_mul(decoded));
            // One in the hands of every thread. Others that wait cost memory and gain no time.
            memory_limit.items = memory_limit.workers + memory_limit.connections;
            if memory_limit.items <= left / item.max(1) {
                return memory_limit;
            }
            match memory_limit.workers {
                1 => return Self { connections: 1, workers: 1, items: 2 },
                workers => memory_limit.workers = workers - 1,
            }
        }
    }
}

/// How many threads read from a medium, each with a buffer of `space` bytes: two for each
/// core, one of which waits for the medium while the other hashes.
pub(super) fn readers(options: &Options, space: usize) -> usize {
    options.workers.unwrap_or_else(|| 2 * cores()).min(MEMORY / space.max(1)).max(1)
}

/// One more than there are cores: one waits for the medium.
fn workers(options: &Options) -> usize {
    options.workers.unwrap_or_else(|| cores() + 1).max(1)
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_bounds_the_threads() {
        const MIB: usize = 1 << 20;
        for (cores, item, decoded) in
            [(1, MIB, MIB), (2, MIB, MIB), (64, MIB, MIB), (64, MIB, 0), (8, 2 * MIB, 4 * MIB)]
        {
            let options = Options { workers: Some(cores), ..Options::default() };
            let memory_limit = MemoryLimit::new(&options, item, decoded);
            assert!(
                memory_limit.workers * decoded + memory_limit.items * item <= MEMORY,
                "{memory_limit:?}"
            );
            assert!(
                memory_limit.items >= memory_limit.workers + memory_limit.connections,
                "{memory_limit:?}"
            );
            assert!((1..=cores).contains(&memory_limit.workers));
        }
        let options = Options { workers: Some(8), ..Options::default() };
        let least = MemoryLimit { connections: 1, workers: 1, items: 2 };
        assert_eq!(MemoryLimit::new(&options, 16 * MIB, 16 * MIB), least);
        assert_eq!(readers(&options, 16 * MIB + 8192), 1);
        assert_eq!(readers(&options, MIB + 8192), 8);
    }
}
