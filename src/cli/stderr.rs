// SPDX-License-Identifier: MIT OR Apache-2.0

//! Lines on stderr.

use std::io::{self, Write as _};

/// Writes a line to stderr, without what a terminal would obey: others chose parts of it.
pub(super) fn complain(line: &str) {
    let line = format!("{}\n", flipside_image::printable::text(line));
    // Nothing can be done about a stderr that takes nothing.
    let _ = crate::report::progress::beside_bars(|| io::stderr().lock().write_all(line.as_bytes()));
}
