// SPDX-License-Identifier: MIT OR Apache-2.0

//! What Linux says about a host in `/proc`.

mod command_line;
mod device_number;
mod mounts;

pub use command_line::CommandLine;
pub use device_number::{DeviceNumber, NoDeviceNumber};
pub use mounts::{Mount, Mounts};
