// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the registry client reports, in flipside's words: its own sentences
//! hold URLs, and those of uploads hold a secret.

use flipside_source::retry::{Failure, is_transient, status_with_reason};
use flipside_source::{LocalError, Reference, SourceError, of_request, reason};
use oci_client::errors::{OciDistributionError, OciErrorCode};
use reqwest::{StatusCode, Url};

/// What is known of a registry that is pushed to.
#[derive(Default)]
pub(super) struct Known {
    /// The proxy that leads there.
    pub proxy: Option<Url>,
    /// What it was shown: it may repeat that, and flipside may not.
    pub secrets: Vec<String>,
    /// What to say where it refuses that.
    pub refusal: String,
}

/// Whether a body was too large for somebody on the way.
pub(super) fn is_too_large(error: &OciDistributionError) -> bool {
    let too_large = StatusCode::PAYLOAD_TOO_LARGE;
    match error {
        OciDistributionError::RequestError(error) => error.status() == Some(too_large),
        OciDistributionError::ServerError { code, .. } => *code == too_large.as_u16(),
        _ => false,
    }
}

/// Why a push to `reference` failed, and whether to try again.
pub(super) fn failure_of(
    error: OciDistributionError,
    reference: &Reference,
    known: &Known,
) -> Failure {
    use OciDistributionError as Bad;
    let host = reference.host().to_owned();
    let (code, reason) = match error {
        Bad::RequestError(error) => match error.status() {
            Some(status) => (status.as_u16(), None),
            None => return of_request(&error, &host, known.proxy.as_ref()),
        },
        Bad::AuthenticationFailure(_) | Bad::UnauthorizedError { .. } => (401, None),
        Bad::ServerError { code, message, .. } => {
            (code, reason(message.as_bytes(), &known.secrets))
        }
        Bad::RegistryError { envelope, .. } => {
            let body = serde_json::to_vec(&envelope).unwrap_or_default();
            let reason = reason(&body, &known.secrets);
            let has = |code| envelope.errors.iter().any(|e| e.code == code);
            if has(OciErrorCode::Denied) {
                (403, reason)
            } else if has(OciErrorCode::Unauthorized) {
                (401, reason)
            } else if has(OciErrorCode::Toomanyrequests) {
                (429, reason)
            } else {
                // The client does not say which status it was.
                let answer = format!("with the error {}", reason.unwrap_or_default());
                return SourceError::Registry { host, answer }.into();
            }
        }
        Bad::IoError(source) => {
            return SourceError::from(LocalError::File { path: "blob".into(), source }).into();
        }
        _ => {
            let answer = "in a way that is against the OCI distribution specification".into();
            return SourceError::Registry { host, answer }.into();
        }
    };
    let status = StatusCode::from_u16(code).unwrap_or_default();
    let words = status_with_reason(status, reason.as_deref());
    let error = match code {
        401 => {
            let said = reason.map(|said| format!("{said}; ")).unwrap_or_default();
            let refusal = match known.refusal.as_str() {
                "" => "it asked for none at first, so that none were shown",
                refusal => refusal,
            };
            SourceError::Unauthorized { host, reason: format!("{said}{refusal}") }
        }
        403 => {
            let object = reference.repository().to_owned();
            SourceError::Forbidden { host, object, reason: words }
        }
        413 => {
            let answer = format!("{words}: a proxy in front of it limits the size of uploads");
            SourceError::Registry { host, answer }
        }
        429 => SourceError::RateLimited { host, seconds: None },
        _ => SourceError::Registry { host, answer: words },
    };
    if is_transient(status) { Failure::transient(error) } else { error.into() }
}
