// SPDX-License-Identifier: MIT OR Apache-2.0

//! [`Rule::UpdateWindow`](super::Rule::UpdateWindow): the timer installs in `update.windows` only.

use jiff::Timestamp;

use super::Verdict;
use crate::codes;
use crate::config::Initiative;
use crate::config::window::Windows;

/// What the rule saw and says. `now` is `None` where the clock is not synchronised.
pub fn decide(
    windows: Windows<'_>,
    initiative: Initiative,
    now: Option<Timestamp>,
) -> (String, Verdict) {
    if windows.windows.is_empty() {
        return ("any time".to_owned(), Verdict::Allow);
    }
    if initiative == Initiative::Manual {
        return ("what a person asks for does not wait".to_owned(), Verdict::Allow);
    }
    let Some(now) = now else {
        let why = "the clock was not set since the boot, so that nobody knows whether an update \
                   window is open; see `timedatectl`, or set policy.clock";
        return ("update.windows".to_owned(), Verdict::defer(codes::CLOCK_UNSET, why));
    };
    if windows.open_until(now).is_some() {
        return ("a window is open".to_owned(), Verdict::Allow);
    }
    let next = windows.next(now).map(|opening| format!("; the next is {}", opening.text()));
    let why = format!("no update window is open{}", next.unwrap_or_default());
    ("update.windows".to_owned(), Verdict::defer(codes::UPDATE_WINDOW_CLOSED, why))
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;
    use crate::config::window::Window;
    use flipside_core::refusal::{Refusal, Severity};

    #[test]
    fn the_timer_waits_for_a_window_and_a_person_does_not() {
        use Initiative::{Automatic, Manual};
        let window: Window = "Sat 22:00 2h UTC".parse().unwrap();
        let (none, one) = (Vec::new(), vec![window]);
        let at = |text: &str| Some(text.parse::<Timestamp>().unwrap());
        for (windows, initiative, now, expected) in [
            (&none, Automatic, None, "allow"),
            (&one, Automatic, at("2026-11-21T22:00Z"), "allow"),
            (&one, Automatic, at("2026-11-21T21:59:59Z"), "update-window-closed"),
            (&one, Automatic, at("2026-11-22T00:00Z"), "update-window-closed"),
            (&one, Automatic, None, "clock-unset"),
            (&one, Manual, at("2026-11-22T00:00Z"), "allow"),
            (&one, Manual, None, "allow"),
        ] {
            let windows = Windows { windows, host: &TimeZone::UTC };
            let (_, verdict) = decide(windows, initiative, now);
            match &verdict {
                Verdict::Allow => assert_eq!(expected, "allow", "{now:?}"),
                Verdict::No(Refusal { severity, code, message: reason, .. }) => {
                    assert_eq!((*severity, code.name()), (Severity::Defer, expected), "{now:?}");
                    let next = "; the next is Sat 22:00–24:00 UTC";
                    assert_eq!(
                        reason.ends_with(next),
                        *code == codes::UPDATE_WINDOW_CLOSED,
                        "{reason}"
                    );
                }
            }
        }
    }
}
