// SPDX-License-Identifier: MIT OR Apache-2.0

//! The progress of a run, in the status file.

use std::sync::{Mutex, PoisonError};

use super::progress::{Event, Phase, Progress, Tally};
use super::{Status, StatusFile};

/// Keeps the status file up to date while a run goes on. A file that cannot be
/// written is said once, and is no reason to end the run.
pub struct LiveStatus(Mutex<Inner>);

struct Inner {
    file: StatusFile,
    status: Status,
    tally: Tally,
    has_complained: bool,
}

impl LiveStatus {
    /// Begins with `status`, without writing it.
    pub fn new(file: StatusFile, status: Status) -> Self {
        let tally = Tally::default();
        Self(Mutex::new(Inner { file, status, tally, has_complained: false }))
    }

    /// Changes the status and writes it at once.
    pub fn change(&self, change: impl FnOnce(&mut Status)) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut inner.status);
        inner.write(true);
    }

    /// Changes the status. Whoever looks sees it with the next change that is written, at the latest when
    /// the run ends.
    pub fn note(&self, change: impl FnOnce(&mut Status)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner).status);
    }

    /// The status as it is now.
    pub fn status(&self) -> Status {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).status.clone()
    }
}

impl Progress for LiveStatus {
    fn event(&self, event: Event) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.tally.take(&event);
        let progress = inner.tally.progress().cloned();
        inner.status.progress = progress;
        if let Event::Installing { version, slot, .. } = &event {
            inner.status.begin_writing(*slot, version);
        }
        match event {
            // What the run came to follows at once, and is written with it.
            Event::Phase(Phase::Done) => {}
            Event::Phase(_) | Event::Installing { .. } => inner.write(true),
            _ => inner.write(false),
        }
    }
}

impl Inner {
    fn write(&mut self, at_once: bool) {
        self.status.time = jiff::Timestamp::now();
        let Self { file, status, .. } = self;
        let written = if at_once { file.write(status) } else { file.offer(status) };
        if let Err(error) = written
            && !std::mem::replace(&mut self.has_complained, true)
        {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            tracing::warn!("{error}: {}", cause.unwrap_or_default());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::status::State;
    use flipside_core::host::Root;

    #[test]
    fn a_run_is_seen_from_outside() {
        let directory = tempfile::tempdir().unwrap();
        let root = Root::new(directory.path());
        let seen = || StatusFile::of(&root).read().unwrap().unwrap();
        let status = Status::unknown(jiff::Timestamp::now());
        let follow = LiveStatus::new(StatusFile::of(&root), status);
        follow.change(|status| status.state = State::Writing);
        assert_eq!(seen().state, State::Writing);
        follow.event(Event::Phase(Phase::Writing));
        assert_eq!(seen().progress.unwrap().phase, Phase::Writing);
        follow.event(Event::Fetched(7));
        follow.event(Event::Phase(Phase::Arming));
        assert_eq!(seen().progress.unwrap().fetched, 7);
        // The end of a run is one write.
        follow.event(Event::Phase(Phase::Done));
        assert!(seen().progress.is_some());
        follow.note(|status| status.state = State::Armed);
        assert_eq!(seen().state, State::Writing);
        follow.change(|_| {});
        assert_eq!((seen().progress, seen().state), (None, State::Armed));
    }

    #[test]
    fn the_slot_that_is_written_is_shown_as_such() {
        use crate::report::example::full;
        use crate::report::status::{BootFile, SlotState};
        use flipside_core::host::Slot;

        let directory = tempfile::tempdir().unwrap();
        let root = Root::new(directory.path());
        let follow = LiveStatus::new(StatusFile::of(&root), full());
        let version = "2026.11.4".to_owned();
        follow.event(Event::Installing { version, slot: Slot::B, size: 7 });
        let status = StatusFile::of(&root).read().unwrap().unwrap();
        assert_eq!((status.state, &status.boot_next), (State::Writing, &None));
        let [a, b] = status.slots.as_slice() else { panic!("{:?}", status.slots) };
        assert_eq!(*a, full().slots[0]);
        assert_eq!((b.state, b.boot_file, b.digest), (SlotState::Writing, BootFile::Absent, None));
        assert_eq!(b.version.as_deref(), Some("2026.11.4"));
        let text = crate::report::status_text(&status, crate::report::PageStyle::default());
        assert!(text.contains("slot B    2026.11.4   being written\n"), "{text}");
    }
}
