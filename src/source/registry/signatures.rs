// SPDX-License-Identifier: MIT OR Apache-2.0

//! Signatures in a registry, host by host.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use flipside_image::{Descriptor, Digest, INDEX_TYPE, Index, MANIFEST_LIMIT};
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue, LINK};
use reqwest::{Method, StatusCode};

use super::super::answer::{Answer, failed};
use super::super::endpoint::Endpoint;
use super::super::options::Timing;
use super::super::retry::Failure;
use super::super::signatures::{
    BUNDLE_LIMIT, BUNDLE_MANIFEST_LIMIT, BUNDLES, Judge, LIMIT, Looked, MANIFESTS, PAYLOAD_LIMIT,
    Signature, bundles, may_hold_bundle, no_signature, payloads, referrers_tag,
    says_something_else, signature_tag, unreadable,
};
use super::super::{Source as _, SourceError, body};
use super::Registry;
use super::hosts::is_down;

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
        Host { registry, endpoint, timing, subject }.ask(judge).await
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

/// What refers to an image, as far as that may be a bundle.
#[derive(Default)]
struct Listed {
    manifests: Vec<Descriptor>,
    /// What kept the list from being whole.
    cut_short: Option<SourceError>,
}

/// A page of referrers.
enum Page {
    /// What it lists, and the query of the next one.
    Listed(Index, Option<String>),
    /// The host does not know of referrers.
    Unsupported,
}

