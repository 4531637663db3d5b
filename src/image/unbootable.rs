// SPDX-License-Identifier: MIT OR Apache-2.0

//! Images that no host could boot, as far as their configs tell.

use std::collections::BTreeMap;

use uuid::{Uuid, uuid};

use super::{
    BOOT_FILE_PAYLOAD, ChunkIndex, Digest, ImageConfig, PartitionIdentity, Payload, SYSTEM_PAYLOAD,
};
use crate::code::{Code, Coded};
use crate::codes;

/// Types of partitions that firmware, boot loaders or other systems take for their own (UEFI 2.10,
/// table 5.7; the Discoverable Partitions Specification; GNU GRUB, "BIOS installation").
const FOREIGN_TYPES: [(Uuid, &str); 7] = [
    (uuid!("c12a7328-f81f-11d2-ba4b-00a0c93ec93b"), "an EFI system partition"),
    (uuid!("bc13c2ff-59e6-4262-a352-b275fd6f7172"), "an extended boot loader partition"),
    (uuid!("21686148-6449-6e6f-744e-656564454649"), "a BIOS boot partition"),
    (uuid!("024dee41-33e7-11d3-9d69-0008c781f39f"), "an MBR partition"),
    (uuid!("0657fd6d-a4ab-43c4-84e5-0933c84b4f4f"), "swap space"),
    (uuid!("e6d6d379-f507-44c2-a23c-238f2a3df928"), "a physical volume of LVM"),
    (uuid!("a19d880f-05fc-4d3b-a006-743f0f84911e"), "a member of a RAID"),
];

/// Why no host could boot an image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unbootable {
    /// Nothing would be written.
    #[error("the payload {0} is empty")]
    Empty(String),
    /// What would be written is nothing.
    #[error("the payload {0} holds only zeroes")]
    OnlyZeroes(String),
    /// A nil type would remove the partition; a nil UUID is none.
    #[error("the image gives the partition of payload {payload} a nil {what}")]
    Nil {
        /// The payload.
        payload: String,
        /// `UUID` or `type`.
        what: &'static str,
    },
    /// The partition would not be a slot's any more.
    #[error("the image gives the partition of payload {payload} the type of {what}")]
    ForeignType {
        /// The payload.
        payload: String,
        /// What has that type.
        what: &'static str,
    },
    /// Two partitions would have one UUID.
    #[error("the image gives the partitions of payloads {one} and {other} the same UUID, {uuid}")]
    Twins {
        /// A payload.
        one: String,
        /// Another.
        other: String,
        /// Their UUID.
        uuid: Uuid,
    },
}

impl Coded for Unbootable {
    fn code(&self) -> Code {
        match self {
            Self::Empty(_) | Self::OnlyZeroes(_) => codes::PAYLOAD_EMPTY,
            Self::Nil { .. } | Self::ForeignType { .. } => codes::PARTITION_IDENTITY_INVALID,
            Self::Twins { .. } => codes::PARTITION_UUID_DUPLICATE,
        }
    }
}

impl ImageConfig {
    /// Refuses an image that no host could boot, whatever its payloads hold.
    ///
    /// # Errors
    /// [`Unbootable`].
    pub fn check_bootable(&self) -> Result<(), Unbootable> {
        for payload in &self.payloads {
            let name = payload.name.as_str();
            if payload.size == 0 && matches!(name, SYSTEM_PAYLOAD | BOOT_FILE_PAYLOAD) {
                return Err(Unbootable::Empty(name.to_owned()));
            }
            if name == SYSTEM_PAYLOAD && payload.is_only_zeroes() {
                return Err(Unbootable::OnlyZeroes(name.to_owned()));
            }
        }
        let identities = self.payloads.iter().filter_map(|payload| {
            payload.partition.as_ref().map(|identity| (payload.name.as_str(), identity))
        });
        check_identities(identities)
    }
}

/// Refuses identities for partitions that none can have, or that two would have. Each is given with
/// its payload's name.
///
/// # Errors
/// [`Unbootable`].
pub fn check_identities<'a>(
    identities: impl Iterator<Item = (&'a str, &'a PartitionIdentity)>,
) -> Result<(), Unbootable> {
    let mut seen: BTreeMap<Uuid, &str> = BTreeMap::new();
    for (name, identity) in identities {
        let payload = || name.to_owned();
        for (uuid, what) in [(identity.uuid, "UUID"), (identity.type_uuid, "type")] {
            if uuid.is_some_and(|uuid| uuid.is_nil()) {
                return Err(Unbootable::Nil { payload: payload(), what });
            }
        }
        let foreign = FOREIGN_TYPES.iter().find(|(uuid, _)| identity.type_uuid == Some(*uuid));
        if let Some((_, what)) = foreign {
            return Err(Unbootable::ForeignType { payload: payload(), what });
        }
        if let Some(uuid) = identity.uuid
            && let Some(one) = seen.insert(uuid, name)
        {
            return Err(Unbootable::Twins { one: one.to_owned(), other: payload(), uuid });
        }
    }
    Ok(())
}

