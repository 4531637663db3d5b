// SPDX-License-Identifier: MIT OR Apache-2.0

//! `adopted.json`: what the content of a slot was called after it was written. Record and proof on
//! the ESP stay as they are: they name what was tried. Losing this costs a look at the manifest and
//! its config (P8).

use serde::{Deserialize, Serialize};

use flipside_image::Digest;

use crate::host::Record;
use crate::slot::Slot;

/// Another manifest of what a slot holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adopted {
    /// The slot.
    pub slot: Slot,
    /// The digest in its record. Where that has another one by now, this says nothing.
    pub recorded: Option<Digest>,
    /// The new manifest.
    #[serde(flatten)]
    pub release: Record,
}

impl Adopted {
    /// What `slot` is called by now, if its record is still `record`.
    pub fn release_of(self, slot: Slot, record: &Record) -> Option<Record> {
        let content = record.content_id.filter(|_| record.digest == self.recorded)?;
        (self.slot == slot && self.release.content_id == Some(content)).then_some(self.release)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::host_state::example::{Is, digest, host_state};

    #[test]
    fn it_counts_for_the_record_that_it_is_about() {
        let facts = host_state(Is::Proven("1"), Is::Proven("2"));
        let record = facts.a.record.clone().unwrap();
        let release = Record { digest: Some(digest("new")), ..record.clone() };
        let adopted =
            Adopted { slot: Slot::A, recorded: Some(digest("1")), release: release.clone() };
        let text = serde_json::to_string(&adopted).unwrap();
        let adopted: Adopted = serde_json::from_str(&text).unwrap();
        assert_eq!(adopted.clone().release_of(Slot::A, &record), Some(release));
        assert_eq!(adopted.clone().release_of(Slot::B, &record), None);
        let other = facts.b.record.unwrap();
        assert_eq!(adopted.clone().release_of(Slot::A, &other), None);
        // The same digest, and nobody knows what was written.
        let unknown = Record { content_id: None, ..record };
        assert_eq!(adopted.release_of(Slot::A, &unknown), None);
    }
}
