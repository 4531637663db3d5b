// SPDX-License-Identifier: MIT OR Apache-2.0

//! One blob on its way into a registry (OCI distribution spec v1.1, "Pushing blobs"): in one
//! request, and in pieces where something in front of the registry limits the size of requests.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use flipside_image::Digest;
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderValue, RANGE};
use reqwest::{Method, StatusCode, Url};

use super::SourceError;
use super::answer::{Answer, failed};
use super::content::Blob;
use super::endpoint::Endpoint;
use super::http::{Body, Http, Request, location, same_origin};
use super::retry::{Failure, Tries, is_transient, status_text};

/// How many bytes a piece has. nginx takes 1 MiB where it is not told otherwise
/// (`client_max_body_size`).
const PIECE: u64 = 512 << 10;
/// The least size of pieces that a registry takes, the last one excepted.
const CHUNK_MIN_LENGTH: &str = "oci-chunk-min-length";
/// How often it is told how much was sent.
const INTERVAL: Duration = Duration::from_millis(100);

/// A blob on its way.
pub(super) struct Upload<'a> {
    http: &'a Http,
    endpoint: &'a Endpoint,
    needs_pieces: &'a AtomicBool,
    blob: &'a Blob,
    sent: &'a dyn Fn(u64),
    /// How many bytes `sent` was told of.
    told: u64,
    /// How many bytes the registry has acknowledged.
    furthest: u64,
    /// What an attempt in pieces left when it broke off.
    session: Option<Session>,
}

/// An upload that the registry has begun.
#[derive(Clone)]
struct Session {
    /// Where it goes on. It may hold a secret.
    url: Url,
    /// Another host has led there: it gets no credentials.
    foreign: bool,
    /// How many bytes the registry has.
    received: u64,
    /// How many bytes the next piece has at most.
    piece: u64,
}

impl<'a> Upload<'a> {
    /// Asks nobody yet. `sent` is told of bytes that are sent, as differences.
    pub fn new(
        http: &'a Http,
        endpoint: &'a Endpoint,
        needs_pieces: &'a AtomicBool,
        blob: &'a Blob,
        sent: &'a dyn Fn(u64),
    ) -> Self {
        let (told, furthest, session) = (0, 0, None);
        Self { http, endpoint, needs_pieces, blob, sent, told, furthest, session }
    }

    /// Sends it until the registry has it or the tries are used up.
    pub async fn run(mut self) -> Result<(), SourceError> {
        let mut tries = Tries::new(self.http.timing());
        let mut is_first = true;
        loop {
            let before = self.furthest;
            let result = self.attempt(is_first).await;
            is_first = false;
            if self.furthest > before {
                tries.reset();
            }
            let Err(failure) = result else { break };
            if let Some(error) = self.blob.failure() {
                return Err(error.into());
            }
            tokio::time::sleep(tries.next(failure)?).await;
        }
        self.tell(self.blob.size);
        Ok(())
    }

    async fn attempt(&mut self, is_first: bool) -> Result<(), Failure> {
        if let Some(session) = self.session.clone() {
            self.session = self.resume(session).await?;
        }
        let mut session = match self.session.clone() {
            Some(session) => session,
            // What was sent may have arrived, and only the answer was lost.
            None if !is_first && has_blob(self.endpoint, self.http, &self.blob.digest).await? => {
                return Ok(());
            }
            None => self.begin().await?,
        };
        let is_small = self.blob.size <= PIECE;
        if is_small || !self.needs_pieces.load(Ordering::Relaxed) {
            let answer = self.put(session, 0..self.blob.size).await?;
            if is_small || answer.response.status() != StatusCode::PAYLOAD_TOO_LARGE {
                return done(answer).await.map(|_| ());
            }
            self.needs_pieces.store(true, Ordering::Relaxed);
            session = self.begin().await?;
        }
        self.keep(&session);
        while session.received < self.blob.size {
            session = self.patch(session).await?;
            self.keep(&session);
        }
        done(self.put(session, self.blob.size..self.blob.size).await?).await.map(|_| ())
    }

    /// Keeps an upload for the next attempt.
    fn keep(&mut self, session: &Session) {
        self.furthest = self.furthest.max(session.received);
        self.session = Some(session.clone());
    }

