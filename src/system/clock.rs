// SPDX-License-Identifier: MIT OR Apache-2.0

//! What time it is, and whether to believe that.

use jiff::Timestamp;

use flipside_core::host::Root;

/// What systemd-timesyncd makes once it has set the clock (systemd-timesyncd.service(8)).
const SYNCHRONIZED: &str = "/run/systemd/timesync/synchronized";

/// Who says whether the clock was set, where the kernel may not be asked: a sandbox that keeps
/// the clock from being set forbids that question as well (org.freedesktop.timedate1(5)).
#[cfg(feature = "dbus")]
const TIMEDATED: super::bus::Object<'static> = super::bus::Object {
    service: "org.freedesktop.timedate1",
    path: "/org/freedesktop/timedate1",
    interface: "org.freedesktop.timedate1",
};

/// The clock of a host.
#[derive(Debug, Clone, Copy)]
pub struct Clock<'a> {
    root: &'a Root,
    is_trusted: bool,
}

impl<'a> Clock<'a> {
    /// The clock of the host below `root`.
    pub fn of(root: &'a Root) -> Self {
        Self { root, is_trusted: false }
    }

    /// The same, believed whether or not anything has set it.
    pub fn trusted(self, is_trusted: bool) -> Self {
        Self { is_trusted, ..self }
    }

    /// What it shows.
    pub fn shows(&self) -> Timestamp {
        Timestamp::now()
    }

    /// The time, where it is known: for what depends on dates.
    pub fn now(&self) -> Option<Timestamp> {
        (self.is_trusted || self.is_synchronized()).then(|| self.shows())
    }

    /// Whether something has set it from a source of time since the boot. A machine's own kernel
    /// knows, whoever that was; the kernel of a host in a directory is not this one.
    pub fn is_synchronized(&self) -> bool {
        if self.root.is_live()
            && let Some(kept_right) = is_kept_right()
        {
            return kept_right;
        }
        self.root.path(SYNCHRONIZED).exists() || self.timedated_says_so()
    }

    #[cfg(feature = "dbus")]
    fn timedated_says_so(&self) -> bool {
        let Ok(bus) = super::bus::Bus::of(self.root) else { return false };
        let says = bus.property::<bool>(TIMEDATED, "NTPSynchronized");
        says.unwrap_or_else(|error| {
            tracing::debug!("timedated does not say whether the clock was set: {}", error.message);
            false
        })
    }

    #[cfg(not(feature = "dbus"))]
    fn timedated_says_so(&self) -> bool {
        false
    }
}

/// adjtimex(2): `STA_UNSYNC` is set from the boot on until something sets the clock, and again
/// where that has been silent for too long. `None` where a sandbox forbids the question.
#[allow(unsafe_code)]
fn is_kept_right() -> Option<bool> {
    // SAFETY: the structure is plain integers, for which all zeros is a value; with no mode the
    // call reads, and writes to that structure alone. No crate in use offers it.
    let (state, timex) = unsafe {
        let mut timex: libc::timex = std::mem::zeroed();
        (libc::adjtimex(&raw mut timex), timex)
    };
    (state >= 0).then_some(timex.status & libc::STA_UNSYNC == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_a_host_in_a_directory_tells_whether_its_clock_was_set() {
        let directory = tempfile::tempdir().unwrap();
        let root = Root::new(directory.path());
        assert_eq!(Clock::of(&root).now(), None);
        let file = root.path(SYNCHRONIZED);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, "").unwrap();
        let before = Timestamp::now();
        let now = Clock::of(&root).now().unwrap();
        assert!(before <= now && now <= Timestamp::now());
    }

    #[test]
    fn a_clock_that_is_trusted_tells_the_time_unasked() {
        let directory = tempfile::tempdir().unwrap();
        let clock = Clock { root: &Root::new(directory.path()), is_trusted: false };
        assert!(clock.trusted(true).now().is_some());
        assert_eq!(clock.trusted(false).now(), None);
    }

    #[test]
    fn the_kernel_answers_to_anybody() {
        assert!(is_kept_right().is_some());
    }
}
