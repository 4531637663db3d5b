// SPDX-License-Identifier: MIT OR Apache-2.0

//! What of a PE file is hashed, and where its signatures are ("Windows Authenticode Portable
//! Executable Signature Format", "Calculating the PE Image Hash"; PE format, "The Attribute
//! Certificate Table"). Files are read piece by piece: a boot file may have hundreds of megabytes.

use std::io;
use std::ops::Range;

use aws_lc_rs::digest::{Context, Digest};
use uuid::{Uuid, uuid};

use super::algorithm::Hash;
use crate::bytes::{guid_at, u16_at, u32_at};
use crate::pe::{self, SECTION_LIMIT};

/// Gives the bytes of a file at a place, all that are asked for, or an error.
pub(super) type Read<'a> = &'a dyn Fn(&mut [u8], u64) -> io::Result<()>;

/// How much is read at a time, in bytes.
const PIECE: u64 = 64 << 10;
/// The most bytes of signatures: a hundred times what they have.
const TABLE_LIMIT: u64 = 1 << 20;
/// The most bytes of a section that is read into memory.
const SECTION_SIZE_LIMIT: u64 = 64 << 10;
/// The most signatures.
const SIGNATURES: usize = 16;

/// `WIN_CERT_TYPE_PKCS_SIGNED_DATA`, `WIN_CERT_TYPE_EFI_GUID` (UEFI 2.10, section 32.2.4).
const PKCS: u16 = 0x0002;
const EFI_GUID: u16 = 0x0ef1;
/// `EFI_CERT_TYPE_PKCS7_GUID`.
const PKCS7_GUID: Uuid = uuid!("4aafd29d-68df-49ee-8aa9-347d375665a7");

/// What firmware looks at in a program.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Program {
    /// What is hashed, in this order.
    hashed: Vec<Range<u64>>,
    /// Where the signatures are; empty where there are none.
    table: Range<u64>,
}

impl Program {
    /// Reads the headers of a program of `size` bytes. `None` where they make no sense, so that no
    /// firmware starts it.
    ///
    /// # Errors
    /// Those of `read`.
    pub(super) fn read(read: Read<'_>, size: u64) -> io::Result<Option<Self>> {
        if pe::machine(read)?.is_none() {
            return Ok(None);
        }
        let length = size.min(pe::HEADER_LIMIT as u64);
        let mut head = vec![0; usize::try_from(length).unwrap_or_default()];
        read(&mut head, 0)?;
        Ok(Self::of_headers(&head, size))
    }

    fn of_headers(head: &[u8], size: u64) -> Option<Self> {
        let pe = usize::try_from(u32_at(head, 0x3c)?).ok()?;
        let optional = pe.checked_add(24)?;
        let directories = optional.checked_add(match u16_at(head, optional)? {
            0x10b => 96,
            0x20b => 112,
            _ => return None,
        })?;
        let (checksum, entry) = (optional.checked_add(64)?, directories.checked_add(4 * 8)?);
        let headers = u64::from(u32_at(head, optional.checked_add(60)?)?);
        let has_entry = u32_at(head, directories.checked_sub(4)?)? > 4;
        let table = match has_entry {
            true => {
                u64::from(u32_at(head, entry)?)..u64::from(u32_at(head, entry.checked_add(4)?)?)
            }
            false => 0..0,
        };
        let (table_start, table_size) = (table.start, table.end);
        let behind_checksum = checksum.checked_add(4)? as u64;
        let mut hashed: Vec<Range<u64>> = match has_entry {
            true => vec![
                0..checksum as u64,
                behind_checksum..entry as u64,
                entry.checked_add(8)? as u64..headers,
            ],
            false => vec![0..checksum as u64, behind_checksum..headers],
        };
        let mut sections = sections(head, pe, optional)?;
        sections.sort_by_key(|section| section.start);
        // What is hashed so far counts, not where it ends, as in EDK II.
        let mut sum = headers;
        for section in &sections {
            sum = sum.checked_add(section.end.checked_sub(section.start)?)?;
        }
        hashed.extend(sections);
        let end = size.checked_sub(table_size)?;
        if end < sum {
            return None;
        }
        hashed.push(sum..end);
        let is_inside = hashed.iter().all(|range| range.start <= range.end && range.end <= size);
        let table = match table_size {
            0 => 0..0,
            _ => table_start..table_start.checked_add(table_size).filter(|end| *end <= size)?,
        };
        is_inside.then_some(Self { hashed, table })
    }

