// SPDX-License-Identifier: MIT OR Apache-2.0

//! Whether the firmware would start a program: what it knows, held against what the program shows.

use std::io;

use aws_lc_rs::digest::Digest;

use super::algorithm::{Answer, Hash};
use super::certificate::Certificate;
use super::chain::Chain;
use super::program::{Program, Read, signatures};
use super::sbat;
use super::signature_list::SignatureLists;
use super::signed_data::{SignedData, Signer};

/// Whether firmware asks for signatures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// It has no Secure Boot, or says nothing about it.
    #[default]
    Missing,
    /// It does not.
    Off,
    /// It does not, since nobody has enrolled a platform key yet.
    Setup,
    /// It does.
    On,
}

impl Mode {
    /// What the variables `SecureBoot` and `SetupMode` say (UEFI 2.10, section 3.3); empty where they
    /// are missing.
    pub fn of(secure_boot: &[u8], setup_mode: &[u8]) -> Self {
        match (secure_boot, setup_mode) {
            ([1], _) => Self::On,
            (_, [1]) => Self::Setup,
            ([], _) => Self::Missing,
            _ => Self::Off,
        }
    }

    /// The word for it in the status; `None` where there is nothing to say.
    pub fn word(self) -> Option<&'static str> {
        match self {
            Self::Missing => None,
            Self::Off => Some("off"),
            Self::Setup => Some("setup"),
            Self::On => Some("on"),
        }
    }
}

/// What the firmware asks of programs, and shim where it counts: its variables, as they stand.
#[derive(Debug, Clone, Default)]
pub struct Firmware {
    /// Whether it asks.
    pub mode: Mode,
    /// `db`.
    pub db: Vec<u8>,
    /// `dbx`.
    pub dbx: Vec<u8>,
    /// What shim adds, where programs are started through it.
    pub shim: Option<ShimLists>,
}

/// What shim hands on of its own lists.
#[derive(Debug, Clone, Default)]
pub struct ShimLists {
    /// `MokListRT`.
    pub allowed: Vec<u8>,
    /// `MokListXRT`.
    pub forbidden: Vec<u8>,
    /// `SbatLevelRT`.
    pub sbat_level: Vec<u8>,
}

/// What was found out about a program. Whether it may be installed is for others to say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Judgement {
    /// Whether anything was asked; where not, the rest is empty.
    pub mode: Mode,
    /// Who signed it.
    pub signers: Vec<String>,
    /// What the firmware starts programs by: certificates, and hashes.
    pub known: Vec<String>,
    /// By which of these it starts this one.
    pub accepted: Option<String>,
    /// Why it never starts this one, whatever accepts it.
    pub forbidden: Option<String>,
    /// What could not be judged, and might accept it.
    pub may_accept: Vec<String>,
    /// What could not be judged, and might forbid it.
    pub may_forbid: Vec<String>,
}

impl Firmware {
    /// Whether it asks for signatures.
    pub fn asks(&self) -> bool {
        self.mode == Mode::On
    }

    /// Judges the program of `size` bytes that `read` gives. Nothing is read where nothing is asked.
    ///
    /// # Errors
    /// Those of `read`.
    pub fn judge(&self, size: u64, read: Read<'_>) -> io::Result<Judgement> {
        if !self.asks() {
            return Ok(Judgement { mode: self.mode, ..Judgement::default() });
        }
        let (mut allowed, mut forbidden) = (SignatureLists::default(), SignatureLists::default());
        allowed.add("db", &self.db);
        forbidden.add("dbx", &self.dbx);
        if let Some(shim) = &self.shim {
            allowed.add("MokListRT", &shim.allowed);
            forbidden.add("MokListXRT", &shim.forbidden);
        }
        let mut judge = Judge { result: Judgement::default(), allowed, forbidden };
        judge.result.mode = self.mode;
        judge.result.known = judge.known();
        judge.result.may_forbid = judge.forbidden.unknown.clone();
        judge.judge(size, read)?;
        if let Some(shim) = &self.shim {
            let level = sbat::components(&shim.sbat_level);
            let refusal = sbat::refusal(&sbat::of_program(read)?, &level);
            judge.result.forbidden = judge.result.forbidden.or(refusal);
        }
        Ok(judge.result)
    }
}

struct Judge<'a> {
    result: Judgement,
    allowed: SignatureLists<'a>,
    forbidden: SignatureLists<'a>,
}

