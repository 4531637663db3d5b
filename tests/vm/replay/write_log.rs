// SPDX-License-Identifier: MIT OR Apache-2.0

//! What QEMU's `blklogwrites` writes: dm-log-writes' format (Linux,
//! `Documentation/admin-guide/device-mapper/log-writes.rst` and `drivers/md/dm-log-writes.c`).

use std::ops::Range;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};

const MAGIC: u64 = 0x006a_7366_7773_6872;
const FLUSH: u64 = 1 << 0;
const FUA: u64 = 1 << 1;
const DISCARD: u64 = 1 << 2;

/// What reached the disk, in the order in which it did.
#[derive(Debug, Clone)]
pub enum Entry {
    /// Bytes from `at`, which are `data` in the log.
    Write { at: usize, data: Range<usize> },
    /// Everything that was written before is durable.
    Flush,
}

/// A whole log.
pub struct WriteLog {
    bytes: Vec<u8>,
    pub entries: Vec<Entry>,
}

impl WriteLog {
    /// Reads the log at `path`. Its header counts the entries up to the last flush; those behind
    /// it were never durable in any case, and count as never written.
    ///
    /// # Errors
    /// It cannot be read, or is none.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
        let word = |at: usize| -> Result<u64> {
            let eight = bytes.get(at..at + 8).and_then(|eight| eight.try_into().ok());
            Ok(u64::from_le_bytes(eight.context("the log ends within an entry")?))
        };
        ensure!(word(0)? == MAGIC && word(8)? == 1, "{} is no write log", path.display());
        let number = word(16)?;
        let sector = usize::try_from(word(24)? & 0xffff_ffff)?;
        let (mut entries, mut at) = (Vec::new(), sector);
        for _ in 0..number {
            let start = usize::try_from(word(at)?)? * sector;
            let length = usize::try_from(word(at + 8)?)? * sector;
            let flags = word(at + 16)?;
            at += sector;
            match flags {
                FLUSH => entries.push(Entry::Flush),
                0 => {
                    entries.push(Entry::Write { at: start, data: at..at + length });
                    at += length;
                }
                FUA | DISCARD => {
                    bail!("a write with the flags {flags}, which virtio does not send")
                }
                _ => bail!("a write with the unknown flags {flags}"),
            }
        }
        ensure!(at <= bytes.len(), "the log has lost its end");
        Ok(Self { bytes, entries })
    }

    /// What a write wrote.
    pub fn data(&self, range: &Range<usize>) -> &[u8] {
        self.bytes.get(range.clone()).unwrap_or_default()
    }
}
