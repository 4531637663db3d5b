// SPDX-License-Identifier: MIT OR Apache-2.0

//! Names in a FAT directory (fatgen103, "FAT Long Directory Entries"): each file has a
//! short one, and a long one in entries before that, where the short one cannot say it.

use std::collections::BTreeSet;

/// A short name, 8 characters and 3, padded with spaces.
pub(super) type ShortName = [u8; 11];

const LONG_NAME: u8 = 0x0f;
const LAST_PIECE: u8 = 0x40;
/// UTF-16 units in one entry of a long name.
const PIECE: usize = 13;

/// The short name of `name`, unlike those in `taken`, to which it is added.
pub(super) fn short_name(name: &str, taken: &mut BTreeSet<ShortName>) -> ShortName {
    let (base, extension) = match name.rsplit_once('.') {
        Some((base, extension)) if !base.is_empty() => (base, extension),
        _ => (name, ""),
    };
    let plain =
        |text: &str| text.to_uppercase().bytes().filter(|b| is_plain(*b)).collect::<Vec<_>>();
    let (plain_base, plain_extension) = (plain(base), plain(extension));
    let is_whole = plain_base.len() == base.len()
        && plain_extension.len() == extension.len()
        && (1..=8).contains(&base.len())
        && extension.len() <= 3;
    let whole = is_whole.then(|| padded(&plain_base, &plain_extension));
    // As many numbers as a directory can have entries, and one more.
    let numbered = (1_u32..=65537).map(|number| {
        let tail = format!("~{number}");
        let mut base = plain_base.clone();
        base.truncate(8_usize.saturating_sub(tail.len()));
        base.extend(tail.bytes());
        padded(&base, &plain_extension)
    });
    let mut all = whole.into_iter().chain(numbered);
    let name = all.find(|candidate| !taken.contains(candidate)).unwrap_or([b' '; 11]);
    taken.insert(name);
    name
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"$%'-_@~`!(){}^#&".contains(&byte)
}

fn padded(base: &[u8], extension: &[u8]) -> ShortName {
    let mut name = [b' '; 11];
    for (to, from) in name.iter_mut().zip(base.iter().take(8)) {
        *to = *from;
    }
    for (to, from) in name.iter_mut().skip(8).zip(extension) {
        *to = *from;
    }
    name
}

/// The entries, 32 bytes each, that give `short` its long name; none where the short name
/// reads the same.
pub(super) fn long_name_entries(name: &str, short: &ShortName) -> Vec<u8> {
    let (base, extension) = short.split_at(8);
    let (base, extension) = (base.trim_ascii_end(), extension.trim_ascii_end());
    let dot: &[u8] = if extension.is_empty() { b"" } else { b"." };
    if [base, dot, extension].concat() == name.as_bytes() {
        return Vec::new();
    }
    let checksum = short.iter().fold(0_u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte));
    let units: Vec<u16> = name.encode_utf16().collect();
    let mut entries = Vec::new();
    let pieces: Vec<_> = units.chunks(PIECE).collect();
    for (index, piece) in pieces.iter().enumerate().rev() {
        // At most 20 pieces: FAT has no names of more than 255 units.
        let number = u8::try_from(index + 1).unwrap_or(LAST_PIECE - 1);
        let is_last = index + 1 == pieces.len();
        let order = if is_last { number | LAST_PIECE } else { number };
        // A piece that is not full ends with one zero, then ones.
        let padding = std::iter::once(0).chain(std::iter::repeat(0xffff));
        let units: Vec<u16> = piece.iter().copied().chain(padding).take(PIECE).collect();
        let bytes: Vec<u8> = units.into_iter().flat_map(u16::to_le_bytes).collect();
        let (first, rest) = bytes.split_at_checked(10).unwrap_or_default();
        let (second, third) = rest.split_at_checked(12).unwrap_or_default();
        entries.push(order);
        entries.extend(first);
        entries.extend([LONG_NAME, 0, checksum]);
        entries.extend(second);
        entries.extend([0, 0]);
        entries.extend(third);
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_are_what_other_systems_give() {
        let mut taken = BTreeSet::new();
        for (name, short) in [
            ("EFI", b"EFI        "),
            ("BOOTX64.EFI", b"BOOTX64 EFI"),
            ("boot-a.efi", b"BOOT-A  EFI"),
            ("flipside", b"FLIPSIDE   "),
            ("slot-a.json", b"SLOT-A~1JSO"),
            ("slot-a.jsonl", b"SLOT-A~2JSO"),
            ("flipside-a.conf", b"FLIPSI~1CON"),
            ("a b", b"AB~1       "),
            (".hidden", b"HIDDEN~1   "),
            ("x.tar.gz", b"XTAR~1  GZ "),
            ("boot-A.EFI", b"BOOT-A~1EFI"),
            ("é", b"~1         "),
        ] {
            assert_eq!(&short_name(name, &mut taken), short, "{name}");
        }
    }

    #[test]
    fn only_names_that_need_it_are_long() {
        for (name, entries) in [
            ("EFI", 0),
            ("BOOTX64.EFI", 0),
            ("boot-a.efi", 1),
            ("thirteen.conf", 1),
            ("fourteen_.conf", 2),
            ("flipside-a.conf", 2),
        ] {
            let short = short_name(name, &mut BTreeSet::new());
            assert_eq!(long_name_entries(name, &short).len(), entries * 32, "{name}");
        }
    }

    #[test]
    fn the_checksum_is_the_specifications() {
        let short = *b"FLIPSI~1CON";
        let entries = long_name_entries("flipside-a.conf", &short);
        // The specification's own loop, written out.
        let mut sum = 0_u32;
        for byte in short {
            sum = (((sum & 1) << 7) + (sum >> 1) + u32::from(byte)) & 0xff;
        }
        assert_eq!(u32::from(entries[13]), sum);
        assert_eq!((entries[0], entries[32]), (0x42, 0x01));
        assert_eq!(entries[32 + 1..32 + 5], [b'f', 0, b'l', 0]);
    }
}
