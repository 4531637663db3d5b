// SPDX-License-Identifier: MIT OR Apache-2.0

//! The machine that this program was built for.

pub use flipside_core::architecture;
