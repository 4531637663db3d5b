// SPDX-License-Identifier: MIT OR Apache-2.0

//! Answers, and what those say that report a failure.

use std::time::{Duration, SystemTime};

use reqwest::header::CONTENT_TYPE;
use reqwest::{Response, StatusCode, Url};

use flipside_image::printable;
use flipside_image::redact::redact;

use super::SourceError;
use super::retry::{Failure, Retry, is_transient, retry_after, status_text, status_with_reason};

/// The most bytes of an error's body that are read.
const ERROR_BODY_LIMIT: usize = 16 << 10;
/// The longest that is waited for them.
const ERROR_BODY_TIME: Duration = Duration::from_secs(5);
/// The most characters of what a registry says of a failure.
const REASON_LIMIT: usize = 200;

/// The answer, and whether it came from another host than the one that was asked.
pub(crate) struct Answer {
    pub response: Response,
    pub host: String,
    pub foreign: bool,
    /// What the host was shown in secret.
    pub secrets: Vec<String>,
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

/// What an error says of a question that found nothing; empty where that is what it always says.
pub(crate) async fn nothing_found(answer: Answer) -> String {
    let reason = reason(&read_some(answer.response).await, &answer.secrets).unwrap_or_default();
    let is_usual = reason.starts_with("MANIFEST_UNKNOWN") || reason.is_empty();
    if is_usual { String::new() } else { format!(" ({reason})") }
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
    let Answer { response, host, foreign, secrets } = answer;
    let (status, object) = (response.status(), object(response.url()));
    let wait = retry_after(response.headers(), SystemTime::now());
    let words = words(status, &read_some(response).await, &secrets);
    let error = match (status, page) {
        (StatusCode::UNAUTHORIZED, _) if !foreign => {
            SourceError::Unauthorized { host, reason: words }
        }
        (StatusCode::TOO_MANY_REQUESTS, _) => {
            SourceError::RateLimited { host, seconds: wait.map(|w| w.as_secs()) }
        }
        (StatusCode::PAYLOAD_TOO_LARGE, _) => {
            let answer = format!("{words}: a proxy in front of it limits the size of uploads");
            SourceError::Registry { host, answer }
        }
        _ if is_transient(status) => SourceError::Unavailable { host, answer: words, wait },
        (_, Some(page)) => page,
        (StatusCode::FORBIDDEN, _) if !foreign => {
            SourceError::Forbidden { host, object, reason: words }
        }
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

/// What was asked for below `/v2/`, as people write it: `acme/edge:stable`.
fn object(url: &Url) -> String {
    let mut parts = url.path().strip_prefix("/v2/").unwrap_or_default().rsplitn(3, '/');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(digest), _, Some(repository)) if digest.contains(':') => {
            format!("{repository}@{digest}")
        }
        (Some(tag), Some("manifests"), Some(repository)) => format!("{repository}:{tag}"),
        _ => "what was asked for".to_owned(),
    }
}

/// The status, and what the registry says with it, without what it was shown in secret.
pub(super) fn words(status: StatusCode, body: &[u8], secrets: &[String]) -> String {
    status_with_reason(status, reason(body, secrets).as_deref())
}

/// The codes and messages of an error (OCI distribution spec, "Error Codes"), or the one message of
/// a token service or a proxy; printable, in one line, and without `secrets` and others.
pub(super) fn reason(body: &[u8], secrets: &[String]) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Envelope {
        #[serde(deserialize_with = "flipside_image::bounded::list::<100, _, _>")]
        errors: Vec<Entry>,
    }
    #[derive(serde::Deserialize)]
    struct Entry {
        code: Option<String>,
        #[serde(alias = "details", alias = "error_description")]
        message: Option<String>,
    }
    let entries = match serde_json::from_slice::<Envelope>(body) {
        Ok(envelope) => envelope.errors,
        Err(_) => vec![serde_json::from_slice::<Entry>(body).ok()?],
    };
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    let said = entries.into_iter().take(3).filter_map(|Entry { code, message }| {
        let code = code.filter(|code| code.len() <= 64 && code.bytes().all(plain));
        let parts = [code, message].into_iter().flatten().filter(|part| !part.is_empty());
        Some(parts.collect::<Vec<_>>().join(": ")).filter(|said| !said.is_empty())
    });
    let said = said.collect::<Vec<_>>().join("; ");
    let said = secrets.iter().fold(said, |said, secret| said.replace(secret.as_str(), "***"));
    Some(printable::line(&redact(&said), REASON_LIMIT)).filter(|reason| !reason.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codes_and_messages_of_an_error_are_passed_on_without_secrets() {
        let long = "x".repeat(1000);
        for (body, expected) in [
            (r#"{"errors":[{"code":"DENIED","message":"not by you"}]}"#, "DENIED: not by you"),
            (r#"{"errors":[{"code":"DENIED","message":"not by s3cret"}]}"#, "DENIED: not by ***"),
            (
                r#"{"errors":[{"code":"A"},{"code":"B","message":null},{"message":"c"},{"code":"D"}]}"#,
                "A; B; c",
            ),
            (r#"{"errors":[{"code":"DENIED","message":"a\u001b[1m\nb\u202e"}]}"#, "DENIED: a[1m b"),
            (
                r#"{"errors":[{"message":"see https://r.example/x?sig=abc"}]}"#,
                "see https://r.example/x?***",
            ),
            (r#"{"errors":[{"code":"token abc"}]}"#, ""),
            (r#"{"details":"incorrect username or password"}"#, "incorrect username or password"),
            (r#"{"errors":{}}"#, ""),
            ("<html>token abc</html>", ""),
            ("", ""),
        ] {
            let found = reason(body.as_bytes(), &["s3cret".to_owned()]).unwrap_or_default();
            assert_eq!(found, expected);
        }
        let body = format!(r#"{{"errors":[{{"message":"{long}"}}]}}"#);
        assert_eq!(reason(body.as_bytes(), &[]).unwrap().chars().count(), REASON_LIMIT);
        assert_eq!(words(StatusCode::FORBIDDEN, b"", &[]), "403 Forbidden");
        let body = br#"{"errors":[{"code":"DENIED"}]}"#;
        assert_eq!(words(StatusCode::FORBIDDEN, body, &[]), "403 Forbidden (DENIED)");
    }

    #[test]
    fn what_was_asked_for_is_named_as_people_write_it() {
        for (path, expected) in [
            ("v2/a/b/manifests/stable.policy", "a/b:stable.policy"),
            ("v2/a/blobs/sha256:00?ns=r", "a@sha256:00"),
            ("v2/a/manifests/sha256:00", "a@sha256:00"),
            ("v2/", "what was asked for"),
            ("token", "what was asked for"),
        ] {
            let url = Url::parse(&format!("https://r.example/{path}")).unwrap();
            assert_eq!(object(&url), expected, "{path}");
        }
    }
}
