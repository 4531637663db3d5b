// SPDX-License-Identifier: MIT OR Apache-2.0

//! What an image holds, whatever its manifest says about it.

use serde::{Deserialize, Serialize};

use crate::{Digest, Hasher, Payload};

/// What comes first, so that no other format of flipside's has the same digests.
const FORMAT: &[u8] = b"flipside content 1\n";

/// The same for images that put the same bytes on a host: a digest of the name, size, chunk size,
/// chunk hashes and partition identity of each payload that the host takes. New annotations, another
/// signature or another compression leave it as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ContentId(Digest);

impl ContentId {
    /// Of an image with these payloads, in whatever order.
    pub fn of<'a>(payloads: impl Iterator<Item = &'a Payload>) -> Self {
        let mut payloads: Vec<&Payload> = payloads.collect();
        payloads.sort_by_key(|payload| payload.name.as_str());
        let mut hasher = Hasher::new();
        hasher.update(FORMAT);
        for payload in payloads {
            hasher.update(heading(payload).as_bytes());
            // As many as follow from size and chunk size.
            payload.chunks.iter().for_each(|chunk| hasher.update(chunk.as_bytes()));
        }
        Self(hasher.finish())
    }
}

/// A line about `payload`: no name has a space or a line feed in it, and what is not said is `-`.
fn heading(payload: &Payload) -> String {
    let Payload { name, size, chunk_size, partition, .. } = payload;
    let said = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    let uuid = said(partition.and_then(|identity| Some(identity.uuid?.to_string())));
    let type_uuid = said(partition.and_then(|identity| Some(identity.type_uuid?.to_string())));
    let flags = said(partition.and_then(|identity| Some(identity.flags?.to_string())));
    format!("{name} {size} {} {uuid} {type_uuid} {flags}\n", chunk_size.bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ChunkSize, FrameTable, PartitionIdentity};

    fn payload(name: &str, content: &[u8]) -> Payload {
        let chunk_size = ChunkSize::new(4).unwrap();
        Payload {
            name: name.parse().unwrap(),
            size: content.len() as u64,
            chunk_size,
            chunks: content.chunks(4).map(Digest::of).collect(),
            frames: None,
            partition: None,
        }
    }

    fn of(payloads: &[Payload]) -> ContentId {
        ContentId::of(payloads.iter())
    }

    #[test]
    fn it_is_the_same_for_the_same_bytes_whatever_the_order_and_the_compression() {
        let (system, kernel) = (payload("system", b"12345678"), payload("kernel.efi", b"abc"));
        let expected = of(&[system.clone(), kernel.clone()]);
        assert_eq!(of(&[kernel.clone(), system.clone()]), expected);
        let chunk_size = system.chunk_size;
        let framed =
            Payload { frames: Some(FrameTable::new(&[3, 3], chunk_size, 8).unwrap()), ..system };
        assert_eq!(of(&[framed, kernel]), expected);
    }

    #[test]
    fn it_is_another_one_where_anything_else_is() {
        let system = payload("system", b"12345678");
        let identity = |identity| Payload { partition: Some(identity), ..system.clone() };
        let uuid = Some(uuid::Uuid::from_u128(7));
        let none = PartitionIdentity { uuid: None, type_uuid: None, flags: None };
        let mut all = vec![
            of(std::slice::from_ref(&system)),
            of(&[]),
            of(&[payload("system", b"12345679")]),
            of(&[payload("system", b"1234567")]),
            of(&[payload("system-", b"12345678")]),
            of(&[Payload { chunk_size: ChunkSize::new(8).unwrap(), ..system.clone() }]),
            of(&[system.clone(), payload("data", b"")]),
            of(&[identity(PartitionIdentity { uuid, ..none })]),
            of(&[identity(PartitionIdentity { type_uuid: uuid, ..none })]),
            of(&[identity(PartitionIdentity { flags: Some(7), ..none })]),
            of(&[identity(PartitionIdentity { flags: Some(0), ..none })]),
        ];
        // What says nothing is no identity.
        assert_eq!(of(&[identity(none)]), all[0]);
        let count = all.len();
        all.sort_by_key(|id| id.0);
        all.dedup();
        assert_eq!(all.len(), count);
    }
}
