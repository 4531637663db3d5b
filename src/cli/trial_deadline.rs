// SPDX-License-Identifier: MIT OR Apache-2.0

//! `flipside trial-deadline`.

use std::process::ExitCode;
use std::time::Duration;

use serde_json::json;

use super::{Global, exit, print, print_json, session};
use crate::config::Config;
use crate::host::durable::Durable;
use crate::host::power::{self, Request};
use crate::report::journal::{Entry, Kind};
use crate::stop::Stop;
use crate::update::{self, TrialBoot};

/// Reboot a trial that is not promoted in time (started by systemd).
///
/// Ends at once unless this boot is a trial: unless the running slot is not the first of
/// flipside's in the boot order. Otherwise it waits until `trial.deadline` has passed since the
/// boot, records the image as failed where the EFI system partition can be reached, and reboots,
/// also from emergency mode; unless that partition shows that the running slot is proven after all,
/// or that the other one cannot boot. With `--root` nothing is waited for and nothing rebooted.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// How long recording may take: a disk that is gone must not keep the machine.
const RECORDING: Duration = Duration::from_secs(60);

/// How long PID 1 may take to end everything, before the kernel is asked.
const SHUTDOWN: Duration = Duration::from_secs(120);

/// Ends a trial that is late.
///
/// # Errors
/// What cannot be read; the reboot fails.
pub fn run(_: Args, global: &Global) -> super::Result {
    let stop = Stop::new();
    stop.on_signals().map_err(session::no_signals)?;
    let trial = trial_now(global)?;
    if trial.is_none() && !(global.root.is_live() && is_firmware_silent(global)) {
        return done(global, "nothing-to-do", None);
    }
    if let Some(TrialBoot { running, .. }) = trial {
        let message = format!("slot {running} is on trial, and has to prove itself");
        Entry::new(Kind::TrialStarted, message).slot(running).send();
    }
    if global.root.is_live() && !wait(global, trial.as_ref(), &stop) {
        return done(global, "stopped", trial);
    }
    // Whatever was promoted meanwhile. What the firmware does not say any more, it has said.
    let now = trial_now(global).or_else(|error| match trial {
        None => Err(error),
        known => {
            tracing::warn!("{error}");
            Ok(known)
        }
    })?;
    let Some(trial) = now else { return done(global, "promoted", None) };
    if has_nowhere_to_go(global) {
        tracing::warn!("slot {} stays: a reboot leads back to it", trial.running);
        return done(global, "stays", Some(trial));
    }
    let TrialBoot { running, back_to } = trial;
    let message =
        format!("the trial of slot {running} was not promoted in time: back to slot {back_to}");
    Entry::new(Kind::DeadlineReached, message).slot(running).send();
    record(global);
    done(global, "rebooting", Some(trial))?;
    reboot(global, &stop)
}

fn trial_now(global: &Global) -> super::Result<Option<TrialBoot>> {
    if update::has_boot_success(&global.root) {
        return Ok(None);
    }
    if is_firmware_silent(global) {
        let found = session::open(global, false).and_then(|run| Ok(update::trial_by_esp(&run)?));
        return Ok(found.unwrap_or_else(|error| {
            tracing::warn!("nothing tells whether this boot is a trial: {error}");
            None
        }));
    }
    let backend = settings(global).boot.backend;
    Ok(update::trial_by_firmware(&global.root, backend, &Durable::new())?)
}

fn is_firmware_silent(global: &Global) -> bool {
    update::is_firmware_silent(&global.root, settings(global).boot.backend, &Durable::new())
}

/// A broken OS may have broken settings: the defaults have to do.
fn settings(global: &Global) -> Config {
    Config::load(&global.root).unwrap_or_else(|error| {
        tracing::warn!("the defaults count: {error}");
        Config::default()
    })
}

