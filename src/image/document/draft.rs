// SPDX-License-Identifier: MIT OR Apache-2.0

//! The policy document as it is written: of the right form, not yet checked for sense.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::names::{Checked, OfDocument};
use super::{DocumentError, FORMAT_VERSION, RELEASES_READ, SIZE_LIMIT};
use crate::Digest;
use crate::bounded;
use crate::rollout::Rollout;
use crate::units;

/// A document of any sense.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Draft {
    /// [`FORMAT_VERSION`].
    pub format_version: String,
    /// When it was made.
    pub issued: Timestamp,
    /// From when on it says nothing.
    pub expires: Timestamp,
    /// The releases, in any order.
    #[serde(deserialize_with = "bounded::list::<RELEASES_READ, _, _>")]
    pub releases: Vec<DraftRelease>,
}

/// A release of any sense.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DraftRelease {
    /// Its version.
    pub version: String,
    /// The digest that its tag has.
    pub digest: Digest,
    /// Nobody passes it by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub barrier: Option<Reason>,
    /// Who may take it when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<DraftRollout>,
    /// Nobody leaves it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_end: Option<Reason>,
    /// Nobody takes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withdrawn: Option<Reason>,
}

/// Why, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// One sentence.
    pub reason: String,
}

/// A rollout of any sense.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DraftRollout {
    /// Before it, nobody.
    pub start: Timestamp,
    /// The share of the hosts, from 0 to 1, that may take it at the start.
    #[serde(default)]
    pub start_percentage: f64,
    /// How long until all may, such as `48h`.
    pub duration: String,
}

#[derive(Deserialize)]
struct Format {
    format_version: String,
}

impl Draft {
    /// A document about no release yet.
    pub fn new(issued: Timestamp, expires: Timestamp) -> Self {
        let format_version = FORMAT_VERSION.to_owned();
        Self { format_version, issued, expires, releases: Vec::new() }
    }

    /// Reads what has the form of a document.
    ///
    /// # Errors
    /// [`DocumentError::TooLarge`], [`DocumentError::Json`], [`DocumentError::Format`].
    pub fn parse(bytes: &[u8]) -> Result<Self, DocumentError> {
        let size = bytes.len() as u64;
        if size > SIZE_LIMIT {
            return Err(DocumentError::TooLarge { size });
        }
        // What a later format looks like is not known.
        let Format { format_version } =
            serde_json::from_slice(bytes).map_err(DocumentError::Json)?;
        if format_version != FORMAT_VERSION {
            let found = format_version.chars().take(40).collect();
            return Err(DocumentError::Format { found });
        }
        serde_json::from_slice::<Checked<OfDocument>>(bytes).map_err(DocumentError::Json)?;
        serde_json::from_slice(bytes).map_err(DocumentError::Json)
    }

    /// The bytes to publish: the same for equal documents.
    ///
    /// # Errors
    /// [`DocumentError::Json`] for a number that JSON has not, such as NaN.
    pub fn to_bytes(&self) -> Result<Vec<u8>, DocumentError> {
        let mut bytes = serde_json::to_vec_pretty(self).map_err(DocumentError::Json)?;
        bytes.push(b'\n');
        Ok(bytes)
    }
}

impl DraftRelease {
    /// A release without conditions.
    pub fn new(version: impl Into<String>, digest: Digest) -> Self {
        Self {
            version: version.into(),
            digest,
            barrier: None,
            rollout: None,
            dead_end: None,
            withdrawn: None,
        }
    }
}

impl Reason {
    /// This one.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into() }
    }
}

impl DraftRollout {
    /// A rollout; `duration` as people write it.
    pub fn new(start: Timestamp, start_percentage: f64, duration: impl Into<String>) -> Self {
        Self { start, start_percentage, duration: duration.into() }
    }

    /// The duration; `None` where it is none.
    pub fn length(&self) -> Option<Duration> {
        units::duration(&self.duration)
    }

    /// Whether every host may take the release from `time` on, so that nothing is left to say.
    pub fn is_over(&self, time: Timestamp) -> bool {
        let end = self.length().and_then(|length| self.start.checked_add(length).ok());
        end.is_some_and(|end| end <= time)
    }

    /// The rollout, where it makes sense.
    pub(super) fn checked(&self) -> Option<Rollout> {
        let start_share = self.start_percentage;
        let duration = self.length()?;
        (0.0..=1.0).contains(&start_share).then_some(Rollout {
            start: self.start,
            start_share,
            duration,
        })
    }
}
