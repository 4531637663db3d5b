// SPDX-License-Identifier: MIT OR Apache-2.0

//! kexec_file_load(2), which no crate offers.

use std::ffi::CStr;
use std::io;
use std::os::fd::BorrowedFd;

use super::number;

/// `KEXEC_FILE_UNLOAD` and `KEXEC_FILE_NO_INITRAMFS` of `<linux/kexec.h>`.
const UNLOAD: libc::c_ulong = 1;
const NO_INITRD: libc::c_ulong = 4;

/// Loads a kernel, to be started by a later reboot.
pub(super) fn load(
    kernel: BorrowedFd<'_>,
    initrd: Option<BorrowedFd<'_>>,
    command_line: &CStr,
) -> io::Result<()> {
    let flags = if initrd.is_none() { NO_INITRD } else { 0 };
    kexec_file_load(Some(kernel), initrd, command_line, flags)
}

/// Forgets the kernel that was loaded.
pub(super) fn unload() -> io::Result<()> {
    kexec_file_load(None, None, c"", UNLOAD)
}

// The system call reads the descriptors and the bytes of the command line with its zero, and keeps
// neither. The descriptors are open and the bytes are there for as long as it runs.
#[allow(unsafe_code)]
fn kexec_file_load(
    kernel: Option<BorrowedFd<'_>>,
    initrd: Option<BorrowedFd<'_>>,
    command_line: &CStr,
    flags: libc::c_ulong,
) -> io::Result<()> {
    let (kernel, initrd) = (number(kernel), number(initrd));
    let length = command_line.count_bytes() + 1;
    // SAFETY: see above.
    let result = unsafe {
        libc::syscall(
            libc::SYS_kexec_file_load,
            kernel,
            initrd,
            length,
            command_line.as_ptr(),
            flags,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
