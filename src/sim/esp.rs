// SPDX-License-Identifier: MIT OR Apache-2.0

//! Files on the EFI system partition as the firmware opens and loads them.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use flipside_image::Architecture;

/// The file that `path`, with backslashes from the partition's root, leads to. FAT knows no
/// upper and lower case.
pub(super) fn find(esp: &Path, path: &str) -> Option<PathBuf> {
    let mut found = esp.to_owned();
    for part in path.split(['\\', '/']).filter(|part| !part.is_empty()) {
        found = child(&found, part)?;
    }
    found.is_file().then_some(found)
}

fn child(directory: &Path, name: &str) -> Option<PathBuf> {
    let exact = directory.join(name);
    if exact.symlink_metadata().is_ok() {
        return Some(exact);
    }
    let same = |entry: &std::fs::DirEntry| {
        entry.file_name().to_str().is_some_and(|n| n.eq_ignore_ascii_case(name))
    };
    let mut entries = std::fs::read_dir(directory).ok()?.filter_map(Result::ok);
    entries.find(same).map(|entry| entry.path())
}

/// Whether the firmware takes the file for a program for this machine: the headers alone, as
/// `LoadImage` looks at them first (PE format, "MS-DOS Stub", "Signature", "COFF File Header").
pub(super) fn is_program(path: &Path, architecture: Architecture) -> io::Result<bool> {
    let file = File::open(path)?;
    let mut dos = [0; 64];
    let [b'M', b'Z', .., a, b, c, d] = read_or_none(&file, &mut dos, 0)? else {
        return Ok(false);
    };
    let start = u32::from_le_bytes([*a, *b, *c, *d]);
    let mut coff = [0; 6];
    let machine: u16 = match architecture {
        Architecture::X86_64 => 0x8664,
        Architecture::Aarch64 => 0xaa64,
    };
    let [low, high] = machine.to_le_bytes();
    let expected = [b'P', b'E', 0, 0, low, high];
    Ok(read_or_none(&file, &mut coff, u64::from(start))? == expected)
}

/// Fills `bytes`; nothing where the file is too short.
fn read_or_none<'a>(file: &File, bytes: &'a mut [u8], at: u64) -> io::Result<&'a [u8]> {
    match file.read_exact_at(bytes, at) {
        Ok(()) => Ok(bytes),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(&[]),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The headers of a program, and `length` bytes in all.
    fn program(machine: u16, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length.max(0x86)];
        bytes[..2].copy_from_slice(b"MZ");
        bytes[0x3c] = 0x80;
        bytes[0x80..0x84].copy_from_slice(b"PE\0\0");
        bytes[0x84..0x86].copy_from_slice(&machine.to_le_bytes());
        bytes.truncate(length);
        bytes
    }

    #[test]
    fn a_program_is_known_by_its_headers() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.efi");
        let mut zeroed = program(0x8664, 4096);
        zeroed[..512].fill(0);
        for (bytes, expected) in [
            (program(0x8664, 4096), true),
            (program(0x8664, 0x86), true),
            (program(0x8664, 0x85), false),
            (program(0x8664, 60), false),
            (program(0xaa64, 4096), false),
            (zeroed, false),
            (vec![], false),
            (vec![0xff; 4096], false),
        ] {
            std::fs::write(&path, &bytes).unwrap();
            assert_eq!(is_program(&path, Architecture::X86_64).unwrap(), expected);
        }
        std::fs::write(&path, program(0xaa64, 4096)).unwrap();
        assert!(is_program(&path, Architecture::Aarch64).unwrap());
    }

    #[test]
    fn names_are_found_whatever_their_case() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(directory.path().join("EFI/Boot")).unwrap();
        std::fs::write(directory.path().join("EFI/Boot/x.EFI"), "").unwrap();
        assert!(find(directory.path(), "\\efi\\BOOT\\X.efi").is_some());
        assert!(find(directory.path(), "EFI/Boot/x.EFI").is_some());
        assert_eq!(find(directory.path(), "\\EFI\\BOOT"), None, "a directory");
        assert_eq!(find(directory.path(), "\\EFI\\BOOT\\y.efi"), None);
    }
}
