// SPDX-License-Identifier: MIT OR Apache-2.0

//! The codes of what can go wrong while a machine is played.

pub(crate) use flipside_image::codes::shared::{CHUNK_DAMAGED, REFERENCE_INVALID};

// Of this crate: rustc reports no unused constant that another crate's macro declares.
macro_rules! constant {
    ($(#[$doc:meta])+ $name:ident = $code:expr) => {
        $(#[$doc])+
        pub(crate) const $name: flipside_image::code::Code = $code;
    };
}

flipside_image::codes! {
    constant;

    Sim {
        /// A file of the machine cannot be read or written.
        ///
        /// See the reason in the message.
        SIM_IO: Error = "sim-io";
        /// The directory is not a machine that `sim new` made.
        ///
        /// Name another directory, or make a machine.
        SIM_NO_MACHINE: Error = "sim-no-machine";
        /// The directory for a new machine is not empty.
        ///
        /// Name another directory.
        SIM_NOT_EMPTY: Error = "sim-not-empty";
    }
}
