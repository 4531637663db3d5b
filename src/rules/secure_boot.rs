// SPDX-License-Identifier: MIT OR Apache-2.0

//! May a program be written that the firmware is to start? Core asks this last, when it has the program
//! and before it writes anything: a key that the firmware does not know must not cost a reboot.

use super::Verdict;
use crate::codes;
use flipside_image::printable;
use flipside_image::secure_boot::{Judgement, Mode};

/// How many names are told.
const TOLD: usize = 4;

/// What becomes of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Trust {
    /// The firmware starts any program.
    NotAsked,
    /// It starts this one.
    Trusted,
    /// It may not, for a reason that could not be judged.
    Unknown(String),
    /// It does not; why.
    Untrusted(String),
}

/// The answer about `what`, such as `the image's kernel.efi`. What could not be judged is told, and is
/// no reason to refuse it.
pub fn ask(what: &str, judgement: &Judgement) -> Verdict {
    match trust(judgement) {
        Trust::NotAsked | Trust::Trusted => Verdict::Allow,
        Trust::Unknown(why) => {
            tracing::warn!("it is not known whether the firmware starts {what}: {why}");
            Verdict::Allow
        }
        Trust::Untrusted(why) => {
            let message =
                format!("Secure Boot is on, and the firmware would not start {what}: {why}");
            Verdict::block(codes::BOOT_FILE_UNTRUSTED, message)
        }
    }
}

/// One hit among what is revoked refuses; otherwise one accepted signature or hash suffices.
fn trust(judgement: &Judgement) -> Trust {
    let Judgement { mode, signers, known, accepted, forbidden, may_accept, may_forbid } = judgement;
    let doubt =
        |doubts: &[String]| Trust::Unknown(format!("flipside cannot judge {}", told(doubts)));
    match (mode, forbidden, accepted) {
        (Mode::Missing | Mode::Off | Mode::Setup, _, _) => Trust::NotAsked,
        (_, Some(why), _) => Trust::Untrusted(format!("{}, and {why}", signed_by(signers))),
        (_, None, Some(_)) if may_forbid.is_empty() => Trust::Trusted,
        (_, None, Some(_)) => doubt(may_forbid),
        (_, None, None) if may_accept.is_empty() => Trust::Untrusted(format!(
            "{}, and the firmware knows {}",
            signed_by(signers),
            if known.is_empty() { "nothing".to_owned() } else { told(known) }
        )),
        (_, None, None) => doubt(may_accept),
    }
}

fn signed_by(signers: &[String]) -> String {
    match signers {
        [] => "it is not signed".to_owned(),
        signers => format!("it is signed by {}", told(signers)),
    }
}

fn told(names: &[String]) -> String {
    let mut shown: Vec<_> =
        names.iter().take(TOLD).map(|name| printable::line(name, 100)).collect();
    match names.len().saturating_sub(TOLD) {
        0 => {}
        more => shown.push(format!("{more} more")),
    }
    shown.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use flipside_core::refusal::Severity;

    fn list(names: &str) -> Vec<String> {
        names.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn each_judgement_has_its_answer() {
        const TRUSTED: &str = "trusted";
        const UNKNOWN: &str = "unknown";
        const UNTRUSTED: &str = "untrusted";
        const NOT_ASKED: &str = "not asked";
        for (mode, accepted, forbidden, may_accept, may_forbid, expected) in [
            (Mode::On, "vendor", "", "", "", TRUSTED),
            (Mode::On, "vendor", "", "curves", "", TRUSTED),
            (Mode::On, "vendor", "", "", "a-list", UNKNOWN),
            (Mode::On, "", "", "curves", "", UNKNOWN),
            (Mode::On, "", "", "", "", UNTRUSTED),
            (Mode::On, "", "", "", "a-list", UNTRUSTED),
            (Mode::On, "", "revoked", "", "", UNTRUSTED),
            (Mode::On, "vendor", "revoked", "curves", "a-list", UNTRUSTED),
            (Mode::Off, "", "revoked", "", "", NOT_ASKED),
            (Mode::Setup, "", "", "", "", NOT_ASKED),
            (Mode::Missing, "", "", "", "", NOT_ASKED),
        ] {
            let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
            let judgement = Judgement {
                mode,
                accepted: some(accepted),
                forbidden: some(forbidden),
                may_accept: list(may_accept),
                may_forbid: list(may_forbid),
                ..Judgement::default()
            };
            let found = match trust(&judgement) {
                Trust::NotAsked => NOT_ASKED,
                Trust::Trusted => TRUSTED,
                Trust::Unknown(_) => UNKNOWN,
                Trust::Untrusted(_) => UNTRUSTED,
            };
            assert_eq!(found, expected, "{judgement:?}");
            assert_eq!(ask("it", &judgement).is_allow(), expected != UNTRUSTED, "{judgement:?}");
        }
    }

    #[test]
    fn a_refusal_names_who_signed_and_who_is_known() {
        for (signers, known, forbidden, expected) in [
            (
                "build",
                "vendor oem",
                None,
                "it is signed by build, and the firmware knows vendor, oem",
            ),
            ("", "vendor", None, "it is not signed, and the firmware knows vendor"),
            (
                "a b c d e f",
                "",
                None,
                "it is signed by a, b, c, d, 2 more, and the firmware knows nothing",
            ),
            (
                "build",
                "build",
                Some("its hash is revoked"),
                "it is signed by build, and its hash is revoked",
            ),
        ] {
            let judgement = Judgement {
                mode: Mode::On,
                signers: list(signers),
                known: list(known),
                forbidden: forbidden.map(str::to_owned),
                ..Judgement::default()
            };
            let refusal = ask("the boot file", &judgement).into_result().unwrap_err();
            let start = "Secure Boot is on, and the firmware would not start the boot file: ";
            assert_eq!(refusal.message.strip_prefix(start), Some(expected));
            assert_eq!(
                (refusal.severity, refusal.code),
                (Severity::Block, codes::BOOT_FILE_UNTRUSTED)
            );
        }
    }
}