impl Host<'_> {
    /// Asks in both homes: whatever is wrong with one, the other may have what is enough.
    async fn ask(&self, judge: &mut Judge<'_>) -> Result<ControlFlow<()>, SourceError> {
        // What is in one home may take no longer than one question: a host that gives its answers
        // one byte at a time must not hold a run for hours.
        let total = self.timing.total;
        let late = || SourceError::Unreachable {
            host: self.endpoint.host.clone(),
            reason: format!("not all signatures in {} s", total.as_secs_f32()),
        };
        let simple = match tokio::time::timeout(total, self.simple(judge)).await {
            Ok(Ok(ControlFlow::Break(()))) => return Ok(ControlFlow::Break(())),
            Ok(Err(SourceError::Stopped(stopped))) => return Err(stopped.into()),
            Ok(Err(error)) if is_down(&error) => return Err(error),
            asked => asked.unwrap_or_else(|_| Err(late())),
        };
        let bundles = tokio::time::timeout(total, self.bundles(judge)).await;
        match (bundles.unwrap_or_else(|_| Err(late())), simple) {
            (Ok(ControlFlow::Break(())), _) => Ok(ControlFlow::Break(())),
            (Err(SourceError::Stopped(stopped)), _) => Err(stopped.into()),
            (_, Err(error)) => Err(error),
            (bundles, Ok(_)) => bundles,
        }
    }

    async fn simple(&self, judge: &mut Judge<'_>) -> Result<ControlFlow<()>, SourceError> {
        let Some(manifest) = self.tagged(&signature_tag(self.subject)).await? else {
            return Ok(ControlFlow::Continue(()));
        };
        let layers = match payloads(&manifest) {
            Ok(layers) => layers,
            Err(error) => return Ok(done(judge(unreadable(error.into())?))),
        };
        // Many signatures may be over one payload.
        let mut fetched: BTreeMap<(Digest, u64), Signature> = BTreeMap::new();
        for layer in layers {
            let name = (layer.digest, layer.size);
            let signature = match (no_signature(&layer), fetched.get(&name)) {
                (Some(none), _) => none,
                (None, Some(found)) => found.clone(),
                (None, None) if fetched.len() >= LIMIT => return Err(self.too_many()),
                (None, None) => {
                    let found = match self.blob("signed payload", &layer, PAYLOAD_LIMIT).await {
                        Ok(payload) => Signature::Simple { payload, annotations: BTreeMap::new() },
                        Err(error) => unreadable(error)?,
                    };
                    fetched.entry(name).or_insert(found).clone()
                }
            };
            let signature = match signature {
                Signature::Simple { payload, .. } => {
                    Signature::Simple { payload, annotations: layer.annotations }
                }
                other => other,
            };
            if judge(signature).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    async fn bundles(&self, judge: &mut Judge<'_>) -> Result<ControlFlow<()>, SourceError> {
        let Listed { mut manifests, cut_short } = self.referrers().await?;
        manifests.sort_by_key(says_something_else);
        let (mut looked, mut seen) = (Looked::default(), BTreeSet::new());
        for entry in &manifests {
            if !looked.may_fetch() {
                return Err(self.too_many());
            }
            let found = match self.bundles_in(entry, &mut seen).await {
                Ok(found) => found,
                Err(error) => vec![unreadable(error)?],
            };
            for signature in found {
                match judge(signature) {
                    ControlFlow::Break(()) => return Ok(ControlFlow::Break(())),
                    ControlFlow::Continue(worth) if looked.may_go_on(worth) => {}
                    ControlFlow::Continue(_) => return Err(self.too_many()),
                }
            }
        }
        cut_short.map_or(Ok(ControlFlow::Continue(())), Err)
    }

    /// The bundles of one manifest, but for those that were `seen` in another.
    async fn bundles_in(
        &self,
        entry: &Descriptor,
        seen: &mut BTreeSet<(Digest, u64)>,
    ) -> Result<Vec<Signature>, SourceError> {
        let manifest = self
            .registry
            .hosts
            .question(self.endpoint, self.timing, async || {
                self.registry.manifest_at(self.endpoint, &entry.digest).await
            })
            .await?;
        if manifest.len() as u64 > BUNDLE_MANIFEST_LIMIT {
            let what = "the manifest of a bundle is larger than it was said to be".to_owned();
            return Ok(vec![Signature::Unreadable { what }]);
        }
        let (layers, annotations) = bundles(&manifest, self.subject)?;
        let mut found = Vec::new();
        let fresh = layers.iter().filter(|layer| seen.insert((layer.digest, layer.size)));
        for layer in fresh.take(BUNDLES) {
            found.push(match self.blob("bundle", layer, BUNDLE_LIMIT).await {
                Ok(bundle) => Signature::Bundle { bundle, annotations: annotations.clone() },
                Err(error) => unreadable(error)?,
            });
        }
        Ok(found)
    }

    /// What may hold a bundle: from the referrers API, or else from the tag in its place.
    async fn referrers(&self) -> Result<Listed, SourceError> {
        let (mut listed, mut seen) = (Listed::default(), BTreeSet::new());
        let mut query = None;
        for nth in 0..PAGES {
            let hosts = &self.registry.hosts;
            let ask = async || self.page(query.as_deref(), nth == 0).await;
            let page = match hosts.question(self.endpoint, self.timing, ask).await {
                Ok(Page::Unsupported) => {
                    let tagged = self.tagged(&referrers_tag(self.subject)).await?;
                    let index = tagged.map(|bytes| Index::parse(&bytes)).transpose();
                    index.map(|index| index.map(|index| (index, None))).map_err(SourceError::from)
                }
                Ok(Page::Listed(index, next)) => Ok(Some((index, next))),
                Err(SourceError::Stopped(stopped)) => return Err(stopped.into()),
                Err(error) => Err(error),
            };
            let next = match page {
                Ok(Some((index, next))) => {
                    let fresh =
                        |entry: &Descriptor| may_hold_bundle(entry) && seen.insert(entry.digest);
                    listed.manifests.extend(index.manifests.into_iter().filter(fresh));
                    next
                }
                Ok(None) => None,
                Err(error) => {
                    listed.cut_short = Some(error);
                    return Ok(listed);
                }
            };
            // There is no use in more than what may be looked at.
            if next.is_none() || listed.manifests.len() > MANIFESTS {
                return Ok(listed);
            }
            query = next;
        }
        listed.cut_short = Some(self.too_many());
        Ok(listed)
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
            let found = registry.get_manifest(endpoint, tag, "manifest of signatures").await?;
            Ok(found.ok())
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

    fn too_many(&self) -> SourceError {
        SourceError::TooManySignatures { place: self.registry.repository(), subject: *self.subject }
    }
}

/// Whether a judge has enough.
fn done<C>(judged: ControlFlow<(), C>) -> ControlFlow<()> {
    judged.map_continue(drop)
}

/// The query of the link to the next page (RFC 8288). Nothing else of the link is followed:
/// host and path are known.
pub fn next_query(header: &str) -> Option<String> {
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
