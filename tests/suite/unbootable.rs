// SPDX-License-Identifier: MIT OR Apache-2.0

//! Images that could not boot: refused while the slot to go back to is whole, and not built.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flipside::run;
use flipside_core::blob_source::{BlobSource, FetchError, Sink};
use flipside_core::host::durable::{Durable, Step};
use flipside_core::install::{self, Job};
use flipside_core::{Host, Lock};
use flipside_image::code::Coded as _;
use flipside_image::{Architecture, Descriptor, PartitionIdentity, pe};
use flipside_source::LayoutSource;
use nix::errno::Errno;
use uuid::Uuid;

use crate::support::host::{TestHost, update_and_finish};
use crate::support::images::{ImageBuilder, OsImage, kernel};
use crate::support::steps::Steps;

const ESP: &str = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b";

/// Runs 2 from slot B; slot A has 1, with its proof.
fn host_with_fallback() -> TestHost {
    let host = TestHost::running(&ImageBuilder::new("1"));
    host.publish(&ImageBuilder::new("2"));
    assert_eq!(host.arm(), "B 2");
    assert_eq!(host.boot(), "B 2 promoted");
    host
}

/// Every file that outlasts a reboot, with its bytes: the disk, the ESP, variables, state.
fn lasting(host: &TestHost) -> BTreeMap<PathBuf, Vec<u8>> {
    let (mut files, mut left) = (BTreeMap::new(), vec![host.path()]);
    while let Some(path) = left.pop() {
        if path.is_dir() {
            left.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if !path.starts_with(host.file("run")) {
            files.insert(path.clone(), std::fs::read(&path).unwrap());
        }
    }
    files
}

/// A boot file is spooled, or streamed through the checks because the state directory does not take
/// it: it has no such files, it is full, or becomes full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Spooled,
    NoSuchFiles,
    Full,
    BecomesFull,
}

const WAYS: [Way; 4] = [Way::Spooled, Way::NoSuchFiles, Way::Full, Way::BecomesFull];

impl Way {
    fn steps(self) -> Arc<Steps> {
        Steps::with(move |step| match (self, step) {
            (Self::NoSuchFiles, Step::CreateUnnamed(..)) => Some(Errno::EOPNOTSUPP.into()),
            (Self::Full, Step::CreateUnnamed(..)) => Some(Errno::ENOSPC.into()),
            (Self::BecomesFull, Step::WriteUnnamed(..)) => Some(Errno::ENOSPC.into()),
            _ => None,
        })
    }
}

/// `update` is refused with this code, by either way, and leaves the host as it was.
fn refused(host: &TestHost, name: &str, code: &str, ways: &[Way]) -> String {
    let mut said = String::new();
    for way in ways {
        let before = lasting(host);
        let error = update_and_finish(&host.run_with(way.steps().durable(), |_| {})).unwrap_err();
        said = error.to_string();
        assert_eq!(error.code().name(), code, "{name}, {way:?}: {said}");
        let after = lasting(host);
        let names = before.keys().chain(after.keys());
        let changed: Vec<_> = names.filter(|name| before.get(*name) != after.get(*name)).collect();
        assert!(changed.is_empty(), "{name}, {way:?}: {changed:?}");
    }
    said
}

