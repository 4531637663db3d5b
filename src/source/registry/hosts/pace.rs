// SPDX-License-Identifier: MIT OR Apache-2.0

//! Payloads: a mirror that is too slow is left for the next source, and all of them together may
//! take only so long.

use std::sync::atomic::Ordering;
use std::time::Instant;

use super::super::super::SourceError;
use super::super::super::endpoint::Endpoint;
use super::super::super::options::Timing;
use super::Hosts;

impl Hosts {
    /// Asks as [`Hosts::anywhere`] does. `ask` is told under which rate, in bytes per second, it is
    /// to leave a host. A mirror that was left for its rate is asked again where nobody else has
    /// what is asked for, and is then not left.
    pub async fn at_a_rate<T>(
        &self,
        mut ask: impl AsyncFnMut(&Endpoint, Timing, Option<u64>) -> Result<T, SourceError>,
    ) -> Result<T, SourceError> {
        let asked = self.anywhere(async |endpoint, timing| {
            ask(endpoint, timing, self.least_of(endpoint)).await
        });
        let error = match asked.await {
            Err(error) if !error.is_stopped() => error,
            answered => return answered,
        };
        for mirror in self.mirrors.iter().filter(|m| m.slow.load(Ordering::Relaxed)) {
            tracing::warn!(mirror = mirror.host, "nobody else has it: {error}");
            match ask(mirror, self.http.timing(), None).await {
                Err(error) if !error.is_stopped() => {
                    tracing::warn!(mirror = mirror.host, "mirror left out: {error}");
                }
                answered => return answered,
            }
        }
        Err(error)
    }

    /// The rate, in bytes per second, under which `endpoint` is left for the next one.
    pub fn least_of(&self, endpoint: &Endpoint) -> Option<u64> {
        self.http.options.min_rate.filter(|_| endpoint.is_mirror())
    }

    /// Ends `work` when the time for the payloads of one image is over. It begins with the first
    /// of them.
    pub async fn in_time<T>(
        &self,
        work: impl Future<Output = Result<T, SourceError>>,
    ) -> Result<T, SourceError> {
        let Some(limit) = self.http.options.time_limit else { return work.await };
        let left = limit.saturating_sub(self.begun.get_or_init(Instant::now).elapsed());
        let late = || SourceError::TimeLimit { host: self.origin.host.clone(), limit };
        tokio::time::timeout(left, work).await.unwrap_or_else(|_| Err(late()))
    }
}
