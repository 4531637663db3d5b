// SPDX-License-Identifier: MIT OR Apache-2.0

//! By whom an EFI program was signed for Secure Boot, as far as the certificates beside its signatures
//! tell (PE format, "The Attribute Certificate Table"; PKCS #7, RFC 2315, sections 7 and 9.1).
//!
//! Nothing is verified here, and which keys the firmware trusts is not known: programs with the same
//! certificates are taken alike.

use super::certificate_table;
use crate::der::{FIRST, INTEGER, OBJECT, SEQUENCE, SET, take};

/// `WIN_CERT_TYPE_PKCS_SIGNED_DATA`.
const SIGNED_DATA: [u8; 2] = [2, 0];

/// Whether whoever starts the signed program `old` starts `new`: each signature of the one has a
/// counterpart with the same certificates. Not where a signature cannot be read.
pub fn has_signers_of(new: &[u8], old: &[u8]) -> bool {
    match (signers(new), signers(old)) {
        (Some(new), Some(old)) => !old.is_empty() && old.iter().all(|one| new.contains(one)),
        _ => false,
    }
}

/// The certificates that come with each signature, one after the other.
fn signers(program: &[u8]) -> Option<Vec<&[u8]>> {
    let mut table = program.get(certificate_table(program)?)?;
    let mut signers = Vec::new();
    while !table.is_empty() {
        let [a, b, c, d, _, _, kind @ ..] = table.first_chunk::<8>()?;
        let length = usize::try_from(u32::from_le_bytes([*a, *b, *c, *d])).ok()?;
        let signature = table.get(8..length)?;
        signers.push(certificates(signature).filter(|_| *kind == SIGNED_DATA)?);
        // Each begins at a multiple of 8.
        table = table.get(length.checked_next_multiple_of(8)?..).unwrap_or_default();
    }
    Some(signers)
}

/// The certificates of a PKCS #7 document of signed data; it may be padded.
fn certificates(mut document: &[u8]) -> Option<&[u8]> {
    let mut content_info = take(&mut document, SEQUENCE)?.contents;
    take(&mut content_info, OBJECT)?;
    let mut content = take(&mut content_info, FIRST)?.contents;
    let mut signed_data = take(&mut content, SEQUENCE)?.contents;
    take(&mut signed_data, INTEGER)?;
    take(&mut signed_data, SET)?;
    take(&mut signed_data, SEQUENCE)?;
    let certificates = take(&mut signed_data, FIRST)?.contents;
    (!certificates.is_empty()).then_some(certificates)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn der(kind: u8, contents: &[u8]) -> Vec<u8> {
        let length = contents.len();
        let head = match length {
            0..0x80 => vec![kind, length as u8],
            0x80..0x100 => vec![kind, 0x81, length as u8],
            _ => vec![kind, 0x82, (length >> 8) as u8, length as u8],
        };
        [head, contents.to_vec()].concat()
    }

    /// A signature with this certificate, and something that is another in each.
    fn signature(certificate: &[u8], signature: u8) -> Vec<u8> {
        let inner = [
            der(INTEGER, &[1]),
            der(SET, &[]),
            der(SEQUENCE, &[signature; 300]),
            der(FIRST, &der(SEQUENCE, certificate)),
            der(SET, &[signature; 200]),
        ]
        .concat();
        let content = der(FIRST, &der(SEQUENCE, &inner));
        der(SEQUENCE, &[der(OBJECT, &[0x2a]), content].concat())
    }

    /// A program with these signatures.
    fn program(signatures: &[Vec<u8>]) -> Vec<u8> {
        let mut table = Vec::new();
        for signature in signatures {
            let length = u32::try_from(signature.len() + 8).unwrap();
            table.extend(length.to_le_bytes());
            table.extend([0, 2]);
            table.extend(SIGNED_DATA);
            table.extend(signature);
            table.resize(table.len().next_multiple_of(8), 0);
        }
        let mut program = vec![0; 0x200];
        program[..2].copy_from_slice(b"MZ");
        program[0x3c] = 0x40;
        program[0x40..0x46].copy_from_slice(b"PE\0\0\x64\x86");
        program[0x58..0x5a].copy_from_slice(&[0x0b, 0x02]);
        program[0x58 + 108] = 16;
        let size = u32::try_from(table.len()).unwrap();
        program[0x58 + 144..0x58 + 148].copy_from_slice(&0x200_u32.to_le_bytes());
        program[0x58 + 148..0x58 + 152].copy_from_slice(&size.to_le_bytes());
        program.extend(table);
        program
    }

    #[test]
    fn programs_are_taken_alike_by_the_certificates_of_their_signatures() {
        let long = [7; 400];
        let by = |who: &[&[u8]], number: u8| {
            let signatures: Vec<_> = who.iter().map(|one| signature(one, number)).collect();
            program(&signatures)
        };
        for (new, old, expected) in [
            (&[&b"distribution"[..]][..], &[&b"distribution"[..]][..], true),
            (&[&long], &[&long], true),
            (&[b"distribution"], &[b"somebody"], false),
            (&[b"distribution", &long], &[&long], true),
            (&[&long], &[b"distribution", &long], false),
            (&[], &[&long], false),
            (&[&long], &[], false),
        ] {
            assert_eq!(has_signers_of(&by(new, 1), &by(old, 2)), expected, "{new:?} {old:?}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_like_nothing() {
        let whole = program(&[signature(b"distribution", 1)]);
        assert!(has_signers_of(&whole, &whole));
        for length in 0..whole.len() {
            assert!(!has_signers_of(&whole[..length], &whole), "{length}");
        }
        let mut another_kind = whole.clone();
        another_kind[0x206] = 3;
        assert!(!has_signers_of(&another_kind, &another_kind));
    }

    proptest! {
        #[test]
        fn any_signature_is_looked_at_without_panic(signature in prop::collection::vec(any::<u8>(), 0..200)) {
            let program = program(&[signature]);
            has_signers_of(&program, &program);
        }
    }
}