/// Programs that firmware would not start, and what is said of them.
fn bad_kernels() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let good = kernel(Architecture::X86_64, 3, 20_000);
    let with = |at: usize, bytes: &[u8]| {
        let mut kernel = good.clone();
        kernel[at..at + bytes.len()].copy_from_slice(bytes);
        kernel
    };
    vec![
        ("no program", b"no program".repeat(2000), "not an EFI program"),
        ("a gzip", with(0, b"\x1f\x8b\x08\0"), "compressed with gzip"),
        ("zeroes", vec![0; 20_000], "not an EFI program"),
        ("a program for another machine", with(0x84, b"\x64\xaa"), "for aarch64, not for x86_64"),
        ("a program cut in the middle", good[..9000].to_vec(), "section .text ends at byte 20000"),
        ("a program without its last byte", good[..19_999].to_vec(), "cut short"),
        ("its first sector", good[..512].to_vec(), "cut short"),
        ("its first bytes", good[..100].to_vec(), "not an EFI program"),
        ("one byte", b"M".to_vec(), "not an EFI program"),
        ("a 32-bit program", with(0x98, b"\x0b\x01"), "not a 64-bit EFI program"),
        ("a driver", with(0x98 + 68, b"\x0b"), "subsystem is 11"),
        ("a program for a console", with(0x98 + 68, b"\x03"), "subsystem is 3"),
        ("a program without sections", with(0x86, &[0, 0]), "no sections"),
        ("a section far behind the end", with(0x11c, &[0, 0, 0, 0xf0]), "cut short"),
        ("a header far away", with(0x3c, &[0, 0, 0, 0xf0]), "not an EFI program"),
    ]
}

#[test]
fn a_boot_file_that_cannot_boot_is_refused_while_the_old_slot_is_whole() {
    let host = host_with_fallback();
    for (number, (name, kernel, expected)) in bad_kernels().into_iter().enumerate() {
        let mut image = ImageBuilder::new("3").chunk_size(4096).payload("kernel.efi", kernel);
        // Frames and plain bytes come by ranges of their own.
        if number % 2 == 1 {
            image = image.uncompressed();
        }
        host.publish(&image.unbootable());
        let said = refused(&host, name, "boot-file-invalid", &WAYS);
        assert!(said.contains(expected) && said.contains("kernel.efi"), "{name}: {said}");
    }
    run::rollback(&host.run(), false).unwrap();
    assert_eq!(host.boot(), "A 1 promoted");
}

#[test]
fn a_slot_that_waits_for_its_trial_is_spared_by_an_image_that_cannot_boot() {
    let host = TestHost::running(&ImageBuilder::new("1"));
    host.publish(&ImageBuilder::new("2"));
    assert_eq!(host.arm(), "B 2");
    host.publish(&ImageBuilder::new("3").payload("kernel.efi", *b"no program").unbootable());
    refused(&host, "superseding", "boot-file-invalid", &WAYS);
    assert_eq!(host.boot(), "B 2 promoted");
}

fn identity(uuid: Option<Uuid>, type_uuid: Option<&str>) -> PartitionIdentity {
    let type_uuid = type_uuid.map(|text| text.parse().unwrap());
    PartitionIdentity { uuid, type_uuid, flags: None }
}

fn uuid_of(disk: &Path, label: &str) -> Uuid {
    let disk = gpt::GptConfig::new().open(disk).unwrap();
    let found = disk.partitions().values().find(|partition| partition.name == label).unwrap();
    found.part_guid.to_string().parse().unwrap()
}

#[test]
fn a_partition_identity_that_no_slot_can_have_is_refused_while_the_old_slot_is_whole() {
    let host = host_with_fallback();
    let disk = host.file("disk.img");
    let uuid = Uuid::from_u128;
    let other_disk = host.file("stick.img");
    for (name, identity, code, expected) in [
        ("a nil UUID", identity(Some(Uuid::nil()), None), "partition-identity-invalid", "nil UUID"),
        (
            "a nil type",
            identity(None, Some("00000000-0000-0000-0000-000000000000")),
            "partition-identity-invalid",
            "nil type",
        ),
        ("an ESP", identity(None, Some(ESP)), "partition-identity-invalid", "EFI system partition"),
        (
            "the other slot's UUID",
            identity(Some(uuid_of(&disk, "system-b")), None),
            "partition-uuid-duplicate",
            "partition system-b has",
        ),
        (
            "another partition's UUID",
            identity(Some(uuid_of(&disk, "esp")), None),
            "partition-uuid-duplicate",
            "partition esp has",
        ),
        (
            "a UUID on another disk",
            identity(Some(uuid(9)), None),
            "partition-uuid-duplicate",
            "stick.img has",
        ),
    ] {
        if name == "a UUID on another disk" {
            std::fs::write(&other_disk, vec![0; 4 << 20]).unwrap();
            sgdisk(&other_disk, &["--new=1:2048:+1M", &format!("--partition-guid=1:{}", uuid(9))]);
        }
        host.publish(&ImageBuilder::new("3").partition("system", identity).unbootable());
        let said = refused(&host, name, code, &[Way::Spooled]);
        assert!(said.contains(expected), "{name}: {said}");
    }
    std::fs::remove_file(other_disk).unwrap();
    host.publish(
        &ImageBuilder::new("3")
            .payload("notes", *b"for people")
            .partition("system", identity(Some(uuid(9)), None))
            .partition("notes", identity(Some(uuid(9)), None))
            .unbootable(),
    );
    let said = refused(&host, "two payloads", "partition-uuid-duplicate", &[Way::Spooled]);
    assert!(said.contains("payloads system and notes"), "{said}");
    // One that it can have.
    host.publish(&ImageBuilder::new("3").partition("system", identity(Some(uuid(9)), None)));
    assert_eq!(host.arm(), "A 3");
    assert_eq!(uuid_of(&disk, "system-a"), uuid(9));
    assert_eq!(host.boot(), "A 3 promoted");
}

