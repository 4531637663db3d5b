// SPDX-License-Identifier: MIT OR Apache-2.0

//! The machine: what it is made of and how to touch it, without deciding
//! anything.

pub mod boot;
pub mod cmdline;
pub mod device;
pub mod disk;
pub mod durable;
pub mod efi;
pub mod error;
pub mod esp;
pub mod fat;
mod files;
pub mod gpt;
pub mod kexec;
mod lower_devices;
mod marker;
pub(crate) mod mounted_for_writing;
pub mod mounts;
pub mod open;
pub mod os_release;
mod page_cache;
pub mod partition;
pub mod partition_io;
pub mod place;
pub mod power;
pub mod protected;
mod record;
mod root;
pub mod running;
pub(crate) mod spool;
pub mod storage;
#[cfg(test)]
pub(crate) mod test_disk;
#[cfg(test)]
pub(crate) mod test_host;
pub mod trust;
mod volatile;

pub use disk::Disk;
pub use error::HostError;
pub use files::Files;
pub use marker::Marker;
pub use partition::Partition;
pub use record::Record;
pub use root::Root;
pub use volatile::{is_in_memory, is_volatile};

pub use crate::slot::Slot;
