// SPDX-License-Identifier: MIT OR Apache-2.0

//! What an install writes to, seen as bytes at offsets.

use std::io;

/// Memory handed to a [`Storage`] is aligned to this many bytes, so that direct
/// I/O takes it: the largest logical block there is on disks of today.
pub const ALIGNMENT: usize = 4096;

/// A partition (block device or region of a disk image) or the boot file of the
/// target slot. Offsets count from its own start. Several threads write at a time.
pub trait Storage: Send + Sync {
    /// Its name for people: `partition system-b`, `boot file EFI/flipside/boot-b.efi`.
    fn name(&self) -> String;

    /// How many bytes fit.
    fn capacity(&self) -> u64;

    /// Writes all of `bytes` at `offset`. Buffers that are [`ALIGNMENT`]-aligned at offsets
    /// and lengths that are multiples of it go past the page cache; others work, slower.
    ///
    /// # Errors
    /// The device's; also for what lies beyond the capacity.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes everything written durable.
    ///
    /// # Errors
    /// The device's.
    fn sync(&self) -> io::Result<()>;

    /// Fills `bytes` from `offset` as the medium has them, past the page cache where the
    /// buffer is aligned as for [`Storage::write_at`].
    ///
    /// # Errors
    /// The device's; also for what lies beyond the capacity.
    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()>;

    /// Whether [`Storage::read_at`] gives what is in memory until a [`Storage::sync`] has dropped it:
    /// what was found there before says nothing of the medium.
    fn is_cached(&self) -> bool {
        false
    }
}
