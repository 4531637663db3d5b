// SPDX-License-Identifier: MIT OR Apache-2.0

//! EFI programs: what a PE file says about itself in its first bytes (Microsoft PE format,
//! sections 3.1 to 3.3; UEFI 2.10, section 2.1.1), and where its sections are (section 4).

use std::fmt;
use std::io;
use std::ops::Range;

use crate::Architecture;

mod check;
mod signers;

pub use check::{Flaw, HEADER_LIMIT, check};
pub use signers::has_signers_of;

/// The machine that a program is for, by the number in its header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Machine(u16);

impl Machine {
    /// Whether the firmware of `architecture` takes such a program.
    pub fn is(self, architecture: Architecture) -> bool {
        self.0
            == match architecture {
                Architecture::X86_64 => 0x8664,
                Architecture::Aarch64 => 0xaa64,
            }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Architecture::ALL.into_iter().find(|architecture| self.is(*architecture)) {
            Some(architecture) => architecture.fmt(f),
            None => write!(f, "machine 0x{:04x}", self.0),
        }
    }
}

/// What the program is for whose bytes `read` gives, all that it is asked for or
/// [`io::ErrorKind::UnexpectedEof`]. `None` for what is no program.
///
/// # Errors
/// Those of `read`.
pub fn machine(read: impl Fn(&mut [u8], u64) -> io::Result<()>) -> io::Result<Option<Machine>> {
    let mut start = [0; 0x40];
    let mut header = [0; 6];
    let found = (|| {
        read(&mut start, 0)?;
        let at = start.last_chunk().copied().map_or(0, u32::from_le_bytes);
        read(&mut header, at.into())
    })();
    match (found, header) {
        (Ok(()), [b'P', b'E', 0, 0, low, high]) if start.starts_with(b"MZ") => {
            Ok(Some(Machine(u16::from_le_bytes([low, high]))))
        }
        (Ok(()), _) => Ok(None),
        (Err(error), _) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        (Err(error), _) => Err(error),
    }
}

/// The same of a whole file in memory.
pub fn machine_of(bytes: &[u8]) -> Option<Machine> {
    machine(|to, at| copy_from(bytes, to, at)).ok().flatten()
}

/// Reads from a file in memory.
///
/// # Errors
/// [`io::ErrorKind::UnexpectedEof`] where it does not have all that is asked for.
pub fn copy_from(bytes: &[u8], to: &mut [u8], at: u64) -> io::Result<()> {
    let from = usize::try_from(at).ok().and_then(|at| bytes.get(at..)?.get(..to.len()));
    from.map(|from| to.copy_from_slice(from)).ok_or(io::ErrorKind::UnexpectedEof.into())
}

/// The most sections that are read: loaders take no more.
pub(crate) const SECTION_LIMIT: u16 = 96;

/// A section: its name, without padding, and where its content is in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// Such as `.linux`; at most 8 bytes.
    pub name: String,
    /// In bytes from the start of the file; it may lie beyond its end.
    pub range: Range<u64>,
}

/// The sections of the program whose bytes `read` gives, in their order. `None` for what is no
/// program, or one with more sections than loaders take.
///
/// # Errors
/// Those of `read`.
pub fn sections(
    read: impl Fn(&mut [u8], u64) -> io::Result<()>,
) -> io::Result<Option<Vec<Section>>> {
    if machine(&read)?.is_none() {
        return Ok(None);
    }
    match read_sections(&read) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        other => other,
    }
}

fn read_sections(
    read: &impl Fn(&mut [u8], u64) -> io::Result<()>,
) -> io::Result<Option<Vec<Section>>> {
    let field = |at: u64| {
        let mut bytes = [0; 4];
        read(&mut bytes, at).map(|()| u32::from_le_bytes(bytes))
    };
    // Behind the signature: machine, number of sections, ..., size of the optional header.
    let header = u64::from(field(0x3c)?) + 4;
    let [_, _, low, high] = field(header)?.to_le_bytes();
    let count = u16::from_le_bytes([low, high]);
    if count > SECTION_LIMIT {
        return Ok(None);
    }
    let [low, high, _, _] = field(header + 16)?.to_le_bytes();
    let table = header + 20 + u64::from(u16::from_le_bytes([low, high]));
    let mut sections = Vec::new();
    for at in (0..u64::from(count)).map(|number| table + 40 * number) {
        let mut name = [0; 8];
        read(&mut name, at)?;
        let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
        let name = String::from_utf8_lossy(name.get(..end).unwrap_or_default()).into_owned();
        // The size in memory is exact; the one in the file is rounded up, and may be cut.
        let size = u64::from(field(at + 8)?.min(field(at + 16)?));
        let start = u64::from(field(at + 20)?);
        sections.push(Section { name, range: start..start + size });
    }
    Ok(Some(sections))
}

/// Whether a program carries a signature for Secure Boot: its certificate table is not empty
/// (PE format, "Optional Header Data Directories", the fifth).
pub fn is_signed(bytes: &[u8]) -> bool {
    certificate_table(bytes).is_some()
}

