// SPDX-License-Identifier: MIT OR Apache-2.0

//! systemd-logind, which reboots machines: org.freedesktop.login1(5).

use std::collections::HashMap;

use jiff::Timestamp;
use zbus::{OwnedObjectPath, OwnedVariant};

use super::sessions::Session;
use super::{MESSAGE, RebootError};
use crate::system::bus::{Bus, CallError, LOGIND, Object};
use flipside_image::printable;

const SESSION: &str = "org.freedesktop.login1.Session";

/// Flags of `RebootWithFlags`: inhibitors count for root as well, and kexec where a kernel is loaded.
const CHECK_INHIBITORS: u64 = 1 << 0;
const BY_KEXEC: u64 = 1 << 1;

/// Names of the error that an inhibitor causes: before systemd 257, and since.
const INHIBITED: [&str; 2] =
    ["org.freedesktop.login1.OperationInProgress", "org.freedesktop.login1.BlockedByInhibitorLock"];

/// logind on a bus.
pub struct Logind<'a>(pub &'a Bus);

impl Logind<'_> {
    /// Refuses while somebody holds a lock that blocks shutdowns.
    ///
    /// # Errors
    /// [`RebootError::Inhibited`], and logind's.
    pub fn check_inhibitors(&self) -> Result<(), RebootError> {
        type Inhibitor = (String, String, String, String, u32, u32);
        let inhibitors: Vec<Inhibitor> = self
            .0
            .call(LOGIND, "ListInhibitors", &())
            .map_err(|error| error.refuses("ask who blocks reboots"))?;
        for (what, who, why, mode, _, _) in inhibitors {
            // "block", and "block-weak" since systemd 257.
            if mode.starts_with("block") && what.split(':').any(|what| what == "shutdown") {
                // Anybody who sits in front of the machine chooses these.
                let (who, why) = (printable::line(&who, 60), printable::line(&why, 120));
                return Err(RebootError::Inhibited { who, why });
            }
        }
        Ok(())
    }

    /// Everybody's sessions but the one that this process belongs to.
    ///
    /// # Errors
    /// logind's.
    pub fn other_sessions(&self) -> Result<Vec<Session>, RebootError> {
        let refused = |error: CallError| error.refuses("ask who is logged in");
        type Row = (String, u32, String, String, OwnedObjectPath);
        let rows: Vec<Row> = self.0.call(LOGIND, "ListSessions", &()).map_err(refused)?;
        // A service has none.
        let own: Option<OwnedObjectPath> =
            self.0.call(LOGIND, "GetSessionByPID", &std::process::id()).ok();
        let mut sessions = Vec::new();
        for (_, _, user, _, path) in rows {
            if Some(&path) == own.as_ref() {
                continue;
            }
            let object = Object {
                service: LOGIND.service,
                path: path.as_str(),
                interface: "org.freedesktop.DBus.Properties",
            };
            // One that ended meanwhile is nobody's.
            let Ok(mut properties) =
                self.0.call::<_, HashMap<String, OwnedVariant>>(object, "GetAll", &SESSION)
            else {
                continue;
            };
            let mut text = |name: &str| {
                let value = properties.remove(name).and_then(|value| String::try_from(value).ok());
                value.unwrap_or_default()
            };
            sessions.push(Session {
                user,
                terminal: text("TTY"),
                class: text("Class"),
                kind: text("Type"),
                state: text("State"),
            });
        }
        Ok(sessions)
    }

    /// When a shutdown of any kind is scheduled for, and which.
    ///
    /// # Errors
    /// logind's.
    pub fn scheduled(&self) -> Result<Option<(String, Timestamp)>, RebootError> {
        let (kind, microseconds): (String, u64) = self
            .0
            .property(LOGIND, "ScheduledShutdown")
            .map_err(|error| error.refuses("ask whether a shutdown is scheduled"))?;
        let time = i64::try_from(microseconds).ok().map(Timestamp::from_microsecond);
        Ok(match time {
            Some(Ok(time)) if !kind.is_empty() => Some((kind, time)),
            _ => None,
        })
    }

    /// Reboots; everybody who is logged in reads `message`.
    ///
    /// # Errors
    /// [`RebootError::Inhibited`], and logind's.
    pub fn reboot(&self, by_kexec: bool, message: &str) -> Result<(), RebootError> {
        self.set_message(message);
        let flags = CHECK_INHIBITORS | if by_kexec { BY_KEXEC } else { 0 };
        match self.0.call(LOGIND, "RebootWithFlags", &flags) {
            Ok(()) => Ok(()),
            Err(error) if INHIBITED.iter().any(|name| error.is(name)) => {
                Err(RebootError::Inhibited { who: "somebody".to_owned(), why: error.message })
            }
            Err(error) => Err(error.refuses("reboot")),
        }
    }

    /// Reboots at `time`; everybody who is logged in is told `message` until then.
    ///
    /// # Errors
    /// logind's.
    pub fn schedule(
        &self,
        time: Timestamp,
        by_kexec: bool,
        message: &str,
    ) -> Result<(), RebootError> {
        self.set_message(message);
        let microseconds = u64::try_from(time.as_microsecond()).unwrap_or(0);
        let kind = if by_kexec { "kexec" } else { "reboot" };
        self.0
            .call(LOGIND, "ScheduleShutdown", &(kind, microseconds))
            .map_err(|error| error.refuses("schedule the reboot"))
    }

    /// Takes back what [`Logind::schedule`] scheduled, if that is still what is scheduled: its
    /// message tells.
    ///
    /// # Errors
    /// logind's.
    pub fn cancel_own(&self) -> Result<(), RebootError> {
        let refused = |error: CallError| error.refuses("cancel the reboot");
        let message: String = self.0.property(LOGIND, "WallMessage").map_err(refused)?;
        if message.starts_with(MESSAGE) && self.scheduled()?.is_some() {
            let _: bool = self.0.call(LOGIND, "CancelScheduledShutdown", &()).map_err(refused)?;
        }
        Ok(())
    }

    /// A reboot without a message is better than none.
    fn set_message(&self, message: &str) {
        if let Err(error) = self.0.call::<_, ()>(LOGIND, "SetWallMessage", &(message, true)) {
            tracing::debug!("logind takes no message for who is logged in: {}", error.message);
        }
    }
}
