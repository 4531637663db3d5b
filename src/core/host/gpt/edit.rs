// SPDX-License-Identifier: MIT OR Apache-2.0

//! The one edit there is: another identity for a partition.
//!
//! A copy of the table is two things, entries and a header with their checksum,
//! and no disk writes both at once. So there is a moment at which one copy is
//! torn. The order here has it that at every moment the other copy is whole, and
//! that a torn copy can be told from a damaged one ([`super::copies`]): it always
//! has the entries of the whole one, and a sound header. Hence entries and header
//! are synced one by one, in an order that depends on what the other copy holds.

use std::io;

use super::copies::{Copies, Copy};
use super::{Agreement, Table, TableError};
use crate::host::durable::{Durable, DurableFile};
use crate::host::page_cache::drop_pages;
use flipside_image::PartitionIdentity;
use flipside_image::gpt::Entry;

/// What a header and the usual entries fit into on every disk.
const LARGEST_COPY: u64 = 64 * 1024;

/// Why an identity was not set.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// The table, as it stands on the disk now, is not used.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The partition is no longer where it was.
    #[error("partition {0} has changed since the table was read")]
    Changed(u32),
    /// A nil type would remove the partition; a nil UUID is none.
    #[error("the new identity has a nil {0}")]
    Nil(&'static str),
    /// Another partition has the UUID.
    #[error("partition {number} has the UUID {uuid} already")]
    Duplicate {
        /// The partition that has it.
        number: u32,
        /// The UUID.
        uuid: uuid::Uuid,
    },
    /// The disk's own error.
    #[error("{operation}: {source}")]
    Io {
        /// What was being done.
        operation: &'static str,
        /// The reason.
        source: io::Error,
    },
    /// What was read back is not what was written.
    #[error("the table that was read back is not the one that was written")]
    ReadBack,
}

fn failed(operation: &'static str) -> impl Fn(io::Error) -> EditError {
    move |source| EditError::Io { operation, source }
}

/// Gives the partition `expected` another identity in both copies of the table,
/// and reads them back. Where nothing changes, nothing is written.
///
/// # Errors
/// Refusals before anything is written; the disk's errors, after which at least
/// one copy is whole.
pub(crate) fn set_identity(
    durable: &Durable,
    disk: &DurableFile,
    size: u64,
    sector_size: u32,
    expected: &Entry,
    identity: &PartitionIdentity,
) -> Result<Entry, EditError> {
    if identity.type_uuid.is_some_and(|uuid| uuid.is_nil()) {
        return Err(EditError::Nil("type"));
    }
    if identity.uuid.is_some_and(|uuid| uuid.is_nil()) {
        return Err(EditError::Nil("UUID"));
    }
    let copies = Copies::read(disk.file(), size, sector_size)?;
    let Table { entries, agreement, .. } = copies.table()?;
    let changed = || EditError::Changed(expected.number);
    let found = entries.iter().find(|entry| entry.is_same_place(expected)).ok_or_else(changed)?;
    let wanted = found.with_identity(identity);
    let twin = entries.iter().find(|e| e.number != wanted.number && e.uuid == wanted.uuid);
    if let Some(twin) = twin.filter(|_| found.uuid != wanted.uuid) {
        return Err(EditError::Duplicate { number: twin.number, uuid: twin.uuid });
    }
    if *found == wanted && agreement == Agreement::Same {
        return Ok(wanted);
    }

    let old = copies.authority().array.clone();
    let mut new = old.clone();
    let entry_size = copies.primary.header.entry_size as usize;
    let bytes = usize::try_from(wanted.number)
        .ok()
        .and_then(|number| new.chunks_exact_mut(entry_size).nth(number.checked_sub(1)?))
        .ok_or_else(changed)?;
    if !wanted.put_identity(bytes) {
        return Err(changed());
    }
    let writer = CopyWriter { durable, disk, sector_size };
    if !copies.primary.is_whole() {
        writer.write(&copies.primary, &old, Other::HoldsTheSame)?;
    } else if agreement != Agreement::Same {
        writer.write(&copies.backup, &old, Other::HoldsTheSame)?;
    }
    if new != old {
        let holding_old = |copy: &Copy| Copy { array: old.clone(), ..copy.clone() };
        writer.write(&holding_old(&copies.backup), &new, Other::HoldsWhatThisHeld)?;
        writer.write(&holding_old(&copies.primary), &new, Other::HoldsTheSame)?;
    }
    read_back(disk, size, sector_size, &new)?;
    Ok(wanted)
}

/// What the other copy, which is whole, holds while one is written.
#[derive(PartialEq, Eq)]
enum Other {
    /// What is being written.
    HoldsTheSame,
    /// What this copy holds until now.
    HoldsWhatThisHeld,
}

struct CopyWriter<'a> {
    durable: &'a Durable,
    disk: &'a DurableFile,
    sector_size: u32,
}

impl CopyWriter<'_> {
    /// Makes `copy` hold `new`. At every moment its entries are those of the other copy
    /// or its own checksum is right.
    fn write(&self, copy: &Copy, new: &[u8], other: Other) -> Result<(), EditError> {
        let header = copy.header.with_entries(new).ok_or(EditError::ReadBack)?;
        match other {
            Other::HoldsTheSame => {
                self.write_entries(copy, new)?;
                self.write_sector(header.lba, &header.sector)
            }
            Other::HoldsWhatThisHeld => {
                self.write_sector(header.lba, &header.sector)?;
                self.write_entries(copy, new)
            }
        }
    }

    /// Writes the sectors in which `new` differs, durably.
    fn write_entries(&self, copy: &Copy, new: &[u8]) -> Result<(), EditError> {
        let size = self.sector_size as usize;
        let sectors = copy.array.chunks(size).zip(new.chunks(size));
        for (lba, (_, sector)) in
            (copy.header.entries_lba..).zip(sectors).filter(|(_, (old, new))| old != new)
        {
            self.write_sector(lba, sector)?;
        }
        Ok(())
    }

    fn write_sector(&self, lba: u64, bytes: &[u8]) -> Result<(), EditError> {
        let offset = lba.checked_mul(u64::from(self.sector_size)).ok_or(EditError::ReadBack)?;
        self.durable
            .write_at(self.disk, offset, bytes)
            .map_err(failed("cannot write the partition table"))?;
        self.durable.sync(self.disk).map_err(failed("cannot sync the partition table"))
    }
}

fn read_back(
    disk: &DurableFile,
    size: u64,
    sector_size: u32,
    array: &[u8],
) -> Result<(), EditError> {
    // From the disk, not from the page cache, which is clean after the sync. Whole pages
    // only are dropped.
    for start in [0, size.saturating_sub(LARGEST_COPY) / LARGEST_COPY * LARGEST_COPY] {
        let length = if start == 0 { LARGEST_COPY } else { 0 };
        drop_pages(disk.file(), start, length)
            .map_err(failed("cannot read the partition table back"))?;
    }
    let copies = Copies::read(disk.file(), size, sector_size)?;
    let is_right = copies.agreement == Agreement::Same && copies.primary.array == array;
    if is_right { Ok(()) } else { Err(EditError::ReadBack) }
}
