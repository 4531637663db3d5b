// SPDX-License-Identifier: MIT OR Apache-2.0

//! Power cuts as a drive with a volatile cache has them: recorded writes and flushes, replayed to
//! every disk that they may leave behind.

pub mod esp;
pub mod judge;
pub mod states;
pub mod write_log;
