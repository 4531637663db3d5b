// SPDX-License-Identifier: MIT OR Apache-2.0

//! When and how often to try again: exponential back-off with full jitter, as
//! long as the other side does not name a time itself.

use std::hash::{BuildHasher as _, RandomState};
use std::time::{Duration, SystemTime};

use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};

use super::SourceError;
use super::options::Timing;

/// Why one attempt failed, and whether another may help.
#[derive(Debug)]
pub struct Failure {
    /// What went wrong.
    pub error: SourceError,
    /// Whether to try again.
    pub retry: Retry,
    /// Something answered, but it did not speak plain HTTP.
    pub other_protocol: bool,
}

/// Whether to try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// It would fail again.
    Never,
    /// After the back-off.
    BackOff,
    /// After the time that the other side named.
    After(Duration),
}

impl Failure {
    /// A failure that another attempt may overcome.
    pub fn transient(error: SourceError) -> Self {
        Self { error, retry: Retry::BackOff, other_protocol: false }
    }
}

impl<E: Into<SourceError>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self { error: error.into(), retry: Retry::Never, other_protocol: false }
    }
}

/// The statuses that another attempt may overcome: 408 and every 5xx (RFC 9110 section 15), 425
/// (RFC 8470 section 5.2), 429 (RFC 6585 section 4), and 499, nginx's for a client that went away.
/// Proxies in front of registries add their own, such as Cloudflare's 520 to 530. Not 501, 505 and
/// 511: a method or a version that is not supported, and a portal that wants a person to log in.
pub fn is_transient(status: StatusCode) -> bool {
    match status.as_u16() {
        408 | 425 | 429 | 499 => true,
        501 | 505 | 511 => false,
        code => (500..600).contains(&code),
    }
}

/// A status as people see it: `502 Bad Gateway`, or the number alone where it has no name.
pub fn status_text(status: StatusCode) -> String {
    match status.canonical_reason() {
        Some(name) => format!("{} {name}", status.as_u16()),
        None => status.as_u16().to_string(),
    }
}

/// The same, and what the other side said with it: `403 Forbidden (DENIED: not by you)`.
pub fn status_with_reason(status: StatusCode, reason: Option<&str>) -> String {
    let name = status_text(status);
    match reason {
        Some(reason) => format!("{name} ({reason})"),
        None => name,
    }
}

/// What Retry-After says (RFC 9110 section 10.2.3): seconds or an HTTP-date.
pub(crate) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let then: SystemTime = jiff::fmt::rfc2822::parse(text).ok()?.timestamp().into();
    Some(then.duration_since(now).unwrap_or_default())
}

/// The tries of one question.
#[derive(Debug)]
pub struct Tries {
    timing: Timing,
    failed: u32,
}

impl Tries {
    /// None has failed yet.
    pub fn new(timing: Timing) -> Self {
        Self { timing, failed: 0 }
    }

    /// Progress was made: count from the start.
    pub fn reset(&mut self) {
        self.failed = 0;
    }

    /// How long to wait before the next try.
    ///
    /// # Errors
    /// The failure's own error, where there is no next try.
    pub fn next(&mut self, failure: Failure) -> Result<Duration, SourceError> {
        self.failed = self.failed.saturating_add(1);
        let wait = match failure.retry {
            Retry::Never => return Err(failure.error),
            Retry::BackOff => jitter(self.ceiling()),
            // Asking earlier than told makes it worse; the timer comes again.
            Retry::After(wait) if wait > self.timing.retry_after => return Err(failure.error),
            // Some jitter, so that a fleet that was told the same does not come as one.
            Retry::After(wait) => wait.saturating_add(jitter(self.ceiling())),
        };
        if self.failed >= self.timing.tries {
            return Err(failure.error);
        }
        tracing::warn!(
            code = flipside_image::code::Coded::code(&failure.error).name(),
            tries = self.failed,
            wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
            "trying again: {}",
            failure.error
        );
        Ok(wait)
    }

    /// The longest that the next back-off may be.
    fn ceiling(&self) -> Duration {
        let doublings = self.failed.saturating_sub(1).min(20);
        self.timing.base.saturating_mul(1 << doublings).min(self.timing.cap)
    }
}

/// A random part of `longest`.
pub fn jitter(longest: Duration) -> Duration {
    // Each state hashes by random keys of its own, and does not wait for them.
    let random = RandomState::new().hash_one(()) as u32;
    longest.mul_f64(f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(retry: Retry) -> Failure {
        Failure {
            error: SourceError::RedirectLoop { host: String::new() },
            retry,
            other_protocol: false,
        }
    }

    #[test]
    fn the_back_off_doubles_up_to_its_cap_and_ends() {
        let timing = Timing { tries: 9, ..Timing::default() };
        let mut tries = Tries::new(timing);
        let mut ceilings = Vec::new();
        while let Ok(wait) = tries.next(failure(Retry::BackOff)) {
            assert!(wait <= tries.ceiling());
            ceilings.push(tries.ceiling().as_millis());
        }
        assert_eq!(ceilings, [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000]);
    }

    #[test]
    fn a_random_part_is_anywhere_up_to_the_whole() {
        let second = Duration::from_secs(1);
        let parts: Vec<Duration> = (0..300).map(|_| jitter(second)).collect();
        assert!(parts.iter().all(|part| *part <= second));
        for tenth in 0..10 {
            let range = second * tenth / 10..=second * (tenth + 1) / 10;
            assert!(parts.iter().any(|part| range.contains(part)), "{range:?}");
        }
        assert_eq!(jitter(Duration::ZERO), Duration::ZERO);
    }

    #[test]
    fn progress_starts_the_count_again() {
        let mut tries = Tries::new(Timing { tries: 2, ..Timing::default() });
        for _ in 0..20 {
            assert!(tries.next(failure(Retry::BackOff)).is_ok());
            tries.reset();
        }
        assert!(tries.next(failure(Retry::BackOff)).is_ok());
        assert!(tries.next(failure(Retry::BackOff)).is_err());
    }

    #[test]
    fn a_wait_that_is_asked_for_is_never_cut_short() {
        let mut tries = Tries::new(Timing::default());
        let wait = tries.next(failure(Retry::After(Duration::from_secs(100)))).unwrap();
        assert!(wait >= Duration::from_secs(100));
        assert!(tries.next(failure(Retry::After(Duration::from_secs(121)))).is_err());
        assert!(tries.next(failure(Retry::Never)).is_err());
    }

    #[test]
    fn every_status_of_a_server_in_trouble_is_transient() {
        let listed = [408, 425, 429, 499];
        let lasting = [501, 505, 511];
        for code in 100..=999 {
            let status = StatusCode::from_u16(code).unwrap();
            let is_5xx = code / 100 == 5 && !lasting.contains(&code);
            assert_eq!(is_transient(status), is_5xx || listed.contains(&code), "{code}");
        }
    }

    #[test]
    fn a_status_without_a_name_is_told_by_its_number() {
        for (code, text) in [(502, "502 Bad Gateway"), (520, "520"), (530, "530"), (499, "499")] {
            assert_eq!(status_text(StatusCode::from_u16(code).unwrap()), text);
        }
    }

    #[test]
    fn retry_after_is_read_in_both_forms() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_770);
        for (text, seconds) in [
            ("0", Some(0)),
            (" 120 ", Some(120)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(7)),
            ("Sun, 06 Nov 1994 08:49:00 GMT", Some(0)),
            ("-1", None),
            ("soon", None),
            ("", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, text.parse().unwrap());
            assert_eq!(retry_after(&headers, now).map(|d| d.as_secs()), seconds, "{text}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}
