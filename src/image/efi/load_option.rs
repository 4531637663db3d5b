// SPDX-License-Identifier: MIT OR Apache-2.0

//! Load options: the contents of `Boot####` (`EFI_LOAD_OPTION`, UEFI 2.10, section
//! 3.1.3).

use super::text;

/// `LOAD_OPTION_ACTIVE`.
const ACTIVE: u32 = 1;
/// `LOAD_OPTION_CATEGORY`: zero is what the firmware boots by itself.
const CATEGORY: u32 = 0x1f00;

/// The longest description that flipside gives, in characters.
const MAX_DESCRIPTION: usize = 60;

/// A boot entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadOption {
    /// `LOAD_OPTION_*`.
    pub attributes: u32,
    /// What people see in the firmware's menu.
    pub description: String,
    /// The device path; see [`super::device_path`].
    pub path: Vec<u8>,
    /// What the loaded program gets.
    pub optional: Vec<u8>,
}

impl LoadOption {
    /// Reads an entry; `None` where it is malformed.
    pub fn parse(data: &[u8]) -> Option<Self> {
        let (attributes, rest) = data.split_first_chunk::<4>()?;
        let (path_length, rest) = rest.split_first_chunk::<2>()?;
        let (description, length) = text::decode_terminated(rest)?;
        let (path, optional) =
            rest.get(length..)?.split_at_checked(u16::from_le_bytes(*path_length).into())?;
        Some(Self {
            attributes: u32::from_le_bytes(*attributes),
            description,
            path: path.to_vec(),
            optional: optional.to_vec(),
        })
    }

    /// Whether the firmware boots it when its turn comes in `BootOrder`.
    pub fn is_bootable(&self) -> bool {
        self.attributes & ACTIVE != 0 && self.attributes & CATEGORY == 0
    }

    /// Whether systemd-stub would take the optional data for a kernel command line: it does
    /// so where the first character is printable (src/boot/efi/stub.c). Some firmware appends
    /// data of its own, which begins with a NUL and is harmless.
    pub fn has_command_line(&self) -> bool {
        self.optional.first_chunk::<2>().is_some_and(|first| u16::from_le_bytes(*first) > 0x1f)
    }
}

/// A description that firmware menus can show: `product` and `suffix`, printable characters of
/// the basic plane only, one space between words, at most 60 characters.
pub fn description(product: &str, suffix: &str) -> String {
    let is_shown = |c: &char| c.len_utf16() == 1 && (c.is_alphanumeric() || c.is_ascii_graphic());
    let shown: String = product.chars().map(|c| if is_shown(&c) { c } else { ' ' }).collect();
    let words = shown.split_whitespace().collect::<Vec<_>>().join(" ");
    let room = MAX_DESCRIPTION.saturating_sub(suffix.chars().count().saturating_add(1));
    let name: String = words.chars().take(room).collect();
    match name.trim_end() {
        "" => format!("OS {suffix}"),
        name => format!("{name} {suffix}"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::efi::device_path::{self, Target};
    use crate::efi::short_form::tests::esp;

    /// The data of a variable that OVMF wrote.
    macro_rules! ovmf {
        ($number:literal) => {
            &include_bytes!(concat!(
                "../../../tests/fixtures/efivars-ovmf/Boot",
                $number,
                "-8be4df61-93ca-11d2-aa0d-00e098032b8c"
            ))[4..]
        };
    }

    /// As the variable has it: nothing of what was read is missing.
    fn to_data(option: &LoadOption) -> Vec<u8> {
        let length = u16::try_from(option.path.len()).unwrap().to_le_bytes();
        let front = [&option.attributes.to_le_bytes()[..], &length].concat();
        [&front, &text::encode(&option.description)[..], &option.path, &option.optional].concat()
    }

    #[test]
    fn entries_of_real_firmware_are_read() {
        for (data, description, is_bootable, has_command_line) in [
            (ovmf!("0000"), "UiApp", false, false),
            (ovmf!("0001"), "UEFI QEMU DVD-ROM QM00005 ", true, true),
            (ovmf!("0002"), "UEFI Misc Device", true, true),
            (ovmf!("0003"), "EFI Internal Shell", true, false),
            (ovmf!("0004"), "Acme OS A", true, false),
            (ovmf!("0005"), "Acme OS B", true, false),
        ] {
            let option = LoadOption::parse(data).unwrap();
            assert_eq!(option.description, description);
            assert_eq!(option.is_bootable(), is_bootable, "{description}");
            assert_eq!(option.has_command_line(), has_command_line, "{description}");
            assert_eq!(to_data(&option), data, "{description}");
        }
    }

    #[test]
    fn real_paths_lead_where_they_should() {
        let to = |data| device_path::target(&LoadOption::parse(data).unwrap().path);
        let file = |name: &str| Target::Partition {
            partition: esp(),
            file: Some(device_path::FilePath::new(name)),
        };
        assert_eq!(to(ovmf!("0004")), file("\\EFI\\flipside\\boot-a.efi"));
        assert_eq!(to(ovmf!("0005")), file("\\EFI\\flipside\\boot-b.efi"));
        assert_eq!(to(ovmf!("0002")), Target::Device);
        assert_eq!(to(ovmf!("0000")), Target::Other);
    }

    #[test]
    fn malformed_entries_are_none() {
        let good = ovmf!("0005");
        for data in
            [&[][..], &good[..3], &good[..6], &good[..7], &good[..20], &good[..good.len() - 1]]
        {
            assert_eq!(LoadOption::parse(data), None, "{} bytes", data.len());
        }
        let mut long = good.to_vec();
        long[4..6].copy_from_slice(&[0xff, 0xff]);
        assert_eq!(LoadOption::parse(&long), None);
    }

    #[test]
    fn descriptions_are_printable_and_bounded() {
        for (product, expected) in [
            ("Acme OS", "Acme OS A"),
            ("  Acme\t\nOS\0 ", "Acme OS A"),
            ("", "OS A"),
            ("\u{1f600}\u{202e}", "OS A"),
            ("Größe", "Größe A"),
            (&"x".repeat(80), &format!("{} A", "x".repeat(58))),
            (&format!("{} y", "x".repeat(57)), &format!("{} A", "x".repeat(57))),
        ] {
            assert_eq!(description(product, "A"), expected, "{product:?}");
        }
    }

    proptest! {
        #[test]
        fn what_stands_in_an_entry_is_read(
            attributes in any::<u32>(), description in "[^\0]{0,40}",
            path in prop::collection::vec(any::<u8>(), 0..200),
            optional in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let option = LoadOption { attributes, description, path, optional };
            prop_assert_eq!(LoadOption::parse(&to_data(&option)), Some(option));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..160)) {
            LoadOption::parse(&bytes);
        }

        #[test]
        fn every_description_is_short_and_trimmed(product in "\\PC{0,100}") {
            let text = description(&product, "B");
            prop_assert!(text.chars().count() <= 60 && text.trim() == text && text.ends_with(" B"));
            prop_assert!(text.chars().all(|c| c.len_utf16() == 1 && !c.is_control()));
        }
    }
}
