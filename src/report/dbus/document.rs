// SPDX-License-Identifier: MIT OR Apache-2.0

//! The status document as it was read last.

use jiff::Timestamp;

use crate::report::status::Problem;
use crate::report::{Status, StatusFile};
use flipside_image::code::{Coded as _, sentence};

/// The document, or why there is none.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// What it says; a host of which nothing is known where there is none.
    pub status: Status,
    /// Its text; `None` where there is none.
    pub text: Option<String>,
}

impl Document {
    /// Reads `file`. A file that is no status document is a host of which nothing is known, and why
    /// is its problem.
    pub fn read(file: &StatusFile) -> Self {
        let unknown = || Status::unknown(Timestamp::UNIX_EPOCH);
        match file.read_with_text() {
            Ok(Some((status, text))) => Self { status, text: Some(text) },
            Ok(None) => Self { status: unknown(), text: None },
            Err(error) => {
                let message = sentence(&error);
                tracing::warn!("{message}");
                let mut status = unknown();
                status.running.problem = Some(Problem { code: error.code().to_string(), message });
                Self { status, text: None }
            }
        }
    }
}
