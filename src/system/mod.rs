// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the running OS tells: its bus, its clock, its machine ID.

#[cfg(feature = "dbus")]
pub mod bus;
mod clock;
mod machine_id;

pub use clock::Clock;
pub use machine_id::MachineId;
