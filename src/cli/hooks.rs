// SPDX-License-Identifier: MIT OR Apache-2.0

//! `flipside hooks`.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::json;

use super::{Failure, Global, exit, print, print_json, progress, session};
use crate::config::Initiative;
use crate::hooks::{self, Answer, Hook, Planned, RanAs};
use crate::run::{self, HooksAsked, Run as UpdateRun};
use flipside_core::refusal::{Refusal, Severity, Verdict};

/// `EXIT_EXEC` of systemd.exec(5), as where systemd itself cannot run a program.
const EXEC_FAILED: u8 = 203;

/// List or ask the programs that may defer or block an update.
#[derive(Debug, Subcommand)]
pub enum Args {
    /// List the hooks in the order in which they are asked.
    List,
    Run(Run),
    /// Become the program on stdin. This starts a hook that an image brings.
    #[command(hide = true)]
    Exec {
        /// What that program gets on its stdin.
        document: String,
    },
}

/// Ask the hooks about the available update, and print their answers.
///
/// Nothing is installed. Exit status: 0 if they allow the update or there is none, 75 if one defers
/// it, 1 if one blocks it.
#[derive(Debug, clap::Args)]
pub struct Run {
    /// Ask as the timer does, with FLIPSIDE_INITIATIVE=automatic.
    #[arg(long)]
    automatic: bool,
    /// Run no hook: list the hooks that would run, in order, and how each would run.
    #[arg(long)]
    dry_run: bool,
    /// Use plain HTTP, without TLS, for every registry.
    #[arg(long)]
    plain_http: bool,
}

/// Lists or runs hooks.
///
/// # Errors
/// A hook directory that cannot be read; whatever keeps the update on offer from being known.
pub fn run(args: Args, global: &Global) -> super::Result {
    match args {
        Args::List => list(global),
        Args::Run(args) => ask(&args, global),
        Args::Exec { document } => {
            let error = hooks::from_stdin(&document);
            tracing::error!("cannot run the program on stdin: {error}");
            Ok(ExitCode::from(EXEC_FAILED))
        }
    }
}

fn list(global: &Global) -> super::Result {
    let mut found = hooks::discover(&global.root)?;
    found.extend(hooks::masked(&global.root)?);
    found.sort_by(|a, b| a.name.as_bytes().cmp(b.name.as_bytes()));
    if global.json {
        let item = |hook: &Hook| json!({"name": hook.name, "path": hook.path, "ignored": hook.ignored, "fault": hook.fault});
        print_json(&json!({"hooks": found.iter().map(item).collect::<Vec<_>>()}))?;
        return Ok(ExitCode::SUCCESS);
    }
    for hook in &found {
        let remark = match (hook.ignored, &hook.fault) {
            (Some(why), _) => format!("  (not asked: {why})"),
            (None, Some(why)) => format!("  (blocks every update: {why})"),
            (None, None) => String::new(),
        };
        print(format_args!("{}{remark}", hook.path.display()))?;
    }
    if found.is_empty() {
        tracing::info!("this host has no hooks");
    }
    Ok(ExitCode::SUCCESS)
}

fn ask(args: &Run, global: &Global) -> super::Result {
    let mut run = session::open(global, args.plain_http)?;
    // Only a question: the status that others see stays as it is.
    run.progress = progress::of(global);
    let initiative = match args.automatic {
        true => Initiative::Automatic,
        false => Initiative::Manual,
    };
    if args.dry_run {
        return plan(&run, initiative, global);
    }
    let asked = run::ask_hooks_about_offer(&run, initiative).map_err(Failure::of_run)?;
    let Some(asked) = asked else {
        match global.json {
            true => print_json(&json!({"new": null, "decision": "allow", "answers": []}))?,
            false => print("no update is on offer: the hooks were not asked")?,
        }
        return Ok(ExitCode::SUCCESS);
    };
    let verdict = hooks::decide(&asked.answers);
    if asked.answers.iter().any(|answer| answer.ran_as == Some(RanAs::ProcessGroup)) {
        tracing::info!("the hooks ran as process groups, without a sandbox of systemd's");
    }
    match global.json {
        true => print_json(&document(&asked, &verdict))?,
        false => print(text(&asked))?,
    }
    Ok(ExitCode::from(match verdict {
        Verdict::Allow => exit::DONE,
        Verdict::No(Refusal { severity: Severity::Defer, .. }) => exit::DEFERRED,
        Verdict::No(_) => exit::FAILED,
    }))
}

fn plan(run: &UpdateRun, initiative: Initiative, global: &Global) -> super::Result {
    let Some(planned) = run::plan_hooks(run, initiative).map_err(Failure::of_run)? else {
        match global.json {
            true => print_json(&json!({"new": null, "hooks": []}))?,
            false => print("no update is on offer: no hook would be asked")?,
        }
        return Ok(ExitCode::SUCCESS);
    };
    if global.json {
        print_json(&json!({"new": planned.new, "hooks": planned.hooks}))?;
        return Ok(ExitCode::SUCCESS);
    }
    let width = width(planned.hooks.iter().map(|hook| hook.hook.as_str()));
    for Planned { hook, path, ignored, fault, runs_as, .. } in &planned.hooks {
        let path = path.as_ref().map_or("-".into(), |path| path.to_string_lossy());
        let how = match (ignored, fault, runs_as) {
            (Some(why), ..) => format!("not asked: {why}"),
            (None, Some(why), _) => format!("blocks the update: {why}"),
            (None, None, RanAs::Unit) => "as a unit of systemd, in its sandbox".to_owned(),
            (None, None, RanAs::ProcessGroup) => "as a process group, without a sandbox".to_owned(),
        };
        print(format_args!("{hook:<width$}  {path}  {how}"))?;
    }
    if planned.hooks.is_empty() {
        print("this host has no hooks: none would be asked")?;
    }
    Ok(ExitCode::SUCCESS)
}

fn width<'a>(names: impl Iterator<Item = &'a str>) -> usize {
    names.map(|name| name.chars().count()).max().unwrap_or(0)
}

fn document(asked: &HooksAsked, verdict: &Verdict) -> serde_json::Value {
    let mut document = json!(verdict);
    if let Some(fields) = document.as_object_mut() {
        fields.insert("new".to_owned(), json!(asked.new));
        fields.insert("answers".to_owned(), json!(asked.answers));
    }
    document
}

fn text(asked: &HooksAsked) -> String {
    if asked.answers.is_empty() {
        return "this host has no hooks: nothing speaks against the update".to_owned();
    }
    let width = width(asked.answers.iter().map(|answer| answer.hook.as_str()));
    let line = |answer: &Answer| {
        let verdict = answer.verdict.word();
        let why = match &answer.verdict {
            Verdict::Allow => answer.said.clone(),
            Verdict::No(refusal) => format!("{refusal} [{}]", refusal.code),
        };
        let line = format!("{:<width$}  {verdict}  {why}", answer.hook);
        line.trim_end().to_owned()
    };
    asked.answers.iter().map(line).collect::<Vec<_>>().join("\n")
}
