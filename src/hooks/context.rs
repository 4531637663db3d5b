// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a hook is told.

use serde::Serialize;

use crate::config::Initiative;
use crate::system::Clock;
use flipside_core::host::{Root, Slot};
use flipside_image::Digest;

/// The upgrade in question. JSON on the hook's stdin, and as `FLIPSIDE_*`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Context {
    /// What is followed, as configured.
    pub image: String,
    /// Whether the timer or a person wants the update.
    pub initiative: Initiative,
    /// What runs.
    pub running: System,
    /// What would be installed.
    pub new: System,
}

/// An OS and its slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct System {
    /// Where it is, or would be.
    pub slot: Slot,
    /// Its version; `None` where unknown.
    pub version: Option<String>,
    /// Its image's digest; `None` on a host that flipside did not install.
    pub digest: Option<Digest>,
}

/// Version of the document; grows only where a field changes its meaning or goes away.
const DOCUMENT_VERSION: u32 = 1;

#[derive(Serialize)]
struct Document<'a> {
    version: u32,
    hook: &'static str,
    #[serde(flatten)]
    context: &'a Context,
}

/// Which question it is: further kinds of hook get their own names.
const KIND: &str = "pre-upgrade";

impl Context {
    /// What goes to stdin: one line of JSON.
    pub(super) fn document(&self) -> Vec<u8> {
        let document = Document { version: DOCUMENT_VERSION, hook: KIND, context: self };
        // Strings, numbers and structs always serialize.
        let mut bytes = serde_json::to_vec(&document).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    /// The whole environment of a hook: nothing of ours is inherited, so that a hook does
    /// the same by the timer and by hand.
    pub(super) fn environment(&self, root: &Root) -> Vec<(&'static str, String)> {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let digest = |value: &Option<Digest>| value.map(|d| d.to_string()).unwrap_or_default();
        let initiative = match self.initiative {
            Initiative::Automatic => "automatic",
            Initiative::Manual => "manual",
        };
        let own = [
            ("FLIPSIDE_HOOK", KIND.to_owned()),
            ("FLIPSIDE_IMAGE", self.image.clone()),
            ("FLIPSIDE_INITIATIVE", initiative.to_owned()),
            ("FLIPSIDE_RUNNING_SLOT", self.running.slot.letter().to_string()),
            ("FLIPSIDE_RUNNING_VERSION", text(&self.running.version)),
            ("FLIPSIDE_RUNNING_DIGEST", digest(&self.running.digest)),
            ("FLIPSIDE_NEW_SLOT", self.new.slot.letter().to_string()),
            ("FLIPSIDE_NEW_VERSION", text(&self.new.version)),
            ("FLIPSIDE_NEW_DIGEST", digest(&self.new.digest)),
        ];
        environment(root, own)
    }
}

/// The whole environment of a program of the host's that is asked something: `own`, and where
/// things are.
pub(crate) fn environment(
    root: &Root,
    own: impl IntoIterator<Item = (&'static str, String)>,
) -> Vec<(&'static str, String)> {
    let always = [
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()),
        ("LANG", "C.UTF-8".to_owned()),
        (
            "FLIPSIDE_CLOCK",
            if Clock::of(root).is_synchronized() { "synchronized" } else { "unsynchronized" }
                .to_owned(),
        ),
        ("FLIPSIDE_ROOT", root.directory().to_string_lossy().into_owned()),
    ];
    // A version is an image's to choose; a zero byte in it must not keep hooks from running.
    let clean = |value: String| value.chars().filter(|c| !c.is_control()).collect();
    always.into_iter().chain(own).map(|(name, value)| (name, clean(value))).collect()
}

#[cfg(test)]
pub(super) fn example() -> Context {
    Context {
        image: "registry.example.com/acme/edge:stable".to_owned(),
        initiative: Initiative::Automatic,
        running: System { slot: Slot::A, version: Some("1".to_owned()), digest: None },
        new: System {
            slot: Slot::B,
            version: Some("2\0".to_owned()),
            digest: Some(Digest::of(b"new")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_and_the_environment_say_the_same() {
        let context = example();
        let document: serde_json::Value = serde_json::from_slice(&context.document()).unwrap();
        let environment = context.environment(&Root::new("/tmp"));
        let of = |name: &str| environment.iter().find(|(n, _)| *n == name).unwrap().1.as_str();
        assert_eq!(document["version"], 1);
        for (name, pointer) in [
            ("FLIPSIDE_HOOK", "/hook"),
            ("FLIPSIDE_IMAGE", "/image"),
            ("FLIPSIDE_INITIATIVE", "/initiative"),
            ("FLIPSIDE_RUNNING_SLOT", "/running/slot"),
            ("FLIPSIDE_RUNNING_VERSION", "/running/version"),
            ("FLIPSIDE_NEW_SLOT", "/new/slot"),
            ("FLIPSIDE_NEW_DIGEST", "/new/digest"),
        ] {
            assert_eq!(document.pointer(pointer).unwrap().as_str().unwrap(), of(name));
        }
        assert_eq!((of("FLIPSIDE_NEW_VERSION"), of("FLIPSIDE_RUNNING_DIGEST")), ("2", ""));
        assert!(document["running"]["digest"].is_null());
    }
}
