// SPDX-License-Identifier: MIT OR Apache-2.0

//! `flipside policy build`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::super::image::connection::Connection;
use super::super::location::parse_image;
use super::super::signals::stop_on_signals;
use super::super::{Failure, Global, print, print_json};
use super::{read_draft, warn};
use crate::config::units;
use flipside_image::Digest;
use flipside_image::document::{Document, DraftRollout};
use flipside_publish::policy::{Change, Mark};
use flipside_publish::{PublishError, find_image};
use flipside_source::{self as source, Location, Options};

/// Make a policy document from the previous one and the changes.
///
/// The new document is dated now. Rollouts that are over are left out. If you add a release again
/// with another image, it loses its barrier, dead-end and withdrawn marks.
#[derive(Debug, clap::Args)]
#[command(disable_version_flag = true)]
pub struct Args {
    /// Start from this document; `-` is stdin.
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// Add this image, in a registry or `[oci:]DIR:TAG`; may be repeated. If VERSION is given, the
    /// image must have that version.
    #[arg(long = "release", value_name = "[VERSION=]IMAGE", value_parser = parse_release)]
    releases: Vec<(Option<String>, Location)>,
    /// Roll the added releases out over this time, such as `48h` [default: all hosts at once].
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, requires = "releases")]
    rollout: Option<String>,
    /// Start the rollout at this time (RFC 3339) [default: now].
    #[arg(long, value_name = "TIME", requires = "rollout")]
    start: Option<Timestamp>,
    /// Start the rollout with this share of the hosts, from 0 to 1.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, requires = "rollout")]
    start_percentage: f64,
    /// Make this release a barrier: every host must pass through it; may be repeated.
    #[arg(long = "barrier", value_name = "VERSION=REASON", value_parser = parse_mark)]
    barriers: Vec<(String, String)>,
    /// Make this release a dead end: hosts must not be updated from it; may be repeated.
    #[arg(long = "dead-end", value_name = "VERSION=REASON", value_parser = parse_mark)]
    dead_ends: Vec<(String, String)>,
    /// Withdraw this release: no host takes it any more; may be repeated.
    #[arg(long = "withdraw", value_name = "VERSION=REASON", value_parser = parse_mark)]
    withdrawn: Vec<(String, String)>,
    /// Remove this release from the list; may be repeated.
    #[arg(long = "forget", value_name = "VERSION")]
    forgotten: Vec<String>,
    /// How long the document is valid, at most a year. Hosts install nothing under an expired
    /// document, so renew it in time.
    #[arg(long, value_name = "DURATION", default_value = "30d", value_parser = parse_life)]
    expires_in: Duration,
    /// Write the document to this file instead of stdout.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    connection: Connection,
}

/// Makes a document.
///
/// # Errors
/// What is read, and a document that no host would go by.
pub fn run(mut args: Args, global: &Global) -> super::Result {
    let old = args.from.as_deref().map(read_draft).transpose()?;
    let output = args.output.take();
    let draft = args.change()?.apply(old)?;
    Document::from_draft(&draft).map_err(PublishError::from)?;
    warn(&draft);
    let bytes = draft.to_bytes().map_err(PublishError::from)?;
    match &output {
        Some(file) => {
            std::fs::write(file, &bytes).map_err(PublishError::file("write", file))?;
            if global.json {
                print_json(&draft)?;
            }
        }
        None => print(String::from_utf8_lossy(&bytes).trim_end())?,
    }
    Ok(ExitCode::SUCCESS)
}

impl Args {
    fn change(self) -> Result<Change, Failure> {
        let issued = now();
        let options = self.connection.options(&stop_on_signals()?);
        let mut releases = Vec::new();
        for (version, image) in self.releases {
            releases.push(find(version, &image, &options)?);
        }
        let start = self.start.unwrap_or(issued);
        let rollout =
            self.rollout.map(|length| DraftRollout::new(start, self.start_percentage, length));
        let mut marks = Vec::new();
        for (mark, list) in [
            (Mark::Barrier, self.barriers),
            (Mark::DeadEnd, self.dead_ends),
            (Mark::Withdrawn, self.withdrawn),
        ] {
            marks.extend(list.into_iter().map(|(version, reason)| (mark, version, reason)));
        }
        let life = SignedDuration::try_from(self.expires_in).unwrap_or(SignedDuration::MAX);
        Ok(Change { issued, life, releases, rollout, marks, forgotten: self.forgotten })
    }
}

/// To the second: documents are for people too.
fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

/// Version and digest of an image: the digest that its tag has, be it an index.
fn find(
    version: Option<String>,
    image: &Location,
    options: &Options,
) -> Result<(String, Digest), Failure> {
    let source = source::open(image, options)?;
    let digest = source.resolve()?;
    let found = find_image(source.as_ref(), None)?;
    match version {
        Some(version) if version != found.version() => Err(PublishError::PolicyInvalid {
            what: format!("{image} is version {}, not {version}", found.version()),
        }
        .into()),
        _ => Ok((found.version().to_owned(), digest)),
    }
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

fn parse_mark(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((version, reason)) if !version.is_empty() && !reason.trim().is_empty() => {
            Ok((version.to_owned(), reason.to_owned()))
        }
        _ => Err("it has to be VERSION=REASON".to_owned()),
    }
}

fn parse_duration(text: &str) -> Result<String, String> {
    parse_life(text).map(|_| text.to_owned())
}

fn parse_life(text: &str) -> Result<Duration, String> {
    units::duration(text).ok_or_else(|| "it has to be a duration such as 48h or 30d".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

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
        for bad in ["1.2", "=x", "1.2= "] {
            assert!(parse_mark(bad).is_err(), "{bad}");
        }
    }
}
