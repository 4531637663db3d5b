// SPDX-License-Identifier: MIT OR Apache-2.0

//! Disks built onto block devices, and on file systems that share blocks. Root only.

use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use flipside_image::code::Coded as _;
use flipside_image::{Architecture, Digest};
use flipside_publish::disk::{self, Built, Partition, Plan, SectorSize};

use crate::support::images::{ImageBuilder, OsImage, content, kernel};
use crate::support::loop_device::{LoopDevice, Mounted, output};

const MIB: u64 = 1 << 20;
/// The size of the devices.
const DEVICE: u64 = 32 * MIB;

fn loader(directory: &Path) -> PathBuf {
    let path = directory.join("loader.efi");
    std::fs::write(&path, kernel(Architecture::X86_64, 9, 8192)).unwrap();
    path
}

fn plan(directory: &Path, image: &OsImage) -> Plan {
    Plan {
        image: image.layout.clone(),
        loader: Some(loader(directory)),
        esp_size: Some(4 * MIB),
        slot_size: Some(8 * MIB),
        ..Plan::default()
    }
}

fn partition<'a>(built: &'a Built, label: &str) -> &'a Partition {
    built.partitions.iter().find(|p| p.label == label).unwrap()
}

fn read(disk: &Path, offset: u64, length: u64) -> Vec<u8> {
    let mut bytes = vec![0; length as usize];
    std::fs::File::open(disk).unwrap().read_exact_at(&mut bytes, offset).unwrap();
    bytes
}

/// A device, or a line that says why the test was skipped.
fn device(directory: &Path, size: u64, sector_size: SectorSize) -> Option<LoopDevice> {
    LoopDevice::new(&directory.join("device"), size, sector_size.bytes())
        .map_err(|reason| println!("skipped: {reason}"))
        .ok()
}

#[test]
fn a_device_is_filled_to_its_end() {
    for sector_size in [SectorSize::Bytes512, SectorSize::Bytes4096] {
        let directory = tempfile::tempdir().unwrap();
        let Some(device) = device(directory.path(), DEVICE, sector_size) else { return };
        let image = ImageBuilder::new("1.0").write(directory.path().join("image"));
        let plan = Plan { verify: true, ..plan(directory.path(), &image) };
        let built = disk::build(&plan, device.path()).unwrap();

        // sgdisk asks a device for its sectors: this checks those of 4096 bytes as well.
        let name = device.path().to_str().unwrap();
        let said = output("sgdisk", &["-v", name]).unwrap();
        assert!(said.contains("No problems found"), "{said}");
        assert_eq!((built.size, built.sector_size), (DEVICE, sector_size.bytes()));
        let data = partition(&built, "data");
        assert_eq!(data.start + data.size, DEVICE - MIB);
        let slot = partition(&built, "system-a");
        assert_eq!(read(device.path(), slot.start, 300_000), image.payload("system"));
        assert!(!built.payloads[1].shared);

        let esp = &built.partitions[0];
        let cut = directory.path().join("esp");
        std::fs::write(&cut, read(device.path(), esp.start, esp.size)).unwrap();
        output("fsck.fat", &["-n", cut.to_str().unwrap()]).unwrap();
    }
}

#[test]
fn a_device_that_somebody_may_miss_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let Some(device) = device(directory.path(), DEVICE, SectorSize::Bytes512) else { return };
    let image = ImageBuilder::new("1.0").write(directory.path().join("image"));
    let good = plan(directory.path(), &image);
    let refused = |plan: &Plan, code: &str| {
        let before = Digest::of(&read(device.path(), 0, DEVICE));
        let error = disk::build(plan, device.path()).unwrap_err();
        assert_eq!(error.code().name(), code, "{error}");
        assert_eq!(Digest::of(&read(device.path(), 0, DEVICE)), before, "{code}");
    };
    refused(&Plan { sector_size: Some(SectorSize::Bytes4096), ..good.clone() }, "argument-invalid");
    refused(&Plan { slot_size: Some(30 * MIB), ..good.clone() }, "disk-too-small");
    // Nothing may be touched before all of the image was looked at.
    refused(&Plan { esp_size: Some(0), ..good.clone() }, "esp-too-small");

    let name = device.path().to_str().unwrap();
    output("mkfs.ext4", &["-q", name]).unwrap();
    refused(&good, "output-exists");
    let mount_point = directory.path().join("mounted");
    std::fs::create_dir(&mount_point).unwrap();
    output("mount", &["-t", "ext4", name, mount_point.to_str().unwrap()]).unwrap();
    let in_use = disk::build(&Plan { force: true, ..good.clone() }, device.path());
    output("umount", &[mount_point.to_str().unwrap()]).unwrap();
    assert_eq!(in_use.unwrap_err().code().name(), "target-in-use");

    // A backup table alone is a partition table, wherever its sectors put it.
    for at in [DEVICE - 512, DEVICE - 4096] {
        let file = std::fs::OpenOptions::new().write(true).open(device.path()).unwrap();
        file.write_all_at(&vec![0; DEVICE as usize], 0).unwrap();
        file.write_all_at(b"EFI PART", at).unwrap();
        refused(&good, "output-exists");
    }
}

