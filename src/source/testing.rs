// SPDX-License-Identifier: MIT OR Apache-2.0

//! What reads bytes of others and has no other way in without a network or a file: for fuzz targets.
//! The product does not enable this.

use std::time::SystemTime;

use reqwest::StatusCode;
use reqwest::header::{CONTENT_RANGE, HeaderMap, HeaderName, HeaderValue, LINK};

use super::content_range::ContentRange;
use super::{answer, credentials, login, registry, retry};

/// Whether a login file of these bytes has anything for a repository. No helper is asked.
pub fn login_file(bytes: &[u8], host: &str, repository: &str) -> bool {
    credentials::in_bytes(bytes, host, repository).is_some()
}

/// Reads an answer in every way that a registry's or a token service's is read: its headers, lines of
/// `NAME: VALUE`, and its body. Returns what is made of an error of it.
pub fn answer(status: u16, head: &[u8], body: &[u8]) -> String {
    let mut headers = HeaderMap::new();
    for line in head.split(|byte| *byte == b'\n') {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = line.split_at(colon);
        let name = HeaderName::from_bytes(name);
        let value = HeaderValue::from_bytes(value.get(1..).unwrap_or_default().trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    let _ = login::read(&headers, body);
    let _ = retry::retry_after(&headers, SystemTime::UNIX_EPOCH);
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let _ = text(LINK).and_then(registry::next_query);
    let _ = text(CONTENT_RANGE).and_then(ContentRange::parse);
    answer::words(StatusCode::from_u16(status).unwrap_or_default(), body, &[])
}
