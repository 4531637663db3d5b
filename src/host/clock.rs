// SPDX-License-Identifier: MIT OR Apache-2.0

//! What time it is, and whether to believe that.

use jiff::Timestamp;

use super::Root;

/// What systemd-timesyncd makes once it has set the clock (systemd-timesyncd.service(8)).
const SYNCHRONIZED: &str = "/run/systemd/timesync/synchronized";

/// The clock of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    /// What it shows.
    pub shows: Timestamp,
    /// Whether something has set it from a source of time since the boot.
    pub is_synchronized: bool,
}

impl Clock {
    /// The clock of the host below `root`. A machine's own kernel knows whether somebody keeps it
    /// right, whoever that is; for a host in a directory its file tells.
    pub fn of(root: &Root) -> Self {
        let is_synchronized = match root.is_live() {
            true => is_kept_right(),
            false => root.path(SYNCHRONIZED).exists(),
        };
        Self { shows: Timestamp::now(), is_synchronized }
    }

    /// The time, where it is known: for what depends on dates.
    pub fn now(&self) -> Option<Timestamp> {
        self.is_synchronized.then_some(self.shows)
    }
}

/// adjtimex(2): `STA_UNSYNC` is set from the boot on until something sets the clock, and again
/// where that has been silent for too long.
#[allow(unsafe_code)]
fn is_kept_right() -> bool {
    // SAFETY: the structure is plain integers, for which all zeros is a value; with no mode the
    // call reads, and writes to that structure alone. No crate in use offers it.
    let (state, timex) = unsafe {
        let mut timex: libc::timex = std::mem::zeroed();
        (libc::adjtimex(&raw mut timex), timex)
    };
    state >= 0 && timex.status & libc::STA_UNSYNC == 0
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
    fn the_kernel_answers_to_anybody() {
        let clock = Clock::of(&Root::live());
        assert_eq!(clock.now().is_some(), clock.is_synchronized);
    }
}
