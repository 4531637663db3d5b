// SPDX-License-Identifier: MIT OR Apache-2.0

//! What refers to an image in a registry (OCI distribution spec v1.1, "Listing Referrers"), as one
//! host has it.

use std::ops::ControlFlow;

use flipside_image::{Descriptor, Digest, INDEX_TYPE, Index, MANIFEST_LIMIT};
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue, LINK};
use reqwest::{Method, StatusCode};

use super::super::answer::{Answer, failed};
use super::super::endpoint::Endpoint;
use super::super::options::Timing;
use super::super::retry::Failure;
use super::super::signatures::referrers_tag;
use super::super::{SourceError, body};
use super::Registry;

/// The most pages of referrers that are asked for.
const PAGES: usize = 16;

/// One host that is asked for what belongs to one image.
pub(super) struct Host<'a> {
    pub registry: &'a Registry,
    pub endpoint: &'a Endpoint,
    pub timing: Timing,
    pub subject: &'a Digest,
}

/// How a list of referrers ended.
pub(super) enum End {
    /// It was read to its end.
    Whole,
    /// Who asked has enough.
    Enough,
    /// It has more pages than are asked for.
    TooManyPages,
    /// The rest cannot be had.
    Failed(SourceError),
}

/// A page of referrers.
enum Page {
    /// What it lists, and the query of the next one.
    Listed(Index, Option<String>),
    /// The host does not know of referrers.
    Unsupported,
}

impl Host<'_> {
    /// Hands over what refers to the image, page by page, until `take` has enough: from the referrers
    /// API, or else from the tag in its place. The host may leave out what is not of the artifact
    /// type `kind`, or list it all the same.
    ///
    /// # Errors
    /// Nothing but [`SourceError::Stopped`].
    pub async fn referrers(
        &self,
        kind: Option<&str>,
        mut take: impl FnMut(Vec<Descriptor>) -> ControlFlow<()>,
    ) -> Result<End, SourceError> {
        let mut query = kind.map(|kind| format!("artifactType={kind}"));
        for nth in 0..PAGES {
            let hosts = &self.registry.hosts;
            let ask = async || self.page(query.as_deref(), nth == 0).await;
            let page = match hosts.question(self.endpoint, self.timing, ask).await {
                Ok(Page::Unsupported) => self.tagged_referrers().await,
                // Registries that are older than artifact types filter by the config's type.
                Ok(Page::Listed(index, None))
                    if nth == 0 && query.is_some() && index.manifests.is_empty() =>
                {
                    query = None;
                    continue;
                }
                Ok(Page::Listed(index, next)) => Ok((index.manifests, next)),
                Err(error) => Err(error),
            };
            let (listed, next) = match page {
                Ok(page) => page,
                Err(SourceError::Stopped(stopped)) => return Err(stopped.into()),
                Err(error) => return Ok(End::Failed(error)),
            };
            if take(listed).is_break() {
                return Ok(End::Enough);
            }
            match next {
                Some(next) => query = Some(next),
                None => return Ok(End::Whole),
            }
        }
        Ok(End::TooManyPages)
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

    /// What the tag lists that stands for the referrers API; nothing where there is no such tag.
    async fn tagged_referrers(&self) -> Result<(Vec<Descriptor>, Option<String>), SourceError> {
        let listed = match self.tagged("list of referrers", &referrers_tag(self.subject)).await? {
            Some(bytes) => Index::parse(&bytes)?.manifests,
            None => Vec::new(),
        };
        Ok((listed, None))
    }

    /// What a tag names; `None` where there is no such tag.
    pub async fn tagged(
        &self,
        object: &'static str,
        tag: &str,
    ) -> Result<Option<Vec<u8>>, SourceError> {
        let (registry, endpoint) = (self.registry, self.endpoint);
        let ask =
            async || Ok(registry.get_manifest(endpoint, tag, object, MANIFEST_LIMIT).await?.ok());
        registry.hosts.question(endpoint, self.timing, ask).await
    }

    /// A manifest of at most `limit` bytes, hash checked.
    pub async fn manifest(&self, digest: &Digest, limit: u64) -> Result<Vec<u8>, SourceError> {
        let (registry, endpoint) = (self.registry, self.endpoint);
        let ask = async || registry.manifest_at(endpoint, digest, limit).await;
        registry.hosts.question(endpoint, self.timing, ask).await
    }

    /// A whole blob, hash checked. One of more than `limit` bytes is not fetched.
    pub async fn blob(
        &self,
        object: &'static str,
        blob: &Descriptor,
        limit: u64,
    ) -> Result<Vec<u8>, SourceError> {
        blob.check_size(object, limit)?;
        self.registry.blob_at(self.endpoint, self.timing, object, blob).await
    }
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
