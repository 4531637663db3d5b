// SPDX-License-Identifier: MIT OR Apache-2.0

//! Unified kernel images: systemd's stub with the kernel's parts as sections
//! (systemd-stub(7), which has these addresses in its example).

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use crate::programs;

const STUB: &str = "/usr/lib/systemd/boot/efi/linuxx64.efi.stub";
/// Where the kernel's section ends, as the next begins there.
const KERNEL_ROOM: u64 = 0x100_0000;

/// What goes into one.
pub struct Parts<'a> {
    pub os_release: &'a Path,
    pub command_line: &'a str,
    pub kernel: &'a Path,
    pub initrd: &'a Path,
}

/// Makes one at `output`.
///
/// # Errors
/// Files that are missing, a kernel that is too large, and objcopy's.
pub fn build(parts: &Parts<'_>, output: &Path) -> Result<()> {
    let size = std::fs::metadata(parts.kernel)?.len();
    if size > KERNEL_ROOM {
        bail!("{} has {size} bytes and would run into the initrd", parts.kernel.display());
    }
    let command_line = output.with_extension("cmdline");
    std::fs::write(&command_line, parts.command_line)?;
    let sections: [(&str, PathBuf, u64); 4] = [
        (".osrel", parts.os_release.to_owned(), 0x2_0000),
        (".cmdline", command_line.clone(), 0x3_0000),
        (".linux", parts.kernel.to_owned(), 0x200_0000),
        (".initrd", parts.initrd.to_owned(), 0x200_0000 + KERNEL_ROOM),
    ];
    let mut objcopy = Command::new("objcopy");
    for (name, file, address) in &sections {
        objcopy.arg("--add-section").arg(format!("{name}={}", file.display()));
        objcopy.arg("--change-section-vma").arg(format!("{name}={address:#x}"));
    }
    programs::run(objcopy.arg(STUB).arg(output))?;
    std::fs::remove_file(command_line)?;
    Ok(())
}
