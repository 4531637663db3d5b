// SPDX-License-Identifier: MIT OR Apache-2.0

//! Programs that sbsign and osslsigncode signed, against lists by hand and by sbsiglist:
//! `tests/fixtures/secure-boot/make`.

use std::io;

use proptest::prelude::*;

use super::algorithm::Hash;
use super::certificate::Certificate;
use super::program::{Program, signatures};
use super::*;
use crate::pe::copy_from;

macro_rules! fixture {
    ($name:literal) => {
        include_bytes!(concat!("../../../tests/fixtures/secure-boot/", $name)).as_slice()
    };
}

const PROGRAM: &[u8] = fixture!("program.efi");
const BY_SIGNER: &[u8] = fixture!("by-signer.efi");
const BY_OTHER: &[u8] = fixture!("by-other.efi");
const BY_BOTH: &[u8] = fixture!("by-both.efi");
const BY_IMPOSTOR: &[u8] = fixture!("by-impostor.efi");
const BY_CURVE: &[u8] = fixture!("by-curve.efi");
const SHA384: &[u8] = fixture!("sha384.efi");
const CHANGED: &[u8] = fixture!("changed.efi");
const ROOT: &[u8] = fixture!("root.der");
const AUTHORITY: &[u8] = fixture!("authority.der");
const SIGNER: &[u8] = fixture!("signer.der");
const IMPOSTOR: &[u8] = fixture!("impostor.der");
const OTHER: &[u8] = fixture!("other.der");
const CURVE: &[u8] = fixture!("curve.der");

/// What osslsigncode says of `program.efi`, and of it with any signature.
const HASH: &str = "c3d1e472fb16c292f9f8d18d08899ec480f68387b3b9bffdae87b5d7a8e80d09";

const X509: &str = "a159c0a5e494a74a87b5ab155c2bf072";
const IMAGE_SHA256: &str = "2616c4c14c509240aca941f936934328";
const IMAGE_SHA384: &str = "07533effd09fc94885f18ad56c701e01";
const TBS_SHA256: &str = "92a4d23bc0967940b420fcf98ef103ed";
const SHA1: &str = "12a56c82100fc94ab187be01496631bd";

fn hex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

/// A list of one entry.
fn list(kind: &str, entry: &[u8]) -> Vec<u8> {
    let size = u32::try_from(16 + entry.len()).unwrap();
    let numbers = [28 + size, 0, size].map(u32::to_le_bytes).concat();
    [hex(kind), numbers, vec![7; 16], entry.to_vec()].concat()
}

fn x509(certificate: &[u8]) -> Vec<u8> {
    list(X509, certificate)
}

fn tbs(certificate: &[u8], time: u8) -> Vec<u8> {
    let hash = Certificate::parse(certificate).unwrap().tbs_hash(Hash::Sha256);
    list(TBS_SHA256, &[hash.as_ref(), &[time; 16]].concat())
}

fn judge_by(firmware: &Firmware, program: &[u8]) -> Judgement {
    firmware.judge(program.len() as u64, &|to, at| copy_from(program, to, at)).unwrap()
}

fn judge(program: &[u8], db: Vec<u8>, dbx: Vec<u8>) -> Judgement {
    judge_by(&Firmware { mode: Mode::On, db, dbx, shim: None }, program)
}

fn image_hash(program: &[u8], kind: Hash) -> Vec<u8> {
    let read = |to: &mut [u8], at: u64| copy_from(program, to, at);
    let found = Program::read(&read, program.len() as u64).unwrap().unwrap();
    let hashes = found.hash(&read, &[kind]).unwrap();
    hashes[0].1.as_ref().to_vec()
}

#[test]
fn hashes_are_those_of_other_tools() {
    assert_eq!(image_hash(PROGRAM, Hash::Sha256), hex(HASH));
    for signed in [BY_SIGNER, BY_OTHER, BY_BOTH] {
        assert_eq!(image_hash(signed, Hash::Sha256), hex(HASH));
    }
    assert_ne!(image_hash(CHANGED, Hash::Sha256), hex(HASH));
}

/// Whether it is accepted and forbidden, and whether anything is in doubt.
fn summary(judgement: &Judgement) -> (bool, bool, bool) {
    let is_doubtful = !judgement.may_accept.is_empty() || !judgement.may_forbid.is_empty();
    (judgement.accepted.is_some(), judgement.forbidden.is_some(), is_doubtful)
}

