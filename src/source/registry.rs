// SPDX-License-Identifier: MIT OR Apache-2.0

//! A tag in a registry (OCI distribution spec v1.1, "Pull").

use std::fmt;
use std::ops::Range;
use std::sync::atomic::Ordering;
use std::time::Duration;

use reqwest::header::{ACCEPT, ACCEPT_ENCODING, HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode};
use tokio::runtime::Runtime;

use super::answer::{Answer, failed};
use super::endpoint::Endpoint;
use super::http::Http;
use super::options::{Options, Timing};
use super::rate::Rate;
use super::retry::{Failure, Tries};
use super::transfer::Transfer;
use super::{Reference, Sink, Source, SourceError, body};
use crate::image::{Descriptor, Digest, ImageError, MANIFEST_LIMIT};
use crate::stop::{Stop, Stopped};

/// What is understood, and what else tags point to, so that the error can name it.
const MANIFEST_TYPES: &str = "application/vnd.oci.image.manifest.v1+json, \
    application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json, \
    application/vnd.docker.distribution.manifest.list.v2+json";
/// The header that names a manifest's digest (OCI distribution spec, "Pulling manifests").
const CONTENT_DIGEST: &str = "docker-content-digest";
/// Tries at a mirror before the next host is asked.
const MIRROR_TRIES: u32 = 2;
/// How often a wish to stop is looked for.
const STOP_INTERVAL: Duration = Duration::from_millis(40);

/// A tag in a registry, and the mirrors of it.
pub(super) struct Registry {
    reference: Reference,
    http: Http,
    rate: Rate,
    mirrors: Vec<Endpoint>,
    origin: Endpoint,
    /// `Some` until it is dropped.
    runtime: Option<Runtime>,
}

impl Registry {
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
            reference: reference.clone(),
            rate: Rate::new(options.max_rate),
            mirrors: mirrors.collect::<Result<_, _>>()?,
            origin: Endpoint::registry(reference),
            http: Http::new(options.clone()),
            runtime: Some(runtime),
        })
    }

    /// Runs `work` on this thread until it is done or the stop is requested. The
    /// connections themselves are served by the runtime's one thread.
    fn run<T>(&self, work: impl Future<Output = Result<T, SourceError>>) -> Result<T, SourceError> {
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

    /// Asks the mirrors in order and then the registry itself. The registry's own error
    /// is the one that counts.
    async fn anywhere<T>(
        &self,
        mut ask: impl AsyncFnMut(&Endpoint, Timing) -> Result<T, SourceError>,
    ) -> Result<T, SourceError> {
        let timing = self.http.timing();
        let patience = Timing { tries: timing.tries.min(MIRROR_TRIES), ..timing };
        for mirror in self.mirrors.iter().filter(|m| !m.down.load(Ordering::Relaxed)) {
            match ask(mirror, patience).await {
                Err(SourceError::Stopped(stopped)) => return Err(stopped.into()),
                Ok(found) => return Ok(found),
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
    async fn question<T>(
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

    async fn resolve_at(&self, endpoint: &Endpoint) -> Result<Digest, Failure> {
        let tag = self.reference.tag();
        let answer = self.ask_manifest(endpoint, Method::HEAD, tag).await?;
        let status = answer.response.status();
        let named = answer.response.headers().get(CONTENT_DIGEST);
        let digest = named.and_then(|h| h.to_str().ok()).and_then(|text| text.parse().ok());
        match (status, digest) {
            (StatusCode::OK, Some(digest)) => return Ok(digest),
            (StatusCode::OK | StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED, _) => {}
            (StatusCode::NOT_FOUND, _) => return Err(self.no_tag(endpoint)),
            _ => return Err(failed(answer).await),
        }
        tracing::debug!(host = endpoint.host, "HEAD names no digest, asking for the manifest");
        let answer = self.ask_manifest(endpoint, Method::GET, tag).await?;
        match answer.response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Err(self.no_tag(endpoint)),
            _ => return Err(failed(answer).await),
        }
        let bytes =
            body::bounded(&self.http, answer.response, &answer.host, "manifest", MANIFEST_LIMIT)
                .await?;
        Ok(Digest::of(&bytes))
    }

    fn no_tag(&self, endpoint: &Endpoint) -> Failure {
        SourceError::TagNotFound {
            host: endpoint.host.clone(),
            repository: endpoint.repository.clone(),
            tag: self.reference.tag().to_owned(),
        }
        .into()
    }

    async fn manifest_at(&self, endpoint: &Endpoint, digest: &Digest) -> Result<Vec<u8>, Failure> {
        let answer = self.ask_manifest(endpoint, Method::GET, &digest.to_string()).await?;
        match answer.response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => {
                return Err(SourceError::ManifestNotFound {
                    host: endpoint.host.clone(),
                    repository: endpoint.repository.clone(),
                    digest: *digest,
                }
                .into());
            }
            _ => return Err(failed(answer).await),
        }
        let Answer { response, host, .. } = answer;
        let bytes = body::bounded(&self.http, response, &host, "manifest", MANIFEST_LIMIT).await?;
        digest.check("manifest", &bytes).map_err(SourceError::from)?;
        Ok(bytes)
    }

    async fn ask_manifest(
        &self,
        endpoint: &Endpoint,
        method: Method,
        name: &str,
    ) -> Result<Answer, Failure> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static(MANIFEST_TYPES));
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        endpoint.ask(&self.http, method, &format!("manifests/{name}"), headers).await
    }
}

impl Source for Registry {
    fn resolve(&self) -> Result<Digest, SourceError> {
        if let Some(digest) = self.reference.digest() {
            return Ok(digest);
        }
        self.run(self.anywhere(async |endpoint, timing| {
            self.question(endpoint, timing, async || self.resolve_at(endpoint).await).await
        }))
    }

    fn manifest(&self, digest: &Digest) -> Result<Vec<u8>, SourceError> {
        self.run(self.anywhere(async |endpoint, timing| {
            self.question(endpoint, timing, async || self.manifest_at(endpoint, digest).await).await
        }))
    }

    fn stream(
        &self,
        blob: &Descriptor,
        range: Range<u64>,
        sink: &mut Sink<'_>,
    ) -> Result<(), SourceError> {
        if range.start > range.end || range.end > blob.size {
            return Err(ImageError::Inconsistent {
                what: format!("bytes {range:?} of a blob that has {}", blob.size),
            }
            .into());
        }
        let mut transfer = Transfer::new(&self.http, &self.rate, blob, range.start, range.end);
        self.run(
            self.anywhere(async |endpoint, timing| transfer.fetch(endpoint, timing, sink).await),
        )
    }

    fn blob(
        &self,
        object: &'static str,
        blob: &Descriptor,
        limit: u64,
    ) -> Result<Vec<u8>, SourceError> {
        if blob.size > limit {
            return Err(ImageError::TooLarge { object, size: blob.size, limit }.into());
        }
        self.run(self.anywhere(async |endpoint, timing| {
            let mut bytes = Vec::new();
            let mut transfer = Transfer::new(&self.http, &self.rate, blob, 0, blob.size);
            let mut sink = |piece: &[u8]| {
                bytes.extend_from_slice(piece);
                Ok(())
            };
            transfer.fetch(endpoint, timing, &mut sink).await?;
            blob.digest.check(object, &bytes)?;
            Ok(bytes)
        }))
    }

    fn repository(&self) -> String {
        self.reference.full_repository()
    }
}

impl fmt::Display for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reference.fmt(f)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // A resolver that hangs must not hold the process.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Ends once the stop is requested.
pub(crate) async fn requested(stop: &Stop) -> Stopped {
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