fn sgdisk(disk: &Path, arguments: &[&str]) {
    let output = Command::new("/usr/sbin/sgdisk").args(arguments).arg(disk).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// The UUID is on the disk twice already, so it names neither partition.
#[test]
fn a_uuid_that_both_slots_have_is_refused() {
    let host = host_with_fallback();
    let shared = Uuid::from_u128(9);
    for number in [2, 3] {
        sgdisk(&host.file("disk.img"), &[&format!("--partition-guid={number}:{shared}")]);
    }
    host.publish(&ImageBuilder::new("3").partition("system", identity(Some(shared), None)));
    let said = refused(&host, "two slots", "partition-uuid-duplicate", &[Way::Spooled]);
    assert!(said.contains("partition system-b has"), "{said}");
    host.publish(&ImageBuilder::new("4").partition("system", identity(Some(Uuid::max()), None)));
    assert_eq!(host.arm(), "A 4");
    assert_eq!(host.boot(), "A 4 promoted");
}

#[test]
fn an_empty_payload_is_refused_while_the_old_slot_is_whole() {
    let host = host_with_fallback();
    for (name, bytes) in [("system", vec![]), ("system", vec![0; 300_000]), ("kernel.efi", vec![])]
    {
        host.publish(&ImageBuilder::new("3").payload(name, bytes).unbootable());
        let said = refused(&host, name, "payload-empty", &[Way::Spooled]);
        assert!(said.contains(&format!("the payload {name}")), "{said}");
    }
}

/// A source that counts what is fetched of one blob.
struct Counting<'a> {
    source: LayoutSource,
    blob: &'a Descriptor,
    fetched: AtomicU64,
}

impl BlobSource for Counting<'_> {
    fn stream(
        &self,
        blob: &Descriptor,
        range: Range<u64>,
        sink: &mut Sink<'_>,
    ) -> Result<(), FetchError> {
        if blob.digest == self.blob.digest {
            self.fetched.fetch_add(range.end - range.start, Ordering::SeqCst);
        }
        self.source.stream(blob, range, sink)
    }
}

/// Installs `image`; how it ended, and how much of its boot file was fetched.
fn install(host: &TestHost, image: &OsImage, durable: Durable) -> (Result<(), &'static str>, u64) {
    let access = host.run_with(durable, |_| {}).access();
    let lock = Lock::take(&access.root).unwrap();
    let opened = Host::open(&access).unwrap().unwrap();
    let host_state = opened.host_state().unwrap();
    let source = LayoutSource::open(&image.layout, Some("stable")).unwrap();
    let blob = image.image.layer("kernel.efi").unwrap().descriptor;
    let source = Counting { source, blob, fetched: AtomicU64::new(0) };
    let job = Job {
        lock: &lock,
        access: &access,
        host: &opened,
        host_state: &host_state,
        source: &source,
        repository: String::new(),
        image: &image.image,
        old: None,
        tag: image.digest,
        signed_by: None,
        towards: None,
        still_stands: &|| Ok(()),
    };
    let installed = install::check(&job).and_then(install::Checked::run);
    (installed.map_err(|error| error.code().name()), source.fetched.load(Ordering::SeqCst))
}

