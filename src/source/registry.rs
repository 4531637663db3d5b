// SPDX-License-Identifier: MIT OR Apache-2.0

//! A tag in a registry (OCI distribution spec v1.1, "Pull").

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use flipside_core::blob_source::{BlobSource, FetchError, Sink};
use flipside_image::delta::{DELTA_FRAMES_TYPE, Delta};
use flipside_image::{Descriptor, Digest, Image, ImageError, MANIFEST_LIMIT};
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Method, StatusCode};
use serde::Deserialize;

use super::answer::{Answer, failed, nothing_found};
use super::endpoint::Endpoint;
use super::options::{Options, Timing};
use super::retry::Failure;
use super::signatures::Judge;
use super::transfer::Transfer;
use super::{Reference, Source, SourceError, Tagged, body};

mod deltas;
mod hosts;
mod referrers;
mod signatures;

use hosts::Hosts;
#[cfg(feature = "testing")]
pub(super) use referrers::next_query;

/// What is understood, and what else tags point to, so that the error can name it.
const MANIFEST_TYPES: &str = "application/vnd.oci.image.manifest.v1+json, \
    application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json, \
    application/vnd.docker.distribution.manifest.list.v2+json";
/// The header that names a manifest's digest (OCI distribution spec, "Pulling manifests").
const CONTENT_DIGEST: &str = "docker-content-digest";

/// A tag in a registry, and the mirrors of it. The registry decides: tags and signatures are its
/// matter. What has a digest comes from a mirror as well.
pub(super) struct Registry {
    reference: Reference,
    /// Shared with the siblings: connections, logins, and which mirrors are down.
    hosts: Arc<Hosts>,
}

impl Registry {
    /// Asks nobody yet.
    ///
    /// # Errors
    /// [`SourceError::ReferenceInvalid`] for a mirror, [`SourceError::Runtime`].
    pub fn new(reference: &Reference, options: &Options) -> Result<Self, SourceError> {
        Ok(Self { reference: reference.clone(), hosts: Arc::new(Hosts::new(reference, options)?) })
    }

    async fn resolve_at(&self, endpoint: &Endpoint) -> Result<Digest, Failure> {
        let tag = self.reference.tag();
        let answer = self.ask_manifest(endpoint, Method::HEAD, tag).await?;
        let headers = answer.response.headers();
        let named = headers.get(CONTENT_DIGEST).and_then(|h| h.to_str().ok());
        match (answer.response.status(), named.and_then(|text| text.parse().ok())) {
            (StatusCode::OK, Some(digest)) if !answer.is_web_page() => return Ok(digest),
            (StatusCode::TOO_MANY_REQUESTS, _) => return Err(failed(answer).await),
            _ if headers.contains_key(RETRY_AFTER) => return Err(failed(answer).await),
            // Some registries and proxies know no HEAD, and its answer has no room for a reason.
            (status, _) => {
                tracing::debug!(host = endpoint.host, %status, "HEAD names no digest, asking by GET");
            }
        }
        self.resolve_by_get(endpoint).await
    }

    fn tagged_by(
        &self,
        resolve: impl AsyncFn(&Endpoint) -> Result<Digest, Failure>,
    ) -> Result<Tagged, SourceError> {
        if let Some(digest) = self.reference.digest() {
            return Ok(Tagged { digest, mirror: None });
        }
        let asked = self.hosts.decided(async |endpoint, timing| {
            self.hosts.question(endpoint, timing, async || resolve(endpoint).await).await
        });
        let (digest, mirror) = self.hosts.run(asked)?;
        Ok(Tagged { digest, mirror })
    }

    async fn resolve_by_get(&self, endpoint: &Endpoint) -> Result<Digest, Failure> {
        let tag = self.reference.tag();
        match self.get_manifest(endpoint, tag, "manifest", MANIFEST_LIMIT).await? {
            Ok(bytes) => Ok(Digest::of(&bytes)),
            Err(reason) => Err(SourceError::TagNotFound {
                host: endpoint.host.clone(),
                repository: endpoint.repository.clone(),
                tag: tag.to_owned(),
                reason,
            }
            .into()),
        }
    }

    async fn manifest_at(
        &self,
        endpoint: &Endpoint,
        digest: &Digest,
        limit: u64,
    ) -> Result<Vec<u8>, Failure> {
        let found = self.get_manifest(endpoint, &digest.to_string(), "manifest", limit).await?;
        let bytes = found.map_err(|_| SourceError::ManifestNotFound {
            host: endpoint.host.clone(),
            repository: endpoint.repository.clone(),
            digest: *digest,
        })?;
        digest.check("manifest", &bytes).map_err(SourceError::from)?;
        Ok(bytes)
    }

