// SPDX-License-Identifier: MIT OR Apache-2.0

//! Whether a document may be gone by: not a later one's predecessor (replay), not one that
//! nobody renews (freeze), not one of days to come.

use jiff::{SignedDuration, Timestamp};

use super::Document;
use crate::policy::Decision;

/// How far the clocks of publisher and host may be apart.
const SLACK: SignedDuration = SignedDuration::from_hours(1);

/// Judges `document` at `now`, which is `None` where the clock is not synchronised; `last` is
/// when the last document that this host saw was issued.
///
/// One that is dated in the future is no later document than others: who remembered it would
/// take no other for as long.
pub fn judge(document: &Document, last: Option<Timestamp>, now: Option<Timestamp>) -> Decision {
    let Document { issued, expires, .. } = document;
    if let Some(last) = last.filter(|last| issued < last) {
        return Decision::defer(
            "policy-document-replayed",
            format!(
                "the policy document was issued {}, and this host has seen one issued {}",
                day(*issued),
                day(last)
            ),
        );
    }
    let Some(now) = now else {
        return Decision::defer(
            "clock-unset",
            "the clock of this host is not synchronised, and a policy document has its time",
        );
    };
    if issued.duration_since(now) > SLACK {
        return Decision::defer(
            "policy-document-not-yet-valid",
            format!("the policy document is issued {}, which is to come", day(*issued)),
        );
    }
    if now >= *expires {
        return Decision::defer(
            "policy-document-expired",
            format!("the policy document has expired {}", day(*expires)),
        );
    }
    Decision::Allow
}

/// A moment in words.
pub fn day(time: Timestamp) -> String {
    time.strftime("on %Y-%m-%d at %H:%M UTC").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

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
            let code = match judge(&document, last, now) {
                Decision::Allow => None,
                Decision::Defer { code, .. } => Some(code),
                Decision::Block { .. } => Some("block"),
            };
            assert_eq!(code, expected, "{last:?} {now:?}");
        }
    }
}
