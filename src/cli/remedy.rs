// SPDX-License-Identifier: MIT OR Apache-2.0

//! What to do about a failure, for the person at a terminal: the remedy of its code, where the
//! message does not say it itself. Scripts and the journal have the code.

use super::Failure;

/// How much of a remedy a word says: shorter ones are in every sentence.
const SHORT: usize = 4;

/// The remedy, as plain text. `None` where `failure` says all that there is to say.
pub(super) fn remedy(failure: &Failure) -> Option<String> {
    let remedy = without_links(&failure.code.remedy());
    if names(&remedy).any(|name| failure.message.contains(name)) {
        return None;
    }
    // The message stands above.
    let is_more = |part: &&str| !part.to_lowercase().contains("the message");
    let parts: Vec<&str> = remedy.split_inclusive(". ").filter(is_more).collect();
    let is_told = parts.first().is_none_or(|first| is_said_by(&failure.message, first));
    (!is_told).then(|| parts.concat().trim_end().to_owned())
}

/// Commands, settings and files, up to what a person has to put in: `sgdisk -e` of
/// `` `sgdisk -e DISK` ``.
fn names(remedy: &str) -> impl Iterator<Item = &str> {
    let is_placeholder = |word: &str| word.chars().all(|c| c.is_ascii_uppercase());
    let name = move |code: &'_ str| -> usize {
        let words = code.split_inclusive(' ').take_while(|word| !is_placeholder(word.trim_end()));
        words.map(str::len).sum()
    };
    let codes = remedy.split('`').skip(1).step_by(2);
    codes
        .filter_map(move |code| code.get(..name(code)))
        .map(str::trim_end)
        .filter(|name| !name.is_empty())
}

/// Whether most of the words of `remedy` are in `message`.
fn is_said_by(message: &str, remedy: &str) -> bool {
    let message = message.to_lowercase();
    let words = remedy.split(|c: char| !c.is_alphanumeric()).filter(|word| word.len() >= SHORT);
    let (said, all) = words.fold((0_usize, 0_usize), |(said, all), word| {
        (said + usize::from(message.contains(&word.to_lowercase())), all + 1)
    });
    said * 2 > all || all == 0
}

/// `[boot.md](boot.md#variables)` as `docs/boot.md`.
fn without_links(markdown: &str) -> String {
    let mut parts = markdown.split('[');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let Some((label, (_, rest))) =
            part.split_once("](").and_then(|(label, link)| Some((label, link.split_once(')')?)))
        else {
            text.extend(["[", part]);
            continue;
        };
        let directory = if label.ends_with(".md") { "docs/" } else { "" };
        text.extend([directory, label, rest]);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codes;

    fn of(name: &str, message: &str) -> Option<String> {
        let code = codes::tables().into_iter().find(|code| code.name() == name).unwrap();
        remedy(&Failure::error(code, message))
    }

    #[test]
    fn a_remedy_is_said_once() {
        for (code, message, expected) in [
            (
                "esp-damaged",
                "the ESP at /efi is damaged: its FAT is marked as in use",
                Some("Unmount it, run `fsck.vfat -a`, and mount it again."),
            ),
            // The message has the command, or the setting, or the same words.
            ("gpt-damaged", "it is damaged; to see what is left, run: sgdisk --verify x", None),
            ("loader-default-set", "it says so; run bootctl set-default \"\"", None),
            ("digest-failed", "it failed; `flipside retry sha256:12` allows it again", None),
            ("tls-certificate-expired", "it has expired: renew it, or set the clock", None),
            ("needs-root", "this command needs root: run it as root", None),
            ("nothing-tracked", "track.image is not set: there is nothing to follow", None),
            // What points to the message is left out.
            (
                "disk-failed",
                "cannot read it",
                Some("Check the disk's health. If the disk is built in a file, make room."),
            ),
            ("hook-blocked", "a hook says no", None),
            (
                "boot-entry-missing",
                "there is no entry",
                Some(
                    "Do nothing at first, since the next run makes the entry. If it is missing again, check whether the firmware deletes entries.",
                ),
            ),
            (
                "reference-invalid",
                "it names nothing",
                Some(
                    "Write `HOST/REPOSITORY:TAG`, `oci:DIR[:TAG]` or `oci-archive:FILE[:TAG]`, \
                     whichever the command takes. Put a password into an auth file.",
                ),
            ),
            // Links lead nowhere on a terminal.
            ("not-a-host", "no slots", Some("Check the partition labels and `host.slots`.")),
            ("loader-too-old", "it is 251", Some("Install a newer one (docs/boot.md).")),
        ] {
            assert_eq!(of(code, message).as_deref(), expected, "{code}");
        }
    }

    #[test]
    fn what_is_shown_of_any_code_can_be_read_alone() {
        for code in codes::tables() {
            let Some(text) = remedy(&Failure::error(code, "it failed")) else { continue };
            let bad = ["](", "he message", "\n"];
            assert!(!bad.iter().any(|bad| text.contains(bad)), "{code}: {text}");
            assert!(text.ends_with('.') && !text.starts_with("Otherwise"), "{code}: {text}");
        }
    }
}
