// SPDX-License-Identifier: MIT OR Apache-2.0

//! A signature of a program: PKCS #7 signed data (RFC 2315, section 9) about the program's hash
//! ("Windows Authenticode Portable Executable Signature Format", "PKCS #7").

use aws_lc_rs::digest::Digest;

use super::algorithm::{Answer, Hash, RSA, hash_of_signature};
use super::certificate::{Certificate, name_of};
use crate::der::{FIRST, INTEGER, OBJECT, OCTETS, SECOND, SEQUENCE, SET, dotted, take, take_any};

/// `SPC_INDIRECT_DATA_OBJID`.
const INDIRECT_DATA: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x02, 0x01, 0x04];
/// `messageDigest` (RFC 2985, section 5.3.2).
const MESSAGE_DIGEST: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 4];
/// The most certificates, and the most signers, of one signature.
const LIMIT: usize = 32;

/// A signature of a program.
#[derive(Debug)]
pub(super) struct SignedData<'a> {
    /// What the signers sign.
    content: &'a [u8],
    /// How the program was hashed, and what came out.
    hash: (&'a [u8], &'a [u8]),
    /// What comes with it.
    pub certificates: Vec<Certificate<'a>>,
    /// Who signed; firmware asks all of them.
    pub signers: Vec<Signer<'a>>,
}

/// Who signed.
#[derive(Debug)]
pub(super) struct Signer<'a> {
    issuer: &'a [u8],
    serial: &'a [u8],
    /// The object identifiers of the hash and of the signature algorithm.
    algorithms: (&'a [u8], &'a [u8]),
    /// What is signed in place of the content, as it stands.
    attributes: Option<&'a [u8]>,
    signature: &'a [u8],
    /// Whether something is attached that is not signed, such as a time stamp.
    pub has_more: bool,
}

impl<'a> SignedData<'a> {
    /// Reads one; it may be padded.
    pub(super) fn parse(mut document: &'a [u8]) -> Option<Self> {
        let mut content_info = take(&mut document, SEQUENCE)?.contents;
        // Some tools leave the outer part out, which firmware takes as well.
        let mut signed_data = match take(&mut content_info, OBJECT) {
            Some(_) => take(&mut take(&mut content_info, FIRST)?.contents, SEQUENCE)?.contents,
            None => content_info,
        };
        take(&mut signed_data, INTEGER)?;
        take(&mut signed_data, SET)?;
        let mut encapsulated = take(&mut signed_data, SEQUENCE)?.contents;
        if take(&mut encapsulated, OBJECT)?.contents != INDIRECT_DATA {
            return None;
        }
        let content = take(&mut take(&mut encapsulated, FIRST)?.contents, SEQUENCE)?.contents;
        let mut indirect = content;
        take(&mut indirect, SEQUENCE)?;
        let mut info = take(&mut indirect, SEQUENCE)?.contents;
        let mut algorithm = take(&mut info, SEQUENCE)?.contents;
        let hash = (take(&mut algorithm, OBJECT)?.contents, take(&mut info, OCTETS)?.contents);
        let mut embedded = take(&mut signed_data, FIRST).map_or(&[][..], |all| all.contents);
        let mut certificates = Vec::new();
        while let Some(element) = take_any(&mut embedded).filter(|_| certificates.len() < LIMIT) {
            // Attribute certificates and others are passed over.
            certificates.extend(Certificate::parse(element.whole));
        }
        take(&mut signed_data, SECOND);
        let mut infos = take(&mut signed_data, SET)?.contents;
        let mut signers = Vec::new();
        while !infos.is_empty() && signers.len() < LIMIT {
            signers.push(Signer::parse(take(&mut infos, SEQUENCE)?.contents)?);
        }
        Some(Self { content, hash, certificates, signers })
    }

    /// How the program was hashed.
    pub(super) fn kind(&self) -> Option<Hash> {
        Hash::named(self.hash.0)
    }

    /// Whether it is about the program with these hashes.
    pub(super) fn is_about(&self, hashes: &[(Hash, Digest)]) -> Answer {
        let Some(kind) = self.kind() else {
            return Answer::Unknown(format!("the hash algorithm {}", dotted(self.hash.0)));
        };
        Answer::of(hashes.iter().any(|(k, hash)| *k == kind && hash.as_ref() == self.hash.1))
    }

    /// The certificate of a signer, where it is there: firmware looks nowhere else for it.
    pub(super) fn certificate_of(&self, signer: &Signer<'_>) -> Option<&Certificate<'a>> {
        self.certificates.iter().find(|found| found.is_named(signer.issuer, signer.serial))
    }

    /// Whether the signer with this certificate signed what is said about the program.
    pub(super) fn is_signed_by(
        &self,
        signer: &Signer<'_>,
        certificate: &Certificate<'_>,
    ) -> Answer {
        let (digest, signature) = signer.algorithms;
        let Some(hash) = Hash::named(digest) else {
            return Answer::Unknown(format!("the hash algorithm {}", dotted(digest)));
        };
        if signature != RSA && hash_of_signature(signature) != Some(hash) {
            return Answer::Unknown(format!("the signature algorithm {}", dotted(signature)));
        }
        let Some(attributes) = signer.attributes else {
            return certificate.has_signed(hash, self.content, signer.signature);
        };
        let is_content = digest_among(attributes) == Some(hash.of(self.content).as_ref());
        // They are signed as the set that they are, not by the tag that they have here.
        let mut signed = attributes.to_vec();
        if let Some(tag) = signed.first_mut() {
            *tag = SET;
        }
        Answer::of(is_content).and(certificate.has_signed(hash, &signed, signer.signature))
    }
}

impl<'a> Signer<'a> {
    fn parse(mut info: &'a [u8]) -> Option<Self> {
        take(&mut info, INTEGER)?;
        let mut name = take(&mut info, SEQUENCE)?.contents;
        let (issuer, serial) = (take(&mut name, SEQUENCE)?.whole, take(&mut name, INTEGER)?);
        let mut digest = take(&mut info, SEQUENCE)?.contents;
        let digest = take(&mut digest, OBJECT)?.contents;
        let attributes = take(&mut info, FIRST).map(|all| all.whole);
        let mut algorithm = take(&mut info, SEQUENCE)?.contents;
        let algorithm = take(&mut algorithm, OBJECT)?.contents;
        Some(Self {
            issuer,
            serial: serial.contents,
            algorithms: (digest, algorithm),
            attributes,
            signature: take(&mut info, OCTETS)?.contents,
            has_more: !info.is_empty(),
        })
    }

    /// What its issuer is called, for people.
    pub(super) fn issuer_name(&self) -> String {
        name_of(self.issuer)
    }
}

/// The hash of the content among signed attributes.
fn digest_among(mut attributes: &[u8]) -> Option<&[u8]> {
    let mut attributes = take_any(&mut attributes)?.contents;
    while let Some(attribute) = take(&mut attributes, SEQUENCE) {
        let mut attribute = attribute.contents;
        if take(&mut attribute, OBJECT)?.contents == MESSAGE_DIGEST {
            return Some(take(&mut take(&mut attribute, SET)?.contents, OCTETS)?.contents);
        }
    }
    None
}
