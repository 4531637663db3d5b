// SPDX-License-Identifier: MIT OR Apache-2.0

//! The timer that asks again in the next window: a transient unit of systemd, gone with the next
//! boot (org.freedesktop.systemd1(5), `StartTransientUnit`).

use std::time::Duration;

use jiff::Timestamp;
use zbus::{OwnedObjectPath, Variant};

use super::RebootError;
use crate::host::bus::{Bus, CallError, Object};

const SERVICE: &str = "org.freedesktop.systemd1";
const MANAGER: Object<'static> = Object {
    service: SERVICE,
    path: "/org/freedesktop/systemd1",
    interface: "org.freedesktop.systemd1.Manager",
};
/// It starts the service of the same name.
const TIMER: &str = "flipside-reboot-window.timer";

/// How often, and how many times, to see whether systemd has forgotten the old timer.
const FORGETS: (Duration, u32) = (Duration::from_millis(50), 100);

/// The timer, on a bus.
pub struct Timer<'a>(pub &'a Bus);

impl Timer<'_> {
    /// Lets it elapse at `time`, in whole seconds, and at no other.
    ///
    /// # Errors
    /// systemd's.
    pub fn set(&self, time: Timestamp) -> Result<(), RebootError> {
        let refused = |error: CallError| error.refuses("set the timer for the reboot's window");
        if self.time().is_some_and(|set| set.as_second() == time.as_second()) {
            return Ok(());
        }
        self.remove()?;
        let (pause, times) = FORGETS;
        for _ in 0..times {
            match self.start(time) {
                // Until its job has ended, an old one is still there.
                Err(error) if error.is("org.freedesktop.systemd1.UnitExists") => {
                    self.0.wait(pause);
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
        match self.0.call::<_, OwnedObjectPath>(MANAGER, "StopUnit", &(TIMER, "replace")) {
            Err(error) if !error.is("org.freedesktop.systemd1.NoSuchUnit") => {
                Err(error.refuses("remove the timer for the reboot's window"))
            }
            _ => Ok(()),
        }
    }

    /// When it elapses next; `None` also where there is none.
    fn time(&self) -> Option<Timestamp> {
        let path: OwnedObjectPath = self.0.call(MANAGER, "GetUnit", &TIMER).ok()?;
        let unit = Object {
            service: SERVICE,
            path: path.as_str(),
            interface: "org.freedesktop.systemd1.Timer",
        };
        let microseconds: u64 = self.0.property(unit, "NextElapseUSecRealtime").ok()?;
        Timestamp::from_microsecond(i64::try_from(microseconds).ok()?).ok()
    }

    fn start(&self, time: Timestamp) -> Result<(), CallError> {
        let calendar = time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string();
        let properties = vec![
            ("Description", Variant::from("Reboot into the installed update, in its window")),
            ("TimersCalendar", Variant::from(vec![("OnCalendar", calendar)])),
            ("AccuracyUSec", Variant::from(1_000_000_u64)),
            ("RemainAfterElapse", Variant::from(false)),
        ];
        let further: Vec<(&str, Vec<(&str, Variant<'_>)>)> = Vec::new();
        let arguments = (TIMER, "replace", properties, further);
        self.0.call::<_, OwnedObjectPath>(MANAGER, "StartTransientUnit", &arguments)?;
        Ok(())
    }
}
