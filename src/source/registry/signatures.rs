// SPDX-License-Identifier: MIT OR Apache-2.0

//! Signatures in a registry, host by host.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use flipside_image::{Descriptor, Digest, INDEX_TYPE, Index, MANIFEST_LIMIT};
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue, LINK};
use reqwest::{Method, StatusCode};

use super::super::answer::{Answer, failed};
use super::super::endpoint::Endpoint;
use super::super::options::Timing;
use super::super::retry::Failure;
use super::super::signatures::{
    BUNDLE_LIMIT, BUNDLE_MANIFEST_LIMIT, Judge, LIMIT, PAYLOAD_LIMIT, Signature, bundles,
    may_hold_bundle, payloads, referrers_tag, signature_tag, unreadable,
};
use super::super::{Source as _, SourceError, body};
use super::Registry;

/// The most pages of referrers that are asked for.
const PAGES: usize = 16;

/// Asks the registry until `judge` has enough, and its mirrors where it does not answer: whoever
/// has a valid one may show it, and nobody else may say that there is none.
pub(super) async fn find(
    registry: &Registry,
    subject: &Digest,
    judge: &mut Judge<'_>,
) -> Result<(), SourceError> {
    let asked = registry.hosts.registry_first(async |endpoint, timing| {
        let host = Host { registry, endpoint, timing, subject };
        // Together they may take no longer than one question: a host that gives its
        // answers one byte at a time must not hold a run for hours.
        match tokio::time::timeout(timing.total, host.ask(judge)).await {
            Ok(asked) => asked,
            Err(_) => Err(SourceError::Unreachable {
                host: endpoint.host.clone(),
                reason: format!("not all signatures in {} s", timing.total.as_secs_f32()),
            }),
        }
    });
    asked.await.map(|_| ())
}

/// One host that is asked for the signatures of one image.
struct Host<'a> {
    registry: &'a Registry,
    endpoint: &'a Endpoint,
    timing: Timing,
    subject: &'a Digest,
}

/// A page of referrers.
enum Page {
    /// What it lists, and the query of the next one.
    Listed(Index, Option<String>),
    /// The host does not know of referrers.
    Unsupported,
}

