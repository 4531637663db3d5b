// SPDX-License-Identifier: MIT OR Apache-2.0

//! flipside's files on the ESP: the order of their steps, and what is read after they were
//! cut off.

use flipside_core::host::durable::{Durable, Step};
use flipside_core::host::esp::{Esp, EspError, LoaderEntry, Proof, Stored};
use flipside_core::host::{Record, Slot};
use flipside_image::code::Coded as _;
use flipside_image::{Architecture, Digest};
use nix::errno::Errno;
use proptest::prelude::*;

use crate::support::esp::{Fixture, fixture, program};
use crate::support::scratch;
use crate::support::steps::Steps;

fn record(version: &str) -> Record {
    Record {
        digest: Some(Digest::of(version.as_bytes())),
        version: version.to_owned(),
        repository: Some("registry.example.com/acme/edge".to_owned()),
        ..Record::default()
    }
}

#[test]
fn small_files_are_durable_and_equal_ones_are_not_written_again() {
    let f = fixture();
    f.esp.write_record(Slot::A, &record("1")).unwrap();
    let created = |name: &str| {
        let length = f.bytes(name).len();
        [
            format!("create {name}"),
            format!("write {name} 0+{length}"),
            format!("sync {name}"),
            "sync flipside/".to_owned(),
        ]
    };
    assert_eq!(f.steps.take(), created("slot-a.json"));
    f.esp.write_record(Slot::A, &record("1")).unwrap();
    assert_eq!(f.steps.take(), ["sync slot-a.json", "sync flipside/"]);
    f.esp.write_record(Slot::A, &record("2")).unwrap();
    let steps = f.steps.take();
    assert_eq!(steps[..2], ["unlink slot-a.json", "sync flipside/"]);
    assert_eq!(steps[2..], created("slot-a.json"));
    assert_eq!(f.esp.record(Slot::A).unwrap(), Stored::Present(record("2")));
    assert_eq!(f.esp.record(Slot::B).unwrap(), Stored::Absent);

    f.esp.write_proof(Slot::A, &Proof::of(&record("2"))).unwrap();
    assert_eq!(f.steps.take(), created("slot-a.proven"));
    assert!(f.esp.proof(Slot::A).unwrap().present().unwrap().is_of(&record("2")));
    f.esp.remove_proof(Slot::A).unwrap();
    assert_eq!(f.steps.take(), ["unlink slot-a.proven", "sync flipside/"]);
    assert_eq!(f.esp.proof(Slot::A).unwrap(), Stored::Absent);
    f.esp.remove_record(Slot::A).unwrap();
    f.esp.remove_record(Slot::A).unwrap();
    assert!(f.esp.record(Slot::A).unwrap().is_absent());
}

#[test]
fn damaged_small_files_say_nothing_and_are_not_absent() {
    let f = fixture();
    let digest = Digest::of(b"1");
    for proof in [
        String::new(),
        "\0".repeat(72),
        "version:1.2".to_owned(),
        format!("{digest}"),
        format!("{}\n", &digest.to_string()[..40]),
        format!("{digest}\nversion:2\n"),
        "version:1\u{1b}[2J\n".to_owned(),
        "x".repeat(70_000),
    ] {
        f.write("slot-a.proven", proof.as_bytes());
        assert!(matches!(f.esp.proof(Slot::A).unwrap(), Stored::Unreadable(_)), "{proof:.80}");
    }
    for json in ["", "{", "null", "[]", "{\"version\":1}", "\0\0\0", "{\"version\":\"1\"}x"] {
        f.write("slot-a.json", json.as_bytes());
        assert!(matches!(f.esp.record(Slot::A).unwrap(), Stored::Unreadable(_)), "{json}");
    }
    // A new one takes the place of a damaged one.
    f.esp.write_record(Slot::A, &record("3")).unwrap();
    assert_eq!(f.esp.record(Slot::A).unwrap().present(), Some(record("3")));
}

#[test]
fn a_proof_proves_one_image_only() {
    let unknown = Record { digest: None, ..record("1") };
    for (proof, of, expected) in [
        (Proof::of(&record("1")), record("1"), true),
        (Proof::of(&record("1")), record("2"), false),
        (Proof::of(&record("1")), unknown.clone(), false),
        (Proof::of(&unknown), unknown.clone(), true),
        (Proof::of(&unknown), record("1"), false),
        (Proof::of(&unknown), Record { version: "2".to_owned(), ..unknown.clone() }, false),
    ] {
        assert_eq!(proof.is_of(&of), expected, "{proof:?}");
    }
    let f = fixture();
    let odd = Record { version: "1\n2".to_owned(), ..unknown };
    f.esp.write_proof(Slot::B, &Proof::of(&odd)).unwrap();
    assert!(f.esp.proof(Slot::B).unwrap().present().unwrap().is_of(&odd));
}

