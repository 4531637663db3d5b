// SPDX-License-Identifier: MIT OR Apache-2.0

use std::fs;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use super::*;
use crate::host::protected::Protected;
use crate::host::running::facts;
use crate::host::storage::Storage as _;
use crate::host::test_disk::{self, KEEP, MIB, SLOT_UUIDS, patch, program, run};
use flipside_image::PartitionIdentity;
use flipside_image::code::Coded as _;

fn open(path: &Path) -> Result<Disk, HostError> {
    let root = Root::new(path.parent().unwrap());
    Disk::open(&root, path, &Durable::new())
}

/// Slot A runs.
/// What of slot A must not be written while it runs.
fn protected(root: &Root, disk: &Disk, config: &HostConfig) -> Protected {
    let mut protected = facts(root, disk, config, Vec::new()).unwrap().protected;
    for (_, labels) in payloads(config) {
        protected.add(disk.identity(disk.by_label(&labels.a).unwrap()).unwrap());
    }
    protected
}

fn running_a(directory: &Path, disk: &Disk) -> Protected {
    fs::create_dir_all(directory.join("proc")).unwrap();
    let line = format!("quiet root=PARTUUID={}\n", SLOT_UUIDS[0]);
    fs::write(directory.join("proc/cmdline"), line).unwrap();
    let root = Root::new(directory);
    protected(&root, disk, &HostConfig::default())
}

#[test]
fn a_target_is_written_where_it_stands_and_nowhere_else() {
    for sector_size in [512, 4096] {
        let directory = tempfile::tempdir().unwrap();
        let path = test_disk::made(directory.path(), sector_size);
        let before = fs::read(&path).unwrap();
        let disk = open(&path).unwrap();
        let running = running_a(directory.path(), &disk);
        let target = disk.by_label("system-b").unwrap();
        assert_eq!((target.start, target.size), (9 * MIB, 4 * MIB));
        assert_eq!(target.first_sector * u64::from(sector_size), target.start);
        let region = disk.open_target(target, &running).unwrap();
        assert_eq!((region.capacity(), region.name().as_str()), (4 * MIB, "partition system-b"));
        region.write_at(0, &vec![7; 4 * MIB as usize]).unwrap();
        region.sync().unwrap();
        let after = fs::read(&path).unwrap();
        let (start, end) = (9 * MIB as usize, 13 * MIB as usize);
        assert!(after[start..end].iter().all(|byte| *byte == 7));
        assert!(after[..start] == before[..start] && after[end..] == before[end..]);
        let mut bytes = [0; 5];
        disk.open_for_reading(target).unwrap().read_at(100, &mut bytes).unwrap();
        assert_eq!(bytes, [7; 5]);
    }
}

#[test]
fn p1_the_running_slot_is_not_opened_for_writing() {
    let directory = tempfile::tempdir().unwrap();
    let path = test_disk::made(directory.path(), 512);
    let disk = open(&path).unwrap();
    let running = running_a(directory.path(), &disk);
    let own = disk.by_label("system-a").unwrap();
    assert_eq!(disk.open_target(own, &running).unwrap_err().code().name(), "target-is-running");
    // Under another name and number, or reaching into it by one byte.
    let target = disk.by_label("system-b").unwrap();
    for start in [own.start, own.start + own.size - 1, own.start - target.size + 1] {
        let renamed = Partition { start, ..target.clone() };
        assert_eq!(
            disk.open_target(&renamed, &running).unwrap_err().code().name(),
            "target-is-running"
        );
    }
    disk.open_target(target, &running).unwrap();
    // What is open for reading is not written.
    let region = disk.open_for_reading(own).unwrap();
    assert!(region.write_at(0, &[1]).is_err());
}

#[test]
fn p1_the_running_slots_further_partitions_are_protected() {
    let directory = tempfile::tempdir().unwrap();
    let path = test_disk::made(directory.path(), 512);
    let disk = open(&path).unwrap();
    let labels = |a: &str, b: &str| SlotLabels { a: a.to_owned(), b: b.to_owned() };
    let config = HostConfig {
        payloads: [("verity".to_owned(), labels("data", "esp"))].into(),
        ..HostConfig::default()
    };
    running_a(directory.path(), &disk);
    let root = Root::new(directory.path());
    let running = protected(&root, &disk, &config);
    let data = disk.by_label("data").unwrap();
    assert_eq!(disk.open_target(data, &running).unwrap_err().code().name(), "target-is-running");
    disk.open_target(disk.by_label("esp").unwrap(), &running).unwrap();
}

#[test]
fn labels_have_to_name_one_partition_each() {
    let directory = tempfile::tempdir().unwrap();
    let path = test_disk::made(directory.path(), 512);
    let slots = |a: &str, b: &str| HostConfig {
        slots: SlotLabels { a: a.to_owned(), b: b.to_owned() },
        ..HostConfig::default()
    };
    let check = |config: &HostConfig| open(&path).unwrap().check_slots(config);
    check(&HostConfig::default()).unwrap();
    let code = |config: &HostConfig| check(config).unwrap_err().code().name();
    assert_eq!(code(&slots("system-a", "system-c")), "slot-missing");
    assert_eq!(code(&slots("system-a", "system-a")), "slots-identical");
    let verity = SlotLabels { a: "data".to_owned(), b: "system-b".to_owned() };
    let config =
        HostConfig { payloads: [("verity".to_owned(), verity)].into(), ..HostConfig::default() };
    let error = check(&config).unwrap_err();
    assert!(error.to_string().contains("slot B of system and slot B of verity"), "{error}");
    run(program("sgdisk").args(["-c", "4:system-b"]).arg(&path));
    let error = check(&HostConfig::default()).unwrap_err();
    assert_eq!(error.code().name(), "label-ambiguous");
    assert!(error.to_string().contains("partitions 3 and 4"), "{error}");
}