#[test]
fn one_accepted_signature_or_hash_suffices() {
    const GOOD: (bool, bool, bool) = (true, false, false);
    const BAD: (bool, bool, bool) = (false, false, false);
    const DOUBT: (bool, bool, bool) = (false, false, true);
    let hash = || list(IMAGE_SHA256, &hex(HASH));
    let cases: Vec<(&str, &[u8], Vec<u8>, _)> = vec![
        ("the signer itself", BY_SIGNER, x509(SIGNER), GOOD),
        ("the authority", BY_SIGNER, x509(AUTHORITY), GOOD),
        ("the root, which does not come with it", BY_SIGNER, x509(ROOT), GOOD),
        ("sbsiglist's list", BY_SIGNER, fixture!("root.esl").to_vec(), GOOD),
        ("the second list", BY_SIGNER, [x509(OTHER), x509(ROOT)].concat(), GOOD),
        ("somebody else", BY_SIGNER, x509(OTHER), BAD),
        ("nobody", BY_SIGNER, vec![], BAD),
        ("the first signature", BY_BOTH, x509(OTHER), GOOD),
        ("the second signature", BY_BOTH, x509(ROOT), GOOD),
        ("SHA-384", SHA384, x509(OTHER), GOOD),
        ("SHA-384 by somebody else", SHA384, x509(ROOT), BAD),
        ("of another program", CHANGED, x509(ROOT), BAD),
        ("a signer that is no authority", BY_IMPOSTOR, x509(SIGNER), BAD),
        ("issued by one that is no authority", BY_IMPOSTOR, x509(ROOT), BAD),
        ("what that one signed itself", BY_IMPOSTOR, x509(IMPOSTOR), GOOD),
        ("no signature", PROGRAM, x509(ROOT), BAD),
        ("its hash alone", PROGRAM, list(IMAGE_SHA256, &hex(HASH)), GOOD),
        ("its hash, though somebody else signed", BY_SIGNER, [x509(OTHER), hash()].concat(), GOOD),
        ("its longer hash", PROGRAM, list(IMAGE_SHA384, &image_hash(PROGRAM, Hash::Sha384)), GOOD),
        ("another hash", PROGRAM, list(IMAGE_SHA256, &[1; 32]), BAD),
        ("a hash that is cut", PROGRAM, list(IMAGE_SHA256, &hex(HASH)[..31]), BAD),
        ("elliptic curves, known", BY_CURVE, x509(CURVE), DOUBT),
        ("elliptic curves, not known", BY_CURVE, x509(ROOT), BAD),
        ("a kind of list that nobody knows", BY_SIGNER, list(SHA1, &[1; 20]), DOUBT),
        (
            "that, and the signer",
            BY_SIGNER,
            [list(SHA1, &[1; 20]), x509(ROOT)].concat(),
            (true, false, true),
        ),
        ("a list that is cut", BY_SIGNER, x509(ROOT)[..400].to_vec(), DOUBT),
        ("a certificate that is none", BY_SIGNER, x509(&[1; 90]), DOUBT),
    ];
    for (name, program, db, expected) in cases {
        let judgement = judge(program, db, vec![]);
        assert_eq!(summary(&judgement), expected, "{name}: {judgement:?}");
    }
}