#[test]
fn a_loader_entry_is_less_than_a_sector_and_changes_by_one_byte_in_its_place() {
    let f = fixture();
    let path = f.directory.path().join("loader/entries/flipside-a.conf");
    f.esp.write_loader_entry(Slot::A, "Acme OS A", true).unwrap();
    assert_eq!(
        f.steps.take(),
        [
            "make loader",
            &format!("sync {}/", f.directory.path().file_name().unwrap().to_str().unwrap()),
            "make entries",
            "sync loader/",
            "create flipside-a.conf",
            "write flipside-a.conf 0+79",
            "sync flipside-a.conf",
            "sync entries/"
        ]
    );
    assert_eq!(
        std::fs::read_to_string(&path).unwrap(),
        "title      Acme OS A\nsort-key   flipside-0\nefi        /EFI/flipside/boot-a.efi\n"
    );
    f.esp.write_loader_entry(Slot::A, "Acme OS A", false).unwrap();
    assert_eq!(f.steps.take(), ["write flipside-a.conf 41+1", "sync flipside-a.conf"]);
    assert_eq!(
        std::fs::read_to_string(&path).unwrap(),
        "title      Acme OS A\nsort-key   flipside-1\nefi        /EFI/flipside/boot-a.efi\n"
    );
    f.esp.write_loader_entry(Slot::A, "Another title", false).unwrap();
    let expected = LoaderEntry { title: "Acme OS A".to_owned(), is_preferred: false };
    assert_eq!(f.esp.loader_entry(Slot::A).unwrap(), Stored::Present(expected));
    f.steps.take();
    f.esp.remove_loader_entry(Slot::A).unwrap();
    assert_eq!(f.steps.take(), ["unlink flipside-a.conf", "sync entries/"]);
    assert_eq!(f.esp.loader_entry(Slot::A).unwrap(), Stored::Absent);
    let title = "sort-key   flipside-\n".repeat(99);
    f.esp.write_loader_entry(Slot::A, &title, true).unwrap();
    assert!(std::fs::metadata(&path).unwrap().len() < 512);
    f.esp.write_loader_entry(Slot::A, &title, false).unwrap();
    assert!(!f.esp.loader_entry(Slot::A).unwrap().present().unwrap().is_preferred);
}

#[test]
fn a_damaged_loader_entry_is_made_anew() {
    for contents in [
        &b""[..],
        b"title      Acme OS A\nsort-key   flipside-0\nefi        /EFI/flipside/boot-b.efi\n",
        b"title      Acme OS A\nsort-key   flipside-0\nefi        /EFI/fl",
        b"\xff\xff",
    ] {
        let f = fixture();
        let path = f.directory.path().join("loader/entries/flipside-a.conf");
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, contents).unwrap();
        assert!(matches!(f.esp.loader_entry(Slot::A).unwrap(), Stored::Unreadable(_)));
        f.esp.write_loader_entry(Slot::A, "Acme OS A", false).unwrap();
        assert!(f.esp.loader_entry(Slot::A).unwrap().present().is_some());
    }
}

#[test]
fn p7_failed_digests_are_replaced_without_a_moment_without_them() {
    let f = fixture();
    assert_eq!(f.esp.read_failed().unwrap(), Stored::Absent);
    f.esp.write_failed(b"[1]").unwrap();
    assert_eq!(
        f.steps.take(),
        ["create failed.json", "write failed.json 0+3", "sync failed.json", "sync flipside/"],
        "the first document replaces nothing"
    );
    f.esp.write_failed(b"[1,2]").unwrap();
    assert_eq!(
        f.steps.take(),
        [
            "create failed.new",
            "write failed.new 0+5",
            "sync failed.new",
            "sync flipside/",
            "create failed.json",
            "write failed.json 0+5",
            "sync failed.json",
            "unlink failed.new",
            "sync flipside/"
        ],
        "the old document is overwritten in its place, once the new one is durable beside it"
    );
    f.esp.write_failed(b"[1,2]").unwrap();
    assert_eq!(f.steps.take(), ["sync failed.json", "sync flipside/"]);
    for not_json in [&b""[..], b"12", b"{", b"\0", b"[1]x"] {
        assert!(f.esp.write_failed(not_json).is_err());
    }
    assert_eq!(f.esp.read_failed().unwrap().present().unwrap(), b"[1,2]");
}

#[test]
fn p7_failed_digests_survive_every_cut_and_a_second_cut_in_the_repair() {
    let old = b"[\"old\"]".to_vec();
    let (new, newer) = (b"[\"new\", 1]".to_vec(), b"[\"newer\", 12]".to_vec());
    let cut = |f: &Fixture, after: usize, contents: &[u8]| {
        let left = std::sync::atomic::AtomicUsize::new(after);
        let steps = Steps::with(move |_| {
            let going = left.fetch_update(
                std::sync::atomic::Ordering::SeqCst,
                std::sync::atomic::Ordering::SeqCst,
                |n| n.checked_sub(1),
            );
            going.is_err().then(|| Errno::EIO.into())
        });
        let esp =
            flipside_core::testing::esp(f.directory.path(), Architecture::X86_64, &steps.durable());
        esp.write_failed(contents).is_ok()
    };
    for first in 0..14 {
        for second in 0..24 {
            let f = fixture();
            f.esp.write_failed(&old).unwrap();
            let mut allowed = vec![old.clone(), new.clone()];
            if cut(&f, first, &new) {
                allowed.remove(0);
            }
            let now = f.esp.read_failed().unwrap().present().unwrap();
            assert!(allowed.contains(&now), "{first}: {now:?}");
            allowed = vec![now, newer.clone()];
            if cut(&f, second, &newer) {
                allowed.remove(0);
            }
            let now = f.esp.read_failed().unwrap().present().unwrap();
            assert!(allowed.contains(&now), "{first} {second}: {now:?}");
        }
    }
}