/// Until the deadline. `false` where the wait was ended: by SIGTERM, or by a promotion.
fn wait(global: &Global, trial: Option<&TrialBoot>, stop: &Stop) -> bool {
    let mut told = None;
    loop {
        // Read again: `/etc` may have been mounted meanwhile.
        let deadline = settings(global).trial.deadline;
        if told != Some(deadline) {
            told = Some(deadline);
            let limit = jiff::SignedDuration::try_from(deadline).unwrap_or_default();
            let status = match trial {
                Some(TrialBoot { running, back_to }) => format!(
                    "slot {running} is on trial: back to slot {back_to} unless it is promoted \
                     within {limit:#}"
                ),
                None => "the firmware does not tell whether this boot is a trial".to_owned(),
            };
            let _ = sd_notify::notify(&[sd_notify::NotifyState::Status(&status)]);
        }
        if stop.is_requested() || update::has_boot_success(&global.root) {
            return false;
        }
        if since_boot() >= deadline {
            return true;
        }
        std::thread::sleep(Duration::from_secs(1).min(deadline));
    }
}

/// With the time that the machine slept.
fn since_boot() -> Duration {
    Duration::from_secs(u64::try_from(rustix::system::sysinfo().uptime).unwrap_or(0))
}

/// As far as the ESP can be reached, also with broken settings.
fn has_nowhere_to_go(global: &Global) -> bool {
    let global = global.clone();
    let asked = power::within(RECORDING, move || {
        let run = session::with(&global, settings(&global), false)?;
        Ok::<_, super::Failure>(update::has_nowhere_to_go(&run)?)
    });
    matches!(asked, Some(Ok(true)))
}

/// P7: at once, where the ESP is there.
fn record(global: &Global) {
    let global = global.clone();
    let recorded = power::within(RECORDING, move || {
        let run = session::open(&global, false)?;
        let failed = update::fail_trial(&run, "it was not promoted before its deadline");
        update::finish(&run, failed.as_ref().err());
        Ok::<_, super::Failure>(failed?.is_some())
    });
    match recorded {
        Some(Ok(true)) => {}
        Some(Ok(false)) => tracing::warn!("the trial is not recorded as failed: it is none"),
        Some(Err(error)) => tracing::warn!("the trial is not recorded as failed: {error}"),
        None => tracing::warn!("the trial is not recorded as failed: that took too long"),
    }
}

/// By PID 1, which unmounts file systems; by the kernel where PID 1 does not react.
fn reboot(global: &Global, stop: &Stop) -> super::Result {
    let failed = |error| super::Failure::error("reboot-failed", format!("cannot reboot: {error}"));
    if power::ask_for_reboot(&global.root, Request::Immediate).unwrap_or(false) {
        let begun = std::time::Instant::now();
        while begun.elapsed() < SHUTDOWN {
            // SIGTERM shows that the shutdown is under way.
            if stop.is_requested() {
                return Ok(ExitCode::from(exit::DONE));
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }
    power::reboot_by_kernel(&global.root).map_err(failed)?;
    Ok(ExitCode::from(exit::DONE))
}

fn done(global: &Global, outcome: &str, trial: Option<TrialBoot>) -> super::Result {
    let (running, back_to) = (trial.map(|t| t.running), trial.map(|t| t.back_to));
    if global.json {
        print_json(&json!({"outcome": outcome, "slot": running, "back_to": back_to}))?;
        return Ok(ExitCode::SUCCESS);
    }
    match (outcome, trial) {
        ("rebooting", Some(TrialBoot { running, back_to })) => {
            print(format!("slot {running} was not promoted in time: back to slot {back_to}"))?;
        }
        ("stays", Some(TrialBoot { running, .. })) => {
            print(format!("slot {running} stays: a reboot leads back to it"))?;
        }
        ("nothing-to-do", _) => print("nothing to do: this boot is no trial")?,
        _ => print("the trial has ended before its deadline")?,
    }
    Ok(ExitCode::SUCCESS)
}
