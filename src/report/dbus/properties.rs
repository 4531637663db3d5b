// SPDX-License-Identifier: MIT OR Apache-2.0

//! From the status document to D-Bus types. D-Bus has no null: no value is the empty string, 0, or a
//! key that is not there.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use zbus::Variant;

use crate::report::Status;
use crate::report::status::{BootEntry, Failed, SlotStatus, Withdrawn};

/// `a{sv}`, the keys as in the status document.
pub type Dict = BTreeMap<&'static str, Variant<'static>>;

/// Text as D-Bus can carry it: without NUL.
pub fn text(text: impl AsRef<str>) -> String {
    text.as_ref().replace('\0', "\u{fffd}")
}

/// The same for what may be absent.
pub fn text_or_empty<T: ToString>(value: Option<&T>) -> String {
    value.map(|value| text(value.to_string())).unwrap_or_default()
}

/// Microseconds since 1970-01-01 00:00 UTC.
pub fn microseconds(time: Timestamp) -> u64 {
    u64::try_from(time.as_microsecond()).unwrap_or(0)
}

/// The same for what may be absent.
pub fn microseconds_or_zero(time: Option<Timestamp>) -> u64 {
    time.map_or(0, microseconds)
}

/// The word that the status document has for `value`.
pub fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}

/// Both slots.
pub fn slots(status: &Status) -> Vec<Dict> {
    status.slots.iter().map(slot).collect()
}

fn slot(slot: &SlotStatus) -> Dict {
    let since = slot.since.map(microseconds);
    dict([
        ("slot", Some(word(&slot.slot).into())),
        ("running", Some(slot.running.into())),
        ("version", slot.version.as_ref().map(|version| text(version).into())),
        ("digest", slot.digest.map(|digest| digest.to_string().into())),
        ("state", Some(word(&slot.state).into())),
        ("since", since.map(Into::into)),
        ("boot_file", Some(word(&slot.boot_file).into())),
        ("loader_entry", slot.loader_entry.map(Into::into)),
        ("boot_entry", slot.boot_entry.as_ref().map(|number| text(number).into())),
    ])
}

/// The digests that are not tried again by themselves.
pub fn failed(status: &Status) -> Vec<Dict> {
    let entry = |failed: &Failed| {
        dict([
            ("digest", Some(failed.digest.to_string().into())),
            ("version", failed.version.as_ref().map(|version| text(version).into())),
            ("reason", Some(text(&failed.reason).into())),
            ("attempts", Some(failed.attempts.into())),
        ])
    };
    status.failed.iter().map(entry).collect()
}

/// What slots hold although its publisher withdrew it.
pub fn withdrawn(status: &Status) -> Vec<Dict> {
    let entry = |withdrawn: &Withdrawn| {
        dict([
            ("slot", Some(word(&withdrawn.slot).into())),
            ("version", Some(text(&withdrawn.version).into())),
            ("digest", withdrawn.digest.map(|digest| digest.to_string().into())),
            ("reason", Some(text(&withdrawn.reason).into())),
        ])
    };
    status.withdrawn.iter().map(entry).collect()
}

/// The firmware's boot order, first to last.
pub fn boot_order(status: &Status) -> Vec<Dict> {
    let entry = |entry: &BootEntry| {
        dict([
            ("number", Some(text(&entry.number).into())),
            ("description", Some(text(&entry.description).into())),
            ("what", Some(word(&entry.what).into())),
            ("active", Some(entry.active.into())),
        ])
    };
    status.boot_order.iter().map(entry).collect()
}

/// Phase, payload, and how many bytes of how many the phase has done.
pub fn progress(status: &Status) -> (String, String, u64, u64) {
    let Some(progress) = &status.progress else { return Default::default() };
    let (done, total) = progress.share().unwrap_or_default();
    (word(&progress.phase), text_or_empty(progress.payload.as_ref()), done, total)
}

fn dict<const N: usize>(entries: [(&'static str, Option<Variant<'static>>); N]) -> Dict {
    entries.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
}
