// SPDX-License-Identifier: MIT OR Apache-2.0

//! A trial that is not promoted in time ends: it is waited for, recorded as failed, and left.
//!
//! A broken OS may lack its disk, its ESP or its settings, so nothing here depends on one of them,
//! and whatever asks a disk does so beside the wait.

use std::sync::{Arc, mpsc};
use std::time::Duration;

use flipside_core::host::durable::Durable;
use flipside_core::host::power::{self, Request};
use flipside_core::trial::{
    ByFirmware, TrialBoot, has_boot_success, has_nowhere_to_go, trial_by_esp, trial_by_firmware,
};

use super::{Error, Run, fail_trial, finish};
use crate::config::Config;
use crate::report::journal::{Entry, Kind};
use flipside_core::cancel::Cancel;
use flipside_core::host::Root;
use flipside_core::progress::Progress;
use flipside_core::refusal::Severity;
use flipside_image::code::{Coded, sentence};

/// How long recording may take: a disk that is gone must not keep the machine.
const RECORDING: Duration = Duration::from_secs(60);

/// How long PID 1 may take to end everything, before the kernel is asked.
const SHUTDOWN: Duration = Duration::from_secs(120);

/// How often to ask whether the ESP is there by now.
const ASKS: Duration = Duration::from_secs(2);

/// Whoever waits for the deadline.
#[derive(Clone)]
pub struct Deadline {
    /// The host.
    pub root: Root,
    /// Whom to tell how far it is.
    pub progress: Arc<dyn Progress>,
    /// The wish to stop.
    pub stop: Cancel,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// This boot is no trial.
    NoTrial,
    /// The wait was stopped, by SIGTERM or by a promotion.
    Stopped(Option<TrialBoot>),
    /// The trial was promoted meanwhile.
    Promoted(Option<TrialBoot>),
    /// A reboot would lead back to what runs.
    Stays(TrialBoot),
    /// It is recorded as failed as far as that goes, and has to be left.
    Late(TrialBoot),
}

/// How the wait ended.
enum Waited {
    /// By the deadline.
    Late(Option<TrialBoot>),
    /// By SIGTERM, or by a promotion.
    Stopped,
    /// The ESP says that this boot is no trial.
    NoTrial,
}

impl Deadline {
    /// Waits until the trial that runs is late, if it is one, and records it as failed. Does not
    /// reboot. On a host in a directory nothing is waited for.
    ///
    /// # Errors
    /// What cannot be read.
    pub fn watch(&self) -> Result<Ended, Error> {
        let by_firmware = self.by_firmware()?;
        let known = match by_firmware {
            ByFirmware::None => return Ok(Ended::NoTrial),
            ByFirmware::Trial(trial) => Some(trial),
            ByFirmware::AskEsp => None,
        };
        let known = match self.root.is_live() {
            false => match self.look(known) {
                None => return Ok(Ended::NoTrial),
                found => found,
            },
            true => match self.wait(known) {
                Waited::Late(found) => found,
                Waited::Stopped => return Ok(Ended::Stopped(known)),
                Waited::NoTrial => return Ok(Ended::NoTrial),
            },
        };
        // Whatever was promoted meanwhile. What is not said any more, was said.
        let now = self.trial_now().or_else(|error| match known {
            None => Err(error),
            known => {
                tracing::warn!("{}", with_code(&error));
                Ok(known)
            }
        })?;
        let Some(trial) = now else { return Ok(Ended::Promoted(None)) };
        Ok(self.end(trial))
    }

    /// Ends a trial that is late.
    fn end(&self, trial: TrialBoot) -> Ended {
        if self.has_nowhere_to_go() {
            tracing::warn!("slot {} stays: a reboot leads back to it", trial.running);
            return Ended::Stays(trial);
        }
        let TrialBoot { running, back_to } = trial;
        let message =
            format!("the trial of slot {running} was not promoted in time: back to slot {back_to}");
        Entry::new(Kind::DeadlineReached, message).slot(running).send();
        self.record();
        // Promoted while the record was waited for; or it failed before, and the firmware came back.
        if !has_boot_success(&self.root) {
            return Ended::Late(trial);
        }
        match self.by_esp_in_time() {
            Some(_) => Ended::Stays(trial),
            None => Ended::Promoted(Some(trial)),
        }
    }

    /// Reboots by PID 1, which unmounts file systems; by the kernel where PID 1 does not react.
    ///
    /// # Errors
    /// The kernel's.
    pub fn reboot(&self) -> std::io::Result<()> {
        if power::ask_for_reboot(&self.root, Request::Immediate).unwrap_or(false) {
            let begun = std::time::Instant::now();
            while begun.elapsed() < SHUTDOWN {
                // SIGTERM shows that the shutdown is under way.
                if self.stop.is_requested() {
                    return Ok(());
                }
                std::thread::sleep(Duration::from_millis(200));
            }
        }
        power::reboot_by_kernel(&self.root)
    }

    /// What tells at once, on a host in a directory.
    fn look(&self, known: Option<TrialBoot>) -> Option<TrialBoot> {
        match self.by_esp() {
            Ok(found) => {
                found.into_iter().for_each(say_started);
                known.or(found)
            }
            Err(error) => {
                let why = with_code(&error);
                tracing::warn!("nothing tells whether this boot is a trial: {why}");
                known
            }
        }
    }