    /// The manifest or index of a tag or digest, of at most `limit` bytes, or what is said where there
    /// is none. The media type is looked at first: whatever else comes is no answer of a registry.
    async fn get_manifest(
        &self,
        endpoint: &Endpoint,
        name: &str,
        object: &'static str,
        limit: u64,
    ) -> Result<Result<Vec<u8>, String>, Failure> {
        let answer = self.ask_manifest(endpoint, Method::GET, name).await?;
        match answer.response.status() {
            StatusCode::OK if answer.is_web_page() => {
                return Err(answer.not_of_a_registry().into());
            }
            StatusCode::OK => {}
            StatusCode::NOT_FOUND if !answer.is_web_page() => {
                return Ok(Err(nothing_found(answer).await));
            }
            _ => return Err(failed(answer).await),
        }
        // Some servers of plain files know no media types.
        let foreign = (!answer.is_manifest()).then(|| answer.not_of_a_registry());
        let Answer { response, host, .. } = answer;
        let bytes = body::bounded(&self.hosts.http, response, &host, object, limit).await?;
        match foreign {
            Some(error) if !is_like_a_manifest(&bytes) => Err(error.into()),
            _ => Ok(Ok(bytes)),
        }
    }

    /// A whole blob; its size is the caller's matter.
    async fn blob_at(
        &self,
        endpoint: &Endpoint,
        timing: Timing,
        object: &'static str,
        blob: &Descriptor,
    ) -> Result<Vec<u8>, SourceError> {
        let mut bytes = Vec::new();
        let mut transfer = Transfer::new(&self.hosts.http, &self.hosts.rate, blob, 0, blob.size);
        let mut sink = |piece: &[u8]| {
            bytes.extend_from_slice(piece);
            Ok(())
        };
        transfer.fetch(endpoint, timing, &mut sink).await?;
        blob.digest.check(object, &bytes).map_err(|error| transfer.explained(error))?;
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
        endpoint.ask(&self.hosts.http, method, &format!("manifests/{name}"), headers).await
    }
}

/// Whether these bytes say of themselves what manifests and indexes do.
fn is_like_a_manifest(bytes: &[u8]) -> bool {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Versioned {
        schema_version: Option<u64>,
        media_type: Option<String>,
    }
    serde_json::from_slice::<Versioned>(bytes)
        .is_ok_and(|found| found.schema_version.is_some() || found.media_type.is_some())
}

impl BlobSource for Registry {
    fn stream(
        &self,
        blob: &Descriptor,
        range: Range<u64>,
        sink: &mut Sink<'_>,
    ) -> Result<(), FetchError> {
        if range.start > range.end || range.end > blob.size {
            let what = format!("bytes {range:?} of a blob that has {}", blob.size);
            return Err(FetchError::failed(ImageError::Inconsistent { what }));
        }
        let mut transfer =
            Transfer::new(&self.hosts.http, &self.hosts.rate, blob, range.start, range.end);
        if blob.media_type == DELTA_FRAMES_TYPE {
            // Whoever does not have them may still have the image.
            let fetch = self.hosts.if_any_in_any_time("delta", async |endpoint, timing| {
                transfer.leave_below(self.hosts.least_of(endpoint));
                transfer.fetch(endpoint, timing, sink).await.map(Some)
            });
            self.hosts.run(self.hosts.in_time(fetch))?;
            return Ok(());
        }
        let fetch = self.hosts.at_a_rate(async |endpoint, timing, least| {
            transfer.leave_below(least);
            transfer.fetch(endpoint, timing, sink).await
        });
        Ok(self.hosts.run(self.hosts.in_time(fetch))?)
    }

    fn leave_out_mirrors(&self) -> bool {
        self.hosts.leave_out_mirrors()
    }
}

impl Source for Registry {
    fn resolve(&self) -> Result<Digest, SourceError> {
        self.tagged().map(|tagged| tagged.digest)
    }

    fn tagged(&self) -> Result<Tagged, SourceError> {
        self.tagged_by(async |endpoint| self.resolve_at(endpoint).await)
    }

    fn tagged_if_any(&self) -> Result<Tagged, SourceError> {
        self.tagged_by(async |endpoint| self.resolve_by_get(endpoint).await)
    }

    fn manifest(&self, digest: &Digest) -> Result<Vec<u8>, SourceError> {
        self.hosts.run(self.hosts.anywhere(async |endpoint, timing| {
            self.hosts
                .question(endpoint, timing, async || {
                    self.manifest_at(endpoint, digest, MANIFEST_LIMIT).await
                })
                .await
        }))
    }

    fn blob(
        &self,
        object: &'static str,
        blob: &Descriptor,
        limit: u64,
    ) -> Result<Vec<u8>, SourceError> {
        blob.check_size(object, limit)?;
        self.hosts.run(
            self.hosts.anywhere(async |endpoint, timing| {
                self.blob_at(endpoint, timing, object, blob).await
            }),
        )
    }

    fn repository(&self) -> String {
        self.reference.full_repository()
    }

    fn sibling(&self, name: &str) -> Result<Box<dyn Source>, SourceError> {
        let reference = self.reference.sibling(name)?;
        Ok(Box::new(Self { reference, hosts: Arc::clone(&self.hosts) }))
    }

    fn signatures(&self, subject: &Digest, judge: &mut Judge<'_>) -> Result<(), SourceError> {
        self.hosts.run(signatures::find(self, subject, judge))
    }

    fn delta(&self, image: &Image, from: &Digest) -> Result<Option<Delta>, SourceError> {
        self.hosts.run(deltas::find(self, image, from))
    }
}

impl fmt::Display for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reference.fmt(f)
    }
}
