// SPDX-License-Identifier: MIT OR Apache-2.0

//! Who wants an update. Some settings are about one kind only.

use serde::{Deserialize, Serialize};

/// Why an update is made: by the timer or by a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Initiative {
    /// The timer's.
    Automatic,
    /// A person's.
    Manual,
}