#[test]
fn one_hit_among_what_is_revoked_forbids() {
    let hash = || list(IMAGE_SHA256, &hex(HASH));
    let cases: Vec<(&str, &[u8], Vec<u8>, bool)> = vec![
        ("its hash", BY_SIGNER, hash(), true),
        (
            "its longer hash",
            BY_SIGNER,
            list(IMAGE_SHA384, &image_hash(BY_SIGNER, Hash::Sha384)),
            true,
        ),
        ("another hash", BY_SIGNER, list(IMAGE_SHA256, &[1; 32]), false),
        ("the signer", BY_SIGNER, x509(SIGNER), true),
        ("the authority", BY_SIGNER, x509(AUTHORITY), true),
        ("the root", BY_SIGNER, x509(ROOT), true),
        ("somebody else", BY_SIGNER, x509(OTHER), false),
        ("the other signer", BY_BOTH, x509(OTHER), true),
        ("the signer, by hash", BY_SIGNER, tbs(SIGNER, 0), true),
        ("the authority, by hash", BY_SIGNER, tbs(AUTHORITY, 0), true),
        ("the signer, from some moment on", BY_SIGNER, tbs(SIGNER, 1), true),
        ("somebody else, by hash", BY_SIGNER, tbs(OTHER, 0), false),
        ("the other signer, by hash", BY_BOTH, tbs(OTHER, 0), true),
        ("elliptic curves", BY_CURVE, x509(CURVE), true),
    ];
    for (name, program, dbx, forbidden) in cases {
        let judgement = judge(program, x509(ROOT), dbx);
        assert_eq!(judgement.forbidden.is_some(), forbidden, "{name}: {judgement:?}");
        let is_by_root = program != BY_CURVE;
        assert_eq!(judgement.accepted.is_some(), is_by_root, "{name}: {judgement:?}");
    }
    // The root does not come with it, so only it is not trusted any more.
    let judgement = judge(BY_SIGNER, x509(ROOT), tbs(ROOT, 0));
    assert_eq!(summary(&judgement), (false, false, false), "{judgement:?}");
    let judgement = judge(BY_SIGNER, [x509(ROOT), x509(SIGNER)].concat(), tbs(ROOT, 0));
    assert_eq!(summary(&judgement), (true, false, false), "{judgement:?}");
}

#[test]
fn what_is_not_understood_among_what_is_revoked_is_in_doubt() {
    for (name, dbx) in [
        ("a kind of list that nobody knows", list(SHA1, &[1; 20])),
        ("a list that is cut", vec![1; 27]),
        ("a certificate that is none", x509(&[1; 90])),
    ] {
        let judgement = judge(BY_SIGNER, x509(ROOT), dbx);
        assert_eq!(summary(&judgement), (true, false, true), "{name}: {judgement:?}");
        assert_eq!(judgement.may_forbid.len(), 1, "{name}: {judgement:?}");
    }
}

#[test]
fn people_are_told_who_signed_and_who_is_known() {
    let db = [x509(OTHER), list(IMAGE_SHA256, &[1; 32]), list(IMAGE_SHA256, &[2; 32])].concat();
    let judgement = judge(BY_SIGNER, db, tbs(SIGNER, 0));
    assert_eq!(judgement.signers, ["test signer"]);
    assert_eq!(judgement.known, ["test other", "the hashes of 2 programs"]);
    assert_eq!(judgement.forbidden.as_deref(), Some("the certificate test signer is revoked"));
    assert_eq!(judge(BY_SIGNER, x509(ROOT), vec![]).accepted.as_deref(), Some("test root"));
    assert_eq!(judge(BY_BOTH, vec![], vec![]).signers, ["test other", "test signer"]);
}

#[test]
fn nothing_is_read_where_nothing_is_asked() {
    for (secure_boot, setup_mode, expected) in [
        (&[1][..], &[0][..], Mode::On),
        (&[0], &[1], Mode::Setup),
        (&[0], &[0], Mode::Off),
        (&[], &[], Mode::Missing),
        (&[], &[1], Mode::Setup),
        (&[1, 0], &[], Mode::Off),
    ] {
        let mode = Mode::of(secure_boot, setup_mode);
        assert_eq!(mode, expected, "{secure_boot:?} {setup_mode:?}");
        let firmware = Firmware { mode, ..Firmware::default() };
        let found = firmware.judge(9, &|_, _| Err(io::ErrorKind::PermissionDenied.into()));
        assert_eq!(found.is_err(), mode == Mode::On);
    }
}

#[test]
fn shim_adds_its_lists_where_it_counts() {
    let with = |allowed: Vec<u8>, forbidden: Vec<u8>, level: &str| {
        let shim = ShimLists { allowed, forbidden, sbat_level: level.as_bytes().to_vec() };
        let firmware = Firmware { mode: Mode::On, shim: Some(shim), ..Firmware::default() };
        summary(&judge_by(&firmware, BY_SIGNER))
    };
    assert_eq!(with(vec![], vec![], ""), (false, false, false));
    assert_eq!(with(x509(ROOT), vec![], "sbat,1\nflipside,2\n"), (true, false, false));
    assert_eq!(with(x509(ROOT), tbs(SIGNER, 0), ""), (true, true, false));
    assert_eq!(with(x509(ROOT), vec![], "sbat,1\nflipside,3\n"), (true, true, false));
}

