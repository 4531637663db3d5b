// SPDX-License-Identifier: MIT OR Apache-2.0

//! How and when to reboot into what is armed.
//!
//! - `plan`: when, one pure decision; `spread`: a host's own place in a window
//! - `logind`, `sessions`: who reboots the machine, and who has to be told before
//! - `timer`: asks again in the next window
//! - `kexec`: past the firmware

use jiff::Timestamp;

use crate::config::RebootStrategy;
use crate::config::window::Windows;
use crate::report::journal::{Entry, Kind};
use crate::report::status::{CommandFailure, NextReboot};
use crate::run::{self, Armed, Run};
use crate::system::zone_of;
use flipside_core::host::{self, Root, Slot};

mod error;
pub mod jitter;
pub mod kexec;
#[cfg(feature = "dbus")]
mod logind;
pub mod next_update;
#[cfg(not(feature = "dbus"))]
mod no_bus;
pub mod plan;
mod sessions;
#[cfg(feature = "dbus")]
mod timer;

pub use error::RebootError;
#[cfg(not(feature = "dbus"))]
use no_bus::{Bus, Logind, Timer};
#[cfg(feature = "dbus")]
use {crate::system::bus::Bus, logind::Logind, timer::Timer};

use flipside_image::code::Coded as _;
use jitter::Share;
use plan::{Circumstances, Plan};

/// How what everybody reads begins; flipside knows its own reboots by it.
const MESSAGE: &str = "flipside reboots this machine into ";

/// Who asks for a reboot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// A timer or a run of the timer's: `reboot.strategy` decides.
    ByItself,
    /// A person, now.
    ByHand {
        /// Whether nobody is to be told before.
        without_notice: bool,
    },
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing is to be done, and why.
    NothingToDo(&'static str),
    /// The machine reboots.
    Now {
        /// The slot that boots.
        slot: Slot,
        /// The version in it.
        version: String,
        /// Whether the running kernel starts it.
        by_kexec: bool,
    },
    /// It reboots a little later: somebody is logged in.
    At {
        /// The slot that boots.
        slot: Slot,
        /// The version in it.
        version: String,
        /// When.
        time: Timestamp,
        /// Whether the running kernel starts it.
        by_kexec: bool,
    },
    /// A shutdown was scheduled before.
    Scheduled {
        /// `reboot`, `poweroff`, ...
        kind: String,
        /// When.
        time: Timestamp,
    },
    /// It reboots in the next window.
    InWindow {
        /// The window.
        window: String,
        /// When this host's turn is.
        time: Timestamp,
    },
}

/// Reboots into what is armed, now or later, and says in the status what comes next.
///
/// # Errors
/// [`RebootError`]; what is armed stays armed.
pub fn reboot(run: &Run, asked: Asked, by_kexec: bool) -> Result<Outcome, RebootError> {
    let result = consider(run, asked, by_kexec);
    let next = match &result {
        Ok(Outcome::Now { .. }) => Some(NextReboot { time: Timestamp::now(), window: None }),
        Ok(Outcome::At { time, .. } | Outcome::Scheduled { time, .. }) => {
            Some(NextReboot { time: *time, window: None })
        }
        Ok(Outcome::InWindow { time, window }) => {
            Some(NextReboot { time: *time, window: Some(window.clone()) })
        }
        Ok(Outcome::NothingToDo(_)) | Err(_) => None,
    };
    // By now the run that a timer started has ended: the timer knows its next time.
    let next_check = run::next_check(run, Timestamp::now());
    run.follow.change(|status| {
        (status.next_reboot, status.next_check) = (next, next_check);
        let failure = result.as_ref().err().map(|error| CommandFailure {
            command: "reboot".to_owned(),
            severity: error.severity(),
            code: error.code().to_string(),
            message: error.to_string(),
            time: Timestamp::now(),
        });
        status.note_command("reboot", failure);
    });
    result
}

