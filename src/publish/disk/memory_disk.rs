// SPDX-License-Identifier: MIT OR Apache-2.0

//! A disk in memory, as large as a real one, that keeps only what is written to it: for writers that
//! look for a disk's end and must not touch the disk itself.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read, Seek, SeekFrom, Write};

use flipside_core::host::gpt::ReadAt;

/// Bytes are kept in blocks of this many.
const BLOCK: usize = 4096;
/// Blocks that are kept at most: both tables of a disk take twelve.
const MOST_BLOCKS: usize = 64;

/// Reads as zero wherever nothing was written. What reaches beyond its end, or is written to too many
/// places, is an error.
pub(super) struct MemoryDisk {
    blocks: BTreeMap<u64, [u8; BLOCK]>,
    size: u64,
    position: u64,
}

impl MemoryDisk {
    /// An empty disk of `size` bytes.
    pub(super) fn new(size: u64) -> Self {
        Self { blocks: BTreeMap::new(), size, position: 0 }
    }

    /// The bytes from `offset` on.
    ///
    /// # Errors
    /// `UnexpectedEof` beyond the end.
    pub(super) fn range(&self, offset: u64, length: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        self.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }

    /// The block at the position, where in it that is, and how many of `wanted` bytes it has from
    /// there; none at the end.
    fn place(&self, position: u64, wanted: usize) -> (u64, usize, usize) {
        let inside = (position % BLOCK as u64) as usize;
        let rest = usize::try_from(self.size.saturating_sub(position)).unwrap_or(usize::MAX);
        (position / BLOCK as u64, inside, wanted.min(rest).min(BLOCK - inside))
    }

    /// Reads into the start of `bytes`; how many, as [`Read::read`].
    fn read_some(&self, bytes: &mut [u8], position: u64) -> usize {
        let (block, inside, length) = self.place(position, bytes.len());
        let kept = self.blocks.get(&block).and_then(|block| block.get(inside..)?.get(..length));
        for (index, byte) in bytes.iter_mut().take(length).enumerate() {
            *byte = kept.and_then(|kept| kept.get(index)).copied().unwrap_or(0);
        }
        length
    }
}

impl ReadAt for MemoryDisk {
    fn read_exact_at(&self, mut bytes: &mut [u8], mut offset: u64) -> io::Result<()> {
        while !bytes.is_empty() {
            let length = self.read_some(bytes, offset);
            if length == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            bytes = bytes.get_mut(length..).unwrap_or_default();
            offset = offset.saturating_add(length as u64);
        }
        Ok(())
    }
}

impl Read for MemoryDisk {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let length = self.read_some(bytes, self.position);
        self.position = self.position.saturating_add(length as u64);
        Ok(length)
    }
}

impl Write for MemoryDisk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (block, inside, length) = self.place(self.position, bytes.len());
        if length == 0 {
            return Ok(0);
        }
        if !self.blocks.contains_key(&block) && self.blocks.len() >= MOST_BLOCKS {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let kept = self.blocks.entry(block).or_insert([0; BLOCK]);
        for (to, from) in kept.iter_mut().skip(inside).zip(bytes.iter().take(length)) {
            *to = *from;
        }
        self.position = self.position.saturating_add(length as u64);
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for MemoryDisk {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(by) => self.size.checked_add_signed(by),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

/// Without the bytes.
impl fmt::Debug for MemoryDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryDisk")
            .field("size", &self.size)
            .field("position", &self.position)
            .field("blocks", &self.blocks.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_disk_of_four_tebibytes_takes_what_is_written_to_its_ends() {
        let size = 4 << 40;
        let mut disk = MemoryDisk::new(size);
        assert_eq!(disk.seek(SeekFrom::End(-3)).unwrap(), size - 3);
        disk.write_all(b"end").unwrap();
        assert_eq!(disk.write_all(b"!").unwrap_err().kind(), io::ErrorKind::WriteZero);
        disk.rewind().unwrap();
        disk.write_all(b"start").unwrap();
        assert_eq!(disk.range(size - 4, 4).unwrap(), b"\0end");
        assert_eq!(disk.range(0, 6).unwrap(), b"start\0");
        assert_eq!(disk.range(size - 4, 5).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(disk.read(&mut [0; 4]).unwrap(), 4);
        assert_eq!(disk.blocks.len(), 2);
        assert!(disk.seek(SeekFrom::Current(-10)).is_err());
    }

    #[test]
    fn a_writer_that_goes_everywhere_is_stopped() {
        let mut disk = MemoryDisk::new(1 << 30);
        let written = io::copy(&mut io::repeat(1), &mut disk).unwrap_err();
        assert_eq!(written.kind(), io::ErrorKind::StorageFull);
        assert_eq!(disk.position, (MOST_BLOCKS * BLOCK) as u64);
    }

    proptest! {
        #[test]
        fn it_reads_as_a_cursor_does(
            steps in prop::collection::vec((0_u64..20_000, 0_usize..9_000, any::<u8>()), 1..9),
        ) {
            let mut disk = MemoryDisk::new(20_000);
            let mut plain = vec![0; 20_000];
            for (at, length, byte) in steps {
                let end = plain.len().min(at as usize + length);
                plain[at as usize..end].fill(byte);
                disk.seek(SeekFrom::Start(at)).unwrap();
                let is_inside = at as usize + length <= plain.len();
                prop_assert_eq!(disk.write_all(&vec![byte; length]).is_ok(), is_inside);
                let mut rest = Vec::new();
                disk.seek(SeekFrom::Start(at / 2)).unwrap();
                disk.read_to_end(&mut rest).unwrap();
                prop_assert_eq!(&rest, &plain[at as usize / 2..]);
            }
            prop_assert_eq!(disk.range(0, 20_000).unwrap(), plain);
        }
    }
}
