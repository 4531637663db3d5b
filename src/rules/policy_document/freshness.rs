// SPDX-License-Identifier: MIT OR Apache-2.0

//! Whether a document may be gone by: not a later one's predecessor (replay), not one that
//! nobody renews (freeze), not one of days to come.

use jiff::{SignedDuration, Timestamp};

use crate::codes;
use crate::rules::Verdict;
use flipside_core::refusal::Refusal;
use flipside_image::document::Document;

/// How far the clocks of publisher and host may be apart.
const SLACK: SignedDuration = SignedDuration::from_hours(1);

/// What a document is worth, by its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Freshness {
    /// It may be gone by.
    Fresh,
    /// It was the one to go by, and nobody has renewed it.
    Expired(Refusal),
    /// It says nothing about now.
    Unusable(Refusal),
}

impl Freshness {
    /// Whether the document is one that this host has seen: an expired one is still the last, one
    /// of days to come is not yet.
    pub fn counts_as_seen(&self) -> bool {
        matches!(self, Self::Fresh | Self::Expired(_))
    }

    /// What that means for an update.
    pub fn verdict(self) -> Verdict {
        match self {
            Self::Fresh => Verdict::Allow,
            Self::Expired(refusal) | Self::Unusable(refusal) => Verdict::No(refusal),
        }
    }
}

/// Judges `document` at `now`, which is `None` where the clock is not synchronised; `last` is
/// when the last document that this host saw was issued.
///
/// One that is dated in the future is no later document than others: who remembered it would
/// take no other for as long.
pub fn judge(document: &Document, last: Option<Timestamp>, now: Option<Timestamp>) -> Freshness {
    let Document { issued, expires, .. } = document;
    if let Some(last) = last.filter(|last| issued < last) {
        return Freshness::Unusable(Refusal::defer(
            codes::POLICY_DOCUMENT_REPLAYED,
            format!(
                "the policy document was issued {}, and this host has seen one issued {}",
                day(*issued),
                day(last)
            ),
        ));
    }
    let Some(now) = now else {
        return Freshness::Unusable(Refusal::defer(
            codes::CLOCK_UNSET,
            "the clock was not set since the boot, so that nobody knows whether the policy document \
             has expired; see `timedatectl`, or set policy.clock",
        ));
    };
    if issued.duration_since(now) > SLACK {
        return Freshness::Unusable(Refusal::defer(
            codes::POLICY_DOCUMENT_NOT_YET_VALID,
            format!("the policy document is issued {}, which is to come", day(*issued)),
        ));
    }
    if now >= *expires {
        return Freshness::Expired(Refusal::defer(
            codes::POLICY_DOCUMENT_EXPIRED,
            format!("the policy document has expired {}", day(*expires)),
        ));
    }
    Freshness::Fresh
}

/// A moment in words.
pub fn day(time: Timestamp) -> String {
    time.strftime("on %Y-%m-%d at %H:%M UTC").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use flipside_core::refusal::Severity;

    #[test]
    fn a_document_has_its_time() {
        let at = |text: &str| -> Timestamp { format!("2026-11-{text}:00Z").parse().unwrap() };
        let document =
            Document { issued: at("10T00:00"), expires: at("20T00:00"), releases: Vec::new() };
        for (last, now, expected) in [
            (None, Some(at("15T00:00")), None),
            (Some(at("10T00:00")), Some(at("15T00:00")), None),
            (Some(at("09T00:00")), Some(at("15T00:00")), None),
            (Some(at("10T00:01")), Some(at("15T00:00")), Some("policy-document-replayed")),
            // Whatever the time is, that one is old.
            (Some(at("10T00:01")), None, Some("policy-document-replayed")),
            (None, None, Some("clock-unset")),
            (None, Some(at("19T23:59")), None),
            (None, Some(at("20T00:00")), Some("policy-document-expired")),
            (Some(at("09T00:00")), Some(at("25T00:00")), Some("policy-document-expired")),
            (None, Some(at("09T23:00")), None),
            (None, Some(at("09T22:59")), Some("policy-document-not-yet-valid")),
        ] {
            let freshness = judge(&document, last, now);
            let is_expired = matches!(freshness, Freshness::Expired(_));
            assert_eq!(is_expired, expected == Some("policy-document-expired"));
            let code = match freshness {
                Freshness::Fresh => None,
                Freshness::Expired(refusal) | Freshness::Unusable(refusal) => {
                    assert_eq!(refusal.severity, Severity::Defer);
                    Some(refusal.code.name())
                }
            };
            assert_eq!(code, expected, "{last:?} {now:?}");
        }
    }
}
