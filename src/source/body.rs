// SPDX-License-Identifier: MIT OR Apache-2.0

//! Bodies, piece by piece: never more than allowed, never waiting for ever.

use std::ops::Deref;

use flipside_image::ImageError;
use reqwest::Response;

use super::SourceError;
use super::failure::last_words;
use super::http::Http;
use super::retry::Failure;

/// The next piece of a body as the connection gave it, without a copy.
///
/// # Errors
/// In words, how the body broke off.
pub(super) async fn piece(
    http: &Http,
    response: &mut Response,
) -> Result<Option<impl Deref<Target = [u8]> + use<>>, String> {
    let stall = http.timing().stall;
    match tokio::time::timeout(stall, response.chunk()).await {
        Ok(Ok(piece)) => Ok(piece),
        Ok(Err(error)) => Err(last_words(&error)),
        Err(_) => Err(format!("no byte for {} s", stall.as_secs_f32())),
    }
}

/// A whole body of at most `limit` bytes. Content-Length may only shorten the
/// matter, never allocate.
pub(super) async fn bounded(
    http: &Http,
    mut response: Response,
    host: &str,
    object: &'static str,
    limit: u64,
) -> Result<Vec<u8>, Failure> {
    let too_large = |size| ImageError::TooLarge { object, size, limit };
    let announced = response.content_length();
    if let Some(size) = announced.filter(|size| *size > limit) {
        return Err(SourceError::from(too_large(size)).into());
    }
    let mut bytes = Vec::new();
    loop {
        match piece(http, &mut response).await {
            Ok(Some(piece)) => bytes.extend_from_slice(&piece),
            Ok(None) => return Ok(bytes),
            Err(reason) => {
                let what = format!("the {object} after {} bytes: {reason}", bytes.len());
                let host = host.to_owned();
                return Err(Failure::transient(SourceError::Truncated { host, what }));
            }
        }
        if bytes.len() as u64 > limit {
            return Err(SourceError::from(too_large(bytes.len() as u64)).into());
        }
    }
}
