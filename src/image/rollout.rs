// SPDX-License-Identifier: MIT OR Apache-2.0

//! Rollouts: which share of the hosts may take a release by now, and this host's place among
//! them, its wariness.
//!
//! Nobody is told who this host is: it works out its own place, and waits for its turn.

use std::time::Duration;

use aws_lc_rs::hmac;
use jiff::{SignedDuration, Timestamp};
use serde::de::{Deserialize, Deserializer, Error, Unexpected};
use uuid::Uuid;

/// Names flipside's rollouts in hashes of a machine ID
/// (`sd_id128_get_machine_app_specific(3)`).
pub const APPLICATION: Uuid = Uuid::from_u128(0xc964_26df_4f18_412d_8377_3cca_0efb_38e8);

/// How late a host's turn is: 0 is the first of all, 1 the last. Never NaN.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Wariness(f64);

/// What a number has to be.
const FORM: &str = "a number from 0 to 1";

impl Wariness {
    /// The last of all.
    pub const LAST: Self = Self(1.0);

    /// `None` for what is no number from 0 to 1.
    pub fn new(share: f64) -> Option<Self> {
        (0.0..=1.0).contains(&share).then_some(Self(share))
    }

    /// The place that `id` (of a machine, for [`APPLICATION`]) has among all hosts for `name`:
    /// any place as likely as any other, and its places for two names have nothing to do with
    /// each other.
    pub fn hashed(id: Uuid, name: &str) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, id.as_bytes());
        let hash = hmac::sign(&key, name.as_bytes());
        let first = hash.as_ref().first_chunk().map_or(u64::MAX, |half| u64::from_be_bytes(*half));
        // As many bits as a number of this type has: 53.
        let (place, last) = (first >> 11, u64::MAX >> 11);
        Self(place as f64 / last as f64)
    }

    /// From 0 to 1.
    pub fn share(self) -> f64 {
        self.0
    }
}

impl<'de> Deserialize<'de> for Wariness {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wariness = f64::deserialize(deserializer).ok().and_then(Self::new);
        let unlike = || Error::invalid_value(Unexpected::Other("something else"), &FORM);
        wariness.ok_or_else(unlike)
    }
}

/// Where a host's wariness comes from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Place {
    /// `policy.wariness` sets it: the same for every release.
    Set(Wariness),
    /// From this ID (of the machine, for [`APPLICATION`]): another one for each release.
    Hashed(Uuid),
    /// The host has no ID. Hosts without one cannot be told from each other: if they were spread,
    /// they would all come at once, so they come last.
    Unknown,
    /// The host has another ID at each boot. A place drawn anew each time would soon be an early one,
    /// so they come last, too.
    Passing,
}

impl Place {
    /// The host's wariness of the release `version`.
    pub fn wariness(&self, version: &str) -> Wariness {
        match self {
            Self::Set(wariness) => *wariness,
            Self::Hashed(id) => Wariness::hashed(*id, version),
            Self::Unknown | Self::Passing => Wariness::LAST,
        }
    }
}

/// How a release gets to the hosts. Checked by whoever makes one: the share is from 0 to 1, and
/// the duration has an end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rollout {
    /// Before it, no host takes the release.
    pub start: Timestamp,
    /// The share of the hosts, from 0 to 1, that may take it at the start.
    pub start_share: f64,
    /// After it, every host may.
    pub duration: Duration,
}

impl Rollout {
    /// T: the share of the hosts that may take the release at `now`, from
    /// [`Rollout::start_share`] to 1; `None` before the start.
    pub fn threshold(&self, now: Timestamp) -> Option<f64> {
        if now < self.start {
            return None;
        }
        let elapsed = now.duration_since(self.start).as_secs_f64();
        let duration = self.duration.as_secs_f64();
        if elapsed >= duration {
            return Some(1.0);
        }
        let share = self.start_share + (1.0 - self.start_share) * (elapsed / duration);
        // Unlike `min`, this leaves NaN what it is, which reaches nobody.
        Some(share.clamp(0.0, 1.0))
    }

    /// Whether a host of this wariness may take the release at `now`. No host may before the start,
    /// be it ever so little wary.
    pub fn reaches(&self, wariness: Wariness, now: Timestamp) -> bool {
        self.threshold(now).is_some_and(|threshold| wariness.0 <= threshold)
    }

    /// When the turn of a host of this wariness comes, give or take a second; `None` beyond the
    /// end of time.
    pub fn turn(&self, wariness: Wariness) -> Option<Timestamp> {
        let room = 1.0 - self.start_share;
        let ahead = wariness.0 - self.start_share;
        let share = if ahead <= 0.0 || room <= 0.0 { 0.0 } else { ahead / room };
        let wait = SignedDuration::try_from_secs_f64(self.duration.as_secs_f64() * share).ok()?;
        self.start.checked_add(wait).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOUR: i64 = 3600;

    fn at(hours: f64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + (hours * HOUR as f64) as i64).unwrap()
    }

    fn rollout(start_share: f64, hours: u64) -> Rollout {
        Rollout { start: at(0.0), start_share, duration: Duration::from_secs(hours * 3600) }
    }

    #[test]
    fn a_wariness_is_read_from_a_number_from_0_to_1() {
        for (text, share) in [("0", Some(0.0)), ("0.25", Some(0.25)), ("1", Some(1.0))] {
            let read = serde_json::from_str::<Wariness>(text).ok();
            assert_eq!(read.map(Wariness::share), share, "{text}");
        }
        for text in ["1.5", "-1", "1e400", "\"0.5\"", "true", "null"] {
            assert!(serde_json::from_str::<Wariness>(text).is_err(), "{text}");
        }
    }

