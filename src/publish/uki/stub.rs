// SPDX-License-Identifier: MIT OR Apache-2.0

//! The stub, and the header of what it becomes with more sections.

use flipside_image::pe::{self, Machine};

/// Of a row in the table of sections (PE format, section 4).
const ROW: usize = 40;
/// PE32+ (PE format, "Optional Header"), which both machines have.
const PE32_PLUS: [u8; 2] = [0x0b, 0x02];
/// A section is read, and holds data (PE format, "Section Flags").
const DATA: u32 = 0x4000_0040;
/// A section is read, and holds code. Stubs that start old kernels in place want this.
const CODE: u32 = 0x4000_0020;
/// Where the directories of certificates and of debug data stand in the optional header.
const CERTIFICATES: usize = 112 + 4 * 8;
const DEBUG: usize = 112 + 6 * 8;
/// UEFI 2.10, section 2.3: `EFI_PAGE_SIZE`.
const PAGE: u64 = 4096;
/// Of an entry of the debug directory (PE format, section 5.1), and where its place in the file is.
const DEBUG_ENTRY: usize = 28;
const DEBUG_PLACE: usize = 24;

/// A section that is added.
#[derive(Debug)]
pub(super) struct NewSection<'a> {
    pub(super) name: &'a str,
    /// In the file, in bytes.
    pub(super) size: u64,
    /// In memory, in bytes: at least as many.
    pub(super) in_memory: u64,
    pub(super) is_code: bool,
}

/// A program whose sections were added, without their content.
#[derive(Debug)]
pub(super) struct Laid {
    /// Everything before the first added section.
    pub(super) head: Vec<u8>,
    /// How many bytes each added section takes in the file.
    pub(super) padded: Vec<u64>,
}

impl Laid {
    /// Of the whole file, in bytes.
    pub(super) fn size(&self) -> u64 {
        self.padded.iter().fold(self.head.len() as u64, |sum, size| sum.saturating_add(*size))
    }
}

/// systemd's stub.
#[derive(Debug)]
pub(super) struct Stub {
    bytes: Vec<u8>,
    pub(super) machine: Machine,
    /// Where the optional header begins.
    optional: usize,
    /// Where the table of sections begins.
    table: usize,
    rows: Vec<Row>,
    section_alignment: u64,
    file_alignment: u64,
}

/// A row of the table of sections.
#[derive(Debug, Clone, Copy)]
struct Row {
    in_memory: u32,
    address: u32,
    size: u32,
    place: u32,
}

/// A number of 32 bits at `at`.
pub(super) fn field(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_le_bytes)
}

/// A number of 16 bits at `at`.
fn short(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().copied().map(u16::from_le_bytes)
}

/// Where the optional header of a program begins.
pub(super) fn optional_header(bytes: &[u8]) -> Option<usize> {
    usize::try_from(field(bytes, 0x3c)?).ok()?.checked_add(24)
}

/// Writes over what stands at `at`. There is nothing to write over beyond the end.
fn put(bytes: &mut [u8], at: usize, new: &[u8]) {
    if let Some(old) = bytes.get_mut(at..).and_then(|bytes| bytes.get_mut(..new.len())) {
        old.copy_from_slice(new);
    }
}

impl Stub {
    /// Reads a stub.
    ///
    /// # Errors
    /// What is wrong with it, as the end of a sentence.
    pub(super) fn parse(bytes: Vec<u8>) -> Result<Self, String> {
        let machine = pe::machine_of(&bytes).ok_or("it is no EFI program")?;
        Self::parse_headers(bytes, machine).ok_or_else(|| "its headers are damaged".to_owned())?
    }