    /// The hashes of it, one for each of `kinds`.
    ///
    /// # Errors
    /// Those of `read`.
    pub(super) fn hash(&self, read: Read<'_>, kinds: &[Hash]) -> io::Result<Vec<(Hash, Digest)>> {
        let mut contexts: Vec<_> =
            kinds.iter().map(|kind| (*kind, Context::new(kind.algorithm()))).collect();
        let mut piece = vec![0; PIECE as usize];
        for range in &self.hashed {
            let mut at = range.start;
            while at < range.end {
                let length = usize::try_from((range.end - at).min(PIECE)).unwrap_or_default();
                let bytes = piece.get_mut(..length).unwrap_or_default();
                read(bytes, at)?;
                contexts.iter_mut().for_each(|(_, context)| context.update(bytes));
                at += length as u64;
            }
        }
        Ok(contexts.into_iter().map(|(kind, context)| (kind, context.finish())).collect())
    }

    /// The bytes of its certificate table; none where it is not signed. `None` where it has more than
    /// any signatures have.
    ///
    /// # Errors
    /// Those of `read`.
    pub(super) fn table(&self, read: Read<'_>) -> io::Result<Option<Vec<u8>>> {
        read_all(read, &self.table, TABLE_LIMIT)
    }
}

/// Where the sections are, in the order of their rows.
fn sections(head: &[u8], pe: usize, optional: usize) -> Option<Vec<Range<u64>>> {
    let count = u16_at(head, pe.checked_add(6)?)?;
    let table = optional.checked_add(usize::from(u16_at(head, pe.checked_add(20)?)?))?;
    let mut sections = Vec::new();
    for number in (0..usize::from(count)).take_while(|_| count <= SECTION_LIMIT) {
        let row = table.checked_add(40 * number)?;
        let size = u64::from(u32_at(head, row.checked_add(16)?)?);
        let start = u64::from(u32_at(head, row.checked_add(20)?)?);
        sections.extend((size > 0).then_some(start..start + size));
    }
    (count <= SECTION_LIMIT).then_some(sections)
}

fn read_all(read: Read<'_>, range: &Range<u64>, limit: u64) -> io::Result<Option<Vec<u8>>> {
    let size = range.end.saturating_sub(range.start);
    if size > limit {
        return Ok(None);
    }
    let mut bytes = vec![0; usize::try_from(size).unwrap_or_default()];
    read(&mut bytes, range.start)?;
    Ok(Some(bytes))
}

/// The section `name`, if it is there and not larger than sections of text are.
///
/// # Errors
/// Those of `read`.
pub(super) fn section(read: Read<'_>, name: &str) -> io::Result<Option<Vec<u8>>> {
    let sections = pe::sections(read)?.unwrap_or_default();
    let Some(section) = sections.into_iter().find(|section| section.name == name) else {
        return Ok(None);
    };
    match read_all(read, &section.range, SECTION_SIZE_LIMIT) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        found => found,
    }
}

/// The signatures in a certificate table, each in DER. What is of a kind that firmware passes over
/// is left out. `None` where the table is damaged, so that no firmware starts the program.
pub(super) fn signatures(table: &[u8]) -> Option<Vec<&[u8]>> {
    let mut signatures = Vec::new();
    let mut rest = table;
    while !rest.is_empty() && signatures.len() < SIGNATURES {
        let length = usize::try_from(u32_at(rest, 0)?).ok()?;
        let row = rest.get(..length).filter(|row| row.len() > 8)?;
        match u16_at(row, 6)? {
            PKCS => signatures.push(row.get(8..)?),
            EFI_GUID if guid_at(row, 8) == Some(PKCS7_GUID) => signatures.push(row.get(24..)?),
            _ => {}
        }
        // Each begins at a multiple of 8.
        rest = rest.get(length.checked_next_multiple_of(8)?..)?;
    }
    rest.is_empty().then_some(signatures)
}
