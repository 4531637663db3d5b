// SPDX-License-Identifier: MIT OR Apache-2.0

//! What can be wrong with the configuration.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::codes;
use flipside_core::host::trust::Untrusted;
use flipside_image::code::{Code, Coded};

/// Where a setting was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file, as it can be opened.
    pub file: PathBuf,
    /// The line, counted from 1.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, line {}", self.file.display(), self.line)
    }
}

/// Why there is no configuration to work with.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file or directory that is there and cannot be read.
    #[error("cannot read the configuration in {}", path.display())]
    Unreadable {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file or directory that others than root and the caller could change.
    #[error("the configuration cannot be trusted: {0}")]
    Untrusted(#[from] Untrusted),
    /// A drop-in that cannot be written or removed.
    #[error("cannot write the configuration in {}", path.display())]
    Unwritable {
        /// The drop-in.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file that is no TOML.
    #[error("{place}: {reason}")]
    Syntax {
        /// Where.
        place: Place,
        /// The parser's reason.
        reason: String,
    },
    /// A key that means nothing.
    #[error("{place}: unknown key {key}; the nearest valid key is {nearest}")]
    UnknownKey {
        /// Where.
        place: Place,
        /// The key as it was written, with its tables.
        key: String,
        /// The valid key most like it.
        nearest: String,
    },
    /// A value of the wrong type or outside its limits, or settings that do not go together.
    #[error("{place}: {what}")]
    Invalid {
        /// Where it, or one of them, was set.
        place: Place,
        /// What is wrong, with the key.
        what: String,
    },
}

impl Coded for ConfigError {
    fn code(&self) -> Code {
        match self {
            Self::Unreadable { .. } => codes::FILE_UNREADABLE,
            Self::Untrusted(_) => codes::FILE_UNTRUSTED,
            Self::Unwritable { .. } => codes::CONFIG_UNWRITABLE,
            Self::UnknownKey { .. } => codes::CONFIG_UNKNOWN_KEY,
            Self::Syntax { .. } | Self::Invalid { .. } => codes::CONFIG_INVALID,
        }
    }
}