    fn parse_headers(bytes: Vec<u8>, machine: Machine) -> Option<Result<Self, String>> {
        let optional = optional_header(&bytes)?;
        if bytes.get(optional..)?.first_chunk() != Some(&PE32_PLUS) {
            return Some(Err("it is no program of 64 bits".to_owned()));
        }
        let count = short(&bytes, optional - 18)?;
        let table = optional + usize::from(short(&bytes, optional - 4)?);
        let section_alignment = u64::from(field(&bytes, optional + 32)?);
        let file_alignment = u64::from(field(&bytes, optional + 36)?);
        // PE format, "Optional Header Windows-Specific Fields".
        if !section_alignment.is_power_of_two()
            || !(512..=65_536).contains(&file_alignment)
            || !file_alignment.is_power_of_two()
            || section_alignment < file_alignment
        {
            return Some(Err("its sections are aligned as no program's are".to_owned()));
        }
        let mut rows = Vec::new();
        for at in (0..usize::from(count)).map(|number| table + ROW * number) {
            let name = bytes.get(at..at + 8)?;
            if [&b".linux\0\0"[..], b".initrd\0", b".cmdline"].contains(&name) {
                return Some(Err("it is a unified kernel image already".to_owned()));
            }
            rows.push(Row {
                in_memory: field(&bytes, at + 8)?,
                address: field(&bytes, at + 12)?,
                size: field(&bytes, at + 16)?,
                place: field(&bytes, at + 20)?,
            });
        }
        let stub =
            Self { bytes, machine, optional, table, rows, section_alignment, file_alignment };
        stub.check_contents()?;
        Some(Ok(stub))
    }

    /// Whether the content of all sections is there.
    fn check_contents(&self) -> Option<()> {
        self.rows.iter().try_for_each(|row| self.bytes.get(row.content()?).map(|_| ()))
    }

