// SPDX-License-Identifier: MIT OR Apache-2.0

//! A program in memory: written once, then sealed, and run from there. Where files may be written
//! at run time they may often not be executed.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt as _;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};

use flipside_core::host::storage::Storage;

/// `MFD_EXEC` of `<linux/memfd.h>`; nix has no name for it.
const MAY_RUN: MFdFlags = MFdFlags::from_bits_retain(0x10);
/// `F_SEAL_EXEC` of `<linux/fcntl.h>`, which keeps the mode's bits for execution; neither for that.
const SEAL_EXEC: SealFlag = SealFlag::from_bits_retain(0x20);

/// A program that is being written.
#[derive(Debug)]
pub struct Blank {
    file: File,
    size: u64,
}

impl Blank {
    /// One of `size` bytes.
    ///
    /// # Errors
    /// The kernel's; also where it forbids executable files in memory (`vm.memfd_noexec`).
    pub fn new(name: &str, size: u64) -> io::Result<Self> {
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
        let memory = match memfd_create(name, flags | MAY_RUN) {
            // Linux before 6.3 knows no such flag, and needs none.
            Err(Errno::EINVAL) => memfd_create(name, flags)?,
            made => made?,
        };
        let file = File::from(memory);
        file.set_len(size)?;
        Ok(Self { file, size })
    }

    /// From here on nobody changes it, whoever gets hold of it.
    ///
    /// # Errors
    /// The kernel's.
    pub fn seal(self) -> io::Result<Executable> {
        let file = OwnedFd::from(self.file);
        let add = |seals| fcntl(&file, FcntlArg::F_ADD_SEALS(seals));
        add(SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SHRINK)?;
        match add(SEAL_EXEC) {
            Ok(_) | Err(Errno::EINVAL) => {}
            Err(error) => return Err(error.into()),
        }
        add(SealFlag::F_SEAL_SEAL)?;
        Ok(Executable(file))
    }
}

impl Storage for Blank {
    fn name(&self) -> String {
        "memory".to_owned()
    }

    fn capacity(&self) -> u64 {
        self.size
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(bytes, offset)
    }
}

/// A program that nobody can change any more.
#[derive(Debug)]
pub struct Executable(OwnedFd);

impl Executable {
    /// The number of its descriptor, as in `/proc/self/fd`.
    pub fn number(&self) -> i32 {
        self.0.as_raw_fd()
    }
}

impl AsFd for Executable {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;

    #[test]
    fn what_is_sealed_stays_as_it_is() {
        let blank = Blank::new("x", 5).unwrap();
        blank.write_at(0, b"12345").unwrap();
        let program = blank.seal().unwrap();
        let path = format!("/proc/self/fd/{}", program.number());
        assert_eq!(std::fs::read(&path).unwrap(), b"12345");
        let own = File::from(program.0.try_clone().unwrap());
        let opened = std::fs::OpenOptions::new().write(true).open(&path);
        for file in [Some(own), opened.ok()].into_iter().flatten() {
            assert!(file.write_all_at(b"x", 0).is_err());
            assert!(file.set_len(4).is_err() && file.set_len(6).is_err());
        }
        // Linux has this seal for as long as this setting: since 6.3.
        let has_seal = Path::new("/proc/sys/vm/memfd_noexec").exists();
        let closed = std::fs::set_permissions(&path, Permissions::from_mode(0o600));
        assert_eq!(closed.is_err(), has_seal);
        assert_eq!(std::fs::read(&path).unwrap(), b"12345");
    }
}
