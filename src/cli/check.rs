// SPDX-License-Identifier: MIT OR Apache-2.0

//! `flipside check`.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::output::report_failure;
use super::{Failure, Global, exit, explain, print, print_json, session};
use crate::config::Initiative;
use crate::report::status::cost;
use crate::rules::Depth;
use crate::run::{self, Action, Check};
use flipside_core::refusal::Severity;

/// Check for an update, and say what `flipside update` would do.
///
/// Asks the source what the tag points to, and decides as `flipside update` does. Hooks are asked
/// only with --explain. What it found is written to the status, in /run. Only a policy document that
/// withdraws the release of a slot is kept in /var/lib/flipside too.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print every rule in order, with what it found and its verdict. If all other rules allow the
    /// update, ask the hooks too.
    #[arg(long)]
    explain: bool,
    /// Check as the timer does: holds and update windows apply.
    #[arg(long)]
    automatic: bool,
    /// Exit with status 100 if an update is available.
    #[arg(long)]
    exit_code: bool,
    /// Use plain HTTP, without TLS, for every registry.
    #[arg(long)]
    plain_http: bool,
    #[arg(skip)]
    is_of_the_timer: bool,
}

impl Args {
    /// What the timer asks for where it may only look.
    pub(super) fn of_the_timer(plain_http: bool) -> Self {
        Self {
            explain: false,
            automatic: true,
            exit_code: false,
            plain_http,
            is_of_the_timer: true,
        }
    }
}

/// Asks the source what the tag points to.
///
/// # Errors
/// Whatever keeps it from being known.
pub fn run(args: Args, global: &Global) -> super::Result {
    let run = session::open(global, args.plain_http)?;
    let (initiative, depth) = (
        if args.automatic { Initiative::Automatic } else { Initiative::Manual },
        if args.explain { Depth::Explain } else { Depth::Check },
    );
    let checked = run::check(&run, initiative, depth);
    run::finish_check(&run, initiative, &checked);
    let found = match checked {
        Ok(found) => found,
        Err(unasked) => {
            // With --json the error is the one document; the status has the rules.
            if args.explain && !global.json && !unasked.explanation.results().is_empty() {
                print(explain::text(&unasked.explanation, global.width))?;
            }
            let failure = Failure::of_run(unasked.error);
            // Run by the timer, what only defers is status, not failure.
            if args.is_of_the_timer && failure.severity == Severity::Defer {
                report_failure(&failure, global);
                return Ok(ExitCode::from(exit::DONE));
            }
            return Err(failure);
        }
    };
    let Some(check) = found else {
        print_nothing(global)?;
        return Ok(ExitCode::SUCCESS);
    };
    if global.json {
        print_json(&document(&check, args.explain))?;
    } else {
        if args.explain {
            print(explain::text(&check.explanation, global.width))?;
        }
        print(sentence(&check))?;
        if let Some(slot) = check.revoked {
            let text = "holds a withdrawn release; `flipside update` takes it back";
            print(format_args!("slot {slot} {text}"))?;
        }
    }
    let available = matches!(check.action, Action::Install | Action::Arm) || check.leads_on;
    Ok(ExitCode::from(if args.exit_code && available { exit::AVAILABLE } else { exit::DONE }))
}

/// What would be done, for people.
fn sentence(check: &Check) -> String {
    let version = match &check.version {
        Some(version) => version.clone(),
        None => format!("the update ({})", check.tag.short()),
    };
    match &check.action {
        Action::UpToDate => "up to date".to_owned(),
        Action::Adopt => format!(
            "{version} runs under another manifest{}: that needs no reboot",
            on_the_way(check)
        ),
        Action::Waiting => format!("{version} is installed and boots at the next reboot"),
        Action::Unarm => {
            "the tag went back to what runs; what is armed would be unarmed".to_owned()
        }
        Action::Arm => format!("{version} is installed and would be armed"),
        Action::Install => {
            let cost = check.download.as_ref().map(|download| format!(": {}", cost(download)));
            let cost = cost.unwrap_or_default();
            format!("{version} is available ({}){}{cost}", check.tag.short(), on_the_way(check))
        }
        // Refused is what would come after it.
        Action::Refuse(refusal) if check.runs => format!("{refusal} [{}]", refusal.code),
        Action::Refuse(refusal) => {
            format!("{version} is not installed: {refusal} [{}]", refusal.code)
        }
    }
}

/// What would be done, for programs.
fn document(check: &Check, explain: bool) -> Value {
    let action = match &check.action {
        Action::UpToDate => "up-to-date",
        Action::Adopt => "adopt",
        Action::Waiting => "waiting",
        Action::Unarm => "unarm",
        Action::Arm => "arm",
        Action::Install => "install",
        Action::Refuse(_) => "refuse",
    };
    let mut document = json!({
        "tag": check.tag,
        "action": action,
        "version": check.version,
        "target_version": check.target_version,
        "download": check.download,
    });
    if let (Action::Refuse(refusal), Some(fields)) = (&check.action, document.as_object_mut()) {
        fields.insert("severity".to_owned(), json!(refusal.severity));
        fields.insert("code".to_owned(), json!(refusal.code));
        fields.insert("message".to_owned(), json!(refusal.message));
    }
    if let (true, Some(fields)) = (explain, document.as_object_mut()) {
        fields.insert("rules".to_owned(), explain::document(&check.explanation));
    }
    document
}

/// What the update leads to, where that is not what it brings.
fn on_the_way(check: &Check) -> String {
    match &check.target_version {
        Some(target) if check.target_version != check.version => {
            format!(", on the way to {target}")
        }
        _ => String::new(),
    }
}

fn print_nothing(global: &Global) -> Result<(), Failure> {
    if global.json {
        return print_json(&json!({"action": "nothing-to-do"}));
    }
    print("nothing to do: track.image is not set, or this host has no slots")
}
