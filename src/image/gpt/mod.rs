// SPDX-License-Identifier: MIT OR Apache-2.0

//! The parts of a GUID partition table (UEFI 2.10, section 5.3), as bytes: its header and its
//! entries, each read and checked by itself; and a second reading of both.

mod entry;
mod header;
pub mod second_reading;

pub use entry::Entry;
pub use header::{Header, HeaderError};
