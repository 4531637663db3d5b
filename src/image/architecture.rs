// SPDX-License-Identifier: MIT OR Apache-2.0

//! The machines flipside knows, by each of their names.

use std::fmt;

/// A machine architecture with UEFI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    /// 64-bit x86.
    X86_64,
    /// 64-bit Arm.
    Aarch64,
}

impl Architecture {
    /// Every one of them.
    pub const ALL: [Self; 2] = [Self::X86_64, Self::Aarch64];

    /// The one this program was built for; `None` on any other.
    pub fn of_this_build() -> Option<Self> {
        Self::ALL.into_iter().find(|architecture| architecture.is_of_this_build())
    }

    const fn is_of_this_build(self) -> bool {
        match self {
            Self::X86_64 => cfg!(target_arch = "x86_64"),
            Self::Aarch64 => cfg!(target_arch = "aarch64"),
        }
    }

    /// By the kernel's name, as the first part of `product_info.variant` has it.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|a| a.name() == name)
    }

    /// By OCI's name (OCI image spec, "platform.architecture": a `GOARCH`), or by those that
    /// containerd takes in its place.
    pub fn from_oci_name(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "amd64" | "x86_64" | "x86-64" => Some(Self::X86_64),
            "arm64" | "aarch64" => Some(Self::Aarch64),
            _ => None,
        }
    }

    /// The kernel's name (`uname -m`).
    pub const fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
        }
    }

    /// OCI's name.
    pub const fn oci_name(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::Aarch64 => "arm64",
        }
    }

    /// The file the firmware starts from a removable medium, below `EFI/BOOT`
    /// (UEFI 2.10, section 3.5.1.1, table 3.2).
    pub const fn removable_media_file(self) -> &'static str {
        match self {
            Self::X86_64 => "BOOTX64.EFI",
            Self::Aarch64 => "BOOTAA64.EFI",
        }
    }

    /// What shim starts, beside it (`DEFAULT_LOADER` in shim's Make.defaults).
    pub const fn behind_shim_file(self) -> &'static str {
        match self {
            Self::X86_64 => "grubx64.efi",
            Self::Aarch64 => "grubaa64.efi",
        }
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
