// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the running OS tells: its bus, its timers, its clock, its time zone, its machine ID.

#[cfg(feature = "dbus")]
pub mod bus;
mod clock;
mod inhibitor;
mod machine_id;
#[cfg(feature = "dbus")]
pub mod timers;
mod zone;

pub use clock::Clock;
pub use inhibitor::Inhibitor;
pub use machine_id::MachineId;
pub use zone::zone_of;
