// SPDX-License-Identifier: MIT OR Apache-2.0

//! When to reboot into what is armed: one pure decision.

use std::time::Duration;

use jiff::Timestamp;

use super::jitter::Share;
use crate::config::RebootStrategy;
use crate::config::window::{Opening, Windows};

/// What is left of a window for the reboot itself once notice was given.
const MARGIN: Duration = Duration::from_secs(60);

/// How soon to ask again where somebody holds off reboots.
const RETRY: Duration = Duration::from_secs(15 * 60);

/// What the decision rests on.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances<'a> {
    /// The time.
    pub now: Timestamp,
    /// The windows for reboots.
    pub windows: Windows<'a>,
    /// This host's place within a window.
    pub share: Share,
    /// `reboot.notice`.
    pub notice: Duration,
    /// Whether anybody is logged in who has to be told.
    pub somebody_is_here: bool,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// Nothing by itself.
    Not,
    /// Reboot.
    Now,
    /// Tell people now, reboot then.
    At(Timestamp),
    /// Ask again then: this host's place in the next window.
    InWindow {
        /// When.
        at: Timestamp,
        /// The window, for people.
        window: String,
    },
}

/// What `strategy` asks for.
pub fn decide(strategy: RebootStrategy, given: &Circumstances<'_>) -> Plan {
    match strategy {
        RebootStrategy::None => Plan::Not,
        RebootStrategy::Immediate => soon(given),
        RebootStrategy::Window if given.is_time() => soon(given),
        RebootStrategy::Window => next_window(given),
    }
}

/// As soon as people who are logged in allow it.
pub fn soon(given: &Circumstances<'_>) -> Plan {
    match given.reboots_at() {
        at if at > given.now => Plan::At(at),
        _ => Plan::Now,
    }
}

/// When to ask again where a reboot was called for and somebody holds it off: a little later, and
/// inside a window.
pub fn again(strategy: RebootStrategy, given: &Circumstances<'_>) -> Plan {
    let later = Circumstances { now: after(given.now, RETRY), ..*given };
    match decide(strategy, &later) {
        Plan::Now | Plan::At(_) => Plan::At(later.now),
        other => other,
    }
}

/// The next opening, at this host's place in it: early enough for the notice to end inside it,
/// and before it opens where it is too short for that.
fn next_window(given: &Circumstances<'_>) -> Plan {
    let Some(opening) = given.windows.next(given.now) else { return Plan::Not };
    let early = opening.start.checked_sub(given.lacks(&opening)).unwrap_or(opening.start);
    let at = match early < opening.start && given.now < early {
        true => early,
        false => {
            let room = opening.length().saturating_sub(given.needed());
            after(opening.start, given.share.within(room))
        }
    };
    Plan::InWindow { at, window: opening.text() }
}

impl Circumstances<'_> {
    /// Whether the machine would go down inside a window. Notice is given before it opens only
    /// where it is too short: hosts are to keep their places in the others.
    fn is_time(&self) -> bool {
        let is_short = |next: Opening| !self.lacks(&next).is_zero();
        self.windows.open_until(self.reboots_at()).is_some()
            && (self.windows.open_until(self.now).is_some()
                || self.windows.next(self.now).is_some_and(is_short))
    }

    /// What a window has to have for people to be told inside it.
    fn needed(&self) -> Duration {
        self.notice.saturating_add(MARGIN)
    }

    /// How much of that `opening` does not have.
    fn lacks(&self, opening: &Opening) -> Duration {
        self.needed().saturating_sub(opening.length())
    }

    fn reboots_at(&self) -> Timestamp {
        if self.somebody_is_here { after(self.now, self.notice) } else { self.now }
    }
}

