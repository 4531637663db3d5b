// SPDX-License-Identifier: MIT OR Apache-2.0

//! The hosts that have a repository: the registry itself, which decides, and its mirrors, which
//! are asked first for what has a digest.

use std::ops::ControlFlow;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::super::endpoint::Endpoint;
use super::super::http::Http;
use super::super::network::Network;
use super::super::options::{Options, Timing};
use super::super::rate::Rate;
use super::super::retry::{Failure, Tries};
use super::super::{Reference, SourceError, is_absent};
use origin::Unreachable;

mod optional;
mod origin;
mod pace;

/// Tries at a mirror before the next host is asked.
const MIRROR_TRIES: u32 = 2;

/// A repository, wherever it is.
pub(super) struct Hosts {
    pub http: Http,
    pub rate: Rate,
    mirrors: Vec<Endpoint>,
    origin: Endpoint,
    /// Whether the registry has answered anything in this run.
    answered: AtomicBool,
    /// Why it cannot be reached, once that is known; where there are mirrors, it is not asked
    /// again in this run.
    unreachable: OnceLock<Unreachable>,
    /// When the first payload was asked for.
    begun: OnceLock<Instant>,
    network: Network,
}

impl Hosts {
    /// Asks nobody yet.
    ///
    /// # Errors
    /// [`SourceError::ReferenceInvalid`] for a mirror, [`SourceError::Runtime`].
    pub fn new(reference: &Reference, options: &Options) -> Result<Self, SourceError> {
        let mirrors = options.mirrors.iter().map(|mirror| Endpoint::mirror(mirror, reference));
        Ok(Self {
            rate: Rate::new(options.max_rate),
            mirrors: mirrors.collect::<Result<_, _>>()?,
            origin: Endpoint::registry(reference),
            answered: AtomicBool::new(false),
            unreachable: OnceLock::new(),
            begun: OnceLock::new(),
            http: Http::new(options.clone()),
            network: Network::new()?,
        })
    }

    /// Runs `work` on this thread until it is done or the stop is requested.
    pub fn run<T>(
        &self,
        work: impl Future<Output = Result<T, SourceError>>,
    ) -> Result<T, SourceError> {
        self.network.run(&self.http.options.stop, work)
    }

    /// Asks the registry alone from now on. Says whether any mirror was asked until now.
    pub fn leave_out_mirrors(&self) -> bool {
        // One that was left for its rate could still be asked.
        let were_up = self.mirrors.iter().map(|mirror| {
            let was_slow = mirror.slow.swap(false, Ordering::Relaxed);
            !mirror.down.swap(true, Ordering::Relaxed) || was_slow
        });
        were_up.fold(false, |any, was_up| any | was_up)
    }

    /// Asks for what has a digest: the mirrors in order and then the registry itself, up to the
    /// first that has it. The registry's own error is the one that counts.
    pub async fn anywhere<T>(
        &self,
        mut ask: impl AsyncFnMut(&Endpoint, Timing) -> Result<T, SourceError>,
    ) -> Result<T, SourceError> {
        let at_mirrors = self
            .at_mirrors(async |mirror, timing| ask(mirror, timing).await.map(ControlFlow::Break));
        match at_mirrors.await? {
            ControlFlow::Break(found) => Ok(found),
            ControlFlow::Continue(_) => self.at_registry(ask).await,
        }
    }

    /// Asks for what decides: the registry itself and, where that cannot be reached, the mirrors
    /// up to the first that has it. Says which mirror it was.
    pub async fn decided<T>(
        &self,
        mut ask: impl AsyncFnMut(&Endpoint, Timing) -> Result<T, SourceError>,
    ) -> Result<(T, Option<String>), SourceError> {
        let error = match self.at_registry(&mut ask).await {
            Ok(found) => return Ok((found, None)),
            Err(error) if self.has_mirrors() && Unreachable::of(&error).is_some() => error,
            Err(error) => return Err(error),
        };
        let mut is_absent_at_one = false;
        let at_mirrors = self.at_mirrors(async |mirror, timing| {
            let found = ask(mirror, timing).await;
            is_absent_at_one |= found.as_ref().is_err_and(is_absent);
            Ok(ControlFlow::Break((found?, Some(mirror.host.clone()))))
        });
        match at_mirrors.await? {
            ControlFlow::Break(found) => Ok(found),
            ControlFlow::Continue(_) if is_absent_at_one => {
                Err(SourceError::NotAtMirrors(Box::new(error)))
            }
            ControlFlow::Continue(_) => Err(error),
        }
    }

    /// Asks the registry itself and, where it does not answer, the mirrors until `ask` has enough.
    /// The registry's own error is the one that counts.
    pub async fn registry_first<B>(
        &self,
        mut ask: impl AsyncFnMut(&Endpoint, Timing) -> Result<ControlFlow<B>, SourceError>,
    ) -> Result<ControlFlow<B>, SourceError> {
        let error = match self.at_registry(&mut ask).await {
            Err(error) if !error.is_stopped() => error,
            answered => return answered,
        };
        match self.at_mirrors(ask).await? {
            ControlFlow::Continue(_) => Err(error),
            enough => Ok(enough),
        }
    }

    /// Asks the mirrors in order until `ask` has enough. A mirror's error is only told: another
    /// host may have what it lacks.
    async fn at_mirrors<B>(
        &self,
        mut ask: impl AsyncFnMut(&Endpoint, Timing) -> Result<ControlFlow<B>, SourceError>,
    ) -> Result<ControlFlow<B>, SourceError> {
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
        Ok(ControlFlow::Continue(()))
    }

    fn has_mirrors(&self) -> bool {
        !self.mirrors.is_empty()
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
                let asked = ask().await;
                if self.is_not_reached(endpoint, &asked) {
                    return asked.map_err(|failure| failure.error);
                }
                match asked {
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

/// Whether a host is not worth asking again in this run.
pub fn is_down(error: &SourceError) -> bool {
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
            | SourceError::RedirectToPlainHttp { .. }
            | SourceError::Unauthorized { .. }
            | SourceError::TokenRealmRefused { .. }
            | SourceError::RateLimited { .. }
    )
}
