// SPDX-License-Identifier: MIT OR Apache-2.0

//! Events added up.

use super::{Event, Phase, RunProgress};

/// How far a run is, as the sum of its events.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    progress: Option<RunProgress>,
}

impl Tally {
    /// Takes an event.
    pub fn take(&mut self, event: &Event) {
        if let Event::Phase(Phase::Done) = event {
            *self = Self::default();
            return;
        }
        let progress = self.progress.get_or_insert_with(|| RunProgress::at(Phase::Checking));
        match event {
            Event::Phase(phase) => progress.phase = *phase,
            Event::Installing { .. } => {}
            Event::Payload { name, size, kept, fetch } => {
                progress.payload = Some(name.clone());
                progress.fetch_total = progress.fetch_total.saturating_add(*fetch);
                progress.write_total =
                    progress.write_total.saturating_add(size.saturating_sub(*kept));
                // What was kept is read back as well.
                progress.read_back_total = progress.read_back_total.saturating_add(*size);
            }
            Event::Ahead { name, fetch } => {
                progress.payload = Some(name.clone());
                progress.fetch_total = progress.fetch_total.saturating_add(*fetch);
            }
            Event::Fetched(bytes) => progress.fetched = progress.fetched.saturating_add(*bytes),
            Event::Written(bytes) => progress.written = progress.written.saturating_add(*bytes),
            Event::ReadBack(bytes) => {
                progress.read_back = progress.read_back.saturating_add(*bytes);
            }
        }
    }

    /// How far the run is; `None` before it begins and after it is done.
    pub fn progress(&self) -> Option<&RunProgress> {
        self.progress.as_ref()
    }

    /// How much the present phase has done and has to do, in bytes; `None` where bytes
    /// are no measure of it.
    pub fn share(&self) -> Option<(u64, u64)> {
        self.progress.as_ref()?.share()
    }

    /// The present phase.
    pub fn phase(&self) -> Option<Phase> {
        self.progress.as_ref().map(|progress| progress.phase)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_add_up() {
        let mut tally = Tally::default();
        assert!(tally.progress().is_none());
        let payload = |size, kept, fetch| Event::Payload { name: "x".into(), size, kept, fetch };
        for event in [
            Event::Phase(Phase::Writing),
            payload(100, 40, 30),
            Event::Fetched(30),
            Event::Written(60),
            payload(10, 0, 5),
        ] {
            tally.take(&event);
        }
        assert_eq!(tally.share(), Some((60, 70)));
        tally.take(&Event::Phase(Phase::ReadingBack));
        tally.take(&Event::ReadBack(55));
        assert_eq!(tally.share(), Some((55, 110)));
        let progress = tally.progress().unwrap();
        assert_eq!((progress.fetched, progress.fetch_total), (30, 35));
        tally.take(&Event::Phase(Phase::Done));
        assert!(tally.progress().is_none());
    }
}
