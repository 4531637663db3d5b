// SPDX-License-Identifier: MIT OR Apache-2.0

//! Disks made from images, looked at with other people's tools: sgdisk (gdisk),
//! fsck.fat (dosfstools), mdir and mtype (mtools).

use std::path::{Path, PathBuf};
use std::process::Command;

use flipside_core::settings::SlotLabels;
use flipside_image::code::Coded as _;
use flipside_image::{Digest, PartitionIdentity};
use flipside_publish::disk::{self, Built, Mapping, Partition, Plan, SectorSize};

use crate::support::images::ImageBuilder;

const MIB: u64 = 1 << 20;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// A program that is small, for the machine of the fixtures, and does nothing.
fn loader(directory: &Path) -> PathBuf {
    let path = directory.join("loader.efi");
    let mut program = vec![0; 8192];
    program[..2].copy_from_slice(b"MZ");
    program[0x3c] = 0x40;
    program[0x40..0x46].copy_from_slice(b"PE\0\0\x64\x86");
    std::fs::write(&path, program).unwrap();
    path
}

/// A small disk of a fixture.
fn plan(directory: &Path, image: &str) -> Plan {
    Plan {
        image: fixture(image),
        loader: Some(loader(directory)),
        esp_size: Some(4 * MIB),
        slot_size: Some(8 * MIB),
        data_size: Some(2 * MIB),
        ..Plan::default()
    }
}

fn hash_of(payload: &str) -> String {
    std::fs::read_to_string(fixture("payloads.sha256"))
        .unwrap()
        .lines()
        .find_map(|line| line.strip_suffix(payload)?.split(' ').next().map(str::to_owned))
        .unwrap()
}

fn hash(disk: &Path, partition: &Partition, size: u64) -> String {
    let bytes = std::fs::read(disk).unwrap();
    let start = partition.start as usize;
    Digest::of(&bytes[start..start + size as usize]).hex()
}

fn partition<'a>(built: &'a Built, label: &str) -> &'a Partition {
    built.partitions.iter().find(|p| p.label == label).unwrap()
}

/// Runs a tool that must be content, and returns what it says.
fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap_or_else(|error| {
        panic!("{program}: {error} (`make test` installs gdisk, dosfstools and mtools)")
    });
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{program} {arguments:?}: {text} {output:?}");
    text
}

/// Cuts the ESP out, for fsck.fat knows no offsets.
fn check_esp(disk: &Path, esp: &Partition) {
    let bytes = std::fs::read(disk).unwrap();
    let cut = disk.with_extension("esp");
    let start = esp.start as usize;
    std::fs::write(&cut, &bytes[start..start + esp.size as usize]).unwrap();
    run("fsck.fat", &["-n", cut.to_str().unwrap()]);
}

fn read_esp(disk: &Path, esp: &Partition, path: &str) -> Vec<u8> {
    let image = format!("{}@@{}", disk.display(), esp.start);
    let output = Command::new("mtype").args(["-i", &image, &format!("::{path}")]).output().unwrap();
    assert!(output.status.success(), "{path}: {output:?}");
    output.stdout
}

#[test]
fn a_disk_has_what_other_tools_expect() {
    for (image, sector_size) in [
        ("reference-image-zstd", SectorSize::Bytes512),
        ("reference-image-uncompressed", SectorSize::Bytes512),
        ("reference-image-zstd", SectorSize::Bytes4096),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let disk = directory.path().join("disk.img");
        let plan =
            Plan { sector_size: Some(sector_size), verify: true, ..plan(directory.path(), image) };
        let built = disk::build(&plan, &disk).unwrap();

        assert_eq!(std::fs::metadata(&disk).unwrap().len(), built.size);
        let labels: Vec<_> = built.partitions.iter().map(|p| p.label.as_str()).collect();
        assert_eq!(labels, ["esp", "system-a", "system-b", "data"]);
        let slot = partition(&built, "system-a");
        assert_eq!(hash(&disk, slot, 3_649_536), hash_of("system.img"));
        let empty = partition(&built, "system-b");
        assert_eq!(hash(&disk, empty, empty.size), Digest::of(&vec![0; empty.size as usize]).hex());
        assert_eq!(built.skipped, ["exact", "empty"]);
        assert_eq!(built.warnings.len(), 1, "the fixture's kernel.efi is no program");

        let esp = &built.partitions[0];
        check_esp(&disk, esp);
        assert_eq!(
            Digest::of(&read_esp(&disk, esp, "EFI/flipside/boot-a.efi")).hex(),
            hash_of("kernel.efi")
        );
        assert_eq!(read_esp(&disk, esp, "loader/loader.conf"), b"timeout 0\n");
        assert_eq!(read_esp(&disk, esp, "EFI/BOOT/BOOTX64.EFI").len(), 8192);
        let entry = read_esp(&disk, esp, "loader/entries/flipside-a.conf");
        assert!(entry.starts_with(b"title      Reference OS A\nsort-key   flipside-0\n"));
        let record: flipside_core::host::Record =
            serde_json::from_slice(&read_esp(&disk, esp, "EFI/flipside/slot-a.json")).unwrap();
        assert_eq!(record.digest, Some(built.digest));
        assert_eq!(record.version, "7.2.0");
        assert!(record.config_digest.is_some() && record.repository.is_none());

        // sgdisk takes a file's sectors for 512 bytes, always.
        if sector_size == SectorSize::Bytes512 {
            let said = run("sgdisk", &["-v", disk.to_str().unwrap()]);
            assert!(said.contains("No problems found"), "{said}");
            let said = run("sgdisk", &["-i", "2", disk.to_str().unwrap()]);
            assert!(said.contains("Linux filesystem") && said.contains("'system-a'"), "{said}");
            assert!(said.contains("Attribute flags: 8000000000000000"), "{said}");
        }
    }
}

