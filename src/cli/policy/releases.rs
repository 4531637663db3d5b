// SPDX-License-Identifier: MIT OR Apache-2.0

//! `--release`, and the rollout that follows it on the command line.

use std::time::Duration;

use clap::error::ErrorKind;
use clap::{ArgMatches, Command, Error, FromArgMatches};
use jiff::Timestamp;

use super::super::location::parse_image;
use crate::config::units;
use flipside_source::Location;

/// A release that is added, as far as the command line has it.
#[derive(Debug, Clone)]
pub(super) struct Release {
    /// The version that the image must have.
    pub version: Option<String>,
    pub image: Location,
    pub rollout: Option<String>,
    pub start: Option<Timestamp>,
    pub share: Option<f64>,
}

/// All of them, in their order.
#[derive(Debug, Clone)]
pub(super) struct Releases(pub Vec<Release>);

/// The options, for clap.
#[derive(Debug, clap::Args)]
struct Options {
    /// Add this image, in a registry or `[oci:]DIR:TAG`; may be repeated. If VERSION is given, the
    /// image must have that version.
    #[arg(long = "release", value_name = "[VERSION=]IMAGE", value_parser = parse_release)]
    releases: Vec<(Option<String>, Location)>,
    /// Roll the release before this option out over this time, such as `48h` [default: all hosts
    /// at once].
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, requires = "releases")]
    rollout: Vec<String>,
    /// Start that rollout at this time (RFC 3339) [default: now].
    #[arg(long, value_name = "TIME", requires = "rollout")]
    start: Vec<Timestamp>,
    /// Start that rollout with this share of the hosts, such as `10%` or `0.1` [default: 0%].
    #[arg(long, value_name = "SHARE", value_parser = parse_share, requires = "rollout")]
    start_percentage: Vec<f64>,
}

impl clap::Args for Releases {
    fn augment_args(command: Command) -> Command {
        Options::augment_args(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Options::augment_args_for_update(command)
    }
}

impl FromArgMatches for Releases {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let mut releases: Vec<(usize, Release)> = indexed(matches, "releases")
            .map(|(at, (version, image))| {
                (at, Release { version, image, rollout: None, start: None, share: None })
            })
            .collect();
        give(&mut releases, matches, "rollout", |release| &mut release.rollout)?;
        give(&mut releases, matches, "start", |release| &mut release.start)?;
        give(&mut releases, matches, "start_percentage", |release| &mut release.share)?;
        let has_none =
            |r: &Release| r.rollout.is_none() && (r.start.is_some() || r.share.is_some());
        if releases.iter().any(|(_, release)| has_none(release)) {
            return Err(wrong("--start and --start-percentage need a --rollout of that release"));
        }
        Ok(Self(releases.into_iter().map(|(_, release)| release).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// The values of an option, each with its place on the command line.
fn indexed<T: Clone + Send + Sync + 'static>(
    matches: &ArgMatches,
    id: &str,
) -> impl Iterator<Item = (usize, T)> {
    let places = matches.indices_of(id).into_iter().flatten();
    places.zip(matches.get_many::<T>(id).into_iter().flatten().cloned())
}

/// Gives each value of the option `id` to the release that it follows.
fn give<T: Clone + Send + Sync + 'static>(
    releases: &mut [(usize, Release)],
    matches: &ArgMatches,
    id: &str,
    field: impl Fn(&mut Release) -> &mut Option<T>,
) -> Result<(), Error> {
    for (at, value) in indexed(matches, id) {
        let before = releases.iter_mut().rev().find(|(place, _)| *place < at);
        let option = id.replace('_', "-");
        let (_, release) = before
            .ok_or_else(|| wrong(&format!("--{option} belongs behind the --release it is for")))?;
        if field(release).replace(value).is_some() {
            return Err(wrong(&format!("--{option} is given twice for one --release")));
        }
    }
    Ok(())
}

fn wrong(what: &str) -> Error {
    Error::raw(ErrorKind::ArgumentConflict, format!("{what}\n"))
}

fn parse_release(text: &str) -> Result<(Option<String>, Location), String> {
    let location = |text: &str| parse_image(text).map_err(|error| error.to_string());
    match text.split_once('=') {
        // What has a slash or a colon is the beginning of a path.
        Some((version, image)) if !version.contains(['/', ':']) && !version.is_empty() => {
            Ok((Some(version.to_owned()), location(image)?))
        }
        _ => Ok((None, location(text)?)),
    }
}

fn parse_duration(text: &str) -> Result<String, String> {
    parse_life(text).map(|_| text.to_owned())
}

pub(super) fn parse_life(text: &str) -> Result<Duration, String> {
    units::duration(text).ok_or_else(|| "it has to be a duration such as 48h or 30d".to_owned())
}

fn parse_share(text: &str) -> Result<f64, String> {
    let (digits, whole) = match text.strip_suffix('%') {
        Some(digits) => (digits.trim_end(), 100.0),
        None => (text, 1.0),
    };
    let share = digits.parse::<f64>().ok().map(|number| number / whole);
    share
        .filter(|share| (0.0..=1.0).contains(share))
        .ok_or_else(|| "it has to be a percentage such as 10%, or a share from 0 to 1".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Args as _;

    #[test]
    fn a_version_may_stand_before_an_image() {
        let read = |text: &str| {
            let (version, image) = parse_release(text).unwrap();
            (version, image.to_string())
        };
        let image = "r.example/acme/edge:1";
        assert_eq!(read(image), (None, image.to_owned()));
        assert_eq!(read(&format!("1.2={image}")), (Some("1.2".to_owned()), image.to_owned()));
        assert_eq!(read("oci:/a=b/c:1"), (None, "oci:/a=b/c:1".to_owned()));
        for bad in ["", "1.2=", "edge"] {
            assert!(parse_release(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_rollout_is_that_of_the_release_before_it() {
        let read = |line: &str| {
            let command = Releases::augment_args(Command::new("build").no_binary_name(true));
            let matches = command.try_get_matches_from(line.split_whitespace())?;
            Releases::from_arg_matches(&matches)
        };
        let (a, b) = ("--release r.example/a:1", "--release r.example/a:2");
        let rollouts = |line: &str| -> Vec<_> {
            read(line).unwrap().0.into_iter().map(|r| (r.rollout, r.share)).collect()
        };
        let two = |share| (Some("2d".to_owned()), share);
        assert_eq!(rollouts(&format!("{a} {b} --rollout 2d")), [(None, None), two(None)]);
        assert_eq!(
            rollouts(&format!("{a} --start-percentage 10% --rollout 2d {b}")),
            [two(Some(0.1)), (None, None)]
        );
        assert_eq!(
            rollouts(&format!("{a} --rollout 2d {b} --rollout 2d --start-percentage 0.25")),
            [two(None), two(Some(0.25))]
        );
        for bad in [
            format!("--rollout 2d {a}"),
            format!("{a} --rollout 2d --rollout 3d"),
            format!("{a} --rollout 2d {b} --start-percentage 10%"),
            format!("{a} --rollout 2d --start-percentage 10"),
            format!("{a} --rollout 2d --start-percentage 101%"),
            format!("{a} --rollout 2d --start-percentage NaN%"),
            format!("{a} --start-percentage 10%"),
        ] {
            assert!(read(&bad).is_err(), "{bad}");
        }
    }
}
