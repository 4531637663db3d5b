// SPDX-License-Identifier: MIT OR Apache-2.0

//! Events added up.

use super::{Event, Phase, RunProgress};

/// How far a run is, as the sum of its events.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    progress: Option<RunProgress>,
    /// The size of all payloads was said before the first of them began.
    is_planned: bool,
    /// Of the present payload: bytes that stood there before, and that were written.
    in_place: u64,
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
            Event::Installing { size, .. } => {
                self.is_planned = true;
                (progress.write_total, progress.read_back_total) = (*size, *size);
                progress.payload = None;
            }
            Event::Pushing { size, .. } => progress.write_total = *size,
            Event::Payload { name, size, kept, fetch } => {
                // It begins again where a mirror gave wrong bytes: what was written then is kept.
                let is_again = progress.payload.as_ref() == Some(name);
                let known = if is_again { self.in_place } else { 0 };
                self.in_place = *kept;
                progress.payload = Some(name.clone());
                progress.fetch_total = progress.fetch_total.saturating_add(*fetch);
                if !self.is_planned {
                    progress.write_total = progress.write_total.saturating_add(*size);
                    progress.read_back_total = progress.read_back_total.saturating_add(*size);
                }
                let kept = kept.saturating_sub(known);
                progress.write_total = progress.write_total.saturating_sub(kept);
            }
            Event::Ahead { name, fetch } => {
                progress.payload = Some(name.clone());
                progress.fetch_total = progress.fetch_total.saturating_add(*fetch);
            }
            Event::Fetched(bytes) => progress.fetched = progress.fetched.saturating_add(*bytes),
            Event::Written(bytes) => {
                progress.written = progress.written.saturating_add(*bytes);
                self.in_place = self.in_place.saturating_add(*bytes);
            }
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
    fn what_is_installed_has_one_total_from_its_beginning() {
        let mut tally = Tally::default();
        let payload = |name: &str, size, kept| Event::Payload {
            name: name.into(),
            size,
            kept,
            fetch: size - kept,
        };
        let (version, slot) = ("2".to_owned(), flipside_core::host::Slot::B);
        let mut shares = Vec::new();
        for event in [
            Event::Ahead { name: "kernel.efi".into(), fetch: 9 },
            Event::Fetched(9),
            Event::Installing { version, slot, size: 110 },
            Event::Phase(Phase::Comparing),
            Event::Phase(Phase::Writing),
            payload("system", 100, 40),
            Event::Written(20),
            // The mirrors are left out: what was written counts once.
            payload("system", 100, 60),
            Event::Written(40),
            Event::Phase(Phase::ReadingBack),
            Event::ReadBack(100),
            Event::Phase(Phase::Writing),
            payload("kernel.efi", 10, 0),
            Event::Written(10),
            Event::Phase(Phase::ReadingBack),
            Event::ReadBack(10),
        ] {
            tally.take(&event);
            if matches!(event, Event::Phase(_) | Event::Written(_) | Event::ReadBack(_)) {
                shares.extend(tally.share());
            }
        }
        let writing = [(0, 110), (20, 70), (60, 70)];
        let reading_back = [(0, 110), (100, 110)];
        let kernel = [(60, 70), (70, 70), (100, 110), (110, 110)];
        assert_eq!(shares, [&writing[..], &reading_back, &kernel].concat());
    }

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
