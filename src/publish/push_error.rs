// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the registry client reports, in flipside's words: its own sentences
//! hold URLs, and those of uploads hold a secret.

use flipside_source::retry::{Failure, is_transient, status_text};
use flipside_source::{LocalError, SourceError, of_request};
use oci_client::errors::{OciDistributionError, OciErrorCode};
use reqwest::StatusCode;

/// Why a push to `host` failed, and whether to try again.
pub(super) fn failure_of(error: OciDistributionError, host: &str) -> Failure {
    use OciDistributionError as Bad;
    let host = host.to_owned();
    let registry = |host, answer: String| SourceError::Registry { host, answer };
    let error = match error {
        Bad::RequestError(error) => match error.status() {
            Some(status) => return of_status(status.as_u16(), host),
            None => return of_request(&error, &host),
        },
        Bad::AuthenticationFailure(_) | Bad::UnauthorizedError { .. } => unauthorized(host),
        Bad::ServerError { code, .. } => return of_status(code, host),
        Bad::RegistryError { envelope, .. } => {
            let codes: Vec<_> = envelope.errors.iter().map(|e| format!("{:?}", e.code)).collect();
            let reason = codes.join(", ").chars().take(200).collect::<String>();
            let has = |code| envelope.errors.iter().any(|e| e.code == code);
            if has(OciErrorCode::Denied) {
                SourceError::Forbidden { host, reason }
            } else if has(OciErrorCode::Unauthorized) {
                SourceError::Unauthorized { host, reason }
            } else if has(OciErrorCode::Toomanyrequests) {
                return Failure::transient(SourceError::RateLimited { host, seconds: None });
            } else {
                registry(host, format!("with the error {reason}"))
            }
        }
        Bad::IoError(source) => LocalError::File { path: "blob".into(), source }.into(),
        _ => registry(host, "in a way that is against the OCI distribution specification".into()),
    };
    error.into()
}

/// What a bare status means.
fn of_status(code: u16, host: String) -> Failure {
    let status = StatusCode::from_u16(code).unwrap_or_default();
    let error = match code {
        401 => unauthorized(host),
        403 => SourceError::Forbidden { host, reason: "403 Forbidden".to_owned() },
        429 => SourceError::RateLimited { host, seconds: None },
        _ => SourceError::Registry { host, answer: status_text(status) },
    };
    if is_transient(status) { Failure::transient(error) } else { error.into() }
}

fn unauthorized(host: String) -> SourceError {
    let reason = "it refuses those that are stored for it, if there are any".to_owned();
    SourceError::Unauthorized { host, reason }
}
