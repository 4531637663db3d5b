// SPDX-License-Identifier: MIT OR Apache-2.0

//! The kernel that flipside loaded for kexec, seen from the slot that it would start: it has to be
//! gone before that slot is written (P2).

use std::io;

use super::{Marker, Root};
use crate::codes;
use flipside_image::code::{Code, Coded};

/// Says that flipside loaded a kernel in this boot.
const LOADED: Marker = Marker("kexec");
/// Where the kernel says whether one is loaded, by whomever: `0` or `1`.
const KERNEL_SAYS: &str = "/sys/kernel/kexec_loaded";
/// `KEXEC_FILE_UNLOAD` of `<linux/kexec.h>`.
const UNLOAD: libc::c_ulong = 1;

/// A kernel that was loaded stays loaded. Its slot must not be written: it could boot meanwhile (P2).
#[derive(Debug, thiserror::Error)]
#[error("a kernel is loaded for kexec and cannot be unloaded before its slot is written: {0}")]
pub struct KernelLoaded(io::Error);

impl Coded for KernelLoaded {
    fn code(&self) -> Code {
        codes::KEXEC_LOADED
    }
}

/// Notes that flipside is about to load a kernel: said before it is so, since what is unloaded in
/// vain does no harm.
///
/// # Errors
/// The file system's.
pub fn mark(root: &Root) -> io::Result<()> {
    LOADED.set(root)
}

/// Whether flipside loaded a kernel in this boot, which may be gone again.
pub fn is_marked(root: &Root) -> bool {
    LOADED.is_set(root)
}

/// Unloads a kernel that flipside loaded, before the slot that it belongs to is written.
///
/// # Errors
/// [`KernelLoaded`]: it is still there, and any reboot may start it.
pub fn forget(root: &Root) -> Result<(), KernelLoaded> {
    if !is_marked(root) {
        return Ok(());
    }
    let says = std::fs::read_to_string(root.path(KERNEL_SAYS)).unwrap_or_default();
    if says.trim() == "1" {
        let unloaded = match root.is_live() {
            true => unload(),
            false => Err(io::Error::other("this host is a directory")),
        };
        unloaded.map_err(KernelLoaded)?;
        tracing::debug!("the kernel that was loaded for kexec is forgotten");
    }
    // A mark that stays is looked at again.
    let _ = LOADED.clear(root);
    Ok(())
}

/// kexec_file_load(2), which no crate offers.
#[allow(unsafe_code)]
fn unload() -> io::Result<()> {
    // SAFETY: with this flag the system call looks at neither descriptor, and reads the one byte
    // of the empty command line.
    let result =
        unsafe { libc::syscall(libc::SYS_kexec_file_load, -1, -1, 1_usize, c"".as_ptr(), UNLOAD) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p2_a_kernel_that_stays_loaded_is_an_error_and_one_that_is_gone_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let root = Root::new(directory.path());
        let write = |path: &str, text: &str| {
            std::fs::create_dir_all(root.path(path).parent().unwrap()).unwrap();
            std::fs::write(root.path(path), text).unwrap();
        };
        write(KERNEL_SAYS, "1\n");
        // Somebody else's.
        forget(&root).unwrap();
        mark(&root).unwrap();
        assert_eq!(forget(&root).unwrap_err().code().name(), "kexec-loaded");
        assert!(is_marked(&root));
        // It was never taken, or somebody unloaded it.
        write(KERNEL_SAYS, "0\n");
        forget(&root).unwrap();
        assert!(!is_marked(&root));
    }
}
