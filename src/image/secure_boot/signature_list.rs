// SPDX-License-Identifier: MIT OR Apache-2.0

//! The firmware's lists: `db`, `dbx`, and shim's of the same format (UEFI 2.10, section 32.4.1).

use uuid::{Uuid, uuid};

use super::algorithm::Hash;
use super::certificate::Certificate;
use crate::bytes::{guid_at, u32_at};

/// The header of a list: its type, its size, the size of a further header, the size of each entry.
const HEADER: usize = 28;
/// Before each entry: who put it there.
const OWNER: usize = 16;

/// The types that are known here, and what their entries are.
const TYPES: [(Uuid, Kind); 7] = [
    (uuid!("a5c059a1-94e4-4aa7-87b5-ab155c2bf072"), Kind::Certificate),
    (uuid!("c1c41626-504c-4092-aca9-41f936934328"), Kind::Image(Hash::Sha256)),
    (uuid!("ff3e5307-9fd0-48c9-85f1-8ad56c701e01"), Kind::Image(Hash::Sha384)),
    (uuid!("093e0fae-a6c4-4f50-9f1b-d41e2b89c19a"), Kind::Image(Hash::Sha512)),
    (uuid!("3bd2a492-96c0-4079-b420-fcf98ef103ed"), Kind::Tbs(Hash::Sha256)),
    (uuid!("7076876e-80c2-4ee6-aad2-28b349a6865b"), Kind::Tbs(Hash::Sha384)),
    (uuid!("446dbf63-2502-4cda-bcfa-2465d2b0fe9d"), Kind::Tbs(Hash::Sha512)),
];

#[derive(Debug, Clone, Copy)]
enum Kind {
    Certificate,
    Image(Hash),
    Tbs(Hash),
}

/// What lists hold.
#[derive(Debug, Default)]
pub(super) struct SignatureLists<'a> {
    pub certificates: Vec<Certificate<'a>>,
    /// Hashes of programs.
    pub images: Vec<(Hash, &'a [u8])>,
    /// Hashes of certificates without their signatures.
    pub tbs: Vec<TbsHash<'a>>,
    /// What of them is not understood here, for people.
    pub unknown: Vec<String>,
}

/// The hash of a certificate without its signature.
#[derive(Debug, Clone, Copy)]
pub(super) struct TbsHash<'a> {
    pub kind: Hash,
    pub hash: &'a [u8],
    /// Whether only what was signed after some moment is meant.
    pub has_time: bool,
}

impl<'a> SignatureLists<'a> {
    /// Adds what the variable `name` holds.
    pub(super) fn add(&mut self, name: &str, mut variable: &'a [u8]) {
        while !variable.is_empty() {
            let Some((kind, list, rest)) = split(variable) else {
                self.unknown.push(format!("{name} is damaged"));
                return;
            };
            match TYPES.iter().find(|(known, _)| *known == kind) {
                Some((_, kind)) => self.add_list(name, *kind, list),
                None => self.unknown.push(format!("{name} has entries of the kind {kind}")),
            }
            variable = rest;
        }
    }

    fn add_list(&mut self, name: &str, kind: Kind, list: List<'a>) {
        for entry in list.entries() {
            match kind {
                Kind::Certificate => match Certificate::parse(entry) {
                    Some(certificate) => self.certificates.push(certificate),
                    None => self.unknown.push(format!("{name} has a certificate that is damaged")),
                },
                Kind::Image(hash) => self.images.push((hash, entry)),
                Kind::Tbs(kind) => {
                    let (hash, time) =
                        entry.split_at_checked(kind.algorithm().output_len()).unwrap_or_default();
                    let has_time = time.iter().any(|byte| *byte != 0);
                    self.tbs.push(TbsHash { kind, hash, has_time });
                }
            }
        }
    }
}

/// The entries of a list, and the size of each.
struct List<'a> {
    entries: &'a [u8],
    size: usize,
}

impl<'a> List<'a> {
    /// The entries without their owners.
    fn entries(&self) -> impl Iterator<Item = &'a [u8]> {
        self.entries.chunks_exact(self.size).filter_map(|entry| entry.get(OWNER..))
    }
}

/// Takes a list off the front of a variable; its type first. `None` where its sizes make no sense.
fn split(variable: &[u8]) -> Option<(Uuid, List<'_>, &[u8])> {
    let field = |at| usize::try_from(u32_at(variable, at)?).ok();
    let (list, further, size) = (field(16)?, field(20)?, field(24)?);
    let (list, rest) = variable.split_at_checked(list)?;
    let entries = list.get(HEADER.checked_add(further)?..)?;
    let is_whole = size > OWNER && entries.len().is_multiple_of(size);
    is_whole.then_some((guid_at(list, 0)?, List { entries, size }, rest))
}