impl Payload {
    /// Whether it has bytes, and every one is zero.
    pub fn is_only_zeroes(&self) -> bool {
        let Some(last) = self.chunk_count().checked_sub(1) else { return false };
        let range = self.chunk_range(ChunkIndex(last));
        let (whole, rest) = (u64::from(self.chunk_size.bytes()), range.end - range.start);
        // The last one is looked at first: hardly any payload ends with the hash of zeroes.
        self.chunks.last() == Some(&Digest::of_zeroes(rest)) && {
            let zeroes = Digest::of_zeroes(whole);
            self.chunks.iter().rev().skip(1).all(|chunk| *chunk == zeroes)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ChunkSize, ProductInfo};

    fn payload(name: &str, bytes: &[u8], partition: Option<PartitionIdentity>) -> Payload {
        let chunk_size = ChunkSize::new(4).unwrap();
        Payload {
            name: name.parse().unwrap(),
            size: bytes.len() as u64,
            chunk_size,
            chunks: bytes.chunks(4).map(Digest::of).collect(),
            frames: None,
            partition,
        }
    }

    fn verdict(payloads: Vec<Payload>) -> String {
        let product_info = ProductInfo {
            id: "acme".into(),
            name: "Acme OS".into(),
            version: "1".into(),
            variant: "x86_64".into(),
            commit_hash: String::new(),
            commit_date: String::new(),
            build_tree_dirty: false,
            components: None,
        };
        match (ImageConfig { product_info, payloads }).check_bootable() {
            Ok(()) => "-".into(),
            Err(error) => format!("{}: {error}", error.code().name()),
        }
    }

    #[test]
    fn no_partition_gets_a_type_that_another_system_takes_for_its_own() {
        for (type_uuid, what) in FOREIGN_TYPES {
            let identity = PartitionIdentity {
                uuid: Some(Uuid::from_u128(7)),
                type_uuid: Some(type_uuid),
                flags: None,
            };
            let found = verdict(vec![payload("verity", b"1", Some(identity))]);
            assert!(found.ends_with(&format!("the type of {what}")), "{found}");
        }
    }

    #[test]
    fn what_no_host_could_boot_is_told_by_its_config() {
        let identity = |uuid: u128, type_uuid: u128| PartitionIdentity {
            uuid: Some(Uuid::from_u128(uuid)),
            type_uuid: (type_uuid != 1).then(|| Uuid::from_u128(type_uuid)),
            flags: None,
        };
        let system = |bytes: &[u8]| payload("system", bytes, None);
        let other = |identity| payload("verity", b"123456", Some(identity));
        let esp = 0xc12a7328_f81f_11d2_ba4b_00a0c93ec93b;
        for (payloads, expected) in [
            (vec![system(b"1234567"), other(identity(7, 1))], "-"),
            (vec![system(b"\0\0\0\0\0\0\x31")], "-"),
            (vec![system(b"\0\0\0\x01\0\0")], "-"),
            (vec![payload("verity", b"", None)], "-"),
            (vec![system(b"")], "payload-empty: the payload system is empty"),
            (vec![payload("kernel.efi", b"", None)], "payload-empty: the payload kernel.efi"),
            (vec![system(b"\0\0\0\0\0\0")], "payload-empty: the payload system holds only zeroes"),
            (vec![system(b"\0")], "payload-empty: the payload system holds only zeroes"),
            (vec![other(identity(0, 1))], "partition-identity-invalid: the image gives"),
            (vec![other(identity(7, 0))], "partition-identity-invalid: the image gives"),
            (
                vec![other(identity(7, esp))],
                "partition-identity-invalid: the image gives the partition of payload verity the \
                 type of an EFI system partition",
            ),
            (
                vec![payload("system", b"1", Some(identity(7, 1))), other(identity(7, 1))],
                "partition-uuid-duplicate: the image gives the partitions of payloads system and \
                 verity the same UUID, 00000000-0000-0000-0000-000000000007",
            ),
        ] {
            let found = verdict(payloads);
            assert!(found.starts_with(expected), "{found} instead of {expected}");
        }
    }
}
