// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the HTTP and TLS libraries report, in flipside's words. Their own
//! sentences are not passed on: they hold URLs.

use std::error::Error;
use std::io::ErrorKind;

use flipside_image::printable;
use flipside_image::redact::redact;
use reqwest::Url;
use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError};

use super::retry::Failure;
use super::{SourceError, proxy};

/// Why `host` did not answer, which is asked through `proxy`.
pub fn of_request(error: &reqwest::Error, host: &str, proxy: Option<&Url>) -> Failure {
    let host = host.to_owned();
    if let Some(error) = causes(error).find_map(rustls_error) {
        return of_tls(error, host);
    }
    let reason = if error.is_timeout() {
        if error.is_connect() { "no connection in time".into() } else { "no answer in time".into() }
    } else {
        last_words(error)
    };
    let (host, reason) = match proxy.filter(|_| error.is_connect()).map(proxy::name) {
        Some(proxy) => of_proxy(error, host, proxy, reason),
        None => (host, reason),
    };
    // A host that has just booted may not have a resolver yet, so both are tried again.
    Failure::transient(if error.is_dns() {
        SourceError::UnknownHost { host, reason }
    } else {
        SourceError::Unreachable { host, reason }
    })
}

/// Who was not reached, and why, where a proxy leads to `host`.
fn of_proxy(
    error: &reqwest::Error,
    host: String,
    proxy: String,
    reason: String,
) -> (String, String) {
    let kind = causes(error).filter_map(|cause| cause.downcast_ref::<std::io::Error>()).last();
    match (error.is_dns(), kind.map(std::io::Error::kind)) {
        (true, _) | (_, Some(ErrorKind::ConnectionRefused | ErrorKind::NetworkUnreachable)) => {
            (proxy, reason)
        }
        (_, Some(_)) => (format!("{host} through {proxy}"), reason),
        _ if error.is_timeout() => (format!("{host} through {proxy}"), reason),
        // It answered CONNECT (RFC 9110, section 9.3.6) with something else than success.
        _ => {
            let words = reason.trim_start_matches("tunnel error: ");
            (host, format!("{proxy} makes no connection: {words}"))
        }
    }
}

/// Whether the other side answered, but not in plain HTTP.
pub(crate) fn is_other_protocol(error: &reqwest::Error) -> bool {
    !error.is_connect() && !error.is_timeout() && !error.is_dns()
}

fn of_tls(error: &rustls::Error, host: String) -> Failure {
    let error = match error {
        rustls::Error::InvalidCertificate(bad) => of_certificate(bad, host),
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

fn of_certificate(bad: &CertificateError, host: String) -> SourceError {
    use CertificateError as Bad;
    let when = |at: &UnixTime, now: &UnixTime| {
        format!(" ({}; this host's clock says {})", day(*at), day(*now))
    };
    let untrusted =
        |host, reason: &str| SourceError::CertificateUntrusted { host, reason: reason.to_owned() };
    match bad {
        Bad::Expired => SourceError::CertificateExpired { host, when: String::new() },
        Bad::ExpiredContext { time, not_after } => {
            SourceError::CertificateExpired { host, when: when(not_after, time) }
        }
        Bad::NotValidYet => SourceError::CertificateNotYetValid { host, when: String::new() },
        Bad::NotValidYetContext { time, not_before } => {
            SourceError::CertificateNotYetValid { host, when: when(not_before, time) }
        }
        Bad::NotValidForName => SourceError::CertificateName { host, names: names(&[]) },
        Bad::NotValidForNameContext { presented, .. } => {
            SourceError::CertificateName { host, names: names(presented) }
        }
        // One that was made anew, with the same name, has another key.
        Bad::UnknownIssuer | Bad::BadSignature => untrusted(
            host,
            "no authority that this host knows has signed it; if the authority is yours, name its \
             certificate in track.ca",
        ),
        other => match format!("{other:?}") {
            // What `openssl x509 -req` makes without extensions.
            words if words.contains("UnsupportedCertVersion") => {
                SourceError::CertificateName { host, names: names(&[]) }
            }
            words if words.contains("CaUsedAsEndEntity") => untrusted(
                host,
                "it is the certificate of an authority; make one for the server, with \
                 basicConstraints=CA:FALSE",
            ),
            _ => untrusted(host, &other.to_string()),
        },
    }
}

/// `2026-11-30`.
fn day(time: UnixTime) -> String {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    match jiff::Timestamp::from_second(seconds) {
        Ok(time) => time.strftime("%Y-%m-%d").to_string(),
        Err(_) => "a day that is no date".to_owned(),
    }
}

/// For whom a certificate is that names these: `DnsName("r.example")`.
fn names(presented: &[String]) -> String {
    if presented.is_empty() {
        return "for no name: make one with a subjectAltName, since the common name does not count"
            .to_owned();
    }
    let name = |text: &String| {
        let inner = text.split_once('(').map_or(text.as_str(), |(_, inner)| inner);
        inner.trim_end_matches(')').trim_matches('"').to_owned()
    };
    let names: Vec<String> = presented.iter().take(10).map(name).collect();
    let names = printable::line(&names.join(", "), 200);
    format!("for {names}: use that name, or make one with another subjectAltName")
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
