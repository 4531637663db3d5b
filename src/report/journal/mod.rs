// SPDX-License-Identifier: MIT OR Apache-2.0

//! What goes to the system's journal with fields of its own: transitions and refusals, for
//! `journalctl -x`, alerts and log collectors. `docs/journal.md` describes them.
//!
//! Entries are `tracing` events with the target [`TARGET`]; the program's subscriber sends
//! them on. They are said in the journal alone: commands tell people on stdout and stderr.

mod kind;
pub mod native;

pub use kind::Kind;

use tracing::Level;

use crate::report::KnownCode;
use flipside_core::host::Slot;
use flipside_image::Digest;
use flipside_image::code::Code;

/// The target of the events that are entries.
pub const TARGET: &str = "flipside::entry";

/// An entry, until it is [sent](Entry::send).
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "an entry is said only once it is sent"]
pub struct Entry {
    kind: Kind,
    message: String,
    slot: Option<Slot>,
    version: Option<String>,
    digest: Option<Digest>,
    code: Option<Code>,
    is_made_again: bool,
}

impl Entry {
    /// An entry of `kind` that says `message`, one sentence.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            kind,
            message,
            slot: None,
            version: None,
            digest: None,
            code: None,
            is_made_again: false,
        }
    }

    /// `FLIPSIDE_SLOT`: the slot that it is about, `a` or `b`.
    pub fn slot(mut self, slot: Slot) -> Self {
        self.slot = Some(slot);
        self
    }

    /// `FLIPSIDE_VERSION`: the version that it is about.
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = Some(version.into());
        self
    }

    /// `FLIPSIDE_DIGEST`: the image that it is about, where that is known.
    pub fn digest(mut self, digest: impl Into<Option<Digest>>) -> Self {
        self.digest = digest.into();
        self
    }

    /// `FLIPSIDE_CODE`: the stable code of a refusal or an error.
    pub fn code(mut self, code: Code) -> Self {
        self.code = Some(code);
        self
    }

    /// What failed is tried again by itself, and soon: it wants no person yet.
    pub fn made_again(mut self) -> Self {
        self.is_made_again = true;
        self
    }

    /// That of its kind, but for a deferral behind which somebody may be, and an error after which
    /// the run is made again: these are warnings.
    fn level(&self) -> Level {
        match (self.kind, self.code) {
            (Kind::Deferred, Some(code))
                if KnownCode::of(code.name()) == KnownCode::MayBeAttack =>
            {
                Level::WARN
            }
            (Kind::Failed, _) if self.is_made_again => Level::WARN,
            (kind, _) => kind.level(),
        }
    }

    /// Sends it, for whoever listens.
    pub fn send(self) {
        let id = self.kind.message_id();
        let message = &self.message;
        let slot = self.slot.map(|slot| slot.letter().to_string());
        let (slot, digest) = (slot.as_deref(), self.digest.map(|digest| digest.to_string()));
        let (version, code) = (self.version.as_deref(), self.code.map(Code::name));
        let digest = digest.as_deref();
        // An event's level is fixed where it stands.
        macro_rules! send_at {
            ($level:expr) => {
                tracing::event!(
                    target: TARGET,
                    $level,
                    message_id = id,
                    flipside_slot = slot,
                    flipside_version = version,
                    flipside_digest = digest,
                    flipside_code = code,
                    "{message}"
                )
            };
        }
        match self.level() {
            Level::ERROR => send_at!(Level::ERROR),
            Level::WARN => send_at!(Level::WARN),
            _ => send_at!(Level::INFO),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codes;

    #[test]
    fn a_deferral_behind_which_somebody_may_be_is_a_warning() {
        for (code, level) in [
            (codes::POLICY_DOCUMENT_EXPIRED, Level::WARN),
            (codes::POLICY_DOCUMENT_FOREIGN, Level::WARN),
            (codes::POLICY_DOCUMENT_INVALID, Level::WARN),
            (codes::POLICY_DOCUMENT_MISSING, Level::WARN),
            (codes::POLICY_DOCUMENT_REPLAYED, Level::WARN),
            (codes::POLICY_DOCUMENT_UNSIGNED, Level::WARN),
            (codes::HOOK_DEFERRED, Level::INFO),
            (codes::CLOCK_UNSET, Level::INFO),
        ] {
            assert_eq!(Entry::new(Kind::Deferred, "no").code(code).level(), level, "{code}");
        }
        assert_eq!(Entry::new(Kind::Deferred, "no").level(), Level::INFO);
        assert_eq!(Entry::new(Kind::Failed, "no").code(codes::ESP_DAMAGED).level(), Level::ERROR);
        let again = Entry::new(Kind::Failed, "no").code(codes::REGISTRY_UNREACHABLE).made_again();
        assert_eq!(again.level(), Level::WARN);
    }
}
