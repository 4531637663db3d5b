// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the HTTP and TLS libraries report, in flipside's words. Their own
//! sentences are not passed on: they hold URLs.

use std::error::Error;

use flipside_image::redact::redact;
use rustls::{AlertDescription, CertificateError};

use super::SourceError;
use super::retry::Failure;

/// Why `host` did not answer.
pub fn of_request(error: &reqwest::Error, host: &str) -> Failure {
    let host = host.to_owned();
    if let Some(error) = causes(error).find_map(rustls_error) {
        return of_tls(error, host);
    }
    let reason = if error.is_timeout() {
        if error.is_connect() { "no connection in time".into() } else { "no answer in time".into() }
    } else {
        last_words(error)
    };
    // A host that has just booted may not have a resolver yet, so both are tried again.
    Failure::transient(if error.is_dns() {
        SourceError::UnknownHost { host, reason }
    } else {
        SourceError::Unreachable { host, reason }
    })
}

/// Whether the other side answered, but not in plain HTTP.
pub(crate) fn is_other_protocol(error: &reqwest::Error) -> bool {
    !error.is_connect() && !error.is_timeout() && !error.is_dns()
}

fn of_tls(error: &rustls::Error, host: String) -> Failure {
    use CertificateError as Bad;
    let error = match error {
        rustls::Error::InvalidCertificate(bad) => match bad {
            Bad::Expired | Bad::ExpiredContext { .. } => SourceError::CertificateExpired { host },
            Bad::NotValidYet | Bad::NotValidYetContext { .. } => {
                SourceError::CertificateNotYetValid { host }
            }
            Bad::NotValidForName | Bad::NotValidForNameContext { .. } => {
                SourceError::CertificateName { host }
            }
            Bad::UnknownIssuer => SourceError::CertificateUntrusted {
                host,
                reason: "no authority that this host knows has signed it".to_owned(),
            },
            other => SourceError::CertificateUntrusted { host, reason: other.to_string() },
        },
        // What a server of plain HTTP looks like from here.
        rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType) => {
            SourceError::PlainHttpRefused { host }
        }
        rustls::Error::AlertReceived(
            AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::UnknownCA
            | AlertDescription::CertificateUnknown,
        ) => SourceError::Tls {
            host,
            reason: "it asks for another client certificate (track.client_cert, which only the \
                     registry and its mirrors are shown)"
                .to_owned(),
        },
        other => SourceError::Tls { host, reason: other.to_string() },
    };
    error.into()
}

/// All causes, outermost first.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&e| e.source())
}

/// The TLS error that `error` is or carries: `io::Error::source` skips the
/// error that it wraps.
fn rustls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    if let Some(tls) = error.downcast_ref() {
        return Some(tls);
    }
    let inner: &(dyn Error + 'static) = error.downcast_ref::<std::io::Error>()?.get_ref()?;
    rustls_error(inner)
}

/// The innermost cause, which knows of no URL.
pub(crate) fn last_words(error: &reqwest::Error) -> String {
    match causes(error).skip(1).last() {
        Some(cause) => redact(&cause.to_string()),
        None => "the request failed".to_owned(),
    }
}
