// SPDX-License-Identifier: MIT OR Apache-2.0

//! A machine in a directory: the firmware, the boot loader and the kernel played, and a judge
//! of what would boot.
//!
//! [`create`] makes a host around a disk with an OS image, [`boot`] plays a power-on, [`Judge`] says what a
//! power-on would end in without changing anything. Nothing here is shared with the updater, not
//! even the names of its files: what a slot holds is told by comparing its bytes with the images
//! that the machine was made with, never by the updater's records.
//!
//! What is played: UEFI's boot manager as OVMF has it, with the [`Quirk`]s of other firmware;
//! systemd-boot as the removable-media loader; systemd-stub's variables; a kernel that comes up
//! only where its slot holds the same image as its boot file, whole. What is not: FAT's own
//! metadata (the ESP is a directory here) and variables torn by a power cut.

#![cfg_attr(test, allow(clippy::too_many_lines))]

mod boot;
pub mod codes;
mod error;
mod esp;
mod firmware;
mod gpt;
mod images;
mod judge;
mod kernel;
mod load_option;
mod loader;
mod machine;
mod new;
mod nvram;
mod os_files;
mod quirk;
mod state;
mod tidy;
mod var_file;
mod version;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use boot::{BootOptions, Outcome, Promote, Promotion, boot, known_images};
pub use error::SimError;
pub use judge::{Booted, Judge, Power, Verdict};
pub use new::{Backend, DiskRequest, NewOptions, PayloadLabels, create};
pub use quirk::{Quirk, UnknownQuirk};
pub use state::Ending;
pub use var_file::{var_to_file, var_to_file_path};

/// One of the two slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Slot {
    /// The first.
    A,
    /// The second.
    B,
}

impl Slot {
    const fn letter(self) -> char {
        match self {
            Self::A => 'a',
            Self::B => 'b',
        }
    }

    /// Its boot file, as the firmware calls it.
    fn boot_file(self) -> String {
        format!("\\EFI\\flipside\\boot-{}.efi", self.letter())
    }

    /// The slot whose boot file `path` is.
    fn of_boot_file(path: &str) -> Option<Self> {
        let path = path.replace('/', "\\");
        let path = path.trim_start_matches('\\');
        [Self::A, Self::B]
            .into_iter()
            .find(|slot| slot.boot_file().trim_start_matches('\\').eq_ignore_ascii_case(path))
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::A => "A",
            Self::B => "B",
        })
    }
}
