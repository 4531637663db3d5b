// SPDX-License-Identifier: MIT OR Apache-2.0

//! `flipside policy lint`.

use std::process::ExitCode;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::super::{Global, exit, print, print_json};
use super::DocumentArgs;
use flipside_image::document::{Draft, Finding, Level};

/// How long before its end a document should be renewed.
const SOON: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Check a policy document.
///
/// Errors make hosts refuse the document; the exit status is then 1. Warnings are about what may be
/// a mistake.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    document: DocumentArgs,
}

/// Checks a document.
///
/// # Errors
/// The file's, and what has not the form of a document.
pub fn run(args: Args, global: &Global) -> super::Result {
    let draft = args.document.read()?;
    let mut found = draft.lint();
    found.extend(of_the_day(&draft, Timestamp::now()));
    let has_errors = found.iter().any(|finding| finding.level == Level::Error);
    if global.json {
        let findings: Vec<_> = found
            .iter()
            .map(|f| json!({ "level": level(f), "place": f.place, "message": f.what }))
            .collect();
        print_json(&json!({
            "releases": draft.releases.len(),
            "issued": draft.issued,
            "expires": draft.expires,
            "findings": findings,
        }))?;
    } else {
        for finding in &found {
            print(format!("{}: {finding}", level(finding)))?;
        }
        if !has_errors {
            let releases = draft.releases.len();
            print(format!("good until {}, releases listed: {releases}", draft.expires))?;
        }
    }
    Ok(ExitCode::from(if has_errors { exit::FAILED } else { exit::DONE }))
}

fn level(finding: &Finding) -> &'static str {
    match finding.level {
        Level::Error => "error",
        Level::Warning => "warning",
    }
}

/// What is the matter today, whatever the document says in itself.
fn of_the_day(draft: &Draft, now: Timestamp) -> Option<Finding> {
    let left = draft.expires.duration_since(now);
    let what = if left <= SignedDuration::ZERO {
        format!("it has expired ({}): no host updates before it is renewed", draft.expires)
    } else if left < SOON {
        format!("it expires soon ({})", draft.expires)
    } else {
        return None;
    };
    Some(Finding { level: Level::Warning, place: String::new(), what })
}
