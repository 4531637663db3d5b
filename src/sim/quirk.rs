// SPDX-License-Identifier: MIT OR Apache-2.0

//! Faults of firmware, seen in the field, that can be played one by one.
//!
//! What only a running OS meets cannot be played with files and has tests of its own: writes
//! refused for lack of room (points 2 and 6), immutable and read-only efivarfs (7, 9). Needless
//! writes (8) and rename on FAT (14) are the updater's matter, not the firmware's, and a set-up
//! menu that nobody can enter any more (13) does not show in a boot.

/// One fault. The numbers are those of the list in `docs/reliability.md`.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    clap::ValueEnum,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Quirk {
    /// 1: entries that BootOrder does not list are deleted at power-on
    DropUnlisted,
    /// 1: entries that BootOrder does not list are overwritten with one of the firmware's own
    OverwriteUnlisted,
    /// 2: changes of BootOrder are undone at power-on ("boot order lock")
    BootOrderLock,
    /// 3: of entries with the same device path only the first is kept
    DropDuplicates,
    /// 3: entries whose file is not there at power-on are deleted
    DropInvalidPaths,
    /// 4: BootOrder is put back to the firmware's default, its own entry for the disk first
    RestoreOrder,
    /// 4: entries made by an OS are lost; the firmware's own and BootOrder's numbers remain
    LoseEntries,
    /// 5: the firmware adds "UEFI OS" for the removable-media path, in front of all others
    FirmwareEntry,
    /// 9: the OS has no efivars directory
    NoRuntimeVariables,
    /// 9: what the OS wrote to variables is gone after the reset
    VolatileWrites,
    /// 9: all of NVRAM is gone at each boot, as with --wipe-nvram
    LoseNvram,
    /// 10: there is no BootOrder, and the removable-media path boots unless BootNext is set
    MissingBootOrder,
    /// 10: BootOrder has a byte too many
    OddBootOrder,
    /// 10: BootOrder lists numbers without entries
    DanglingBootOrder,
    /// 11: descriptions are cut at their first space
    CutDescriptions,
    /// 11: of entries with the same description only the first is kept
    DropEqualDescriptions,
    /// 12: an entry of an earlier installation, for a partition that is gone, stands in front
    StaleEntry,
    /// 15: another boot loader overwrites Boot0000 and puts itself first
    OtherLoaderFirst,
    /// OVMF notes: an entry that failed to load is deleted
    DeleteFailedEntry,
    /// OVMF notes: an entry of a disk that fails to load ends at the firmware's menu
    StopAtMenu,
    /// only the first of BootOrder is tried, then the removable-media path
    FirstOnly,
    /// BootNext is ignored, and stays
    IgnoreBootNext,
    /// BootNext is removed, and ignored
    SkipBootNext,
    /// BootCurrent is not set
    NoBootCurrent,
    /// BootCurrent names the first of BootOrder, whatever booted
    WrongBootCurrent,
    /// a damaged primary partition table is not repaired from the backup, as EDK2 does before it boots
    NoTableRepair,
    /// the loader cannot rename an entry to count a try: the firmware does not write to FAT
    RenameLost,
    /// the power goes while the loader renames an entry: it is there under neither name
    RenameTorn,
    /// the power goes while the loader renames an entry: it is there under both names
    RenameDoubled,
    /// systemd-boot as from 258 on: tries of `efi` entries are not counted
    NewLoader,
    /// the stub of systemd 252: StubImageIdentifier and StubDevicePartUUID are not set
    OldStub,
}

impl Quirk {
    /// Every one of them.
    pub fn all() -> &'static [Self] {
        <Self as clap::ValueEnum>::value_variants()
    }

    /// What it does, in a line.
    pub fn description(self) -> String {
        clap::ValueEnum::to_possible_value(&self)
            .and_then(|value| value.get_help().map(ToString::to_string))
            .unwrap_or_default()
    }

    /// Its name on the command line.
    pub fn name(self) -> String {
        clap::ValueEnum::to_possible_value(&self)
            .map(|value| value.get_name().to_owned())
            .unwrap_or_default()
    }
}
