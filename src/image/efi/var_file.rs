// SPDX-License-Identifier: MIT OR Apache-2.0

//! The file in which an OS keeps the variables of firmware that cannot write them itself (EBBR,
//! "File format for storing EFI variables"; U-Boot, `include/efi_variable.h`,
//! `struct efi_var_file`), and the name that the firmware gives it.

use crate::bytes::{u32_at, u64_at};

/// `UbEfiVa`, version 1.
const MAGIC: u64 = 0x0161_5669_6645_6255;
/// Reserved, magic, length, CRC-32; the variables follow.
const HEADER: usize = 24;

/// More than firmware has, in bytes: U-Boot's own limit is 128 KiB by default.
pub const MAX_SIZE: u64 = 1 << 20;

/// The file's name, from the variable that tells it: ASCII, with or without its NUL; `None` for
/// what leads anywhere but to a file in the root.
pub fn file_name(data: &[u8]) -> Option<String> {
    let name = std::str::from_utf8(data.strip_suffix(b"\0").unwrap_or(data)).ok()?;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-+~".contains(c);
    let is_name = (1..=255).contains(&name.len()) && name.chars().all(is_plain);
    (is_name && !name.starts_with('.')).then(|| name.to_owned())
}

/// The length that the header of `bytes` gives to all of them; `None` where it is no such header.
fn length(bytes: &[u8]) -> Option<usize> {
    let (reserved, magic) = (u64_at(bytes, 0)?, u64_at(bytes, 8)?);
    let length = usize::try_from(u32_at(bytes, 16)?).ok()?;
    (reserved == 0 && magic == MAGIC && length >= HEADER).then_some(length)
}

/// Whether `file` begins as such a file does, and is not cut short.
pub fn has_header(file: &[u8]) -> bool {
    length(file).is_some_and(|length| length <= file.len())
}

/// Whether the firmware would take `bytes`, all of them.
pub fn is_whole(bytes: &[u8]) -> bool {
    let sum = bytes.get(HEADER..).map(crc32fast::hash);
    length(bytes) == Some(bytes.len()) && u32_at(bytes, 20) == sum
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn store(variables: &[u8]) -> Vec<u8> {
        let mut bytes = [0; 8].to_vec();
        bytes.extend(b"UbEfiVa\x01");
        bytes.extend(u32::try_from(HEADER + variables.len()).unwrap().to_le_bytes());
        bytes.extend(crc32fast::hash(variables).to_le_bytes());
        bytes.extend(variables);
        bytes
    }

    #[test]
    fn a_store_is_known_by_its_header_its_length_and_its_sum() {
        let good = store(b"variables");
        let changed = |at: usize| {
            let mut bytes = good.clone();
            bytes[at] ^= 0x10;
            bytes
        };
        for (bytes, header, whole) in [
            (good.clone(), true, true),
            (store(b""), true, true),
            (changed(0), false, false),
            (changed(8), false, false),
            (changed(15), false, false),
            (changed(16), false, false),
            (changed(20), true, false),
            (changed(30), true, false),
            (good[..good.len() - 1].to_vec(), false, false),
            ([&good[..], b"x"].concat(), true, false),
            (good[..23].to_vec(), false, false),
            (vec![0; 64], false, false),
            (vec![], false, false),
        ] {
            assert_eq!((has_header(&bytes), is_whole(&bytes)), (header, whole), "{bytes:?}");
        }
    }

    #[test]
    fn only_the_name_of_a_file_in_the_root_is_one() {
        for (data, expected) in [
            (&b"ubootefi.var\0"[..], Some("ubootefi.var")),
            (b"ubootefi.var", Some("ubootefi.var")),
            (b"\0", None),
            (b"", None),
            (b"../ubootefi.var\0", None),
            (b"..\0", None),
            (b".\0", None),
            (b"EFI/ubootefi.var\0", None),
            (b"EFI\\ubootefi.var\0", None),
            (b"u\0b\0\0\0", None),
            (b"ubootefi.var\0x", None),
            (b"uboot\x1b.var\0", None),
            (b"\xff\0", None),
        ] {
            assert_eq!(file_name(data).as_deref(), expected, "{data:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            prop_assert!(!is_whole(&bytes) || has_header(&bytes));
            file_name(&bytes);
        }

        #[test]
        fn no_damage_is_whole(
            variables in prop::collection::vec(any::<u8>(), 0..80), at in any::<prop::sample::Index>(),
            bit in 0u32..8,
        ) {
            let mut bytes = store(&variables);
            prop_assert!(is_whole(&bytes) && has_header(&bytes));
            let at = at.index(bytes.len());
            bytes[at] ^= 1_u8 << bit;
            prop_assert!(!is_whole(&bytes));
        }
    }
}
