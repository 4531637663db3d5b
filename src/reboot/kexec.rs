// SPDX-License-Identifier: MIT OR Apache-2.0

//! Starting the target's kernel from the running one: what its boot file (a UKI) holds is loaded
//! as systemd-stub would do it, and a reboot jumps there instead of to the firmware.
//!
//! `flipside.slot=` names the slot, because what the firmware said survives and names the slot
//! before. `BootNext` stays set: the next boot by the firmware is the trial.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _};

use nix::sys::memfd::{MFdFlags, memfd_create};

use super::RebootError;
use flipside_core::host::storage::Storage;
use flipside_core::host::{Root, Slot, kexec};
use flipside_image::pe;

mod load;

/// The most bytes of a section: what a kernel or an initrd may have, to be held in memory.
const SECTION_LIMIT: u64 = 1 << 30;
/// The same for the command line; x86 takes 2048 bytes.
const COMMAND_LINE_LIMIT: u64 = 64 << 10;

/// What kexec starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    /// The section `.linux`.
    pub image: Vec<u8>,
    /// The section `.initrd`.
    pub initrd: Option<Vec<u8>>,
    /// The section `.cmdline`, as it stands there.
    pub command_line: String,
}

impl Kernel {
    /// Takes the kernel out of a boot file.
    ///
    /// # Errors
    /// [`RebootError::NoKernel`], [`RebootError::Kernel`].
    pub fn of(boot_file: &dyn Storage) -> Result<Self, RebootError> {
        let failed = |source| RebootError::Kernel { boot_file: boot_file.name(), source };
        let no_kernel = |why| RebootError::NoKernel { boot_file: boot_file.name(), why };
        let read = |to: &mut [u8], at: u64| boot_file.read_at(at, to);
        let sections =
            pe::sections(read).map_err(failed)?.ok_or_else(|| no_kernel("no program"))?;
        let section = |name: &str, limit: u64| -> Result<Option<Vec<u8>>, RebootError> {
            // Behind the first `.profile` are alternatives to what stands before it.
            let base = sections.iter().take_while(|section| section.name != ".profile");
            let Some(section) = base.into_iter().find(|section| section.name == name) else {
                return Ok(None);
            };
            let size = section.range.end - section.range.start;
            if section.range.end > boot_file.capacity() || size > limit {
                return Err(no_kernel("a section reaches beyond its end"));
            }
            let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
            boot_file.read_at(section.range.start, &mut bytes).map_err(failed)?;
            Ok(Some(bytes))
        };
        let command_line = section(".cmdline", COMMAND_LINE_LIMIT)?.unwrap_or_default();
        Ok(Self {
            image: section(".linux", SECTION_LIMIT)?.ok_or_else(|| no_kernel("no .linux"))?,
            initrd: section(".initrd", SECTION_LIMIT)?,
            command_line: String::from_utf8_lossy(&command_line)
                .trim_matches(|c: char| c == '\0' || c.is_ascii_whitespace())
                .to_owned(),
        })
    }

    /// Loads it, to be started for `slot` by the next reboot that asks for kexec.
    ///
    /// # Errors
    /// The kernel's, and those of memory.
    fn load(&self, slot: Slot) -> io::Result<()> {
        let image = in_memory(&self.image)?;
        let initrd = self.initrd.as_deref().map(in_memory).transpose()?;
        let command_line = std::ffi::CString::new(for_slot(&self.command_line, slot))?;
        load::load(image.as_fd(), initrd.as_ref().map(|file| file.as_fd()), &command_line)
    }
}

/// Loads what `boot_file` holds, to be started for `slot`.
///
/// # Errors
/// [`RebootError`].
pub fn load(root: &Root, boot_file: &dyn Storage, slot: Slot) -> Result<(), RebootError> {
    let refused = |source| RebootError::KernelRefused { boot_file: boot_file.name(), source };
    let kernel = Kernel::of(boot_file)?;
    if !root.is_live() {
        return Err(refused(io::Error::other("this host is a directory")));
    }
    kexec::mark(root).map_err(refused)?;
    kernel.load(slot).map_err(refused)
}

/// `command_line` with `flipside.slot=` for `slot` and no other. What follows `--` is init's.
fn for_slot(command_line: &str, slot: Slot) -> String {
    let mut is_quoted = false;
    let words = command_line.split(|c: char| {
        is_quoted ^= c == '"';
        c.is_ascii_whitespace() && !is_quoted
    });
    let is_ours = |word: &&str| word.trim_start_matches('"').starts_with("flipside.slot=");
    let mut words: Vec<&str> =
        words.filter(|word| !word.is_empty()).filter(|word| !is_ours(word)).collect();
    let parameter = format!("flipside.slot={}", slot.letter());
    let end = words.iter().position(|word| *word == "--").unwrap_or(words.len());
    words.insert(end, &parameter);
    words.join(" ")
}

/// A file in memory that nobody may write to any more: the kernel takes no other.
fn in_memory(bytes: &[u8]) -> io::Result<File> {
    let mut file = File::from(memfd_create("flipside-kexec", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(bytes)?;
    File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

#[cfg(test)]
mod tests;