fn after(time: Timestamp, wait: Duration) -> Timestamp {
    time.checked_add(wait).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;
    use proptest::prelude::*;

    use super::*;
    use crate::config::window::Window;
    use crate::system::MachineId;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    const NIGHT: &str = "Sat 22:00 2h UTC";

    #[test]
    fn strategy_window_and_people_decide_when() {
        let window: Window = NIGHT.parse().unwrap();
        let in_window =
            |time| Plan::InWindow { at: at(time), window: "Sat 22:00–24:00 UTC".into() };
        use RebootStrategy::{Immediate, None as Never, Window as InWindow};
        for (strategy, now, somebody_is_here, plan) in [
            (Never, "2026-11-21T22:30Z", false, Plan::Not),
            (Immediate, "2026-11-21T12:00Z", false, Plan::Now),
            (Immediate, "2026-11-21T12:00Z", true, Plan::At(at("2026-11-21T12:10Z"))),
            (InWindow, "2026-11-21T22:00Z", false, Plan::Now),
            (InWindow, "2026-11-21T23:59:59Z", false, Plan::Now),
            (InWindow, "2026-11-21T22:30Z", true, Plan::At(at("2026-11-21T22:40Z"))),
            // The notice would be over when the window is: half of 109 minutes into the next.
            (InWindow, "2026-11-21T23:50Z", true, in_window("2026-11-28T22:54:30Z")),
            (InWindow, "2026-11-22T00:00Z", false, in_window("2026-11-28T22:54:30Z")),
            (InWindow, "2026-11-21T21:59:59Z", false, in_window("2026-11-21T22:54:30Z")),
            (InWindow, "2026-11-21T21:59:59Z", true, in_window("2026-11-21T22:54:30Z")),
        ] {
            let given = Circumstances {
                now: at(now),
                windows: Windows { windows: std::slice::from_ref(&window), host: &TimeZone::UTC },
                share: Share::half(),
                notice: Duration::from_secs(600),
                somebody_is_here,
            };
            assert_eq!(decide(strategy, &given), plan, "{strategy:?} at {now}, {somebody_is_here}");
        }
    }

    /// One that is longer than the notice by less than a minute is met by telling people before.
    #[test]
    fn a_short_window_is_met_whoever_is_logged_in() {
        let window: Window = "Sun 04:00 630s UTC".parse().unwrap();
        let in_window =
            |time| Plan::InWindow { at: at(time), window: "Sun 04:00–04:10 UTC".into() };
        for (now, somebody_is_here, plan) in [
            ("2026-11-22T03:00:00Z", true, in_window("2026-11-22T03:59:30Z")),
            ("2026-11-22T03:59:30Z", true, Plan::At(at("2026-11-22T04:09:30Z"))),
            ("2026-11-22T03:59:30Z", false, in_window("2026-11-22T04:00:00Z")),
            ("2026-11-22T04:00:00Z", false, Plan::Now),
            ("2026-11-22T04:00:31Z", true, in_window("2026-11-29T03:59:30Z")),
        ] {
            let given = Circumstances {
                now: at(now),
                windows: Windows { windows: std::slice::from_ref(&window), host: &TimeZone::UTC },
                share: Share::half(),
                notice: Duration::from_secs(600),
                somebody_is_here,
            };
            let found = decide(RebootStrategy::Window, &given);
            assert_eq!(found, plan, "{now}, {somebody_is_here}");
        }
    }

    #[test]
    fn what_was_held_off_is_asked_for_again_inside_a_window() {
        let window: Window = NIGHT.parse().unwrap();
        for (strategy, now, plan) in [
            (RebootStrategy::Immediate, "2026-11-21T12:00Z", Plan::At(at("2026-11-21T12:15Z"))),
            (RebootStrategy::Window, "2026-11-21T23:00Z", Plan::At(at("2026-11-21T23:15Z"))),
            (
                RebootStrategy::Window,
                "2026-11-21T23:50Z",
                Plan::InWindow {
                    at: at("2026-11-28T22:54:30Z"),
                    window: "Sat 22:00–24:00 UTC".into(),
                },
            ),
        ] {
            let given = Circumstances {
                now: at(now),
                windows: Windows { windows: std::slice::from_ref(&window), host: &TimeZone::UTC },
                share: Share::half(),
                notice: Duration::from_secs(600),
                somebody_is_here: false,
            };
            assert_eq!(again(strategy, &given), plan, "{now}");
        }
    }

    proptest! {
        /// A host that comes back when it was told to, and a moment late, meets the window.
        #[test]
        fn a_window_is_met(
            now in 1_600_000_000_i64..2_200_000_000,
            machine in any::<u128>(),
            minutes in 1_u64..600,
            lateness in 0_u64..50,
        ) {
            let window: Window = format!("Tue,Sat 01:15 {minutes}min Europe/Berlin").parse().unwrap();
            let mut given = Circumstances {
                now: Timestamp::from_second(now).unwrap(),
                windows: Windows {
                    windows: std::slice::from_ref(&window),
                    host: &TimeZone::UTC,
                },
                share: Share::of_machine(MachineId::new(uuid::Uuid::from_u128(machine))),
                notice: Duration::from_secs(600),
                somebody_is_here: true,
            };
            if let Plan::InWindow { at, .. } = decide(RebootStrategy::Window, &given) {
                prop_assert!(at > given.now);
                given.now = at + Duration::from_secs(lateness);
            }
            let reboot = given.now + given.notice;
            prop_assert_eq!(decide(RebootStrategy::Window, &given), Plan::At(reboot));
        }
    }
}
