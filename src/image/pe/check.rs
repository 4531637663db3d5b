// SPDX-License-Identifier: MIT OR Apache-2.0

//! Whether firmware would start a program, as far as its headers and its length tell. The rules are
//! those by which EDK II's loader refuses one (`PeCoffLoaderGetPeHeader` in
//! MdePkg/Library/BasePeCoffLib/BasePeCoff.c); the fields are the PE format's, sections 3 and 4. Whose
//! signature the firmware takes is not asked here.

use std::ops::Range;

use super::{SECTION_LIMIT, machine_of};
use crate::Architecture;

/// How many bytes from the start of a program [`check`] looks at: more than any headers take.
pub const HEADER_LIMIT: usize = 64 << 10;

/// `IMAGE_SUBSYSTEM_EFI_APPLICATION`.
const EFI_APPLICATION: u16 = 10;
/// Of the optional header of PE32+.
const MAGIC: u16 = 0x20b;
/// The bytes of that header before its data directories.
const FIXED: u64 = 112;
/// The most data directories.
const DIRECTORIES: u64 = 16;
/// The place of the certificate table among them.
const CERTIFICATES: u64 = 4;
const SECTION_SIZE: u64 = 40;

/// What other files begin with.
const COMPRESSED: [(&str, &[u8]); 4] = [
    ("gzip", b"\x1f\x8b"),
    ("zstd", b"\x28\xb5\x2f\xfd"),
    ("xz", b"\xfd7zXZ\0"),
    ("lz4", b"\x04\x22\x4d\x18"),
];

/// Why firmware would not start a program. Each is the end of a sentence about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// There are no bytes.
    #[error("it is empty")]
    Empty,
    /// It has to be unpacked first.
    #[error("it is compressed with {0}; the firmware starts an EFI program only as it is")]
    Compressed(&'static str),
    /// It has no PE header.
    #[error("it is not an EFI program")]
    NoProgram,
    /// It is for another machine.
    #[error("it is a program for {found}, not for {wanted}")]
    Machine {
        /// What it is for.
        found: String,
        /// What it has to be for.
        wanted: Architecture,
    },
    /// It is PE32, or something else.
    #[error("it is not a 64-bit EFI program (PE32+)")]
    NotPe32Plus,
    /// It is a driver, or a program for another system.
    #[error("it is not an EFI application (its subsystem is {0}, not 10)")]
    Subsystem(u16),
    /// Its headers make no sense.
    #[error("its headers are damaged: {0}")]
    Headers(&'static str),
    /// Its bytes end too early.
    #[error("it is cut short: {what} ends at byte {end}, and the file at byte {size}")]
    CutShort {
        /// The part that is not all there.
        what: String,
        /// Where that part ends, in bytes.
        end: u64,
        /// The length of the file in bytes.
        size: u64,
    },
}

/// Looks at a program of `size` bytes, of which `head` has the first [`HEADER_LIMIT`], or all.
///
/// # Errors
/// Why the firmware of `wanted` would not start it.
pub fn check(head: &[u8], size: u64, wanted: Architecture) -> Result<(), Flaw> {
    if size == 0 {
        return Err(Flaw::Empty);
    }
    if let Some((name, _)) = COMPRESSED.iter().find(|(_, magic)| head.starts_with(magic)) {
        return Err(Flaw::Compressed(name));
    }
    let machine = machine_of(head).ok_or(Flaw::NoProgram)?;
    if !machine.is(wanted) {
        return Err(Flaw::Machine { found: machine.to_string(), wanted });
    }
    let headers = Headers { head, size };
    let optional = u64::from(headers.u32(0x3c)?) + 24;
    let optional_size = u64::from(headers.u16(optional - 4)?);
    if headers.u16(optional)? != MAGIC {
        return Err(Flaw::NotPe32Plus);
    }
    match headers.u16(optional + 68)? {
        EFI_APPLICATION => {}
        other => return Err(Flaw::Subsystem(other)),
    }
    headers.check_directories(optional, optional_size)?;
    headers.check_sections(optional, optional + optional_size)
}

/// The headers of a program.
struct Headers<'a> {
    head: &'a [u8],
    size: u64,
}