#[test]
fn an_empty_mount_point_is_no_esp() {
    let directory = scratch::directory();
    let esp = flipside_core::testing::esp(directory.path(), Architecture::X86_64, &Durable::new());
    assert_eq!(esp.check().unwrap_err().code().name(), "esp-not-mounted");
    std::fs::create_dir(directory.path().join("EFI")).unwrap();
    esp.check().unwrap();
    assert!(!esp.has_removable_loader());
    let mode = |mode| {
        let permissions = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(directory.path(), permissions).unwrap();
    };
    mode(0o555);
    assert_eq!(esp.check().unwrap_err().code().name(), "esp-read-only");
    mode(0o755);
    assert!(esp.free_bytes().unwrap() > 0);
}

proptest! {
    #[test]
    fn any_bytes_in_small_files_are_read(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let f = fixture();
        for name in ["slot-a.json", "slot-a.proven", "failed.json", "failed.new", "boot-a.efi"] {
            f.write(name, &bytes);
        }
        f.esp.record(Slot::A).unwrap();
        f.esp.proof(Slot::A).unwrap();
        f.esp.read_failed().unwrap();
        f.esp.boot_file(Slot::A).unwrap();
        f.esp.loader_entry(Slot::A).unwrap();
    }

    #[test]
    fn records_and_proofs_come_back(version in "\\PC{0,30}") {
        let f = fixture();
        let ends = Record { end_of_life: Some(version.clone()), ..record(&version) };
        for record in [record(&version), Record { digest: None, ..record(&version) }, ends] {
            f.esp.write_record(Slot::B, &record).unwrap();
            f.esp.write_proof(Slot::B, &Proof::of(&record)).unwrap();
            prop_assert_eq!(f.esp.record(Slot::B).unwrap().present(), Some(record.clone()));
            prop_assert!(f.esp.proof(Slot::B).unwrap().present().unwrap().is_of(&record));
        }
    }
}

/// What writes a small file, and its name.
type Writer = (&'static str, fn(&Esp) -> Result<(), EspError>);

const WRITERS: &[Writer] = &[
    ("slot-b.json", |esp| esp.write_record(Slot::B, &record("2"))),
    ("slot-b.proven", |esp| esp.write_proof(Slot::B, &Proof::of(&record("2")))),
    ("failed.json", |esp| esp.write_failed(b"[1, 2]")),
    ("flipside-b.conf", |esp| esp.write_loader_entry(Slot::B, "Acme OS B", false)),
    ("boot-b.efi", |esp| esp.create_boot_file(Slot::B, 4096).map(|_| ())),
    ("loader.efi", |esp| esp.write_loader_copy(&program(4096))),
];

#[test]
fn nothing_empty_or_cut_short_is_left_where_a_write_fails() {
    for (name, write) in WRITERS {
        for n in 0.. {
            let count = std::sync::atomic::AtomicUsize::new(0);
            let steps = Steps::with(move |step| {
                let fills = matches!(step, Step::Write(..) | Step::SetLength(..) | Step::Sync(_));
                let at = fills.then(|| count.fetch_add(1, std::sync::atomic::Ordering::SeqCst))?;
                (at == n).then(|| Errno::ENOSPC.into())
            });
            let f = crate::support::esp::with(steps);
            f.write("failed.json", b"[1]");
            let done = write(&f.esp);
            if n > 0 && done.is_ok() {
                break;
            }
            // Beyond these, a program whose first sector is still missing, and is durable, stays.
            let is_program = name.ends_with(".efi");
            if let Err(error) = &done {
                assert_eq!(error.code().name(), "esp-full", "{name} {n}");
                let left = files_below(f.directory.path());
                let bad = |(_, bytes): &&(String, Vec<u8>)| bytes.is_empty() || bytes.len() == 2;
                assert_eq!(left.iter().find(bad), None, "{name} {n}");
                let is_left = left.iter().any(|(file, _)| file == name);
                assert!(!is_left || is_program || *name == "failed.json", "{name} {n}: {left:?}");
            }
            let failed = f.esp.read_failed().unwrap().present().unwrap();
            assert!(
                failed == b"[1]" || (*name == "failed.json" && failed == b"[1, 2]"),
                "{name} {n}"
            );
        }
    }
}

fn files_below(directory: &std::path::Path) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
        match entry.is_dir() {
            true => files.extend(files_below(&entry)),
            false => {
                let name = entry.file_name().unwrap().to_string_lossy().into_owned();
                files.push((name, std::fs::read(&entry).unwrap()));
            }
        }
    }
    files
}
