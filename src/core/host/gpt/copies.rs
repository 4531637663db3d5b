// SPDX-License-Identifier: MIT OR Apache-2.0

//! The two copies of a table, and whether they can be relied on together.

use super::{Agreement, Defect, ReadAt, Repair, Table, TableError};
use flipside_image::gpt::{Entry, Header, HeaderError, second_reading};

/// Reads the header that stands in sector `lba` of a disk of `size` bytes.
pub(super) fn read_header<R: ReadAt + ?Sized>(
    disk: &R,
    lba: u64,
    size: u64,
    sector_size: u32,
) -> Result<Header, Defect> {
    let end = size / u64::from(sector_size.max(1));
    let offset = match lba.checked_mul(u64::from(sector_size)) {
        Some(offset) if lba < end => offset,
        _ => return Err(Defect::Beyond),
    };
    let mut sector = vec![0; sector_size as usize];
    disk.read_exact_at(&mut sector, offset).map_err(Defect::Unreadable)?;
    Ok(Header::parse(sector, lba, end)?)
}

/// A header that is sound in itself, and the entries it points to.
#[derive(Debug, Clone)]
pub(super) struct Copy {
    pub header: Header,
    pub array: Vec<u8>,
}

impl Copy {
    fn read<R: ReadAt + ?Sized>(
        disk: &R,
        lba: u64,
        size: u64,
        sector_size: u32,
    ) -> Result<Self, Defect> {
        let header = read_header(disk, lba, size, sector_size)?;
        let length = usize::try_from(header.array_bytes())
            .map_err(|_| HeaderError::Field("number of entries"))?;
        let offset = header
            .entries_lba
            .checked_mul(u64::from(sector_size))
            .ok_or(HeaderError::Field("place of entries"))?;
        let mut array = vec![0; length];
        disk.read_exact_at(&mut array, offset).map_err(Defect::Unreadable)?;
        Ok(Self { header, array })
    }

    pub fn is_whole(&self) -> bool {
        self.header.is_of(&self.array)
    }

    fn whole(self) -> Result<Self, Defect> {
        if self.is_whole() { Ok(self) } else { Err(Defect::EntriesChecksum) }
    }

    pub fn entries(&self) -> Vec<Entry> {
        self.header.entries(&self.array)
    }

    /// Refuses what the second reader reads otherwise.
    pub fn confirm(&self, copy: &'static str) -> Result<(), TableError> {
        second_reading::compare(&self.header, &self.array)
            .map_err(|what| TableError::Unclear { copy, what })
    }

    /// How the other copy is made anew from this one, where this one is sound.
    fn repair<R: ReadAt + ?Sized>(&self, disk: &R, sector_size: u32) -> Option<Repair> {
        let is_sound = self.is_whole() && self.check_ranges().is_ok();
        is_sound.then(|| Repair::of(disk, sector_size, None))
    }

    /// Each partition lies in the usable sectors, and no two share one.
    fn check_ranges(&self) -> Result<Vec<Entry>, Defect> {
        let entries = self.entries();
        let usable = self.header.first_usable..=self.header.last_usable;
        for entry in &entries {
            if entry.first > entry.last
                || !usable.contains(&entry.first)
                || !usable.contains(&entry.last)
            {
                return Err(Defect::Range(entry.number));
            }
        }
        let mut by_place: Vec<&Entry> = entries.iter().collect();
        by_place.sort_by_key(|entry| entry.first);
        for (one, next) in by_place.iter().zip(by_place.iter().skip(1)) {
            if next.first <= one.last {
                return Err(Defect::Overlap(one.number, next.number));
            }
        }
        Ok(entries)
    }
}

/// Both copies, fit to be used together.
#[derive(Debug, Clone)]
pub(super) struct Copies {
    pub sector_size: u32,
    pub primary: Copy,
    pub backup: Copy,
    pub agreement: Agreement,
}

impl Copies {
    pub fn read<R: ReadAt + ?Sized>(
        disk: &R,
        size: u64,
        sector_size: u32,
    ) -> Result<Self, TableError> {
        let primary = Copy::read(disk, 1, size, sector_size);
        let last = (size / u64::from(sector_size.max(1))).saturating_sub(1);
        let backup_lba = primary.as_ref().map_or(last, |copy| copy.header.alternate);
        let backup = Copy::read(disk, backup_lba, size, sector_size);
        let (primary, backup) = match (primary, backup) {
            (Ok(primary), Ok(backup)) => (primary, backup),
            (
                Err(Defect::Header(HeaderError::NoSignature)),
                Err(Defect::Header(HeaderError::NoSignature)),
            ) => {
                return Err(TableError::Missing);
            }
            // A copy without the right entries is no better than none.
            (primary, backup) => {
                let damaged = |copy, defect, other: &Copy| TableError::Damaged {
                    copy,
                    defect,
                    repair: other.repair(disk, sector_size),
                };
                return Err(match (primary.and_then(Copy::whole), backup.and_then(Copy::whole)) {
                    (Err(primary), Err(backup)) => TableError::BothDamaged { primary, backup },
                    (Err(defect), Ok(backup)) => damaged("primary", defect, &backup),
                    (Ok(primary), Err(defect)) => damaged("backup", defect, &primary),
                    (Ok(_), Ok(_)) => TableError::Missing,
                });
            }
        };
        primary.confirm("primary")?;
        backup.confirm("backup")?;
        let agreement = agreement(&primary, &backup)
            .map_err(|error| with_repair(error, disk, sector_size, &primary, &backup))?;
        let copies = Self { sector_size, primary, backup, agreement };
        copies.authority().check_ranges().map_err(|defect| {
            let copy = if copies.primary.is_whole() { "primary" } else { "backup" };
            TableError::Damaged { copy, defect, repair: None }
        })?;
        Ok(copies)
    }

