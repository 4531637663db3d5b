// SPDX-License-Identifier: MIT OR Apache-2.0

//! Answers, and what those say that report a failure.

use std::time::{Duration, SystemTime};

use reqwest::header::CONTENT_TYPE;
use reqwest::{Response, StatusCode};

use flipside_image::printable;

use super::SourceError;
use super::retry::{Failure, Retry, is_transient, retry_after, status_text};

/// The most bytes of an error's body that are read.
const ERROR_BODY_LIMIT: usize = 16 << 10;
/// The longest that is waited for them.
const ERROR_BODY_TIME: Duration = Duration::from_secs(5);

/// The answer, and whether it came from another host than the one that was asked.
pub(crate) struct Answer {
    pub response: Response,
    pub host: String,
    pub foreign: bool,
}

impl Answer {
    /// Its media type, without parameters.
    fn media_type(&self) -> &str {
        let header = self.response.headers().get(CONTENT_TYPE).and_then(|h| h.to_str().ok());
        header.and_then(|kind| kind.split(';').next()).unwrap_or_default().trim()
    }

    /// Whether it is meant for people: a login page, or that of a proxy or of a web server.
    pub fn is_web_page(&self) -> bool {
        let kind = self.media_type();
        ["text/html", "application/xhtml+xml"].iter().any(|page| kind.eq_ignore_ascii_case(page))
    }

    /// Whether its media type is that of a manifest of some kind.
    pub fn is_manifest(&self) -> bool {
        let kind = self.media_type().to_ascii_lowercase();
        kind.starts_with("application/vnd.") && kind.contains('+')
    }

    /// What to say where no registry answers like this.
    pub fn not_of_a_registry(&self) -> SourceError {
        let kind = match self.media_type() {
            _ if self.is_web_page() => "a web page".to_owned(),
            "" => "something".to_owned(),
            kind => printable::line(kind, 60),
        };
        let answer = format!("{} with {kind}", status_text(self.response.status()));
        SourceError::NotARegistry { host: self.host.clone(), answer }
    }
}

/// At most 16 KiB of a body that is not worth much, in at most 5 s. After that the connection can
/// be used again.
pub(crate) async fn read_some(mut response: Response) -> Vec<u8> {
    let mut body = Vec::new();
    let read = async {
        while let Ok(Some(piece)) = response.chunk().await {
            body.extend_from_slice(&piece);
            if body.len() > ERROR_BODY_LIMIT {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(ERROR_BODY_TIME, read).await;
    body.truncate(ERROR_BODY_LIMIT);
    body
}

/// A status that is nobody's special case, as a failure.
pub(crate) async fn failed(answer: Answer) -> Failure {
    let page = answer.is_web_page().then(|| answer.not_of_a_registry());
    let Answer { response, host, foreign } = answer;
    let status = response.status();
    let wait = retry_after(response.headers(), SystemTime::now());
    let words = words(status, &read_some(response).await);
    let error = match (status, page) {
        (StatusCode::UNAUTHORIZED, _) if !foreign => {
            SourceError::Unauthorized { host, reason: words }
        }
        (StatusCode::TOO_MANY_REQUESTS, _) => {
            SourceError::RateLimited { host, seconds: wait.map(|w| w.as_secs()) }
        }
        _ if is_transient(status) => SourceError::Unavailable { host, answer: words, wait },
        (_, Some(page)) => page,
        (StatusCode::FORBIDDEN, _) if !foreign => SourceError::Forbidden { host, reason: words },
        _ => SourceError::Registry { host, answer: words },
    };
    // Storage behind a redirect refuses a signed URL that has expired; asking
    // the registry again gives a fresh one.
    let expired = foreign && matches!(status.as_u16(), 400 | 401 | 403);
    let retry = match wait {
        _ if !is_transient(status) && !expired => Retry::Never,
        Some(wait) => Retry::After(wait),
        None => Retry::BackOff,
    };
    Failure { error, retry, other_protocol: false }
}

/// The status and the error codes that the registry names (OCI distribution
/// spec, "Error Codes"). Its free text is left out: it may repeat what it was sent.
pub(super) fn words(status: StatusCode, body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Envelope {
        #[serde(deserialize_with = "flipside_image::bounded::list::<100, _, _>")]
        errors: Vec<Entry>,
    }
    #[derive(serde::Deserialize)]
    struct Entry {
        code: String,
    }
    let plain =
        |code: &str| code.len() <= 40 && code.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
    let codes = serde_json::from_slice::<Envelope>(body)
        .map(|e| e.errors.into_iter().map(|e| e.code).filter(|c| plain(c)).take(3).collect())
        .unwrap_or_else(|_| Vec::new());
    let name = status_text(status);
    if codes.is_empty() { name } else { format!("{name} ({})", codes.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_codes_of_an_error_are_passed_on() {
        for (body, expected) in [
            (r#"{"errors":[{"code":"DENIED","message":"token abc"}]}"#, "403 Forbidden (DENIED)"),
            (
                r#"{"errors":[{"code":"A"},{"code":"B"},{"code":"C"},{"code":"D"}]}"#,
                "403 Forbidden (A, B, C)",
            ),
            (r#"{"errors":[{"code":"token abc"}]}"#, "403 Forbidden"),
            (r#"{"errors":{}}"#, "403 Forbidden"),
            ("<html>token abc</html>", "403 Forbidden"),
            ("", "403 Forbidden"),
        ] {
            assert_eq!(words(StatusCode::FORBIDDEN, body.as_bytes()), expected);
        }
    }
}
