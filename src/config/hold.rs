// SPDX-License-Identifier: MIT OR Apache-2.0

//! `update.hold`: a person wants no automatic updates for a while.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use flipside_image::moment::Moment;
use flipside_image::printable;
use flipside_image::redact::redact;

/// The most characters of a reason that are shown.
const SHOWN: usize = 200;

/// `update.hold`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hold {
    /// `update.hold_until`: `None` is until somebody lifts it.
    pub until: Option<Moment>,
    /// `update.hold_reason`.
    pub reason: Option<String>,
}

impl Hold {
    /// Whether it is in force at `now`, on a host in the zone `host`.
    pub fn holds(&self, now: Timestamp, host: &TimeZone) -> bool {
        self.until.as_ref().is_none_or(|until| now < until.time(host))
    }

    /// For people: `automatic updates are held until 2026-12-01: a trade fair`.
    pub fn text(&self, host: &TimeZone) -> String {
        let until = self.until.as_ref().map(|until| format!(" until {}", until.text(host)));
        let why = self.reason.as_deref().map(redact);
        let reason = why.map(|why| format!(": {}", printable::line(&why, SHOWN)));
        format!(
            "automatic updates are held{}{}",
            until.unwrap_or_default(),
            reason.unwrap_or_default()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn until_when_and_why_are_said() {
        let reason = Some("a fair\n\x1b[31m https://u:secret@r.example".to_owned());
        let hold = Hold { until: Some("2026-12-01".parse().unwrap()), reason };
        let text = hold.text(&TimeZone::UTC);
        assert_eq!(
            text,
            "automatic updates are held until 2026-12-01: a fair [31m https://***@r.example"
        );
        assert_eq!(Hold::default().text(&TimeZone::UTC), "automatic updates are held");
    }
}
