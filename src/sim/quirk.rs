// SPDX-License-Identifier: MIT OR Apache-2.0

//! Faults of firmware, seen in the field, that can be played one by one.
//!
//! What only a running OS meets cannot be played with files and has tests of its own: writes
//! refused for lack of room (points 2 and 6), immutable and read-only efivarfs (7, 9). Needless
//! writes (8) and rename on FAT (14) are the updater's matter, not the firmware's, and a set-up
//! menu that nobody can enter any more (13) does not show in a boot.

use std::str::FromStr;

/// The enum with its names and descriptions: the doc comments are what people read.
macro_rules! quirks {
    ($(#[doc = $description:literal] $quirk:ident = $name:literal,)*) => {
        /// One fault. The numbers are those of the list in `docs/reliability.md`.
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
        )]
        #[serde(rename_all = "kebab-case")]
        pub enum Quirk {
            $(#[doc = $description] $quirk,)*
        }

        impl Quirk {
            /// Every one of them.
            pub const fn all() -> &'static [Self] {
                &[$(Self::$quirk,)*]
            }

            /// What it does, in a line.
            pub fn description(self) -> &'static str {
                match self {
                    $(Self::$quirk => $description.trim(),)*
                }
            }

            /// Its name on the command line.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$quirk => $name,)*
                }
            }
        }
    };
}

quirks! {
    /// 1: entries that BootOrder does not list are deleted at power-on
    DropUnlisted = "drop-unlisted",
    /// 1: entries that BootOrder does not list are overwritten with one of the firmware's own
    OverwriteUnlisted = "overwrite-unlisted",
    /// 2: changes of BootOrder are undone at power-on ("boot order lock")
    BootOrderLock = "boot-order-lock",
    /// 3: of entries with the same device path only the first is kept
    DropDuplicates = "drop-duplicates",
    /// 3: entries whose file is not there at power-on are deleted
    DropInvalidPaths = "drop-invalid-paths",
    /// 4: BootOrder is put back to the firmware's default, its own entry for the disk first
    RestoreOrder = "restore-order",
    /// 4: entries made by an OS are lost; the firmware's own and BootOrder's numbers remain
    LoseEntries = "lose-entries",
    /// 5: the firmware adds "UEFI OS" for the removable-media path, in front of all others
    FirmwareEntry = "firmware-entry",
    /// 9: the OS has no efivars directory
    NoRuntimeVariables = "no-runtime-variables",
    /// 9: what the OS wrote to variables is gone after the reset
    VolatileWrites = "volatile-writes",
    /// 9: all of NVRAM is gone at each boot, as with --wipe-nvram
    LoseNvram = "lose-nvram",
    /// 9: variables are in memory, and come from a file on the ESP that the OS has to write (U-Boot)
    VariablesInFile = "variables-in-file",
    /// 10: there is no BootOrder, and the removable-media path boots unless BootNext is set
    MissingBootOrder = "missing-boot-order",
    /// 10: BootOrder has a byte too many
    OddBootOrder = "odd-boot-order",
    /// 10: BootOrder lists numbers without entries
    DanglingBootOrder = "dangling-boot-order",
    /// 11: descriptions are cut at their first space
    CutDescriptions = "cut-descriptions",
    /// 11: of entries with the same description only the first is kept
    DropEqualDescriptions = "drop-equal-descriptions",
    /// 12: an entry of an earlier installation, for a partition that is gone, stands in front
    StaleEntry = "stale-entry",
    /// 15: another boot loader overwrites Boot0000 and puts itself first
    OtherLoaderFirst = "other-loader-first",
    /// OVMF notes: an entry that failed to load is deleted
    DeleteFailedEntry = "delete-failed-entry",
    /// OVMF notes: an entry of a disk that fails to load ends at the firmware's menu
    StopAtMenu = "stop-at-menu",
    /// only the first of BootOrder is tried, then the removable-media path
    FirstOnly = "first-only",
    /// BootNext is ignored, and stays
    IgnoreBootNext = "ignore-boot-next",
    /// BootNext is removed, and ignored
    SkipBootNext = "skip-boot-next",
    /// BootCurrent is not set
    NoBootCurrent = "no-boot-current",
    /// BootCurrent names the first of BootOrder, whatever booted
    WrongBootCurrent = "wrong-boot-current",
    /// a damaged primary partition table is not repaired from the backup, as EDK2 does before it boots
    NoTableRepair = "no-table-repair",
    /// the loader cannot rename an entry to count a try: the firmware does not write to FAT
    RenameLost = "rename-lost",
    /// the power goes while the loader renames an entry: it is there under neither name
    RenameTorn = "rename-torn",
    /// the power goes while the loader renames an entry: it is there under both names
    RenameDoubled = "rename-doubled",
    /// systemd-boot as from 258 on: tries of `efi` entries are not counted
    NewLoader = "new-loader",
    /// the stub of systemd 252: StubImageIdentifier and StubDevicePartUUID are not set
    OldStub = "old-stub",
}

impl FromStr for Quirk {
    type Err = UnknownQuirk;

    fn from_str(name: &str) -> Result<Self, UnknownQuirk> {
        Self::all().iter().copied().find(|quirk| quirk.name() == name).ok_or(UnknownQuirk)
    }
}

/// A name that no quirk has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no such quirk")]
pub struct UnknownQuirk;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quirk_has_one_name_on_the_command_line_and_in_files() {
        for quirk in Quirk::all() {
            assert_eq!(serde_json::json!(quirk), quirk.name());
            assert_eq!(quirk.name().parse(), Ok(*quirk));
        }
        assert_eq!("Stale-Entry".parse::<Quirk>(), Err(UnknownQuirk));
    }
}
