// SPDX-License-Identifier: MIT OR Apache-2.0

//! kexec_file_load(2), which no crate offers.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};

/// `KEXEC_FILE_NO_INITRAMFS` of `<linux/kexec.h>`.
const NO_INITRD: libc::c_ulong = 4;

/// Loads a kernel, to be started by a later reboot.
///
/// The system call reads the descriptors and the bytes of the command line with its zero, and keeps
/// neither. The descriptors are open and the bytes are there for as long as it runs.
#[allow(unsafe_code)]
pub(super) fn load(
    kernel: BorrowedFd<'_>,
    initrd: Option<BorrowedFd<'_>>,
    command_line: &CStr,
) -> io::Result<()> {
    let flags = if initrd.is_none() { NO_INITRD } else { 0 };
    // Without an initrd the descriptor is not looked at.
    let initrd = initrd.map_or(-1, |file| file.as_raw_fd());
    let length = command_line.count_bytes() + 1;
    // SAFETY: see above.
    let result = unsafe {
        libc::syscall(
            libc::SYS_kexec_file_load,
            kernel.as_raw_fd(),
            initrd,
            length,
            command_line.as_ptr(),
            flags,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