impl Host<'_> {
    async fn ask(&self, judge: &mut Judge<'_>) -> Result<ControlFlow<()>, SourceError> {
        if self.simple(judge).await?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
        self.bundles(judge).await
    }

    async fn simple(&self, judge: &mut Judge<'_>) -> Result<ControlFlow<()>, SourceError> {
        let Some(manifest) = self.tagged(&signature_tag(self.subject)).await? else {
            return Ok(ControlFlow::Continue(()));
        };
        let layers = match payloads(&manifest) {
            Ok(layers) => layers,
            Err(error) => return Ok(judge(unreadable(error.into())?)),
        };
        for (nth, layer) in layers.into_iter().enumerate() {
            self.check_number(nth)?;
            let signature = match self.blob("signed payload", &layer, PAYLOAD_LIMIT).await {
                Ok(payload) => Signature::Simple { payload, annotations: layer.annotations },
                Err(error) => unreadable(error)?,
            };
            if judge(signature).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    async fn bundles(&self, judge: &mut Judge<'_>) -> Result<ControlFlow<()>, SourceError> {
        let mut nth = 0;
        for entry in self.referrers().await? {
            let found = match self.bundles_in(&entry).await {
                Ok(found) => found,
                Err(error) => vec![unreadable(error)?],
            };
            for signature in found {
                self.check_number(nth)?;
                nth += 1;
                if judge(signature).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    async fn bundles_in(&self, entry: &Descriptor) -> Result<Vec<Signature>, SourceError> {
        let (object, limit) = ("manifest of a bundle", BUNDLE_MANIFEST_LIMIT);
        entry.check_size(object, limit)?;
        let manifest = self
            .registry
            .hosts
            .question(self.endpoint, self.timing, async || {
                self.registry.manifest_at(self.endpoint, &entry.digest).await
            })
            .await?;
        let (layers, annotations) = bundles(&manifest, self.subject)?;
        let mut found = Vec::new();
        for layer in layers.iter().take(LIMIT) {
            found.push(match self.blob("bundle", layer, BUNDLE_LIMIT).await {
                Ok(bundle) => Signature::Bundle { bundle, annotations: annotations.clone() },
                Err(error) => unreadable(error)?,
            });
        }
        Ok(found)
    }

    /// What may hold a bundle: from the referrers API, or else from the tag in its place.
    async fn referrers(&self) -> Result<Vec<Descriptor>, SourceError> {
        let (mut found, mut seen) = (Vec::new(), BTreeSet::new());
        let mut take = |index: Index| {
            let fresh = |entry: &Descriptor| may_hold_bundle(entry) && seen.insert(entry.digest);
            found.extend(index.manifests.into_iter().filter(fresh));
            self.check_number(found.len().saturating_sub(1))
        };
        let mut query = None;
        for nth in 0..PAGES {
            let hosts = &self.registry.hosts;
            let ask = async || self.page(query.as_deref(), nth == 0).await;
            match hosts.question(self.endpoint, self.timing, ask).await? {
                Page::Listed(index, next) => {
                    take(index)?;
                    if next.is_none() {
                        return Ok(found);
                    }
                    query = next;
                }
                Page::Unsupported => {
                    if let Some(bytes) = self.tagged(&referrers_tag(self.subject)).await? {
                        take(Index::parse(&bytes)?)?;
                    }
                    return Ok(found);
                }
            }
        }
        Err(self.too_many())
    }

    async fn page(&self, query: Option<&str>, first: bool) -> Result<Page, Failure> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static(INDEX_TYPE));
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let query = query.map(|query| format!("?{query}")).unwrap_or_default();
        let path = format!("referrers/{}{query}", self.subject);
        let http = &self.registry.hosts.http;
        let answer = self.endpoint.ask(http, Method::GET, &path, headers).await?;
        let header = |name| answer.response.headers().get(name).and_then(|h| h.to_str().ok());
        let is_index = header(CONTENT_TYPE).is_some_and(|kind| kind.starts_with(INDEX_TYPE));
        let next = header(LINK).and_then(next_query);
        match answer.response.status() {
            StatusCode::OK if is_index => {}
            // 404 is what the specification says of a registry that has no such API; these
            // others, and pages for people, are what registries say.
            StatusCode::OK
            | StatusCode::NOT_FOUND
            | StatusCode::BAD_REQUEST
            | StatusCode::METHOD_NOT_ALLOWED
            | StatusCode::NOT_ACCEPTABLE
            | StatusCode::NOT_IMPLEMENTED
                if first =>
            {
                return Ok(Page::Unsupported);
            }
            _ => return Err(failed(answer).await),
        }
        let Answer { response, host, .. } = answer;
        let bytes =
            body::bounded(http, response, &host, "list of referrers", MANIFEST_LIMIT).await?;
        Ok(Page::Listed(Index::parse(&bytes).map_err(SourceError::from)?, next))
    }

    /// What a tag names; `None` where there is no such tag.
    async fn tagged(&self, tag: &str) -> Result<Option<Vec<u8>>, SourceError> {
        let (registry, endpoint) = (self.registry, self.endpoint);
        let ask = async || {
            let answer = registry.ask_manifest(endpoint, Method::GET, tag).await?;
            match answer.response.status() {
                StatusCode::OK => {}
                StatusCode::NOT_FOUND => return Ok(None),
                _ => return Err(failed(answer).await),
            }
            let Answer { response, host, .. } = answer;
            let http = &registry.hosts.http;
            let object = "manifest of signatures";
            body::bounded(http, response, &host, object, MANIFEST_LIMIT).await.map(Some)
        };
        registry.hosts.question(endpoint, self.timing, ask).await
    }

    async fn blob(
        &self,
        object: &'static str,
        blob: &Descriptor,
        limit: u64,
    ) -> Result<Vec<u8>, SourceError> {
        blob.check_size(object, limit)?;
        self.registry.blob_at(self.endpoint, self.timing, object, blob).await
    }

    /// Refuses the signature with this number, counted from 0.
    fn check_number(&self, nth: usize) -> Result<(), SourceError> {
        if nth < LIMIT { Ok(()) } else { Err(self.too_many()) }
    }

    fn too_many(&self) -> SourceError {
        SourceError::TooManySignatures { place: self.registry.repository(), subject: *self.subject }
    }
}

/// The query of the link to the next page (RFC 8288). Nothing else of the link is followed:
/// host and path are known.
fn next_query(header: &str) -> Option<String> {
    header.split(',').find_map(|link| {
        let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
        let is_next = parameters.split(';').any(|parameter| {
            let (name, value) = parameter.split_once('=').unwrap_or_default();
            name.trim().eq_ignore_ascii_case("rel") && value.trim().trim_matches('"') == "next"
        });
        let (_, query) = target.split_once('?')?;
        is_next.then(|| query.split_once('#').map_or(query, |(query, _)| query).to_owned())
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_the_query_of_a_link_to_the_next_page_counts() {
        for (header, query) in [
            (r#"</v2/a/referrers/sha256:00?n=1&last=x>; rel="next""#, Some("n=1&last=x")),
            (r#"<https://elsewhere/v2/b?last=x#y>;rel=next"#, Some("last=x")),
            (r#"</a?p=0>; rel="prev", </a?p=2>; title=x; rel="next""#, Some("p=2")),
            (r#"</a?p=2>; rel="last""#, None),
            (r#"</a>; rel="next""#, None),
            (r#"/a?p=2; rel="next""#, None),
            ("", None),
        ] {
            assert_eq!(next_query(header).as_deref(), query, "{header}");
        }
    }

    proptest! {
        #[test]
        fn no_link_makes_it_panic(header in "\\PC{0,60}|<[a-z?=#]{0,9}>(;rel=\"?next\"?)?") {
            let _ = next_query(&header);
        }
    }
}