    fn by_firmware(&self) -> Result<ByFirmware, Error> {
        if has_boot_success(&self.root) {
            return Ok(ByFirmware::None);
        }
        let backend = Config::load_shared(&self.root).ok().map(|settings| settings.boot.backend);
        Ok(trial_by_firmware(&self.root, backend, &Durable::new())?)
    }

    /// Where the ESP is there.
    fn by_esp(&self) -> Result<Option<TrialBoot>, Error> {
        Ok(trial_by_esp(&self.run(self.settings()).access())?)
    }

    fn trial_now(&self) -> Result<Option<TrialBoot>, Error> {
        Ok(match self.by_firmware()? {
            ByFirmware::Trial(trial) => Some(trial),
            ByFirmware::None => None,
            ByFirmware::AskEsp => self.by_esp_in_time(),
        })
    }

    /// Nothing of a disk that is gone.
    fn by_esp_in_time(&self) -> Option<TrialBoot> {
        let this = self.clone();
        power::within(RECORDING, move || this.by_esp()).and_then(Result::ok).flatten()
    }

    /// What the ESP says, once: as soon as it is mounted. Asked beside the wait, because a disk that
    /// is gone may keep whoever asks it.
    fn ask_esp(&self) -> mpsc::Receiver<Option<TrialBoot>> {
        let (answer, answers) = mpsc::channel();
        let this = self.clone();
        let asking = std::thread::Builder::new().spawn(move || {
            loop {
                if let Ok(found) = this.by_esp() {
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

    /// SIGTERM ends the wait, not what is recorded of its end.
    fn run(&self, settings: Config) -> Run {
        Run::new(&self.root, settings, Arc::clone(&self.progress), Cancel::new(), false)
    }

    /// A broken OS may have broken settings: the defaults have to do.
    fn settings(&self) -> Config {
        Config::load_shared(&self.root).unwrap_or_else(|error| {
            tracing::warn!("the defaults count: {error}");
            Config::default()
        })
    }

    /// Until the deadline of `trial`, or of what the ESP says is one.
    fn wait(&self, mut trial: Option<TrialBoot>) -> Waited {
        let answers = self.ask_esp();
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
            let deadline = *self.settings().trial.deadline;
            if told != Some((deadline, trial)) {
                told = Some((deadline, trial));
                tell_manager(deadline, trial);
            }
            if self.stop.is_requested() || has_boot_success(&self.root) {
                return Waited::Stopped;
            }
            if since_boot() >= deadline {
                return Waited::Late(trial);
            }
            std::thread::sleep(Duration::from_secs(1).min(deadline));
        }
    }

    /// As far as the ESP can be reached, also with broken settings.
    fn has_nowhere_to_go(&self) -> bool {
        let this = self.clone();
        let asked = power::within(RECORDING, move || {
            has_nowhere_to_go(&this.run(this.settings()).access())
        });
        matches!(asked, Some(Ok(true)))
    }

    /// P7: at once, where the ESP is there.
    fn record(&self) {
        let this = self.clone();
        let recorded = power::within(RECORDING, move || {
            let config = Config::load_shared(&this.root).map_err(|error| {
                // No run will say it (P11).
                let kind = Kind::of(Severity::Error);
                Entry::new(kind, sentence(&error)).code(error.code()).send();
                with_code(&error)
            })?;
            let run = this.run(config);
            let failed = fail_trial(&run, "it was not promoted before its deadline");
            finish(&run, failed.as_ref().err());
            Ok::<_, String>(failed.map_err(|error| with_code(&error))?.is_some())
        });
        match recorded {
            Some(Ok(true)) => {}
            Some(Ok(false)) => tracing::warn!("the trial is not recorded as failed: it is none"),
            Some(Err(error)) => tracing::warn!("the trial is not recorded as failed: {error}"),
            None => tracing::warn!("the trial is not recorded as failed: that took too long"),
        }
    }
}

/// As soon as the ESP confirms it: the firmware also takes a kexec for one.
fn say_started(TrialBoot { running, .. }: TrialBoot) {
    let message = format!("slot {running} is on trial, and has to prove itself");
    Entry::new(Kind::TrialStarted, message).slot(running).send();
}

/// As people see it.
fn with_code(error: &impl Coded) -> String {
    format!("{} [{}]", sentence(error), error.code())
}

/// What `systemctl status` shows.
fn tell_manager(deadline: Duration, trial: Option<TrialBoot>) {
    let limit = jiff::SignedDuration::try_from(deadline).unwrap_or_default();
    let status = match trial {
        Some(TrialBoot { running, back_to }) => format!(
            "slot {running} is on trial: back to slot {back_to} unless it is promoted within \
             {limit:#}"
        ),
        None => "the firmware does not tell whether this boot is a trial".to_owned(),
    };
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Status(&status)]);
}

/// With the time that the machine slept.
fn since_boot() -> Duration {
    nix::sys::sysinfo::sysinfo().map(|now| now.uptime()).unwrap_or_default()
}
