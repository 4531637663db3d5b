// SPDX-License-Identifier: MIT OR Apache-2.0

//! The slots, each a line of a table, and what boots next.

use super::{Page, Tone};
use crate::report::ago::ago;
use crate::report::status::{BootEntry, BootFile, BootTarget, SlotState, SlotStatus, State};
use flipside_core::host::Slot;
use flipside_image::printable;

impl Page<'_> {
    /// Versions, words and digests of both slots stand below each other.
    pub(super) fn slots(&mut self) {
        if self.status.slots.is_empty() {
            return;
        }
        let status = self.status;
        let rows: Vec<_> = status
            .slots
            .iter()
            .map(|slot| {
                let version = slot.version.as_deref().unwrap_or("-");
                let mut digest = slot.digest.map(|digest| digest.short()).unwrap_or_default();
                if let Some(key) = slot.signed_by.as_ref().filter(|_| self.style.verbose) {
                    digest.push_str(&format!(", signed by {}", printable::line(key, 40)));
                }
                let (words, tone) = self.words(slot);
                (slot.slot, printable::line(version, 40), words, tone, digest)
            })
            .collect();
        let width = |text: &str| text.chars().count();
        let version_width = rows.iter().map(|row| width(&row.1)).max().unwrap_or(0);
        let words_width = rows.iter().map(|row| width(&row.2)).max().unwrap_or(0);
        for (slot, version, words, tone, digest) in rows {
            // Padded before it is painted: escape sequences have no width.
            let words = tone.paint(&format!("{words:<words_width$}"), self.style.colour);
            let digest = Tone::Faint.paint(&digest, self.style.colour);
            let text = format!("{version:<version_width$}   {words}   {digest}");
            self.line(&format!("slot {slot}"), text.trim_end());
        }
    }

    fn words(&self, slot: &SlotStatus) -> (String, Tone) {
        let ago = slot.since.map(|since| format!(" {}", ago(since, self.now))).unwrap_or_default();
        let (words, tone) = match slot.state {
            SlotState::Empty => ("empty".to_owned(), Tone::Faint),
            SlotState::Writing if self.status.progress.is_some() => {
                ("being written".to_owned(), Tone::Waiting)
            }
            SlotState::Writing => ("written in part, does not boot".to_owned(), Tone::Waiting),
            SlotState::Installed => (format!("installed{ago}"), Tone::Waiting),
            SlotState::Superseded => (format!("superseded{ago}"), Tone::Faint),
            SlotState::Armed if self.status.state == State::RollingBack => {
                ("proven, boots at the next reboot".to_owned(), Tone::Waiting)
            }
            SlotState::Armed => (format!("armed{ago}, boots once"), Tone::Waiting),
            SlotState::Trial => (format!("on trial{ago}"), Tone::Waiting),
            SlotState::Proven => (format!("proven{ago}"), Tone::Good),
            SlotState::Failed => (format!("failed{ago}"), Tone::Bad),
            SlotState::Unknown => ("state unknown".to_owned(), Tone::Faint),
        };
        let words = if slot.running { format!("running, {words}") } else { words };
        let words = match self.status.withdrawn(slot.slot) {
            Some(_) => format!("{words}, withdrawn"),
            None => words,
        };
        // What failed was made unbootable on purpose (P7).
        let may_boot =
            !matches!(slot.state, SlotState::Empty | SlotState::Writing | SlotState::Failed);
        match slot.boot_file {
            BootFile::Absent if may_boot => (format!("{words}, no boot file"), Tone::Bad),
            BootFile::Unbootable if may_boot => {
                (format!("{words}, boot file unbootable"), Tone::Bad)
            }
            _ => (words, tone),
        }
    }

    /// The slot that `BootNext` names.
    fn boots_next(&self) -> Option<Slot> {
        let next = self.status.boot_next.as_ref()?;
        let slot = |slot: &&SlotStatus| slot.boot_entry.as_ref() == Some(next);
        self.status.slots.iter().find(slot).map(|slot| slot.slot)
    }

    pub(super) fn boots(&mut self) {
        let status = self.status;
        let name = |number: &str| {
            let entry = status.boot_order.iter().find(|entry| entry.number == number);
            match entry.map(|entry| (entry.what, entry.description.as_str())) {
                Some((BootTarget::SlotA, _)) => "slot A".to_owned(),
                Some((BootTarget::SlotB, _)) => "slot B".to_owned(),
                Some((BootTarget::Removable, _)) => "the loader on the ESP".to_owned(),
                Some((BootTarget::Missing, _)) => format!("missing entry {number}"),
                Some((BootTarget::Foreign, description)) => {
                    match printable::line(description, 40) {
                        // Some firmware has entries without a name.
                        nameless if nameless.trim().is_empty() => format!("entry {number}"),
                        name => name,
                    }
                }
                None => format!("entry {number}"),
            }
        };
        let mut parts = Vec::new();
        if let Some(next) = &status.boot_next {
            let next = self.boots_next().map_or_else(|| name(next), |slot| format!("slot {slot}"));
            parts.push(format!("{next} once"));
        }
        let shown = |entry: &BootEntry| {
            let off = if entry.active { "" } else { " (off)" };
            format!("{}{off}", name(&entry.number))
        };
        // What boots is told by the entries up to the first slot's.
        let is_slot = |entry: &BootEntry| {
            entry.active && matches!(entry.what, BootTarget::SlotA | BootTarget::SlotB)
        };
        let order = &status.boot_order;
        let first = order.iter().position(is_slot).map_or(1, |at| at.saturating_add(1));
        let listed = if self.style.verbose { order.len() } else { first };
        let mut text = order.iter().take(listed).map(shown).collect::<Vec<_>>().join(", ");
        match order.len().saturating_sub(listed) {
            0 => {}
            1 => text.push_str(" (1 other)"),
            more => text.push_str(&format!(" ({more} others)")),
        }
        if !text.is_empty() {
            parts.push(text);
        }
        if !parts.is_empty() {
            self.said("boots", Tone::Plain, &parts.join(", then "));
        }
    }
}