impl Headers<'_> {
    fn field<const N: usize>(&self, at: u64) -> Result<[u8; N], Flaw> {
        let found = usize::try_from(at).ok().and_then(|at| self.head.get(at..)?.first_chunk());
        found.copied().ok_or_else(|| match at.saturating_add(N as u64) {
            end if end > self.size => self.cut_short("its headers", end),
            _ => Flaw::Headers("they do not stand at its start"),
        })
    }

    fn u16(&self, at: u64) -> Result<u16, Flaw> {
        self.field(at).map(u16::from_le_bytes)
    }

    fn u32(&self, at: u64) -> Result<u32, Flaw> {
        self.field(at).map(u32::from_le_bytes)
    }

    fn cut_short(&self, what: impl Into<String>, end: u64) -> Flaw {
        Flaw::CutShort { what: what.into(), end, size: self.size }
    }

    fn check_directories(&self, optional: u64, optional_size: u64) -> Result<(), Flaw> {
        let count = u64::from(self.u32(optional + FIXED - 4)?);
        if count > DIRECTORIES || optional_size != FIXED + 8 * count {
            return Err(Flaw::Headers("the size of the optional header is wrong"));
        }
        if count <= CERTIFICATES {
            return Ok(());
        }
        let entry = optional + FIXED + 8 * CERTIFICATES;
        // Of this one directory the address is a place in the file.
        let (start, size) = (u64::from(self.u32(entry)?), u64::from(self.u32(entry + 4)?));
        match start + size {
            end if start != 0 && end > self.size => Err(self.cut_short("its signature", end)),
            _ => Ok(()),
        }
    }

    fn check_sections(&self, optional: u64, table: u64) -> Result<(), Flaw> {
        let count = self.u16(optional - 18)?;
        let in_memory = u64::from(self.u32(optional + 56)?);
        let headers = u64::from(self.u32(optional + 60)?);
        let table_end = table + SECTION_SIZE * u64::from(count);
        if count == 0 || count > SECTION_LIMIT {
            return Err(Flaw::Headers("it has no sections, or more than loaders take"));
        }
        if headers > self.size {
            return Err(self.cut_short("its headers", headers));
        }
        if headers < table_end || headers >= in_memory {
            return Err(Flaw::Headers("the size of the headers is wrong"));
        }
        let entry_point = u64::from(self.u32(optional + 16)?);
        let mut has_entry_point = false;
        for at in (0..u64::from(count)).map(|number| table + SECTION_SIZE * number) {
            let memory = self.check_section(at, headers, in_memory)?;
            has_entry_point |= memory.contains(&entry_point);
        }
        if has_entry_point { Ok(()) } else { Err(Flaw::Headers("no section has its entry point")) }
    }

    /// Where the section whose row is at `at` will be in memory.
    fn check_section(&self, at: u64, headers: u64, in_memory: u64) -> Result<Range<u64>, Flaw> {
        let name: [u8; 8] = self.field(at)?;
        let number = |offset| self.u32(at + offset).map(u64::from);
        let (virtual_size, address) = (number(8)?, number(12)?);
        let (stored, start) = (number(16)?, number(20)?);
        if stored > 0 {
            if start < headers || address < headers {
                return Err(Flaw::Headers("a section lies in its headers"));
            }
            // Also what is only padding has to be there: firmware looks for the last byte.
            if start + stored > self.size {
                let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
                let name = String::from_utf8_lossy(name.get(..end).unwrap_or_default());
                let what = format!("section {}", crate::printable::line(&name, 8));
                return Err(self.cut_short(what, start + stored));
            }
        }
        let size = if virtual_size == 0 { stored } else { virtual_size };
        if address + size > in_memory {
            return Err(Flaw::Headers("a section ends behind the program's end in memory"));
        }
        Ok(address..address + size)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const X86: Architecture = Architecture::X86_64;

    /// An EFI application with one section, a certificate table, and nothing else.
    fn program() -> Vec<u8> {
        let mut bytes = vec![0; 0x600];
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(0, b"MZ");
        put(0x3c, &0x80_u32.to_le_bytes());
        put(0x80, b"PE\0\0\x64\x86\x01\0");
        put(0x94, &240_u16.to_le_bytes());
        put(0x98, &0x20b_u16.to_le_bytes());
        put(0x98 + 16, &0x1000_u32.to_le_bytes());
        put(0x98 + 56, &0x2000_u32.to_le_bytes());
        put(0x98 + 60, &0x200_u32.to_le_bytes());
        put(0x98 + 68, &10_u16.to_le_bytes());
        put(0x98 + 108, &16_u32.to_le_bytes());
        put(0x98 + 144, &[0x500_u32.to_le_bytes(), 0x100_u32.to_le_bytes()].concat());
        put(0x188, b".text\0\0\0");
        for (field, value) in [0x2f0_u32, 0x1000, 0x300, 0x200].iter().enumerate() {
            put(0x190 + 4 * field, &value.to_le_bytes());
        }
        bytes
    }

    fn flaw_of(bytes: &[u8]) -> String {
        let head = &bytes[..bytes.len().min(HEADER_LIMIT)];
        check(head, bytes.len() as u64, X86).map_or_else(|flaw| flaw.to_string(), |()| "-".into())
    }

    #[test]
    fn a_whole_program_has_no_flaw() {
        assert_eq!(flaw_of(&program()), "-");
        let longer = [program(), vec![7; 100_000]].concat();
        assert_eq!(flaw_of(&longer), "-");
    }

    #[test]
    fn a_program_cut_anywhere_has_a_flaw() {
        let whole = program();
        for length in 0..whole.len() {
            assert_ne!(flaw_of(&whole[..length]), "-", "{length}");
        }
        let said = "it is cut short: section .text ends at byte 1280, and the file at byte 1279";
        let mut unsigned = whole.clone();
        unsigned[0x98 + 144..0x98 + 152].fill(0);
        assert_eq!(flaw_of(&unsigned[..0x500]), "-");
        assert_eq!(flaw_of(&unsigned[..0x4ff]), said);
        let said = "it is cut short: its signature ends at byte 1536, and the file at byte 1535";
        assert_eq!(flaw_of(&whole[..0x5ff]), said);
    }

    #[test]
    fn each_flaw_is_told() {
        let zero = [0_u8; 4];
        let long = 0xffff_ffff_u32.to_le_bytes();
        for (name, at, bytes, said) in [
            ("no MZ", 0, &b"ZM"[..], "not an EFI program"),
            ("no PE", 0x80, b"LE", "not an EFI program"),
            ("a header far away", 0x3c, &long, "not an EFI program"),
            ("aarch64", 0x84, b"\x64\xaa", "a program for aarch64, not for x86_64"),
            ("i386", 0x84, b"\x4c\x01", "a program for machine 0x014c, not for x86_64"),
            ("PE32", 0x98, b"\x0b\x01", "not a 64-bit EFI program"),
            ("ROM", 0x98, b"\x07\x01", "not a 64-bit EFI program"),
            ("a driver", 0x98 + 68, b"\x0b", "its subsystem is 11, not 10"),
            ("a console program", 0x98 + 68, b"\x03", "its subsystem is 3"),
            ("a short optional header", 0x94, b"\x70\0", "size of the optional header"),
            ("many directories", 0x98 + 108, b"\x11", "size of the optional header"),
            ("no sections", 0x86, b"\0\0", "no sections"),
            ("97 sections", 0x86, b"\x61\0", "no sections, or more"),
            ("a table longer than the headers", 0x86, b"\x04\0", "size of the headers"),
            ("no image size", 0x98 + 56, &zero, "size of the headers"),
            ("headers beyond the end", 0x98 + 60, &long, "cut short: its headers"),
            ("headers of nothing", 0x98 + 60, &zero, "size of the headers"),
            ("no entry point", 0x98 + 16, &zero, "entry point"),
            ("an entry point behind the section", 0x98 + 16, b"\xf0\x12", "entry point"),
            ("a section beyond the end", 0x19c, &long, "cut short: section .text"),
            ("a section longer than the file", 0x198, &long, "cut short: section .text"),
            ("a section in the headers", 0x19c, b"\0\x01", "lies in its headers"),
            ("a section too long in memory", 0x190, &long, "end in memory"),
            ("a signature beyond the end", 0x98 + 144, &long, "cut short: its signature"),
        ] {
            let mut damaged = program();
            damaged[at..at + bytes.len()].copy_from_slice(bytes);
            let found = flaw_of(&damaged);
            assert!(found.contains(said), "{name}: {found}");
        }
        assert_eq!(flaw_of(b""), "it is empty");
        assert!(flaw_of(b"\x1f\x8b\x08\0").contains("compressed with gzip"));
        assert!(flaw_of(b"\x28\xb5\x2f\xfd").contains("compressed with zstd"));
        assert!(flaw_of(&[0; 4096]).contains("not an EFI program"));
    }

    #[test]
    fn headers_behind_the_limit_are_not_looked_for() {
        let mut bytes = vec![0; 2 * HEADER_LIMIT];
        let program = program();
        bytes[HEADER_LIMIT..HEADER_LIMIT + program.len()].copy_from_slice(&program);
        bytes[..2].copy_from_slice(b"MZ");
        bytes[0x3c..0x40].copy_from_slice(&(HEADER_LIMIT as u32 + 0x80).to_le_bytes());
        assert!(flaw_of(&bytes).contains("not an EFI program"));
    }

    proptest! {
        #[test]
        fn any_damage_is_looked_at_without_panic(
            changes in prop::collection::vec((0_usize..0x1b0, any::<u8>()), 0..12),
            length in 0_usize..0x600,
        ) {
            let mut bytes = program();
            for (at, byte) in changes {
                bytes[at] = byte;
            }
            let _ = check(&bytes[..length], length as u64, X86);
            let _ = check(&bytes[..length], u64::MAX, X86);
        }
    }
}