fn consider(run: &Run, asked: Asked, by_kexec: bool) -> Result<Outcome, RebootError> {
    let settings = &run.config.reboot;
    let is_by_itself = asked == Asked::ByItself;
    if is_by_itself
        && host::kexec::is_marked(&run.root)
        && let Ok(bus) = Bus::of(&run.root)
    {
        forget_kernel(&run.root, &Logind(&bus));
    }
    if is_by_itself && settings.strategy == RebootStrategy::None {
        // What a person called for before is still to come.
        if let Ok(bus) = Bus::of(&run.root)
            && let Ok(Some((kind, time))) = Logind(&bus).scheduled()
            && run::armed(run)?.is_some()
        {
            return Ok(Outcome::Scheduled { kind, time });
        }
        return Ok(Outcome::NothingToDo("reboot.strategy is \"none\""));
    }
    let Some(armed) = run::armed(run)? else {
        if is_by_itself && let Ok(bus) = Bus::of(&run.root) {
            Timer::of_reboot(&bus).remove()?;
            // What somebody was told would boot has given way since.
            Logind(&bus).cancel_own()?;
            forget_kernel(&run.root, &Logind(&bus));
        }
        return Ok(Outcome::NothingToDo("no update waits for a reboot"));
    };
    let bus = Bus::of(&run.root).map_err(|why| RebootError::NoLogind { why })?;
    let logind = Logind(&bus);
    if is_by_itself && let Some(why) = armed.not_by_itself {
        // What a person called for before is still to come.
        return Ok(match logind.scheduled()? {
            Some((kind, time)) => Outcome::Scheduled { kind, time },
            None => Outcome::NothingToDo(why),
        });
    }
    let people = logind.other_sessions()?.into_iter().filter(|s| s.is_a_person()).count();
    let zone = zone_of(&run.root);
    let given = Circumstances {
        now: Timestamp::now(),
        windows: Windows { windows: &settings.windows, host: &zone },
        share: Share::of(&run.root),
        notice: *settings.notice,
        somebody_is_here: people > 0,
    };
    let plan = match asked {
        Asked::ByItself => plan::decide(settings.strategy, &given),
        Asked::ByHand { without_notice: true } => Plan::Now,
        Asked::ByHand { without_notice: false } => plan::soon(&given),
    };
    let way = Way { run, bus: &bus, armed: &armed, by_kexec: by_kexec || settings.kexec };
    let done = way.go(plan, asked);
    if is_by_itself && let Err(RebootError::Inhibited { .. }) = done {
        match plan::again(settings.strategy, &given) {
            Plan::At(time) | Plan::InWindow { at: time, .. } => Timer::of_reboot(&bus).set(time)?,
            Plan::Now | Plan::Not => {}
        }
    }
    done
}

/// Unloads a kernel that no reboot is going to start: an update cannot, and would wait for it.
fn forget_kernel(root: &Root, logind: &Logind<'_>) {
    if matches!(logind.scheduled(), Ok(None))
        && let Err(error) = host::kexec::forget(root)
    {
        tracing::warn!("{error} [{}]", error.code());
    }
}

/// How a plan is carried out.
struct Way<'a> {
    run: &'a Run,
    bus: &'a Bus,
    armed: &'a Armed,
    by_kexec: bool,
}

impl Way<'_> {
    fn go(&self, plan: Plan, asked: Asked) -> Result<Outcome, RebootError> {
        let logind = Logind(self.bus);
        let Armed { slot, version, .. } = self.armed;
        let message = format!("{MESSAGE}{version} (slot {slot})");
        match plan {
            Plan::Not => Ok(Outcome::NothingToDo("no window is ahead")),
            Plan::InWindow { at, window } => {
                Timer::of_reboot(self.bus).set(at)?;
                self.announce(&at.to_string());
                Ok(Outcome::InWindow { window, time: at })
            }
            Plan::Now | Plan::At(_) => {
                // What somebody scheduled before counts, unless a person does not want to wait.
                if asked != (Asked::ByHand { without_notice: true })
                    && let Some((kind, time)) = logind.scheduled()?
                {
                    return Ok(Outcome::Scheduled { kind, time });
                }
                logind.check_inhibitors()?;
                let by_kexec = self.by_kexec && self.load_kernel();
                let (slot, version) = (*slot, version.clone());
                let asked = match plan {
                    Plan::At(time) => logind.schedule(time, by_kexec, &message),
                    _ => logind.reboot(by_kexec, &message),
                };
                if asked.is_err() && by_kexec {
                    forget_kernel(&self.run.root, &logind);
                }
                asked?;
                if let Plan::At(time) = plan {
                    self.announce(&time.to_string());
                    Ok(Outcome::At { slot, version, time, by_kexec })
                } else {
                    self.announce("now");
                    Ok(Outcome::Now { slot, version, by_kexec })
                }
            }
        }
    }

    fn announce(&self, when: &str) {
        let Armed { slot, version, .. } = self.armed;
        let message = format!("this host reboots into {version} in slot {slot}: {when}");
        Entry::new(Kind::RebootScheduled, message).slot(*slot).version(version).send();
    }

    /// Whether the target's kernel is loaded now. Where it is not, the firmware starts it.
    fn load_kernel(&self) -> bool {
        let Some(boot_file) = &self.armed.boot_file else { return false };
        match kexec::load(&self.run.root, boot_file, self.armed.slot) {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!("{error} [{}]; the firmware starts it instead", error.code());
                false
            }
        }
    }
}
