// SPDX-License-Identifier: MIT OR Apache-2.0

//! An ESP in a directory, its steps written down.

use std::path::PathBuf;
use std::sync::Arc;

use flipside_core::host::esp::Esp;
use flipside_image::Architecture;

use super::scratch;
use super::steps::Steps;

/// The ESP.
pub struct Fixture {
    pub directory: tempfile::TempDir,
    pub steps: Arc<Steps>,
    pub esp: Esp,
}

pub fn with(steps: Arc<Steps>) -> Fixture {
    let directory = scratch::directory();
    std::fs::create_dir_all(directory.path().join("EFI/flipside")).unwrap();
    let esp = flipside_core::testing::esp(directory.path(), Architecture::X86_64, &steps.durable());
    Fixture { directory, steps, esp }
}

pub fn fixture() -> Fixture {
    with(Steps::new())
}

impl Fixture {
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join("EFI/flipside").join(name)
    }

    pub fn bytes(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    pub fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.path(name), bytes).unwrap();
    }
}

/// An EFI program of `size` bytes, as far as its beginning tells.
pub fn program(size: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..size).map(|i| u8::try_from(i % 251).unwrap() | 1).collect();
    bytes[..2].copy_from_slice(b"MZ");
    bytes[0x3c..0x40].copy_from_slice(&0x200u32.to_le_bytes());
    bytes[0x200..0x204].copy_from_slice(b"PE\0\0");
    bytes
}
