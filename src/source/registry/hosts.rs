// SPDX-License-Identifier: MIT OR Apache-2.0

//! The hosts that have a repository: mirrors in order, then the registry itself.

use std::convert::Infallible;
use std::ops::ControlFlow;
use std::sync::atomic::Ordering;
use std::time::Duration;

use flipside_core::cancel::{Cancel, Stopped};
use tokio::runtime::Runtime;

use super::super::endpoint::Endpoint;
use super::super::http::Http;
use super::super::options::{Options, Timing};
use super::super::rate::Rate;
use super::super::retry::{Failure, Tries};
use super::super::{Reference, SourceError};

/// Tries at a mirror before the next host is asked.
const MIRROR_TRIES: u32 = 2;
/// How often a wish to stop is looked for.
const STOP_INTERVAL: Duration = Duration::from_millis(40);

/// A repository, wherever it is.
pub(super) struct Hosts {
    pub http: Http,
    pub rate: Rate,
    mirrors: Vec<Endpoint>,
    origin: Endpoint,
    /// `Some` until it is dropped.
    runtime: Option<Runtime>,
}

impl Hosts {
    /// Asks nobody yet.
    ///
    /// # Errors
    /// [`SourceError::ReferenceInvalid`] for a mirror, [`SourceError::Runtime`].
    pub fn new(reference: &Reference, options: &Options) -> Result<Self, SourceError> {
        let mirrors = options.mirrors.iter().map(|mirror| Endpoint::mirror(mirror, reference));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(4)
            .thread_name("flipside-net")
            .enable_io()
            .enable_time()
            .build()
            .map_err(SourceError::Runtime)?;
        Ok(Self {
            rate: Rate::new(options.max_rate),
            mirrors: mirrors.collect::<Result<_, _>>()?,
            origin: Endpoint::registry(reference),
            http: Http::new(options.clone()),
            runtime: Some(runtime),
        })
    }

    /// Runs `work` on this thread until it is done or the stop is requested. The
    /// connections themselves are served by the runtime's one thread.
    pub fn run<T>(
        &self,
        work: impl Future<Output = Result<T, SourceError>>,
    ) -> Result<T, SourceError> {
        let stop = &self.http.options.stop;
        stop.check()?;
        let Some(runtime) = &self.runtime else { return Err(Stopped.into()) };
        runtime.block_on(async {
            tokio::select! {
                biased;
                stopped = requested(stop) => Err(stopped.into()),
                result = work => result,
            }
        })
    }

    /// Asks the registry alone from now on. Says whether any mirror was asked until now.
    pub fn leave_out_mirrors(&self) -> bool {
        let were_up = self.mirrors.iter().map(|mirror| !mirror.down.swap(true, Ordering::Relaxed));
        were_up.fold(false, |any, was_up| any | was_up)
    }

    /// Asks the mirrors in order and then the registry itself, up to the first that has an
    /// answer. The registry's own error is the one that counts.
    pub async fn anywhere<T>(
        &self,
        mut ask: impl AsyncFnMut(&Endpoint, Timing) -> Result<T, SourceError>,
    ) -> Result<T, SourceError> {
        let asked = self.each(async |endpoint, timing| {
            let answer = ask(endpoint, timing).await;
            answer.map(ControlFlow::<T, Infallible>::Break)
        });
        match asked.await? {
            ControlFlow::Break(found) => Ok(found),
            ControlFlow::Continue(never) => match never {},
        }
    }

    /// Asks one after the other, mirrors in order and then the registry itself, until `ask`
    /// has enough. A mirror's error is only told: another host may have what it lacks.
    pub async fn each<B, C>(
        &self,
        mut ask: impl AsyncFnMut(&Endpoint, Timing) -> Result<ControlFlow<B, C>, SourceError>,
    ) -> Result<ControlFlow<B, C>, SourceError> {
        let timing = self.http.timing();
        let patience = Timing { tries: timing.tries.min(MIRROR_TRIES), ..timing };
        for mirror in self.mirrors.iter().filter(|m| !m.down.load(Ordering::Relaxed)) {
            match ask(mirror, patience).await {
                Ok(ControlFlow::Continue(_)) => {}
                Ok(enough) => return Ok(enough),
                Err(SourceError::Stopped(stopped)) => return Err(stopped.into()),
                Err(error) => {
                    if is_down(&error) {
                        mirror.down.store(true, Ordering::Relaxed);
                    }
                    tracing::warn!(mirror = mirror.host, "mirror left out: {error}");
                }
            }
        }
        ask(&self.origin, timing).await
    }

    /// A question with a small answer, repeated where that may help, within the total time.
    pub async fn question<T>(
        &self,
        endpoint: &Endpoint,
        timing: Timing,
        mut ask: impl AsyncFnMut() -> Result<T, Failure>,
    ) -> Result<T, SourceError> {
        let repeat = async {
            let mut tries = Tries::new(timing);
            loop {
                match ask().await {
                    Ok(answer) => return Ok(answer),
                    Err(failure) => tokio::time::sleep(tries.next(failure)?).await,
                }
            }
        };
        match tokio::time::timeout(timing.total, repeat).await {
            Ok(result) => result,
            Err(_) => Err(SourceError::Unreachable {
                host: endpoint.host.clone(),
                reason: format!("no whole answer in {} s", timing.total.as_secs_f32()),
            }),
        }
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        // A resolver that hangs must not hold the process.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Ends once the stop is requested.
pub async fn requested(stop: &Cancel) -> Stopped {
    while !stop.is_requested() {
        tokio::time::sleep(STOP_INTERVAL).await;
    }
    Stopped
}

/// Whether a host is not worth asking again in this run.
fn is_down(error: &SourceError) -> bool {
    matches!(
        error,
        SourceError::UnknownHost { .. }
            | SourceError::Unreachable { .. }
            | SourceError::CertificateExpired { .. }
            | SourceError::CertificateNotYetValid { .. }
            | SourceError::CertificateUntrusted { .. }
            | SourceError::CertificateName { .. }
            | SourceError::Tls { .. }
            | SourceError::PlainHttpRefused { .. }
            | SourceError::Unauthorized { .. }
            | SourceError::RateLimited { .. }
    )
}