#[test]
fn the_files_of_the_esp_are_the_ones_on_the_disk() {
    let directory = tempfile::tempdir().unwrap();
    let disk = directory.path().join("disk.img");
    let plan = plan(directory.path(), "reference-image-zstd");
    let built = disk::build(&plan, &disk).unwrap();
    let files = disk::esp_files(&plan).unwrap();
    assert_eq!(files.len(), 5);
    for file in files {
        assert_eq!(read_esp(&disk, &built.partitions[0], &file.path), file.contents);
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let build = |name: &str, seed| {
        let disk = directory.path().join(name);
        let plan = Plan { seed, ..plan(directory.path(), "reference-image-zstd") };
        disk::build(&plan, &disk).unwrap();
        std::fs::read(&disk).unwrap()
    };
    let first = build("1", Some(7));
    assert!(first == build("2", Some(7)));
    assert!(first != build("3", Some(8)));
    assert!(build("4", None) != build("5", None));
}

#[test]
fn further_payloads_get_a_partition_in_each_slot() {
    let directory = tempfile::tempdir().unwrap();
    let disk = directory.path().join("disk.img");
    let labels = SlotLabels { a: "exact-a".into(), b: "exact-b".into() };
    let mapping = Mapping { payload: "exact".into(), labels, size: None };
    let mut plan = plan(directory.path(), "reference-image-zstd");
    plan.payloads.push(mapping);
    let built = disk::build(&plan, &disk).unwrap();
    let place = partition(&built, "exact-a");
    assert_eq!((place.size, partition(&built, "exact-b").size), (3 * MIB, 3 * MIB));
    assert_eq!(hash(&disk, place, 2 * MIB), hash_of("exact.bin"));
    assert_eq!(built.skipped, ["empty"]);
}

#[test]
fn an_image_names_the_partition_that_receives_it() {
    let directory = tempfile::tempdir().unwrap();
    let disk = directory.path().join("disk.img");
    let identity = PartitionIdentity {
        uuid: Some(uuid::Uuid::from_u128(0x42)),
        type_uuid: Some(uuid::Uuid::from_u128(0x43)),
        flags: Some(1 << 60),
    };
    let image = ImageBuilder::new("3.1").partition("system", identity);
    let image = image.tag("stable").write(directory.path().join("image"));
    let tag = Some("stable".to_owned());
    let plan = Plan { image: image.layout.clone(), tag, ..plan(directory.path(), "-") };
    let built = disk::build(&plan, &disk).unwrap();
    let slot = partition(&built, "system-a");
    assert_eq!((Some(slot.uuid), Some(slot.type_uuid)), (identity.uuid, identity.type_uuid));
    assert_eq!(slot.flags, 1 << 60);
    // Slot B holds nothing yet that could name it.
    let other = partition(&built, "system-b");
    assert_ne!(Some(other.uuid), identity.uuid);
    assert_eq!(other.flags, 1 << 63);
    assert_eq!((built.digest, built.warnings.len()), (image.digest, 0));
}

#[test]
fn what_cannot_be_built_is_refused_and_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mapping = |payload: &str, a: &str, b: &str| Mapping {
        payload: payload.into(),
        labels: SlotLabels { a: a.into(), b: b.into() },
        size: None,
    };
    let good = || plan(directory.path(), "reference-image-zstd");
    let with = |payloads| Plan { payloads, ..good() };
    let cases = [
        ("slot-too-small", Plan { slot_size: Some(3 * MIB), ..good() }),
        ("esp-too-small", Plan { esp_size: Some(0), ..good() }),
        // One boot file fits, a second does not: no update could ever be installed.
        ("esp-too-small", Plan { esp_size: Some(MIB), slot_size: None, ..wide_loader(&good()) }),
        ("disk-too-small", Plan { data_size: Some(u64::MAX), ..good() }),
        ("disk-too-small", Plan { slot_size: Some(1 << 62), ..good() }),
        ("loader-missing", Plan { loader: Some("/nonexistent".into()), ..good() }),
        ("loader-invalid", Plan { loader: Some(fixture("payloads.sha256")), ..good() }),
        ("payload-missing", with(vec![mapping("verity", "v-a", "v-b")])),
        ("argument-invalid", with(vec![mapping("exact", "system-a", "x")])),
        ("argument-invalid", with(vec![mapping("exact", "x", "x")])),
        ("argument-invalid", with(vec![mapping("exact", "data", "x")])),
        ("tag-not-found", Plan { tag: Some("stable".into()), ..good() }),
        ("layout-invalid", Plan { image: directory.path().to_owned(), ..good() }),
        (
            "wrong-architecture",
            Plan { architecture: Some(flipside_image::Architecture::Aarch64), ..good() },
        ),
    ];
    for (code, plan) in cases {
        let out = directory.path().join("out");
        std::fs::create_dir(&out).unwrap();
        let refused = disk::build(&plan, &out.join("disk.img")).unwrap_err();
        assert_eq!(refused.code().name(), code, "{refused}");
        assert_eq!(std::fs::read_dir(&out).unwrap().count(), 0, "{code}");
        std::fs::remove_dir(&out).unwrap();
    }
}

/// With a loader that leaves room for but one boot file in 1 MiB.
fn wide_loader(plan: &Plan) -> Plan {
    let path = plan.loader.clone().unwrap();
    let mut program = std::fs::read(&path).unwrap();
    program.resize(300_000, 0);
    let wide = path.with_extension("wide");
    std::fs::write(&wide, program).unwrap();
    Plan { loader: Some(wide), ..plan.clone() }
}
