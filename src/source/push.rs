// SPDX-License-Identifier: MIT OR Apache-2.0

//! Blobs and manifests on their way into a registry (OCI distribution spec v1.1, "Push").

use std::sync::atomic::AtomicBool;

use flipside_image::Digest;
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use tokio::sync::OnceCell;

use super::content::Blob;
use super::endpoint::Endpoint;
use super::http::{Body, Http, Request};
use super::network::Network;
use super::retry::{Failure, Tries};
use super::upload::{Upload, done, has_blob};
use super::{Options, Reference, SourceError};

/// The header by which a registry says that it has a referrers API.
const SUBJECT: &str = "oci-subject";

/// A repository in a registry, to push to.
pub struct Repository {
    http: Http,
    endpoint: Endpoint,
    network: Network,
    logged_in: OnceCell<()>,
    /// Whether something in front of the registry has refused the size of a request.
    needs_pieces: AtomicBool,
}

impl Repository {
    /// The repository of `reference`. Asks nobody yet.
    ///
    /// # Errors
    /// [`SourceError::Runtime`].
    pub fn new(reference: &Reference, options: &Options) -> Result<Self, SourceError> {
        Ok(Self {
            http: Http::new(options.clone()),
            endpoint: Endpoint::to_push(reference),
            network: Network::new()?,
            logged_in: OnceCell::new(),
            needs_pieces: AtomicBool::new(false),
        })
    }

    /// Whether it has the blob called `digest`.
    ///
    /// # Errors
    /// [`SourceError`]: the registry does not answer.
    pub fn has_blob(&self, digest: &Digest) -> Result<bool, SourceError> {
        self.run(self.repeat(async || has_blob(&self.endpoint, &self.http, digest).await))
    }

    /// Puts a blob there. `sent` is told of its bytes while they are sent, as differences.
    ///
    /// # Errors
    /// [`SourceError`]: the registry refuses, or the blob cannot be read.
    pub fn put_blob(&self, blob: &Blob, sent: &dyn Fn(u64)) -> Result<(), SourceError> {
        let upload = Upload::new(&self.http, &self.endpoint, &self.needs_pieces, blob, sent);
        self.run(upload.run())
    }

    /// Puts a manifest or an index there, under a tag or its digest ("Pushing Manifests").
    ///
    /// # Errors
    /// [`SourceError`]: the registry refuses.
    pub fn put_manifest(
        &self,
        name: &str,
        media_type: &'static str,
        manifest: &[u8],
    ) -> Result<(), SourceError> {
        self.put_referrer(name, media_type, manifest).map(|_| ())
    }

    /// The same of a manifest with a subject. Says whether the registry lists it among the subject's
    /// referrers ("Pushing Manifests with Subject"): otherwise who pushes has to list it.
    ///
    /// # Errors
    /// As [`Self::put_manifest`].
    pub fn put_referrer(
        &self,
        name: &str,
        media_type: &'static str,
        manifest: &[u8],
    ) -> Result<bool, SourceError> {
        let manifest = Blob::of(manifest.to_owned());
        let path = format!("manifests/{name}");
        let put = self.repeat(async || {
            let mut request = Request::new(Method::PUT, self.endpoint.url(&self.http, &path)?);
            request.headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
            request.body = Some(Body::Part(manifest.part(0..manifest.size)));
            let answer = self.endpoint.log_in_and_send(&self.http, request).await?;
            let answer = done(answer).await?;
            Ok(answer.response.headers().contains_key(SUBJECT))
        });
        self.run(put)
    }

    async fn repeat<T>(
        &self,
        mut step: impl AsyncFnMut() -> Result<T, Failure>,
    ) -> Result<T, SourceError> {
        let mut tries = Tries::new(self.http.timing());
        loop {
            match step().await {
                Ok(done) => return Ok(done),
                Err(failure) => tokio::time::sleep(tries.next(failure)?).await,
            }
        }
    }

    fn run<T>(&self, work: impl Future<Output = Result<T, SourceError>>) -> Result<T, SourceError> {
        let work = async {
            let log_in = || self.repeat(async || self.endpoint.log_in(&self.http).await);
            self.logged_in.get_or_try_init(log_in).await?;
            work.await
        };
        self.network.run(&self.http.options.stop, work).map_err(|error| match error {
            SourceError::Forbidden { host, reason, .. } => {
                let object = self.endpoint.repository.clone();
                SourceError::Forbidden { host, object, reason }
            }
            error => error,
        })
    }
}