#[test]
fn nothing_of_the_old_disk_shows_through() {
    let directory = tempfile::tempdir().unwrap();
    let Some(device) = device(directory.path(), DEVICE, SectorSize::Bytes512) else { return };
    let file = std::fs::OpenOptions::new().write(true).open(device.path()).unwrap();
    file.write_all_at(&content(3, DEVICE as usize), 0).unwrap();
    let image = ImageBuilder::new("1.0").write(directory.path().join("image"));
    let plan = Plan { force: true, verify: true, seed: Some(1), ..plan(directory.path(), &image) };
    let built = disk::build(&plan, device.path()).unwrap();

    output("sgdisk", &["-v", device.path().to_str().unwrap()]).unwrap();
    for label in ["system-b", "data"] {
        let empty = partition(&built, label);
        assert_eq!(read(device.path(), empty.start, MIB), vec![0; MIB as usize], "{label}");
        let end = empty.start + empty.size - MIB;
        assert_eq!(read(device.path(), end, MIB), vec![0; MIB as usize], "{label}");
    }
    let esp = &built.partitions[0];
    let cut = directory.path().join("esp");
    std::fs::write(&cut, read(device.path(), esp.start, esp.size)).unwrap();
    output("fsck.fat", &["-n", cut.to_str().unwrap()]).unwrap();
}

#[test]
fn an_uncompressed_payload_is_shared_where_the_file_system_can() {
    let directory = tempfile::tempdir().unwrap();
    let mounted = match Mounted::new("xfs", directory.path(), 2 << 30) {
        Ok(mounted) => mounted,
        Err(reason) => return println!("skipped: {reason}"),
    };
    // Not a multiple of the file system's blocks: the tail is copied.
    let size = 64 * MIB as usize + 1234;
    let image = ImageBuilder::new("1.0")
        .payload("system", content(5, size))
        .chunk_size(MIB)
        .uncompressed()
        .write(mounted.path().join("image"));
    let free = mounted.free();
    let disk = mounted.path().join("disk.img");
    let plan = Plan { slot_size: None, ..plan(directory.path(), &image) };
    let started = Instant::now();
    let built = disk::build(&plan, &disk).unwrap();
    let took = started.elapsed();
    let used = free.saturating_sub(mounted.free());
    println!("XFS: {size} bytes in {took:?}, {used} bytes more in use");

    let system = &built.payloads[1];
    assert!(system.shared && !system.verified);
    assert!(used < 8 * MIB, "{used}");
    let slot = partition(&built, "system-a");
    let stored = read(&disk, slot.start, slot.size);
    assert!(stored[..size] == *image.payload("system"));
    assert!(stored[size..].iter().all(|byte| *byte == 0));

    // Sharing does not tie them: what is written to the disk stays there.
    let file = std::fs::OpenOptions::new().write(true).open(&disk).unwrap();
    file.write_all_at(b"changed", slot.start).unwrap();
    let layer = std::fs::read(image.layer_file("system")).unwrap();
    assert!(layer == image.payload("system"));

    // What is shared is not hashed; --verify does, and finds what rotted in the image.
    let mut rotten = layer;
    rotten[30 * MIB as usize] ^= 1;
    std::fs::write(image.layer_file("system"), rotten).unwrap();
    assert!(disk::build(&Plan { force: true, ..plan.clone() }, &disk).is_ok());
    let verified = Plan { force: true, verify: true, ..plan };
    let error = disk::build(&verified, &disk).unwrap_err();
    assert_eq!(error.code().name(), "read-back-mismatch", "{error}");
}
