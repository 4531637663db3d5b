// SPDX-License-Identifier: MIT OR Apache-2.0

//! One entry of the table (UEFI 2.10, section 5.3.3, table 5.6).

use uuid::Uuid;

use crate::PartitionIdentity;
use crate::bytes::{guid_at, put, u16_at, u64_at};

const TYPE_AT: usize = 0;
const UUID_AT: usize = 16;
const FIRST_AT: usize = 32;
const LAST_AT: usize = 40;
const FLAGS_AT: usize = 48;
const NAME_AT: usize = 56;
const NAME_UNITS: usize = 36;

/// A used entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its number, from 1: the `3` of `/dev/vda3`.
    pub number: u32,
    /// Partition type GUID, never nil.
    pub type_uuid: Uuid,
    /// Unique partition GUID.
    pub uuid: Uuid,
    /// First sector.
    pub first: u64,
    /// Last sector, inclusive.
    pub last: u64,
    /// Attribute bits.
    pub flags: u64,
    /// Its label; what is no UTF-16, or a control character, is replaced.
    pub label: String,
}

impl Entry {
    /// Reads entry `number`; `None` for an unused one (nil type).
    pub fn parse(number: u32, bytes: &[u8]) -> Option<Self> {
        let type_uuid = guid_at(bytes, TYPE_AT)?;
        if type_uuid.is_nil() {
            return None;
        }
        let units: Vec<u16> = (0..NAME_UNITS)
            .map_while(|unit| u16_at(bytes, NAME_AT + 2 * unit))
            .take_while(|unit| *unit != 0)
            .collect();
        Some(Self {
            number,
            type_uuid,
            uuid: guid_at(bytes, UUID_AT)?,
            first: u64_at(bytes, FIRST_AT)?,
            last: u64_at(bytes, LAST_AT)?,
            flags: u64_at(bytes, FLAGS_AT)?,
            label: Self::printable(&String::from_utf16_lossy(&units)),
        })
    }

    /// A label as it is shown on terminals and in the journal.
    pub(super) fn printable(label: &str) -> String {
        label.replace(char::is_control, "\u{fffd}")
    }

    /// The entry as `identity` wants it, parts it does not name left as they are.
    #[must_use]
    pub fn with_identity(&self, identity: &PartitionIdentity) -> Self {
        Self {
            uuid: identity.uuid.unwrap_or(self.uuid),
            type_uuid: identity.type_uuid.unwrap_or(self.type_uuid),
            flags: identity.flags.unwrap_or(self.flags),
            ..self.clone()
        }
    }

    /// Whether both are the same piece of the disk, whatever its identity.
    pub fn is_same_place(&self, other: &Self) -> bool {
        self.number == other.number
            && self.first == other.first
            && self.last == other.last
            && self.label == other.label
    }

    /// Puts type, UUID and flags into the entry's bytes; whether they fitted.
    #[must_use]
    pub fn put_identity(&self, bytes: &mut [u8]) -> bool {
        put(bytes, TYPE_AT, &self.type_uuid.to_bytes_le())
            && put(bytes, UUID_AT, &self.uuid.to_bytes_le())
            && put(bytes, FLAGS_AT, &self.flags.to_le_bytes())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_identity_that_was_put_is_read_and_the_rest_stays(
            bytes in prop::collection::vec(any::<u8>(), 128), type_uuid in 1_u128.., uuid: u128,
            flags: u64,
        ) {
            let (type_uuid, uuid) = (Uuid::from_u128(type_uuid), Uuid::from_u128(uuid));
            prop_assume!(Entry::parse(1, &bytes).is_some());
            let before = Entry::parse(1, &bytes).unwrap();
            let after = Entry { type_uuid, uuid, flags, ..before.clone() };
            let mut written = bytes.clone();
            prop_assert!(after.put_identity(&mut written));
            prop_assert_eq!(Entry::parse(1, &written), Some(after));
            prop_assert!(before.put_identity(&mut written));
            prop_assert_eq!(written, bytes);
        }

        #[test]
        fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let label = Entry::parse(1, &bytes).map(|entry| entry.label).unwrap_or_default();
            prop_assert!(!label.contains(char::is_control));
        }
    }
}
