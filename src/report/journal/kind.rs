// SPDX-License-Identifier: MIT OR Apache-2.0

//! The kinds of journal entries. Each has a `MESSAGE_ID` that never changes once released, and
//! by which `journalctl -x` finds its explanation in `config/catalog/flipside.catalog`.

use tracing::Level;

macro_rules! kinds {
    ($($(#[$doc:meta])+ $kind:ident $name:literal $level:ident $id:literal,)+) => {
        /// What an entry is about.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Kind {
            $($(#[$doc])+ $kind,)+
        }

        impl Kind {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$kind,)+];

            /// Its name: words joined by `-`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$kind => $name,)+ }
            }

            /// Its `MESSAGE_ID`: 128 bits as 32 hex digits (sd-id128(3)).
            pub const fn message_id(self) -> &'static str {
                match self { $(Self::$kind => $id,)+ }
            }

            /// How much it matters: warnings want to be seen, errors want a person.
            pub const fn level(self) -> Level {
                match self { $(Self::$kind => Level::$level,)+ }
            }
        }
    };
}

// A new kind takes an ID from `systemd-id128 new`.
kinds! {
    /// The tag points to something that is not installed.
    UpdateAvailable "update-available" INFO "3c2d979be7c44ca48c4f454e3a702983",
    /// An OS is whole in the target, and boots once at the next boot.
    Armed "armed" INFO "70cd474e308d45c3bce1bab402702edd",
    /// What was armed gave way before it booted.
    Superseded "superseded" INFO "43ee35b37bba4304b6974066498475c8",
    /// The running slot has not proved itself yet.
    TrialStarted "trial-started" INFO "51735e8287444a759ab9d097ed2b554e",
    /// It has, and boots first from now on.
    Promoted "promoted" INFO "df84002a07f8459eb4c4acd5e19b861b",
    /// A person goes back to the other slot at the next boot.
    RollbackArmed "rollback-armed" INFO "994172e9f28041eabb8fd490a97e9656",
    /// The way back was made: the old OS boots first again.
    RolledBack "rolled-back" INFO "c06df26835b64c358d97c8078071f587",
    /// A trial was started and never promoted, and the old OS runs again.
    FellBack "fell-back" WARN "5c0bc7fda33641738c217327ae6c3673",
    /// An image is not tried again by itself.
    DigestFailed "digest-failed" ERROR "9362461ff0ac4e52be1490b1be9f416f",
    /// The firmware undid a promotion, which was repaired.
    PromotionLost "promotion-lost" WARN "f7e8225e96dc498e84eec72dd3144be6",
    /// A person lets an image be tried again.
    RetryAllowed "retry-allowed" INFO "b8410722f4674c21aee4c6aa8ab1ab32",
    /// Not now; the next run tries again.
    Deferred "deferred" INFO "6b9bff83e44849158e77001828901294",
    /// Refused until something changes.
    Blocked "blocked" WARN "ab4cf3c60a6148a7a70379c510aa6171",
    /// Something failed.
    Failed "error" ERROR "9e407bc03b874cb39c2ea8492fead25a",
    /// A required health check of a trial failed.
    HealthCheckFailed "health-check-failed" ERROR "67dd922f05b24f608ed01b55d73eaa2e",
    /// A trial did not reach boot success in time.
    DeadlineReached "deadline-reached" ERROR "077db434a6e44feba19e93450c47956c",
    /// When the host reboots into what is armed.
    RebootScheduled "reboot-scheduled" INFO "c5fb5b60812d42c1ae749738ee9f1e74",
}

impl Kind {
    /// The kind of a refusal, or of an error.
    pub const fn of(severity: flipside_core::refusal::Severity) -> Self {
        match severity {
            flipside_core::refusal::Severity::Defer => Self::Deferred,
            flipside_core::refusal::Severity::Block => Self::Blocked,
            flipside_core::refusal::Severity::Error => Self::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    const CATALOG: &str = include_str!("../../../config/catalog/flipside.catalog");
    const DOCUMENT: &str = include_str!("../../../docs/journal.md");

    /// The catalog's entries: ID, header lines, text.
    fn catalog() -> BTreeMap<&'static str, (Vec<&'static str>, &'static str)> {
        let mut entries = BTreeMap::new();
        for part in CATALOG.split("\n-- ").skip(1) {
            let (id, rest) = part.split_once('\n').unwrap();
            let (head, text) = rest.split_once("\n\n").unwrap();
            assert!(entries.insert(id, (head.lines().collect(), text)).is_none(), "{id} twice");
        }
        entries
    }

    #[test]
    fn ids_and_names_are_unique_and_well_formed() {
        let ids: BTreeSet<&str> = Kind::ALL.iter().map(|kind| kind.message_id()).collect();
        let names: BTreeSet<&str> = Kind::ALL.iter().map(|kind| kind.name()).collect();
        assert_eq!((ids.len(), names.len()), (Kind::ALL.len(), Kind::ALL.len()));
        for id in ids {
            assert!(uuid::Uuid::try_parse(id).unwrap().simple().to_string() == id, "{id}");
        }
    }

    #[test]
    fn every_kind_has_its_catalog_entry_and_every_entry_its_kind() {
        let explained: BTreeSet<&str> = catalog().into_keys().collect();
        let ids: BTreeSet<&str> = Kind::ALL.iter().map(|kind| kind.message_id()).collect();
        assert_eq!(explained, ids);
    }

    /// journalctl shows the name of a field that an entry lacks: only those may be used that
    /// every entry of the kind has.
    #[test]
    fn the_catalog_says_what_to_type_and_uses_fields_that_are_there() {
        for (id, (head, text)) in catalog() {
            let keys: Vec<&str> = head.iter().map(|l| l.split_once(": ").unwrap().0).collect();
            assert_eq!(keys, ["Subject", "Defined-By", "Documentation"], "{id}");
            assert!(text.contains("\n    "), "{id} names no command");
            let used = text.split('@').skip(1).step_by(2);
            for field in used {
                assert!(["MESSAGE"].contains(&field), "{id} uses {field}");
            }
        }
    }

    #[test]
    fn the_document_lists_every_kind_with_its_id_and_level() {
        let rows: BTreeSet<(&str, &str, &str)> = DOCUMENT
            .lines()
            .filter_map(|line| {
                let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
                match cells.as_slice() {
                    [name, id, priority, _] if id.len() == 34 => {
                        Some((name.trim_matches('`'), id.trim_matches('`'), *priority))
                    }
                    _ => None,
                }
            })
            .collect();
        let kinds = Kind::ALL.iter().map(|kind| {
            let priority = match kind.level() {
                Level::ERROR => "3 err",
                Level::WARN => "4 warning",
                _ => "5 notice",
            };
            (kind.name(), kind.message_id(), priority)
        });
        assert_eq!(rows, kinds.collect());
    }
}