#[test]
fn shim_is_known_by_its_sbat() {
    assert!(!is_shim(PROGRAM) && !is_shim(b"shim,4"));
    let mut shim = PROGRAM.to_vec();
    let at = shim.windows(9).position(|window| window == b"flipside,").unwrap();
    shim[at..at + 9].copy_from_slice(b"shim,4,x,");
    assert!(is_shim(&shim));
}

#[test]
fn a_damaged_table_of_signatures_is_refused() {
    for (at, byte) in [(0, 9), (0, 0), (2, 1), (3, 0x80)] {
        let mut program = BY_SIGNER.to_vec();
        let table = program.len() - (program.len() - PROGRAM.len());
        program[table + at] = byte;
        let judgement = judge(&program, x509(ROOT), vec![]);
        assert!(judgement.forbidden.is_some(), "{at} {byte}: {judgement:?}");
    }
    let table = &BY_SIGNER[PROGRAM.len()..];
    assert_eq!(signatures(table).unwrap().len(), 1);
    for length in 1..table.len() {
        assert!(signatures(&table[..length]).is_none(), "{length}");
    }
}

#[test]
fn no_byte_that_is_hashed_may_change() {
    let judged = |program: &[u8]| judge(program, x509(ROOT), vec![]).accepted.is_some();
    assert!(judged(BY_SIGNER));
    let optional = 0x98;
    let (checksum, entry) = (optional + 64, optional + 112 + 32);
    for at in (0x80 + 6..PROGRAM.len()).step_by(7) {
        let is_hashed =
            !(checksum..checksum + 4).contains(&at) && !(entry..entry + 8).contains(&at);
        let mut program = BY_SIGNER.to_vec();
        program[at] ^= 0x10;
        assert!(!is_hashed || !judged(&program), "{at}");
    }
    let mut program = BY_SIGNER.to_vec();
    program[checksum] ^= 1;
    assert!(judged(&program));
}

/// Where a hash is in what the signatures of a program say.
fn place_of(hash: &[u8], program: &[u8]) -> usize {
    program.windows(hash.len()).position(|window| window == hash).unwrap()
}

#[test]
fn nothing_of_a_signature_may_be_exchanged() {
    let judged = |program: &[u8]| summary(&judge(program, x509(ROOT), vec![]));
    // The hash of another program in the place of the one that was signed.
    let mut program = CHANGED.to_vec();
    let at = place_of(&hex(HASH), &program);
    program[at..at + 32].copy_from_slice(&image_hash(CHANGED, Hash::Sha256));
    assert_eq!(judged(&program), (false, false, false));
    // The signature itself, which ends the file.
    let mut program = BY_SIGNER.to_vec();
    let at = program.len() - 100;
    program[at] ^= 1;
    assert_eq!(judged(&program), (false, false, false));
    // The authority's certificate, whose signature ends it.
    let mut program = BY_SIGNER.to_vec();
    let at = place_of(AUTHORITY, &program) + AUTHORITY.len() - 1;
    program[at] ^= 1;
    assert_eq!(judged(&program), (false, false, false));
}

proptest! {
    #[test]
    fn any_damage_is_judged_without_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        which in 0..4_usize,
    ) {
        let mut parts = [
            BY_BOTH.to_vec(),
            [x509(ROOT), list(IMAGE_SHA256, &[1; 32])].concat(),
            [x509(OTHER), tbs(SIGNER, 1)].concat(),
            b"sbat,1\nflipside,3\n".to_vec(),
        ];
        for (place, byte) in changes {
            let part = &mut parts[which];
            let at = place.index(part.len());
            part[at] = byte;
        }
        let [program, db, dbx, sbat_level] = parts;
        let shim = Some(ShimLists { allowed: db.clone(), forbidden: dbx.clone(), sbat_level });
        judge_by(&Firmware { mode: Mode::On, db, dbx, shim }, &program);
    }

    #[test]
    fn any_list_is_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
        judge(BY_SIGNER, bytes.clone(), bytes);
    }
}
