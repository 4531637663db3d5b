// SPDX-License-Identifier: MIT OR Apache-2.0

//! A part of a blob on its way: what breaks off is taken up again behind the
//! last byte that was handed over, on the same host or on the next one.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use flipside_core::blob_source::Sink;
use flipside_image::Descriptor;
use reqwest::header::{ACCEPT_ENCODING, CONTENT_RANGE, HeaderMap, HeaderValue, RANGE};
use reqwest::{Method, Response, StatusCode};

use super::SourceError;
use super::answer::{Answer, failed};
use super::body::piece;
use super::content_range::ContentRange;
use super::endpoint::Endpoint;
use super::http::Http;
use super::options::Timing;
use super::rate::Rate;
use super::retry::{Failure, Tries};

/// Slower than this on average counts as not answering, bytes per second.
const FLOOR: u64 = 1 << 10;

/// What is still to come of a blob.
pub(super) struct Transfer<'a> {
    http: &'a Http,
    rate: &'a Rate,
    blob: &'a Descriptor,
    next: u64,
    end: u64,
    /// Whether to ask for ranges: not any more once an answer to one made no sense.
    ranged: bool,
    /// Time that may still be spent on waiting for the other side.
    patience: Duration,
    /// Bytes per second under which this host is left for the next one.
    least: Option<u64>,
    /// What came last, where its media type is that of no blob.
    foreign: Option<SourceError>,
}

/// Where in the blob a body begins and ends.
struct ByteRange {
    at: u64,
    until: u64,
}

impl<'a> Transfer<'a> {
    /// The bytes `start..end` of `blob`, which has at least `end` bytes.
    pub fn new(http: &'a Http, rate: &'a Rate, blob: &'a Descriptor, start: u64, end: u64) -> Self {
        let patience = Duration::ZERO;
        Self {
            http,
            rate,
            blob,
            next: start,
            end,
            ranged: true,
            patience,
            least: None,
            foreign: None,
        }
    }

    /// Leaves a host that gives less than so many bytes per second; `None` leaves none.
    pub fn leave_below(&mut self, rate: Option<u64>) {
        self.least = rate;
    }

    /// Fetches from one host until all is there or its tries are used up.
    pub async fn fetch(
        &mut self,
        endpoint: &Endpoint,
        timing: Timing,
        sink: &mut Sink<'_>,
    ) -> Result<(), SourceError> {
        let mut tries = Tries::new(timing);
        self.ranged = true;
        // Each host has its own: what one of them wasted is not the next one's fault.
        let length = Duration::from_secs(self.end.saturating_sub(self.next) / FLOOR);
        self.patience = self.http.timing().total.saturating_add(length);
        while self.next < self.end {
            let before = self.next;
            let result = self.attempt(endpoint, sink).await;
            if self.next > before {
                tries.reset();
            }
            if let Err(failure) = result {
                let wait = tries.next(failure)?;
                self.spend(endpoint, wait)?;
                {
                    let _waiting = endpoint.meter.wait();
                    tokio::time::sleep(wait).await;
                }
                self.check_rate(endpoint)?;
            }
        }
        Ok(())
    }

    /// One request. Returns early, without an error, where less came than was asked
    /// for and the other side said so, and where the next request goes without a range.
    async fn attempt(&mut self, endpoint: &Endpoint, sink: &mut Sink<'_>) -> Result<(), Failure> {
        let asked = Instant::now();
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let whole = self.next == 0 && self.end == self.blob.size;
        let ranged = self.ranged && !whole;
        if ranged {
            let range = format!("bytes={}-{}", self.next, self.end.saturating_sub(1));
            if let Ok(value) = HeaderValue::from_str(&range) {
                headers.insert(RANGE, value);
            }
        }
        let path = format!("blobs/{}", self.blob.digest);
        let answer = endpoint.ask(self.http, Method::GET, &path, headers).await?;
        self.spend(endpoint, asked.elapsed())?;
        self.foreign = answer.is_web_page().then(|| answer.not_of_a_registry());
        match self.span(endpoint, answer, ranged).await? {
            Some((span, response)) => self.take(endpoint, span, response, sink).await,
            None => {
                // A host that answers ranges wrongly still has the blob.
                self.ranged = false;
                Ok(())
            }
        }
    }

