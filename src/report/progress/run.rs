// SPDX-License-Identifier: MIT OR Apache-2.0

//! How far a run is, as the status document says it.

use serde::{Deserialize, Serialize};

use super::Phase;

/// How far a run is. Byte counts are sums over the payloads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunProgress {
    /// What it is doing.
    pub phase: Phase,
    /// The payload that it is at.
    pub payload: Option<String>,
    /// Compressed bytes that came in.
    pub fetched: u64,
    /// Compressed bytes that have to come in.
    pub fetch_total: u64,
    /// Bytes that were verified and written.
    pub written: u64,
    /// Bytes that have to be written.
    pub write_total: u64,
    /// Bytes that were read back.
    pub read_back: u64,
    /// Bytes that have to be read back.
    #[serde(default)]
    pub read_back_total: u64,
}

impl RunProgress {
    /// The beginning of a phase.
    pub fn at(phase: Phase) -> Self {
        Self {
            phase,
            payload: None,
            fetched: 0,
            fetch_total: 0,
            written: 0,
            write_total: 0,
            read_back: 0,
            read_back_total: 0,
        }
    }

    /// How much the present phase has done and has to do, in bytes; `None` where bytes
    /// are no measure of it.
    pub fn share(&self) -> Option<(u64, u64)> {
        match self.phase {
            Phase::Fetching => Some((self.fetched, self.fetch_total)),
            Phase::Writing | Phase::Pushing => Some((self.written, self.write_total)),
            Phase::ReadingBack => Some((self.read_back, self.read_back_total)),
            _ => None,
        }
    }
}
