// SPDX-License-Identifier: MIT OR Apache-2.0

//! A program in memory: written once, then sealed, and run from there. Where files may be written
//! at run time they may often not be executed.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt as _;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::Errno;

use flipside_core::host::medium::Medium;

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
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let memory = match memfd_create(name, flags | MemfdFlags::EXEC) {
            // Linux before 6.3 knows no such flag, and needs none.
            Err(Errno::INVAL) => memfd_create(name, flags)?,
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
        fcntl_add_seals(&file, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK)?;
        match fcntl_add_seals(&file, SealFlags::EXEC) {
            Ok(()) | Err(Errno::INVAL) => {}
            Err(error) => return Err(error.into()),
        }
        fcntl_add_seals(&file, SealFlags::SEAL)?;
        Ok(Executable(file))
    }
}

impl Medium for Blank {
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
        assert_eq!(std::fs::read(&path).unwrap(), b"12345");
    }
}