    /// The places of 100,000 machines for a release.
    fn fleet(version: &str) -> Vec<Wariness> {
        let machines = (0..100_000_u128).map(|n| Uuid::from_u128(n << 32 | 0x5a));
        machines.map(|id| Wariness::hashed(id, version)).collect()
    }

    #[test]
    fn a_simulated_fleet_follows_the_curve_and_never_turns_back() {
        let fleet = fleet("2026.11.1");
        // A tenth at once and the rest over two days; the shares are worked out by hand.
        let rollout = rollout(0.1, 48);
        let mut before = 0;
        for (hours, expected) in [
            (-0.1, 0.0),
            (0.0, 0.1),
            (6.0, 0.2125),
            (12.0, 0.325),
            (24.0, 0.55),
            (36.0, 0.775),
            (47.0, 0.98125),
            (48.0, 1.0),
            (1000.0, 1.0),
        ] {
            let reached = fleet.iter().filter(|host| rollout.reaches(**host, at(hours))).count();
            let share = reached as f64 / fleet.len() as f64;
            // Six standard deviations of 100,000 throws of a coin are less than 0.01; nobody is
            // allowed before the start, and nobody is left out at the end.
            let tolerance = if expected == 0.0 || expected == 1.0 { 0.0 } else { 0.01 };
            assert!((share - expected).abs() <= tolerance, "{hours} h: {share}, not {expected}");
            assert!(reached >= before, "{hours} h");
            before = reached;
        }
    }

    #[test]
    fn each_host_that_was_reached_stays_reached() {
        let (fleet, rollout) = (fleet("7"), rollout(0.0, 10));
        for host in fleet.iter().step_by(10) {
            let turns: Vec<bool> =
                (0..=20).map(|half| rollout.reaches(*host, at(f64::from(half) / 2.0))).collect();
            assert!(turns.is_sorted(), "{host:?}");
        }
    }

    #[test]
    fn early_hosts_change_from_release_to_release() {
        let (one, two) = (fleet("2026.11.1"), fleet("2026.11.2"));
        assert_eq!(one, fleet("2026.11.1"), "the same place for the same release");
        let mean =
            |fleet: &[Wariness]| fleet.iter().map(|w| w.share()).sum::<f64>() / fleet.len() as f64;
        let (mean_one, mean_two) = (mean(&one), mean(&two));
        let (mut both, mut square_one, mut square_two) = (0.0, 0.0, 0.0);
        for (a, b) in one.iter().zip(&two) {
            let (a, b) = (a.share() - mean_one, b.share() - mean_two);
            both += a * b;
            square_one += a * a;
            square_two += b * b;
        }
        let correlation = both / (square_one * square_two).sqrt();
        assert!(correlation.abs() < 0.015, "{correlation}");
        // Of the first tenth, a tenth is early again.
        let early = one.iter().zip(&two).filter(|(a, b)| a.share() < 0.1 && b.share() < 0.1);
        let share = early.count() as f64 / 100_000.0;
        assert!((share - 0.01).abs() < 0.002, "{share}");
    }

    #[test]
    fn places_are_spread_over_the_whole_range() {
        let mut tenths = [0; 10];
        for host in fleet("1") {
            tenths[((host.share() * 10.0) as usize).min(9)] += 1;
        }
        assert!(tenths.iter().all(|count| (9_400..10_600).contains(count)), "{tenths:?}");
    }

    #[test]
    fn nobody_comes_before_the_start_and_everybody_at_the_end() {
        for share in [0.0, 0.5, 1.0] {
            for duration in [0, 48] {
                let rollout = rollout(share, duration);
                for place in [0.0, 0.5, 1.0] {
                    let wariness = Wariness::new(place).unwrap();
                    assert!(!rollout.reaches(wariness, at(-0.01)), "{share} {duration} {place}");
                    assert!(rollout.reaches(wariness, at(48.0)), "{share} {duration} {place}");
                }
            }
        }
        // A place on the line itself is reached.
        let half = Wariness::new(0.5).unwrap();
        assert!(rollout(0.5, 48).reaches(half, at(0.0)));
        assert!(!rollout(0.25, 48).reaches(half, at(15.9)));
        assert!(rollout(0.25, 48).reaches(half, at(16.0)));
    }

    #[test]
    fn what_is_no_share_is_no_wariness() {
        for share in [-0.001, 1.001, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(Wariness::new(share), None, "{share}");
        }
        let broken = Rollout { start_share: f64::NAN, ..rollout(0.0, 48) };
        assert!(!broken.reaches(Wariness(0.0), at(1.0)));
    }

    #[test]
    fn a_host_without_an_identity_comes_last_and_a_set_place_is_the_same_for_all() {
        assert_eq!(Place::Unknown.wariness("1"), Wariness::LAST);
        let set = Place::Set(Wariness::new(0.25).unwrap());
        assert_eq!(set.wariness("1"), set.wariness("2"));
        let hashed = Place::Hashed(Uuid::from_u128(7));
        assert_ne!(hashed.wariness("1"), hashed.wariness("2"));
    }

    proptest! {
        #[test]
        fn a_turn_is_when_the_line_is_crossed(
            place in 0.0..=1.0_f64, share in 0.0..=1.0_f64, hours in 0_u64..2000,
        ) {
            let (wariness, rollout) = (Wariness::new(place).unwrap(), rollout(share, hours));
            let turn = rollout.turn(wariness).unwrap();
            let second = SignedDuration::from_secs(1);
            prop_assert!(rollout.reaches(wariness, turn + second));
            prop_assert!(!rollout.reaches(wariness, turn - second) || turn == rollout.start);
        }
    }
}