/// Where the certificate table is in the file, which it may leave; `None` where it is empty.
fn certificate_table(bytes: &[u8]) -> Option<Range<usize>> {
    let number = |at: usize| -> Option<u32> {
        bytes.get(at..)?.first_chunk().copied().map(u32::from_le_bytes)
    };
    machine_of(bytes)?;
    let optional = usize::try_from(number(0x3c)?).ok()?.checked_add(24)?;
    let directories = match bytes.get(optional..)?.first_chunk()? {
        [0x0b, 0x01] => 96,
        [0x0b, 0x02] => 112,
        _ => return None,
    };
    let directories = optional.checked_add(directories)?;
    let count = number(directories.checked_sub(4)?)?;
    let entry = directories.checked_add(4 * 8)?;
    // Of this one directory the address is a place in the file.
    let (start, size) = (number(entry)?, number(entry.checked_add(4)?)?);
    let start = usize::try_from(start).ok()?;
    let end = start.checked_add(usize::try_from(size).ok()?)?;
    (count > 4 && size > 0).then_some(start..end)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn program(machine: [u8; 2]) -> Vec<u8> {
        let mut bytes = vec![0; 0x46];
        bytes[..2].copy_from_slice(b"MZ");
        bytes[0x3c] = 0x40;
        bytes[0x40..0x44].copy_from_slice(b"PE\0\0");
        bytes[0x44..].copy_from_slice(&machine);
        bytes
    }

    #[test]
    fn a_program_is_for_one_machine() {
        let x86 = machine_of(&program([0x64, 0x86])).unwrap();
        assert!(x86.is(Architecture::X86_64) && !x86.is(Architecture::Aarch64));
        let arm = machine_of(&program([0x64, 0xaa])).unwrap();
        assert!(arm.is(Architecture::Aarch64) && !arm.is(Architecture::X86_64));
    }

    #[test]
    fn what_is_cut_or_has_another_start_is_no_program() {
        let whole = program([0x64, 0x86]);
        for length in 0..whole.len() {
            assert_eq!(machine_of(&whole[..length]), None, "{length}");
        }
        for at in [0, 1, 0x3c, 0x3f, 0x40, 0x43] {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x81;
            assert_eq!(machine_of(&damaged), None, "{at}");
        }
    }

    #[test]
    fn a_certificate_table_is_a_signature() {
        for (magic, directories, count, size, expected) in [
            (0x20b_u16, 112, 16_u32, 1_u32, true),
            (0x10b, 96, 16, 1, true),
            (0x20b, 112, 16, 0, false),
            (0x20b, 112, 4, 1, false),
            (0x107, 112, 16, 1, false),
        ] {
            let mut bytes = program([0x64, 0x86]);
            bytes.resize(0x200, 0);
            let optional = 0x40 + 24;
            bytes[optional..optional + 2].copy_from_slice(&magic.to_le_bytes());
            let at = optional + directories;
            bytes[at - 4..at].copy_from_slice(&count.to_le_bytes());
            bytes[at + 36..at + 40].copy_from_slice(&size.to_le_bytes());
            assert_eq!(is_signed(&bytes), expected, "{magic:x} {count} {size}");
            assert!(!is_signed(&bytes[..at]), "{magic:x}");
        }
    }

    #[test]
    fn a_failure_to_read_is_not_taken_for_no_program() {
        assert!(machine(|_, _| Err(io::ErrorKind::PermissionDenied.into())).is_err());
    }

    /// A program with `count` sections, as its header says, and these bytes for their table.
    fn with_sections(count: u16, optional: u16, table: &[u8]) -> Vec<u8> {
        let mut bytes = program([0x64, 0x86]);
        bytes.extend(count.to_le_bytes());
        bytes.extend([0; 12]);
        bytes.extend(optional.to_le_bytes());
        bytes.extend([0; 2]);
        bytes.extend(std::iter::repeat_n(0, optional.into()));
        bytes.extend(table);
        bytes
    }

    fn row(name: &[u8; 8], in_memory: u32, in_file: u32, start: u32) -> Vec<u8> {
        let numbers = [in_memory, 0, in_file, start, 0, 0, 0, 0];
        let numbers = numbers.iter().flat_map(|number| number.to_le_bytes());
        name.iter().copied().chain(numbers).collect()
    }

    #[test]
    fn sections_have_names_and_places() {
        let table =
            [row(b".linux\0\0", 5, 512, 1024), row(b"12345678", 900, 512, u32::MAX)].concat();
        let bytes = with_sections(2, 16, &table);
        let found = sections(|to, at| copy_from(&bytes, to, at)).unwrap().unwrap();
        let far = u64::from(u32::MAX);
        let expected = [(".linux", 1024..1029), ("12345678", far..far + 512)];
        assert_eq!(found.len(), 2);
        for (section, (name, range)) in found.iter().zip(expected) {
            assert_eq!((section.name.as_str(), &section.range), (name, &range));
        }
        // The last 16 bytes of a row are not looked at.
        for length in 0..bytes.len() - 16 {
            assert_eq!(sections(|to, at| copy_from(&bytes[..length], to, at)).unwrap(), None);
        }
        let many = with_sections(97, 0, &row(b".linux\0\0", 5, 5, 0).repeat(97));
        assert_eq!(sections(|to, at| copy_from(&many, to, at)).unwrap(), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_looked_at_without_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Some(start) = bytes.get_mut(..2) {
                start.copy_from_slice(b"MZ");
            }
            machine_of(&bytes);
            is_signed(&bytes);
            has_signers_of(&bytes, &bytes);
        }

        #[test]
        fn any_table_of_sections_is_read_without_panic(
            table in prop::collection::vec(any::<u8>(), 0..300),
            count in any::<u16>(),
            optional in 0_u16..80,
        ) {
            let bytes = with_sections(count, optional, &table);
            let _ = sections(|to, at| copy_from(&bytes, to, at));
        }
    }
}