    /// The program with `sections` behind its own.
    ///
    /// # Errors
    /// Why that cannot be, as the end of a sentence.
    pub(super) fn lay_out(&self, sections: &[NewSection<'_>]) -> Result<Laid, String> {
        self.try_lay_out(sections).ok_or_else(|| {
            "its sections leave no room for others, or the parts are larger than 4 GiB".to_owned()
        })
    }

    fn try_lay_out(&self, sections: &[NewSection<'_>]) -> Option<Laid> {
        let table_end = self.table + ROW * (self.rows.len() + sections.len());
        let headers = (table_end as u64).next_multiple_of(self.file_alignment);
        // What firmware loads of the headers ends where the first section begins.
        let first = self.rows.iter().map(|row| u64::from(row.address)).min()?;
        if headers > first {
            return None;
        }
        let filled = || self.rows.iter().filter(|row| row.size > 0);
        let begins = filled().map(|row| u64::from(row.place)).min()?;
        let old_table_end = self.table + ROW * self.rows.len();
        if begins < old_table_end as u64 {
            return None;
        }
        // The contents move back where the longer table needs their place.
        let shift = headers.saturating_sub(begins).next_multiple_of(self.file_alignment);
        let end = filled().filter_map(|row| row.content()).map(|content| content.end).max()?;
        let contents = self.bytes.get(usize::try_from(begins).ok()?..end)?;

        let mut head = self.bytes.get(..old_table_end)?.to_vec();
        head.resize(usize::try_from(begins + shift).ok()?, 0);
        head.extend_from_slice(contents);
        let size = (head.len() as u64).next_multiple_of(self.file_alignment);
        head.resize(usize::try_from(size).ok()?, 0);
        self.move_contents(&mut head, u32::try_from(shift).ok()?)?;

        let mut address = self.end_in_memory();
        let mut place = size;
        let mut padded = Vec::new();
        let mut data = u64::from(field(&self.bytes, self.optional + 8)?);
        for (number, section) in sections.iter().enumerate() {
            let in_file = section.size.next_multiple_of(self.file_alignment);
            let at = self.table + ROW * (self.rows.len() + number);
            put(&mut head, at, section.name.as_bytes());
            let flags = if section.is_code { CODE } else { DATA };
            for (offset, number) in
                [(8, section.in_memory), (12, address), (16, in_file), (20, place)]
            {
                put(&mut head, at + offset, &u32::try_from(number).ok()?.to_le_bytes());
            }
            put(&mut head, at + 36, &flags.to_le_bytes());
            address = self.aligned(address.checked_add(section.in_memory.max(1))?);
            place = place.checked_add(in_file)?;
            data = data.checked_add(in_file)?;
            padded.push(in_file);
        }
        let count = u16::try_from(self.rows.len() + sections.len()).ok()?;
        put(&mut head, self.optional - 18, &count.to_le_bytes());
        for (offset, number) in [(8, data), (56, address), (60, headers)] {
            put(&mut head, self.optional + offset, &u32::try_from(number).ok()?.to_le_bytes());
        }
        // No symbols, no checksum, and no signature: that one was of other bytes.
        put(&mut head, self.optional - 12, &[0; 8]);
        put(&mut head, self.optional + 64, &[0; 4]);
        if self.directories() > 4 {
            put(&mut head, self.optional + CERTIFICATES, &[0; 8]);
        }
        Some(Laid { head, padded })
    }

    /// Says of each section that its content stands `shift` bytes further back, and of what debuggers
    /// read as well.
    fn move_contents(&self, head: &mut [u8], shift: u32) -> Option<()> {
        for (number, row) in self.rows.iter().enumerate().filter(|(_, row)| row.size > 0) {
            let place = row.place.checked_add(shift)?.to_le_bytes();
            put(head, self.table + ROW * number + 20, &place);
        }
        if self.directories() <= 6 {
            return Some(());
        }
        let address = field(&self.bytes, self.optional + DEBUG)?;
        let size = usize::try_from(field(&self.bytes, self.optional + DEBUG + 4)?).ok()?;
        let Some(row) = self.rows.iter().find(|row| row.holds(address)) else { return Some(()) };
        let at = u64::from(address) - u64::from(row.address) + u64::from(row.place);
        let at = usize::try_from(at).ok()?;
        for at in (0..size / DEBUG_ENTRY).map(|number| at + number * DEBUG_ENTRY + DEBUG_PLACE) {
            let Some(place @ 1..) = field(&self.bytes, at) else { continue };
            let moved = usize::try_from(shift).ok()?.checked_add(at)?;
            put(head, moved, &place.checked_add(shift)?.to_le_bytes());
        }
        Some(())
    }

    /// How many directories the optional header has.
    fn directories(&self) -> u32 {
        field(&self.bytes, self.optional + 108).unwrap_or(0)
    }

    /// Where the next section may begin in memory.
    fn end_in_memory(&self) -> u64 {
        let end = |row: &Row| u64::from(row.address) + u64::from(row.in_memory.max(row.size));
        self.aligned(self.rows.iter().map(end).max().unwrap_or(0))
    }

    /// At a page at least: what firmware protects, it protects by pages.
    fn aligned(&self, address: u64) -> u64 {
        address.next_multiple_of(self.section_alignment.max(PAGE))
    }
}

impl Row {
    /// Where the content is in the file.
    fn content(&self) -> Option<std::ops::Range<usize>> {
        let start = usize::try_from(self.place).ok()?;
        Some(start..start.checked_add(usize::try_from(self.size).ok()?)?)
    }

    /// Whether `address` lies in what the file has of it.
    fn holds(&self, address: u32) -> bool {
        let from = u64::from(self.address);
        (from..from + u64::from(self.size)).contains(&address.into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_stub_makes_it_panic(
            changes in prop::collection::vec((0_usize..0x400, any::<u8>()), 0..8),
            length in 0_usize..0x12000,
            size in any::<u64>(),
        ) {
            let mut bytes = std::fs::read("/usr/lib/systemd/boot/efi/linuxx64.efi.stub").unwrap();
            for (at, byte) in changes {
                bytes[at] = byte;
            }
            for cut in [length, bytes.len()] {
                let bytes = bytes.get(..cut).unwrap_or(&bytes).to_vec();
                let Ok(stub) = Stub::parse(bytes) else { continue };
                for size in [0, 1000, size % (1 << 33), size] {
                    let section = NewSection { name: ".linux", size, in_memory: size, is_code: true };
                    let _ = stub.lay_out(&[section]);
                }
            }
        }
    }
}
