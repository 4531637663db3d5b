// SPDX-License-Identifier: MIT OR Apache-2.0

//! A status with a value in every field, for tests.

use jiff::Timestamp;

use super::progress::{Phase, RunProgress};
use super::status::*;
use flipside_core::host::Slot;
use flipside_core::refusal::Severity;
use flipside_image::Digest;
use flipside_image::delta::Download;

pub(super) const NOW: i64 = 1_795_000_000;

pub(super) fn before(hours: i64) -> Timestamp {
    Timestamp::from_second(NOW - hours * 3600).unwrap()
}

pub(super) fn full() -> Status {
    let slot = |slot: Slot, running, version: &str, state, hours, entry: &str| SlotStatus {
        slot,
        running,
        version: Some(version.to_owned()),
        digest: Some(Digest::of(version.as_bytes())),
        signed_by: Some("release".into()),
        state,
        since: Some(before(hours)),
        boot_file: BootFile::Bootable,
        loader_entry: Some(true),
        boot_entry: Some(entry.to_owned()),
    };
    let entry = |number: &str, description: &str, what| BootEntry {
        number: number.to_owned(),
        description: description.to_owned(),
        what,
        active: true,
    };
    Status {
        version: VERSION,
        time: before(0),
        host: Machine { name: Some("edge-7".into()), architecture: Some("x86_64".into()) },
        follows: Some("registry.example.com/acme/edge:stable".into()),
        state: State::Armed,
        running: Running {
            slot: Some(Slot::A),
            evidence: vec!["the device behind / is system-a".into()],
            problem: Some(Problem { code: "running-slot-damaged".into(), message: "m".into() }),
        },
        slots: vec![
            slot(Slot::A, true, "2026.11.1", SlotState::Proven, 21 * 24, "0001"),
            slot(Slot::B, false, "2026.11.2", SlotState::Armed, 2, "0002"),
        ],
        available: Some(Available {
            version: Some("2026.11.3".into()),
            digest: Digest::of(b"2026.11.3"),
            download: Some(Download {
                bytes: 15_204_352,
                full: 192_937_984,
                delta_from: Some("2026.11.1".into()),
            }),
        }),
        blocked: Some(Blocked {
            severity: Severity::Defer,
            code: "hook-deferred".into(),
            message: "hook 50-maintenance: until 18:00".into(),
            since: Some(before(1)),
        }),
        policy: Some(PolicyStatus {
            time: before(2),
            rules: vec![RuleStatus {
                rule: "host-hooks".into(),
                observed: "50-maintenance".into(),
                decision: "defer".into(),
                code: Some("hook-deferred".into()),
                reason: Some("hook 50-maintenance: until 18:00".into()),
            }],
        }),
        signatures: SignatureStatus {
            mode: Some("auto".into()),
            required: true,
            keys: vec!["release".into()],
            problem: Some(Problem { code: "signature-key-unusable".into(), message: "m".into() }),
        },
        secure_boot: Some("on".into()),
        last_check: Some(Check { time: before(2), result: CheckResult::Available }),
        next_check: Some(before(-19)),
        last_error: Some(Failure {
            code: "not-found".into(),
            message: "the tag does not exist".into(),
            time: before(26),
            since: Some(before(50)),
        }),
        last_command: Some(CommandFailure {
            command: "rollback".into(),
            severity: Severity::Block,
            code: "slot-not-proven".into(),
            message: "slot B holds nothing that has booted to success".into(),
            time: before(3),
        }),
        failed: vec![Failed {
            digest: Digest::of(b"bad"),
            version: Some("2026.10.9".into()),
            reason: "two trials were not promoted".into(),
            attempts: 2,
        }],
        left_by_rollback: Some(Digest::of(b"left")),
        withdrawn: vec![Withdrawn {
            slot: Slot::B,
            version: "2026.11.2".into(),
            digest: Some(Digest::of(b"2026.11.2")),
            reason: "no sound".into(),
        }],
        end_of_life: Some(EndOfLife {
            time: before(-12 * 24),
            day: "2026-12-01".into(),
            text: "move on to edge 3".into(),
        }),
        hold: Some(HoldStatus { until: Some(before(-48)), reason: Some("a trade fair".into()) }),
        boot_order: vec![
            entry("0001", "Acme OS A", BootTarget::SlotA),
            entry("0002", "Acme OS B", BootTarget::SlotB),
            entry("0000", "UiApp", BootTarget::Foreign),
        ],
        boot_next: Some("0002".into()),
        reboot_required: true,
        next_reboot: Some(NextReboot {
            time: before(-3),
            window: Some("Sat 22:00–24:00 Europe/Berlin".into()),
        }),
        progress: Some(RunProgress {
            payload: Some("system".into()),
            ..RunProgress::at(Phase::Writing)
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    const DOCUMENT: &str = include_str!("../../docs/status.md");

    fn fields(value: &Value, path: &str, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(members) => {
                for (name, value) in members {
                    let dot = if path.is_empty() { "" } else { "." };
                    fields(value, &format!("{path}{dot}{name}"), found);
                }
            }
            Value::Array(items) => {
                assert!(!items.is_empty(), "{path} has no example");
                items.iter().for_each(|item| fields(item, &format!("{path}[]"), found));
            }
            Value::Null => panic!("{path} has no example"),
            _ => {
                found.insert(path.to_owned());
            }
        }
    }

    /// The first column of the first table below `heading`.
    fn documented(heading: &str) -> BTreeSet<String> {
        let section = DOCUMENT.split_once(&format!("\n## {heading}\n")).unwrap().1;
        let rows = section.lines().skip_while(|line| !line.starts_with("| ---")).skip(1);
        rows.take_while(|line| line.starts_with('|'))
            .map(|line| line.split('`').nth(1).unwrap().to_owned())
            .collect()
    }

    #[test]
    fn the_document_describes_every_field_of_the_status_and_no_other() {
        let mut found = BTreeSet::new();
        fields(&serde_json::to_value(full()).unwrap(), "", &mut found);
        assert_eq!(found, documented("The status document"));
    }

    #[test]
    fn the_document_describes_every_field_of_the_history() {
        let line = r#"{"time":"2027-01-15T08:00:00Z","event":"armed"}"#;
        let entry: crate::report::history::Entry = serde_json::from_str(line).unwrap();
        let entry = serde_json::to_value(entry).unwrap();
        let names: BTreeSet<String> = entry.as_object().unwrap().keys().cloned().collect();
        assert_eq!(names, documented("The history"));
    }

    #[test]
    fn a_status_without_values_has_the_same_fields_as_null() {
        let empty = serde_json::to_value(Status::unknown(before(0))).unwrap();
        let full = serde_json::to_value(full()).unwrap();
        let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&empty), names(&full));
        assert!(empty["progress"].is_null() && empty["boot_next"].is_null());
    }
}
