// SPDX-License-Identifier: MIT OR Apache-2.0

//! What need not exist, such as a delta. A host that has none, or fails to say so, may still have
//! everything else.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::super::super::SourceError;
use super::super::super::endpoint::Endpoint;
use super::super::super::options::Timing;
use super::{Hosts, MIRROR_TRIES};

impl Hosts {
    /// Asks for an `object` that need not exist: the mirrors in order and then the registry itself, up
    /// to the first that has it. A mirror's error is only told. Whatever goes wrong, each host stays
    /// in use for the rest of the run.
    pub async fn if_any<T>(
        &self,
        object: &'static str,
        mut ask: impl AsyncFnMut(&Endpoint, Timing) -> Result<Option<T>, SourceError>,
    ) -> Result<Option<T>, SourceError> {
        let total = self.http.timing().total;
        let ask = async |endpoint: &Endpoint, timing| {
            in_total(object, endpoint, total, ask(endpoint, timing)).await
        };
        self.if_any_in_any_time(object, ask).await
    }

    /// The same for what may take as long as it is large.
    pub async fn if_any_in_any_time<T>(
        &self,
        object: &'static str,
        mut ask: impl AsyncFnMut(&Endpoint, Timing) -> Result<Option<T>, SourceError>,
    ) -> Result<Option<T>, SourceError> {
        let timing = self.http.timing();
        let patience = Timing { tries: timing.tries.min(MIRROR_TRIES), ..timing };
        for mirror in self.mirrors.iter().filter(|m| !m.down.load(Ordering::Relaxed)) {
            match ask(mirror, patience).await {
                Ok(None) => {}
                Ok(found) => return Ok(found),
                Err(SourceError::Stopped(stopped)) => return Err(stopped.into()),
                Err(error) => {
                    tracing::warn!(mirror = mirror.host, "mirror not used for a {object}: {error}");
                }
            }
        }
        if let Some(unreachable) = self.unreachable.get() {
            return Err(unreachable.error());
        }
        ask(&self.origin, timing).await
    }
}

/// Ends `asked` when the time of one question is over: a host that gives its answers one byte at a
/// time must not hold a run for hours.
async fn in_total<T>(
    object: &str,
    endpoint: &Endpoint,
    total: Duration,
    asked: impl Future<Output = Result<T, SourceError>>,
) -> Result<T, SourceError> {
    tokio::time::timeout(total, asked).await.unwrap_or_else(|_| {
        Err(SourceError::Unreachable {
            host: endpoint.host.clone(),
            reason: format!(
                "it has not answered all questions for a {object} in {} s",
                total.as_secs_f32()
            ),
        })
    })
}
