// SPDX-License-Identifier: MIT OR Apache-2.0

//! `flipside policy build`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::super::image::connection::Connection;
use super::super::output::fitted;
use super::super::signals::stop_on_signals;
use super::super::{Failure, Global, print, print_json};
use super::releases::{Release, Releases, parse_life};
use super::{read_draft, warn};
use flipside_image::document::{Document, DraftRelease, DraftRollout};
use flipside_publish::policy::{Change, Mark, text};
use flipside_publish::{PublishError, find_image};
use flipside_source::{self as source, Options};

/// Make a policy document from the previous one and the changes.
///
/// The new document is dated now. Rollouts that are over are left out. If you add a release again
/// with another image, it loses its barrier, dead-end and withdrawn marks.
#[derive(Debug, clap::Args)]
#[command(disable_version_flag = true)]
pub struct Args {
    /// Start from this document: a file, `-` for stdin, or the one of a tag, in a registry or
    /// `[oci:]DIR:TAG`.
    #[arg(long, value_name = "FILE|REF")]
    from: Option<String>,
    #[command(flatten)]
    releases: Releases,
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
    let output = args.output.take();
    let options = std::mem::take(&mut args.connection).options(&stop_on_signals()?);
    let old = args.from.as_deref().map(|from| read_draft(from, &options)).transpose()?;
    let draft = args.change(&options)?.apply(old)?;
    Document::from_draft(&draft).map_err(PublishError::from)?;
    warn(&draft);
    let bytes = draft.to_bytes().map_err(PublishError::from)?;
    match &output {
        Some(file) => {
            std::fs::write(file, &bytes).map_err(PublishError::file("write", file))?;
            match global.json {
                true => print_json(&draft)?,
                false => {
                    let text = fitted(text(&draft), global.width);
                    print(format_args!("wrote {}\n{text}", file.display()))?;
                }
            }
        }
        None => print(String::from_utf8_lossy(&bytes).trim_end())?,
    }
    Ok(ExitCode::SUCCESS)
}

impl Args {
    fn change(self, options: &Options) -> Result<Change, Failure> {
        let issued = now();
        let releases = self.releases.0.into_iter().map(|release| find(release, issued, options));
        let releases = releases.collect::<Result<_, _>>()?;
        let mut marks = Vec::new();
        for (mark, list) in [
            (Mark::Barrier, self.barriers),
            (Mark::DeadEnd, self.dead_ends),
            (Mark::Withdrawn, self.withdrawn),
        ] {
            marks.extend(list.into_iter().map(|(version, reason)| (mark, version, reason)));
        }
        let life = SignedDuration::try_from(self.expires_in).unwrap_or(SignedDuration::MAX);
        Ok(Change { issued, life, releases, marks, forgotten: self.forgotten })
    }
}

/// To the second: documents are for people too.
fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

/// A release as the document has it, with the digest that its tag has, be it an index.
fn find(release: Release, issued: Timestamp, options: &Options) -> Result<DraftRelease, Failure> {
    let Release { version, image, rollout, start, share } = release;
    let source = source::open(&image, options)?;
    let digest = source.resolve()?;
    let found = find_image(source.as_ref(), None)?;
    match version {
        Some(version) if version != found.version() => Err(PublishError::PolicyInvalid {
            what: format!("{image} is version {}, not {version}", found.version()),
        }
        .into()),
        _ => {
            let (start, share) = (start.unwrap_or(issued), share.unwrap_or_default());
            let rollout = rollout.map(|length| DraftRollout::new(start, share, length));
            Ok(DraftRelease { rollout, ..DraftRelease::new(found.version(), digest) })
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_has_a_version_and_a_reason() {
        for bad in ["1.2", "=x", "1.2= "] {
            assert!(parse_mark(bad).is_err(), "{bad}");
        }
    }
}