    /// Which bytes an answer holds; `None` where it makes no sense for the range that
    /// was asked for.
    async fn span(
        &self,
        endpoint: &Endpoint,
        answer: Answer,
        ranged: bool,
    ) -> Result<Option<(ByteRange, Response)>, Failure> {
        let status = answer.response.status();
        match status {
            // Ranges are optional: the body is the whole blob, and what is known is skipped.
            StatusCode::OK => {
                Ok(Some((ByteRange { at: 0, until: self.blob.size }, answer.response)))
            }
            StatusCode::PARTIAL_CONTENT if ranged => {
                let header = answer.response.headers().get(CONTENT_RANGE);
                let range = header
                    .and_then(|h| h.to_str().ok())
                    .and_then(ContentRange::parse)
                    .filter(|r| r.continues(self.next, self.blob.size));
                Ok(range.map(|r| (ByteRange { at: r.start, until: r.end }, answer.response)))
            }
            StatusCode::RANGE_NOT_SATISFIABLE if ranged => Ok(None),
            StatusCode::NOT_FOUND => Err(SourceError::BlobNotFound {
                host: answer.host,
                repository: endpoint.repository.clone(),
                digest: self.blob.digest,
            }
            .into()),
            _ if status.is_success() => Err(SourceError::Registry {
                host: answer.host,
                answer: format!("{} to a request for a blob", status.as_u16()),
            }
            .into()),
            _ => Err(failed(answer).await),
        }
    }

    /// Hands over what is new of a body.
    async fn take(
        &mut self,
        endpoint: &Endpoint,
        span: ByteRange,
        mut response: Response,
        sink: &mut Sink<'_>,
    ) -> Result<(), Failure> {
        let ByteRange { mut at, until } = span;
        let last = until.min(self.end);
        while at < last {
            let waiting = Instant::now();
            let received = {
                let _waiting = endpoint.meter.wait();
                piece(self.http, &mut response).await
            };
            self.spend(endpoint, waiting.elapsed())?;
            let piece = match received {
                Ok(Some(piece)) => piece,
                Ok(None) => return Err(self.truncated(endpoint, "the body ended early".into())),
                Err(reason) => return Err(self.truncated(endpoint, reason)),
            };
            let length = piece.len() as u64;
            let fresh = within(&piece, self.next.saturating_sub(at), last.saturating_sub(at));
            at = at.saturating_add(length);
            endpoint.meter.count(length);
            if !fresh.is_empty() {
                sink(fresh).map_err(SourceError::from)?;
                self.next = self.next.saturating_add(fresh.len() as u64);
            }
            self.rate.take(length).await;
            if at < last {
                self.check_rate(endpoint)?;
            }
        }
        if at == until {
            // The end of the body, so that the connection can be used again.
            let end = piece(self.http, &mut response);
            let _ = tokio::time::timeout(Duration::from_secs(1), end).await;
        }
        Ok(())
    }

    /// Why the bytes are not those of the blob: its digest decides, and the media type explains.
    pub fn explained(&mut self, error: impl Into<SourceError>) -> SourceError {
        self.foreign.take().unwrap_or_else(|| error.into())
    }

    fn truncated(&mut self, endpoint: &Endpoint, reason: String) -> Failure {
        if let Some(error) = self.foreign.take() {
            return error.into();
        }
        let (got, end) = (self.next, self.end);
        let what = format!("blob {} at byte {got} of {end}: {reason}", self.blob.digest.short());
        Failure::transient(SourceError::Truncated { host: endpoint.host.clone(), what })
    }

    /// Refuses a host that gives bytes too slowly, where another one may be faster.
    fn check_rate(&self, endpoint: &Endpoint) -> Result<(), SourceError> {
        let Some(least) = self.least else { return Ok(()) };
        let window = self.http.timing().rate_window;
        if endpoint.meter.is_slower_than(least, window) {
            endpoint.slow.store(true, Ordering::Relaxed);
        }
        // Another transfer may have found it out.
        if !endpoint.slow.load(Ordering::Relaxed) {
            return Ok(());
        }
        let reason = format!("it gives less than {least} bytes per second (track.min_rate)");
        Err(SourceError::Unreachable { host: endpoint.host.clone(), reason })
    }

    fn spend(&mut self, endpoint: &Endpoint, time: Duration) -> Result<(), SourceError> {
        match self.patience.checked_sub(time) {
            Some(left) => self.patience = left,
            None => {
                return Err(SourceError::Unreachable {
                    host: endpoint.host.clone(),
                    reason: format!("it gives less than {FLOOR} bytes per second"),
                });
            }
        }
        Ok(())
    }
}

/// The bytes `start..end` of a piece, as far as it has them.
fn within(piece: &[u8], start: u64, end: u64) -> &[u8] {
    let clamp = |n: u64| usize::try_from(n).unwrap_or(usize::MAX).min(piece.len());
    piece.get(clamp(start)..clamp(end)).unwrap_or_default()
}