#[test]
fn a_damaged_table_is_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let path = test_disk::made(directory.path(), 512);
    patch(&path, 1024 + 130, b"x");
    let error = open(&path).unwrap_err();
    assert_eq!(error.code().name(), "gpt-damaged");
    assert!(error.to_string().contains("primary"), "{error}");
}

#[test]
fn an_identity_is_set_and_the_lock_of_others_is_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let path = test_disk::made(directory.path(), 4096);
    let disk = open(&path).unwrap();
    let target = disk.by_label("system-b").unwrap();
    let uuid = Uuid::from_u128(77);
    let held = File::open(&path).unwrap();
    held.lock().unwrap();
    let waiting = thread::spawn(move || {
        thread::sleep(Duration::from_millis(150));
        drop(held);
    });
    let start = Instant::now();
    let identity = PartitionIdentity { uuid: Some(uuid), ..KEEP };
    let now = disk.set_identity(target, &identity).unwrap();
    assert!(start.elapsed() > Duration::from_millis(100));
    waiting.join().unwrap();
    assert_eq!(now, Partition { uuid, ..target.clone() });
    assert_eq!(open(&path).unwrap().by_label("system-b").unwrap(), &now);
    // The older view still sets it, as a second step of the same run does.
    let identity = PartitionIdentity { uuid: Some(SLOT_UUIDS[0]), ..KEEP };
    let error = disk.set_identity(target, &identity).unwrap_err();
    assert_eq!(error.code().name(), "partition-uuid-duplicate");
    disk.set_identity(target, &PartitionIdentity { flags: Some(1), ..KEEP }).unwrap();
    assert_eq!(open(&path).unwrap().by_uuid(uuid).unwrap().flags, 1);
}

/// A loop device for as long as it is used; `None`, with the reason printed, where this
/// user or machine cannot have one.
struct Loop(PathBuf);

impl Loop {
    fn new(path: &Path, sector_size: u32) -> Option<Self> {
        let output = program("losetup")
            .args(["--find", "--show", "--partscan", "--sector-size", &sector_size.to_string()])
            .arg(path)
            .output()
            .unwrap();
        if !output.status.success() {
            let why = String::from_utf8_lossy(&output.stderr).into_owned();
            println!("skipped, there is no loop device to be had: {}", why.trim());
            return None;
        }
        let device = Self(String::from_utf8(output.stdout).unwrap().trim().into());
        // Kernels without CONFIG_EFI_PARTITION have to be told.
        let partitions = BlockDevice::by_node(&Root::live(), &device.0).unwrap().partitions();
        if partitions.is_empty() {
            let size = sector_size.to_string();
            run(program("partx").args(["--add", "--sector-size", &size]).arg(&device.0));
        }
        Some(device)
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = program("losetup").arg("--detach").arg(&self.0).status();
    }
}

#[test]
fn a_mounted_target_is_refused_by_the_kernel() {
    for sector_size in [512, 4096] {
        let directory = tempfile::tempdir().unwrap();
        let path = test_disk::made(directory.path(), sector_size);
        let Some(device) = Loop::new(&path, sector_size) else { return };
        let disk = Disk::open(&Root::live(), &device.0, &Durable::new()).unwrap();
        assert_eq!(disk.sector_size(), sector_size);
        let Some(node) = disk.by_label("system-b").unwrap().node.clone() else {
            println!("skipped, this kernel makes no partitions on loop devices");
            return;
        };
        if !node.path.exists() {
            println!("skipped, nobody makes device nodes here");
            return;
        }
        let mut running = running_a(directory.path(), &open(&path).unwrap());
        let (a, b) = (disk.by_label("system-a").unwrap(), disk.by_label("system-b").unwrap());
        running.add(disk.identity(a).unwrap());
        assert_eq!(disk.open_target(a, &running).unwrap_err().code().name(), "target-is-running");

        run(program("mkfs.ext4").arg("-q").arg(&node.path));
        let point = directory.path().join("mnt");
        fs::create_dir(&point).unwrap();
        run(Command::new("mount").arg(&node.path).arg(&point));
        let refused = disk.open_target(b, &running);
        run(Command::new("umount").arg(&point));
        assert_eq!(refused.unwrap_err().code().name(), "target-in-use");

        // A second writer is kept out, too, and the table stays writable.
        let region = disk.open_target(b, &running).unwrap();
        assert_eq!(disk.open_target(b, &running).unwrap_err().code().name(), "target-in-use");
        region.write_at(4096, &[9; 4096 * 3 + 100]).unwrap();
        region.sync().unwrap();
        let identity = PartitionIdentity { uuid: Some(Uuid::from_u128(3)), ..KEEP };
        disk.set_identity(b, &identity).unwrap();
        drop(region);
        let mut bytes = vec![0; 100];
        disk.open_for_reading(b).unwrap().read_at(4096 * 4, &mut bytes).unwrap();
        assert_eq!(bytes, [9; 100]);
        drop(disk);
        drop(device);
        assert_eq!(open(&path).unwrap().by_label("system-b").unwrap().uuid, Uuid::from_u128(3));
    }
}