    /// The copy that counts: the primary where it is whole, as everybody reads it.
    pub fn authority(&self) -> &Copy {
        if self.primary.is_whole() { &self.primary } else { &self.backup }
    }

    pub fn table(&self) -> Result<Table, TableError> {
        Ok(Table {
            sector_size: self.sector_size,
            disk_uuid: self.primary.header.disk_uuid,
            entries: self.authority().entries(),
            agreement: self.agreement,
        })
    }
}

/// Tells what a power cut in [`super::set_identity`] leaves from damage. That
/// function orders its writes such that it leaves nothing else than:
/// - two whole copies that differ in the identity of one entry, or
/// - one whole copy, and one with the same entries under a sound header that has
///   the checksum of others.
fn agreement(primary: &Copy, backup: &Copy) -> Result<Agreement, TableError> {
    let damaged = |copy, defect| Err(TableError::Damaged { copy, defect, repair: None });
    if !primary.header.matches(&backup.header) {
        return damaged("backup", Defect::Differs);
    }
    let are_equal = primary.array == backup.array;
    match (primary.is_whole(), backup.is_whole()) {
        (true, true) if are_equal => Ok(Agreement::Same),
        (true, true) if differ_in_one_identity(primary, backup) => Ok(Agreement::InterruptedEdit),
        (true, true) => damaged("backup", Defect::Differs),
        (true, false) | (false, true) if are_equal => Ok(Agreement::InterruptedEdit),
        (true, false) => damaged("backup", Defect::EntriesChecksum),
        (false, true) => damaged("primary", Defect::EntriesChecksum),
        (false, false) => Err(TableError::BothDamaged {
            primary: Defect::EntriesChecksum,
            backup: Defect::EntriesChecksum,
        }),
    }
}

/// How the copy that `error` names is made anew from the other one.
fn with_repair<R: ReadAt + ?Sized>(
    error: TableError,
    disk: &R,
    sector_size: u32,
    primary: &Copy,
    backup: &Copy,
) -> TableError {
    let TableError::Damaged { copy, defect, .. } = error else { return error };
    let sound = if copy == "primary" { backup } else { primary };
    let repair = if primary.header.matches(&backup.header) {
        sound.repair(disk, sector_size)
    } else {
        // Of all that two sound headers may disagree about, sgdisk can settle the disk's GUID.
        let disk_uuid = primary.header.disk_uuid;
        let alike = Header { disk_uuid, ..backup.header.clone() };
        let is_sound = primary.is_whole() && primary.check_ranges().is_ok();
        let is_settled = is_sound && primary.header.matches(&alike);
        is_settled.then(|| Repair::of(disk, sector_size, Some(disk_uuid)))
    };
    TableError::Damaged { copy, defect, repair }
}

fn differ_in_one_identity(one: &Copy, other: &Copy) -> bool {
    let size = one.header.entry_size as usize;
    let mut differing = (1..)
        .zip(one.array.chunks_exact(size).zip(other.array.chunks_exact(size)))
        .filter(|(_, (one, other))| one != other);
    let (Some((number, (mine, theirs))), None) = (differing.next(), differing.next()) else {
        return false;
    };
    let (Some(mine_parsed), Some(_)) = (Entry::parse(number, mine), Entry::parse(number, theirs))
    else {
        return false;
    };
    // Everything but the identity is the same, to the last reserved byte.
    let mut alike = theirs.to_vec();
    mine_parsed.put_identity(&mut alike) && alike == mine
}

/// The entries of the first copy that is whole.
pub(super) fn glance<R: ReadAt + ?Sized>(
    disk: &R,
    size: u64,
    sector_size: u32,
) -> Option<Vec<Entry>> {
    let last = (size / u64::from(sector_size.max(1))).checked_sub(1)?;
    [1, last].into_iter().find_map(|lba| {
        Copy::read(disk, lba, size, sector_size)
            .and_then(Copy::whole)
            .ok()
            .map(|copy| copy.entries())
    })
}
