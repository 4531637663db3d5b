// SPDX-License-Identifier: MIT OR Apache-2.0

//! The registry itself. Where it has mirrors, a run finds out once whether it can be reached, in
//! the time of one connection.

use std::sync::atomic::Ordering;

use super::super::super::SourceError;
use super::super::super::endpoint::Endpoint;
use super::super::super::options::Timing;
use super::super::super::retry::Failure;
use super::Hosts;

/// Why a registry cannot be reached.
pub(super) struct Unreachable {
    host: String,
    reason: String,
    has_no_address: bool,
}

impl Unreachable {
    /// `None` for an error of a host that did answer.
    pub fn of(error: &SourceError) -> Option<Self> {
        let (host, reason, has_no_address) = match error {
            SourceError::UnknownHost { host, reason } => (host, reason, true),
            SourceError::Unreachable { host, reason } => (host, reason, false),
            _ => return None,
        };
        Some(Self { host: host.clone(), reason: reason.clone(), has_no_address })
    }

    /// The same, for each further question.
    pub fn error(&self) -> SourceError {
        let (host, reason) = (self.host.clone(), self.reason.clone());
        if self.has_no_address {
            return SourceError::UnknownHost { host, reason };
        }
        SourceError::Unreachable { host, reason }
    }
}

impl Hosts {
    /// Asks the registry, unless it is known that it cannot be reached and there are mirrors.
    pub(super) async fn at_registry<T>(
        &self,
        mut ask: impl AsyncFnMut(&Endpoint, Timing) -> Result<T, SourceError>,
    ) -> Result<T, SourceError> {
        if let Some(unreachable) = self.unreachable.get() {
            return Err(unreachable.error());
        }
        let asked = ask(&self.origin, self.http.timing()).await;
        if self.has_mirrors()
            && let Err(error) = &asked
            && let Some(unreachable) = Unreachable::of(error)
        {
            tracing::warn!("{error}; its mirrors are asked");
            let _ = self.unreachable.set(unreachable);
        }
        asked
    }

    /// Whether the first question to a registry with mirrors found nobody: it is not repeated. A
    /// registry that has answered before is asked as often as others.
    pub(super) fn is_not_reached<T>(
        &self,
        endpoint: &Endpoint,
        asked: &Result<T, Failure>,
    ) -> bool {
        if !std::ptr::eq(endpoint, &raw const self.origin) {
            return false;
        }
        let is_reached =
            asked.as_ref().err().is_none_or(|failure| Unreachable::of(&failure.error).is_none());
        let has_answered = self.answered.fetch_or(is_reached, Ordering::Relaxed);
        self.has_mirrors() && !is_reached && !has_answered
    }
}