#[test]
fn p9_a_boot_file_is_fetched_once_where_it_can_be_spooled_and_twice_elsewhere() {
    for (way, times) in
        [(Way::Spooled, 1), (Way::NoSuchFiles, 2), (Way::Full, 2), (Way::BecomesFull, 3)]
    {
        let host = TestHost::running(&ImageBuilder::new("1"));
        let image = host.publish(&ImageBuilder::new("2").chunk_size(4096).uncompressed());
        let steps = way.steps();
        let (installed, fetched) = install(&host, &image, steps.durable());
        assert_eq!((installed, fetched), (Ok(()), times * 20_000), "{way:?}");
        let spooled = steps.take().iter().filter(|line| line.starts_with("spool")).count();
        assert!(spooled > 0, "{way:?}");
        assert_eq!(host.boot(), "B 2 promoted");
    }
}

#[test]
fn p9_what_stands_of_a_boot_file_is_not_fetched_again_by_the_next_run() {
    // Cut off when it was complete, and when all but its first sector stood.
    let is_complete = |step: &Step<'_>| matches!(step, Step::Phase("list"));
    let is_first_sector = |step: &Step<'_>| matches!(step, Step::Write(path, 0, bytes) if path.ends_with("boot-b.efi") && bytes[0] != 0);
    type Cut = fn(&Step<'_>) -> bool;
    let cases: [(Cut, u64, u64); 2] = [(is_complete, 0, 0), (is_first_sector, 4096, 4096)];
    for (is_cut, spooled, streamed) in cases {
        for (way, expected) in [(Way::Spooled, spooled), (Way::NoSuchFiles, 2 * streamed)] {
            let host = TestHost::running(&ImageBuilder::new("1"));
            let image = host.publish(&ImageBuilder::new("2").chunk_size(4096).uncompressed());
            let cut = Steps::with(move |step| is_cut(step).then(|| Errno::EIO.into()));
            let (cut, fetched) = install(&host, &image, cut.durable());
            assert_eq!((cut.is_err(), fetched), (true, 20_000));
            let (installed, fetched) = install(&host, &image, way.steps().durable());
            // What was complete is removed before it is written, but for what was spooled; zeroes
            // stand in any new file.
            let is_removed = way != Way::Spooled && spooled == 0;
            let chunks = image.payload("kernel.efi").chunks(4096);
            let telling = chunks.filter(|chunk| chunk.iter().any(|byte| *byte != 0));
            let all: u64 = telling.map(|chunk| chunk.len() as u64).sum();
            let expected = if is_removed { all } else { expected };
            assert_eq!((installed, fetched), (Ok(()), expected), "{way:?}");
            assert_eq!(host.boot(), "B 2 promoted");
        }
    }
}

#[test]
fn p3_a_spooled_boot_file_that_rots_is_fetched_again() {
    let host = TestHost::running(&ImageBuilder::new("1"));
    let image = host.publish(&ImageBuilder::new("2").chunk_size(4096).uncompressed());
    let state = host.file("var/lib/flipside");
    let steps = Steps::with(move |step| {
        if matches!(step, Step::Phase("boot-file")) {
            let spool = std::fs::read_dir("/proc/self/fd").unwrap().find_map(|file| {
                let file = file.unwrap().path();
                let path = std::fs::read_link(&file).ok()?;
                (path.parent()? == state && path.to_str()?.contains("/#")).then_some(file)
            });
            let spool = std::fs::File::options().write(true).open(spool.unwrap()).unwrap();
            std::os::unix::fs::FileExt::write_all_at(&spool, b"rotten", 10_000).unwrap();
        }
        None
    });
    let (installed, fetched) = install(&host, &image, steps.durable());
    assert_eq!(installed, Ok(()));
    assert!(fetched > 20_000);
    assert_eq!(host.boot(), "B 2 promoted");
}

fn image_build(directory: &Path, more: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_flipside"))
        .current_dir(directory)
        .args(["image", "build", "--os-release", "os-release", "-o", "layout", "--tag", "stable"])
        .args(more)
        .output()
        .unwrap();
    (output.status.success(), String::from_utf8(output.stderr).unwrap())
}

const KERNEL: &str = "--payload=kernel.efi=kernel.efi";
const SYSTEM: &str = "--payload=system=system.img";

#[test]
fn an_image_that_no_host_could_boot_is_not_built() {
    let files = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(files.path().join(name), bytes).unwrap();
    write("os-release", b"ID=acme\nNAME=Acme\nVERSION_ID=3\nARCHITECTURE=x86-64\n");
    write("system.img", &[7; 5000]);
    write("empty.img", b"");
    write("zero.img", &[0; 5000]);
    write("kernel.efi", &kernel(Architecture::X86_64, 3, 20_000));
    write("head.efi", include_bytes!("../fixtures/uki-head-aarch64.bin"));
    let mut cases: Vec<(&str, Vec<&str>, &str)> = vec![
        ("no system", vec![KERNEL], "payload-missing"),
        ("no kernel", vec![SYSTEM], "payload-missing"),
        ("an empty system", vec![KERNEL, "--payload=system=empty.img"], "payload-empty"),
        ("a blank system", vec![KERNEL, "--payload=system=zero.img"], "payload-empty"),
        ("an empty kernel", vec![SYSTEM, "--payload=kernel.efi=empty.img"], "payload-empty"),
        ("a head of a UKI", vec![SYSTEM, "--payload=kernel.efi=head.efi"], "boot-file-invalid"),
    ];
    let esp = format!("--partition=system=type={ESP}");
    let nil = format!("--partition=system=uuid={}", Uuid::nil());
    let [one, other] =
        ["system", "notes"].map(|name| format!("--partition={name}=uuid={}", Uuid::from_u128(9)));
    cases.push(("an ESP", vec![KERNEL, SYSTEM, &esp], "partition-identity-invalid"));
    cases.push(("nil", vec![KERNEL, SYSTEM, &nil], "partition-identity-invalid"));
    let twins = [KERNEL, SYSTEM, "--payload=notes=os-release", &one, &other];
    cases.push(("twins", twins.to_vec(), "partition-uuid-duplicate"));
    for (name, arguments, code) in cases {
        let (is_built, said) = image_build(files.path(), &arguments);
        assert!(!is_built && said.contains(&format!("[{code}]")), "{name}: {said}");
        assert!(!files.path().join("layout/index.json").exists(), "{name}");
    }
    let payload = "--payload=kernel.efi=bad.efi";
    for (name, bytes, expected) in bad_kernels() {
        write("bad.efi", &bytes);
        let (is_built, said) = image_build(files.path(), &[SYSTEM, payload]);
        assert!(!is_built && said.contains("[boot-file-invalid]"), "{name}: {said}");
        assert!(said.contains(expected) && said.contains("bad.efi"), "{name}: {said}");
    }
    assert!(image_build(files.path(), &[payload, "--allow-unbootable"]).0);
    assert!(image_build(files.path(), &[SYSTEM, KERNEL]).0);
}

#[test]
fn programs_that_boot_real_machines_have_no_flaw() {
    let mut checked = 0;
    for file in std::fs::read_dir("/usr/lib/systemd/boot/efi").unwrap() {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let architecture = match name.split_once("x64.efi").or(name.split_once("aa64.efi")) {
            Some(_) if name.contains("aa64") => Architecture::Aarch64,
            Some(_) => Architecture::X86_64,
            None => continue,
        };
        let bytes = std::fs::read(&path).unwrap();
        let head = &bytes[..bytes.len().min(pe::HEADER_LIMIT)];
        assert_eq!(pe::check(head, bytes.len() as u64, architecture), Ok(()), "{name}");
        checked += 1;
    }
    assert!(checked > 0, "Debian: apt install systemd-boot-efi");
}
