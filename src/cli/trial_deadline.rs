// SPDX-License-Identifier: MIT OR Apache-2.0

//! `flipside trial-deadline`.

use std::process::ExitCode;
use std::sync::mpsc;
use std::time::Duration;

use flipside_core::trial::trial_by_firmware;
use serde_json::json;

use super::signals::stop_on_signals;
use super::{Global, exit, print, print_json, session};
use crate::config::Config;
use crate::host::durable::Durable;
use crate::host::power::{self, Request};
use crate::report::journal::{Entry, Kind};
use crate::stop::Stop;
use crate::update::{self, ByFirmware, TrialBoot, UpdateError};

/// Reboot a trial that is not promoted in time (started by systemd).
///
/// Ends at once, or as soon as the EFI system partition is mounted, unless this boot is a trial: of
/// a slot that is not the first of flipside's in the boot order, or is it only because the firmware
/// moved there what it booted. Otherwise it waits until `trial.deadline` has passed since the
/// boot, records the image as failed where the EFI system partition can be reached, and reboots,
/// also from emergency mode; unless that partition shows that the running slot is proven after all,
/// or that the other one cannot boot. With `--root` nothing is waited for and nothing rebooted.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// How long recording may take: a disk that is gone must not keep the machine.
const RECORDING: Duration = Duration::from_secs(60);

/// How long PID 1 may take to end everything, before the kernel is asked.
const SHUTDOWN: Duration = Duration::from_secs(120);

/// How often to ask whether the ESP is there by now.
const ASKS: Duration = Duration::from_secs(2);

/// How the wait ended.
enum Waited {
    /// By the deadline.
    Late(Option<TrialBoot>),
    /// By SIGTERM, or by a promotion.
    Stopped,
    /// The ESP says that this boot is no trial.
    NoTrial,
}

/// Ends a trial that is late.
///
/// # Errors
/// What cannot be read; the reboot fails.
pub fn run(_: Args, global: &Global) -> super::Result {
    let stop = stop_on_signals()?;
    let by_firmware = by_firmware(global)?;
    if by_firmware == ByFirmware::None {
        return done(global, "nothing-to-do", None);
    }
    let mut trial = match by_firmware {
        ByFirmware::Trial(trial) => Some(trial),
        _ => None,
    };
    if !global.root.is_live() {
        let by_esp = by_esp(global);
        if let Ok(Some(trial)) = &by_esp {
            say_started(*trial);
        }
        trial = trial.or(by_esp.unwrap_or_else(not_told));
        if trial.is_none() {
            return done(global, "nothing-to-do", None);
        }
    } else {
        match wait(global, trial, &stop) {
            Waited::Late(found) => trial = found,
            Waited::Stopped => return done(global, "stopped", trial),
            Waited::NoTrial => return done(global, "nothing-to-do", None),
        }
    }
    // Whatever was promoted meanwhile. What is not said any more, was said.
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
    // Promoted while the record was waited for; or it failed before, and the firmware came back.
    if update::has_boot_success(&global.root) {
        let outcome = if by_esp_in_time(global).is_some() { "stays" } else { "promoted" };
        return done(global, outcome, Some(trial));
    }
    done(global, "rebooting", Some(trial))?;
    reboot(global, &stop)
}

fn by_firmware(global: &Global) -> Result<ByFirmware, super::Failure> {
    if update::has_boot_success(&global.root) {
        return Ok(ByFirmware::None);
    }
    let backend = Config::load(&global.root).ok().map(|settings| settings.boot.backend);
    let by_firmware = trial_by_firmware(&global.root, backend, &Durable::new());
    Ok(by_firmware.map_err(UpdateError::from)?)
}

/// Where the ESP is there.
fn by_esp(global: &Global) -> Result<Option<TrialBoot>, super::Failure> {
    Ok(update::trial_by_esp(&session::with(global, settings(global), false)?)?)
}

fn trial_now(global: &Global) -> Result<Option<TrialBoot>, super::Failure> {
    Ok(match by_firmware(global)? {
        ByFirmware::Trial(trial) => Some(trial),
        ByFirmware::None => None,
        ByFirmware::AskEsp => by_esp_in_time(global),
    })
}

/// Nothing of a disk that is gone.
fn by_esp_in_time(global: &Global) -> Option<TrialBoot> {
    let global = global.clone();
    power::within(RECORDING, move || by_esp(&global)).and_then(Result::ok).flatten()
}

fn not_told(error: super::Failure) -> Option<TrialBoot> {
    tracing::warn!("nothing tells whether this boot is a trial: {error}");
    None
}

/// As soon as the ESP confirms it: the firmware also takes a kexec for one.
fn say_started(TrialBoot { running, .. }: TrialBoot) {
    let message = format!("slot {running} is on trial, and has to prove itself");
    Entry::new(Kind::TrialStarted, message).slot(running).send();
}

/// What the ESP says, once: as soon as it is mounted. Asked beside the wait, because a disk that is
/// gone may keep whoever asks it.
fn ask_esp(global: &Global) -> mpsc::Receiver<Option<TrialBoot>> {
    let (answer, answers) = mpsc::channel();
    let global = global.clone();
    let asking = std::thread::Builder::new().spawn(move || {
        loop {
            if let Ok(found) = by_esp(&global) {
                return answer.send(found);
            }
            std::thread::sleep(ASKS);
        }
    });
    if let Err(error) = asking {
        tracing::warn!("the EFI system partition is not asked: {error}");
    }
    answers
}

/// A broken OS may have broken settings: the defaults have to do.
fn settings(global: &Global) -> Config {
    Config::load(&global.root).unwrap_or_else(|error| {
        tracing::warn!("the defaults count: {error}");
        Config::default()
    })
}

/// Until the deadline of `trial`, or of what the ESP says is one.
fn wait(global: &Global, mut trial: Option<TrialBoot>, stop: &Stop) -> Waited {
    let answers = ask_esp(global);
    let mut told = None;
    loop {
        match answers.try_recv() {
            Ok(Some(found)) => {
                say_started(found);
                trial = trial.or(Some(found));
            }
            Ok(None) if trial.is_none() => return Waited::NoTrial,
            _ => {}
        }
        // Read again: `/etc` may have been mounted meanwhile.
        let deadline = settings(global).trial.deadline;
        if told != Some((deadline, trial)) {
            told = Some((deadline, trial));
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
            return Waited::Stopped;
        }
        if since_boot() >= deadline {
            return Waited::Late(trial);
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
