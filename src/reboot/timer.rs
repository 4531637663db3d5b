// SPDX-License-Identifier: MIT OR Apache-2.0

//! The timers that ask again, in the next window or after a failure: transient units of systemd,
//! gone with the next boot (org.freedesktop.systemd1(5), `StartTransientUnit`).

use std::time::Duration;

use jiff::Timestamp;
use zbus::{OwnedObjectPath, Variant};

use super::RebootError;
use crate::system::bus::{Bus, CallError};
use crate::system::timers::{MANAGER, elapse};

/// How often, and how many times, to see whether systemd has forgotten the old timer.
const FORGETS: (Duration, u32) = (Duration::from_millis(50), 100);

/// A timer, on a bus. It starts the service of the same name: a transient one can name no other.
pub struct Timer<'a> {
    bus: &'a Bus,
    name: &'static str,
    description: &'static str,
}

impl<'a> Timer<'a> {
    /// The one for a reboot.
    pub fn of_reboot(bus: &'a Bus) -> Self {
        Self {
            bus,
            name: "flipside-reboot-window.timer",
            description: "Reboot into the installed update, in its window",
        }
    }

    /// The one for an update.
    pub fn of_update(bus: &'a Bus) -> Self {
        Self {
            bus,
            name: "flipside-update-window.timer",
            description: "Follow the tag of this host's OS images, in an update window",
        }
    }

    /// The one for an update that failed in a way that time may mend.
    pub fn of_retry(bus: &'a Bus) -> Self {
        Self {
            bus,
            name: "flipside-update-retry.timer",
            description: "Follow the tag of this host's OS images, after a failure",
        }
    }

    /// Lets it elapse at `time`, in whole seconds, and at no other.
    ///
    /// # Errors
    /// systemd's.
    pub fn set(&self, time: Timestamp) -> Result<(), RebootError> {
        let refused = |error: CallError| error.refuses("set the timer that asks again");
        if elapse(self.bus, self.name).is_some_and(|set| set.as_second() == time.as_second()) {
            return Ok(());
        }
        self.remove()?;
        let (pause, times) = FORGETS;
        for _ in 0..times {
            match self.start(time) {
                // Until its job has ended, an old one is still there.
                Err(error) if error.is("org.freedesktop.systemd1.UnitExists") => {
                    self.bus.wait(pause);
                }
                started => return started.map_err(refused),
            }
        }
        self.start(time).map_err(refused)
    }

    /// Removes it, where there is one.
    ///
    /// # Errors
    /// systemd's.
    pub fn remove(&self) -> Result<(), RebootError> {
        match self.bus.call::<_, OwnedObjectPath>(MANAGER, "StopUnit", &(self.name, "replace")) {
            Err(error) if !error.is("org.freedesktop.systemd1.NoSuchUnit") => {
                Err(error.refuses("remove the timer that asks again"))
            }
            _ => Ok(()),
        }
    }

    fn start(&self, time: Timestamp) -> Result<(), CallError> {
        let calendar = time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string();
        let properties = vec![
            ("Description", Variant::from(self.description)),
            ("TimersCalendar", Variant::from(vec![("OnCalendar", calendar)])),
            ("AccuracyUSec", Variant::from(1_000_000_u64)),
            ("RemainAfterElapse", Variant::from(false)),
        ];
        let further: Vec<(&str, Vec<(&str, Variant<'_>)>)> = Vec::new();
        let arguments = (self.name, "replace", properties, further);
        self.bus.call::<_, OwnedObjectPath>(MANAGER, "StartTransientUnit", &arguments)?;
        Ok(())
    }
}