impl Judge<'_> {
    fn known(&self) -> Vec<String> {
        let mut known: Vec<String> =
            self.allowed.certificates.iter().map(Certificate::name).collect();
        match self.allowed.images.len() {
            0 => {}
            1 => known.push("the hash of 1 program".to_owned()),
            count => known.push(format!("the hashes of {count} programs")),
        }
        known
    }

    fn judge(&mut self, size: u64, read: Read<'_>) -> io::Result<()> {
        let Some(program) = Program::read(read, size)? else {
            self.forbid("its headers are damaged".to_owned());
            return Ok(());
        };
        let table = program.table(read)?;
        let Some(table) = table.as_deref().and_then(signatures) else {
            self.forbid("its signatures are damaged".to_owned());
            return Ok(());
        };
        let documents: Vec<_> = table.into_iter().map(SignedData::parse).collect();
        let hashes = program.hash(read, &self.kinds(&documents))?;
        self.judge_hashes(&hashes);
        for document in &documents {
            match document {
                Some(document) => self.judge_signature(document, &hashes),
                None => self.result.may_accept.push("a signature that cannot be read".to_owned()),
            }
        }
        self.result.may_accept.extend(self.allowed.unknown.clone());
        Ok(())
    }

    /// The hashes that somebody asks for.
    fn kinds(&self, documents: &[Option<SignedData<'_>>]) -> Vec<Hash> {
        let signed = documents.iter().flatten().filter_map(SignedData::kind);
        let listed = self.allowed.images.iter().chain(&self.forbidden.images);
        let asked: Vec<Hash> = signed.chain(listed.map(|(kind, _)| *kind)).collect();
        Hash::ALL.into_iter().filter(|kind| asked.contains(kind)).collect()
    }

    fn judge_hashes(&mut self, hashes: &[(Hash, Digest)]) {
        let has = |listed: &[(Hash, &[u8])]| {
            listed.iter().any(|(kind, one)| {
                hashes.iter().any(|(k, hash)| k == kind && hash.as_ref() == *one)
            })
        };
        if has(&self.forbidden.images) {
            self.forbid("its hash is revoked".to_owned());
        }
        if has(&self.allowed.images) {
            self.accept("its hash".to_owned());
        }
    }

    fn judge_signature(&mut self, document: &SignedData<'_>, hashes: &[(Hash, Digest)]) {
        let is_about = document.is_about(hashes);
        // All of them have to be accepted, by one and the same certificate.
        let mut signed = Answer::of(!document.signers.is_empty()).and(is_about);
        let mut chains = Vec::new();
        for signer in &document.signers {
            let Some(certificate) = document.certificate_of(signer) else {
                let name = signer.issuer_name();
                self.result
                    .signers
                    .push(format!("a certificate issued by {name}, which is missing"));
                return;
            };
            self.result.signers.push(certificate.name());
            signed = signed.and(document.is_signed_by(signer, certificate));
            chains.push((signer, Chain::of(certificate, &document.certificates)));
        }
        if signed != Answer::No {
            self.revoke(&chains);
        }
        match self.anchor(&chains) {
            (Answer::No, _) => {}
            (leads, name) => match signed.and(leads) {
                Answer::Yes => self.accept(name),
                Answer::No => {}
                Answer::Unknown(what) => self.result.may_accept.push(what),
            },
        }
    }

    /// Whether a certificate that is known is above all signers, and what it is called.
    fn anchor(&self, chains: &[(&Signer<'_>, Chain<'_, '_>)]) -> (Answer, String) {
        let mut found = (Answer::No, String::new());
        for anchor in &self.allowed.certificates {
            if self.revoked(anchor).is_some() {
                continue;
            }
            let leads = chains.iter().map(|(_, chain)| chain.leads_to(anchor));
            match leads.fold(Answer::Yes, Answer::and) {
                Answer::Yes => return (Answer::Yes, anchor.name()),
                Answer::No => {}
                unknown => found = (unknown, anchor.name()),
            }
        }
        found
    }

    /// Whether the hash of a certificate is revoked, and whether only from some moment on.
    fn revoked(&self, certificate: &Certificate<'_>) -> Option<bool> {
        let hit = |kind, hash: &[u8]| certificate.tbs_hash(kind).as_ref() == hash;
        let found = self.forbidden.tbs.iter().filter(|tbs| hit(tbs.kind, tbs.hash));
        found.map(|tbs| tbs.has_time).min()
    }

    /// Looks for what forbids the program because of a signer, or of somebody above.
    fn revoke(&mut self, chains: &[(&Signer<'_>, Chain<'_, '_>)]) {
        for (signer, chain) in chains {
            for certificate in chain.certificates() {
                let name = certificate.name();
                match self.revoked(certificate) {
                    // Firmware may know by a time stamp that it was signed before.
                    Some(true) if signer.has_more => {
                        let what = format!("{name} is revoked from some moment on");
                        self.result.may_forbid.push(what);
                    }
                    Some(_) => self.forbid(format!("the certificate {name} is revoked")),
                    None => {}
                }
            }
            let mut found = Vec::new();
            for revoked in &self.forbidden.certificates {
                match chain.leads_to(revoked) {
                    Answer::Yes => found.push(Ok(revoked.name())),
                    Answer::No => {}
                    Answer::Unknown(what) => found.push(Err(what)),
                }
            }
            for one in found {
                match one {
                    Ok(name) => self.forbid(format!("the certificate {name} is revoked")),
                    Err(what) => self.result.may_forbid.push(what),
                }
            }
        }
    }

    fn forbid(&mut self, why: String) {
        self.result.forbidden.get_or_insert(why);
    }

    fn accept(&mut self, by: String) {
        self.result.accepted.get_or_insert(by);
    }
}