    /// Begins an upload ("POST then PUT", "Pushing a blob in chunks").
    async fn begin(&self) -> Result<Session, Failure> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        let asked = self.endpoint.ask(self.http, Method::POST, "blobs/uploads/", headers);
        let answer = done(asked.await?).await?;
        if location(&answer.response).is_none() {
            let status = status_text(answer.response.status());
            let answer_text = format!("{status} without a place to upload to");
            return Err(SourceError::Registry { host: answer.host, answer: answer_text }.into());
        }
        let least = answer.response.headers().get(CHUNK_MIN_LENGTH);
        let least: Option<u64> = least.and_then(|least| least.to_str().ok()?.trim().parse().ok());
        let piece = least.unwrap_or(PIECE).max(PIECE);
        let url = answer.response.url().clone();
        Ok(self.next(Session { url, foreign: false, received: 0, piece }, &answer)?)
    }

    /// Sends the next piece.
    async fn patch(&mut self, session: Session) -> Result<Session, Failure> {
        let start = session.received;
        let end = start.saturating_add(session.piece).min(self.blob.size);
        // Other than in RFC 9110 it has no unit and no size of the whole.
        let range = format!("{start}-{}", end.saturating_sub(1));
        let range = HeaderValue::from_str(&range).ok().map(|range| (CONTENT_RANGE, range));
        let headers = HeaderMap::from_iter(range);
        let answer = self.send(Method::PATCH, &session, start..end, headers).await?;
        let answer = done(answer).await?;
        Ok(self.next(Session { received: end, ..session }, &answer)?)
    }

    /// Ends an upload with the last bytes of the blob, which may be all or none.
    async fn put(&mut self, mut session: Session, range: Range<u64>) -> Result<Answer, Failure> {
        session.url.query_pairs_mut().append_pair("digest", &self.blob.digest.to_string());
        self.send(Method::PUT, &session, range, HeaderMap::new()).await
    }

    /// Asks how much of an upload has arrived that broke off ("Pushing a blob in chunks"). `None`
    /// where that cannot be told, and the blob has to be sent anew.
    async fn resume(&self, session: Session) -> Result<Option<Session>, Failure> {
        let request = Request::new(Method::GET, session.url.clone());
        let answer = ask(self.http, self.endpoint, request, session.foreign).await?;
        let status = answer.response.status();
        if is_transient(status) {
            return Err(failed(answer).await);
        }
        let range = answer.response.headers().get(RANGE).and_then(|range| range.to_str().ok());
        match range.and_then(received) {
            Some(received) if status.is_success() && received <= self.blob.size => {
                Ok(Some(self.next(Session { received, ..session }, &answer)?))
            }
            _ => Ok(None),
        }
    }

    /// Where an upload goes on after an answer: where it was, if that says nothing else.
    fn next(&self, session: Session, answer: &Answer) -> Result<Session, SourceError> {
        let Some(url) = location(&answer.response) else { return Ok(session) };
        self.http.check_next(answer.response.url(), &url)?;
        let foreign = answer.foreign || !same_origin(answer.response.url(), &url);
        Ok(Session { url, foreign, ..session })
    }

    /// Sends a part of the blob, and tells of it meanwhile.
    async fn send(
        &mut self,
        method: Method,
        session: &Session,
        range: Range<u64>,
        mut headers: HeaderMap,
    ) -> Result<Answer, Failure> {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        let (start, part) = (range.start, self.blob.part(range));
        let body = Some(Body::Part(part.clone()));
        let request = Request { headers, body, ..Request::new(method, session.url.clone()) };
        let mut asked = std::pin::pin!(ask(self.http, self.endpoint, request, session.foreign));
        let answer = loop {
            match tokio::time::timeout(INTERVAL, &mut asked).await {
                Ok(answer) => break answer?,
                Err(_) => self.tell(start.saturating_add(part.sent())),
            }
        };
        match answer.response.status() {
            // The upload is gone, or has more or less than was thought. The next attempt asks.
            StatusCode::NOT_FOUND | StatusCode::RANGE_NOT_SATISFIABLE => {
                Err(Failure::transient(failed(answer).await.error))
            }
            _ => Ok(answer),
        }
    }

    fn tell(&mut self, position: u64) {
        if position > self.told {
            (self.sent)(position.saturating_sub(self.told));
            self.told = position;
        }
    }
}

/// Sends a request to where an upload goes on.
async fn ask(
    http: &Http,
    endpoint: &Endpoint,
    request: Request,
    foreign: bool,
) -> Result<Answer, Failure> {
    match foreign {
        false => endpoint.log_in_and_send(http, request).await,
        true => {
            let answer = http.send(Request { identified: false, ..request }).await?;
            Ok(Answer { foreign, ..answer })
        }
    }
}

/// Whether a blob is there ("Checking if content exists in the registry"). One that may not be asked
/// for is sent: what a registry says of that has a reason.
pub(super) async fn has_blob(
    endpoint: &Endpoint,
    http: &Http,
    digest: &Digest,
) -> Result<bool, Failure> {
    let path = format!("blobs/{digest}");
    let answer = endpoint.ask(http, Method::HEAD, &path, HeaderMap::new()).await?;
    match answer.response.status() {
        StatusCode::OK if answer.is_web_page() => Err(answer.not_of_a_registry().into()),
        StatusCode::OK => Ok(true),
        status if is_transient(status) => Err(failed(answer).await),
        _ => Ok(false),
    }
}

/// The answer, if it is a registry's that has done what it was asked for.
pub(super) async fn done(answer: Answer) -> Result<Answer, Failure> {
    match answer.response.status().is_success() {
        true if answer.is_web_page() => Err(answer.not_of_a_registry().into()),
        true => Ok(answer),
        false => Err(failed(answer).await),
    }
}

/// How many bytes an upload has, by the header Range: `0-N`, where N is the last of them. A registry
/// that has none has no way to say so: some say `0-0`.
fn received(range: &str) -> Option<u64> {
    let range = range.trim();
    let (first, last) = range.strip_prefix("bytes=").unwrap_or(range).split_once('-')?;
    let last = last.parse::<u64>().ok().filter(|last| first == "0" && *last > 0)?;
    last.checked_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_upload_has_is_read_from_its_range() {
        for (text, expected) in [
            ("0-524287", Some(524_288)),
            (" bytes=0-9 ", Some(10)),
            ("0-0", None),
            ("5-9", None),
            ("0-", None),
            ("-1", None),
            ("0--1", None),
            ("0-18446744073709551615", None),
            ("", None),
        ] {
            assert_eq!(received(text), expected, "{text}");
        }
    }
}
