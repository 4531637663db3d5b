// SPDX-License-Identifier: MIT OR Apache-2.0

use std::fs;

use super::*;
use crate::host::test_disk::{self, ESP_UUID, MIB, SLOT_UUIDS, patch, program, run};
use crate::host::test_host::Host;
use flipside_image::code::Coded as _;

const PLAIN: &str = "25 1 254:2 / / rw,relatime shared:1 - erofs /dev/vda2 ro\n\
     30 25 254:1 / /efi rw,relatime shared:9 - vfat /dev/vda1 rw,fmask=0077,errors=remount-ro\n";

fn find_mounted(host: &Host, config: &HostConfig, hint: Option<Uuid>) -> Result<Place, HostError> {
    mounted::find(&host.root(), config, hint, &Durable::new())
}

fn auto() -> HostConfig {
    HostConfig::default()
}

fn esp(path: &str) -> HostConfig {
    HostConfig { esp: Some(path.into()), ..auto() }
}

#[test]
fn a_mounted_esp_leads_to_its_disk() {
    let host = Host::new();
    host.mount(PLAIN);
    for hint in [None, Some(ESP_UUID)] {
        for config in [auto(), esp("/efi")] {
            let place = find_mounted(&host, &config, hint).unwrap();
            assert_eq!(place.esp_directory, host.path("efi"));
            assert_eq!((place.esp.number, place.esp.uuid), (1, ESP_UUID));
            assert_eq!(place.disk.path(), host.path("dev/vda"));
            assert_eq!(place.esp_disk().path(), place.disk.path());
            place.disk.check_slots(&config).unwrap();
        }
    }
    let disk = HostConfig { disk: Some("/dev/vda".into()), ..auto() };
    assert_eq!(find_mounted(&host, &disk, None).unwrap().disk.path(), host.path("dev/vda"));
}

#[test]
fn every_usual_place_is_looked_at() {
    for (point, mountinfo) in [
        ("boot/efi", PLAIN.replace("/efi ", "/boot/efi ")),
        ("boot", PLAIN.replace("/efi ", "/boot ")),
        // The kernel's partition at /boot is no ESP.
        (
            "boot/efi",
            format!(
                "{}31 25 254:4 / /boot rw - vfat /dev/vda4 rw\n",
                PLAIN.replace("/efi ", "/boot/efi ").replace("30 25", "30 31")
            ),
        ),
        ("efi", format!("{PLAIN}29 25 0:40 / /boot rw - autofs systemd-1 rw\n")),
        (
            "efi",
            format!(
                "29 25 0:40 / /efi rw - autofs systemd-1 rw\n{}",
                PLAIN.replace("30 25", "30 29")
            ),
        ),
    ] {
        let host = Host::new();
        host.mount(&mountinfo);
        let place = find_mounted(&host, &auto(), None).unwrap();
        assert_eq!(place.esp_directory, host.path(point), "{mountinfo}");
    }
    // A usual place that is a link to another one.
    let host = Host::new();
    host.mount(&PLAIN.replace("/efi ", "/boot/esp "));
    std::os::unix::fs::symlink("boot/esp", host.path("efi")).unwrap();
    assert_eq!(find_mounted(&host, &auto(), None).unwrap().esp_directory, host.path("boot/esp"));
    // A partition of another type is taken where the loader names it.
    let host = Host::new();
    host.mount(&PLAIN.replace("254:1", "254:3"));
    assert_eq!(find_mounted(&host, &auto(), None).unwrap_err().code().name(), "esp-not-mounted");
    let place = find_mounted(&host, &auto(), Some(SLOT_UUIDS[1])).unwrap();
    assert_eq!(place.esp.number, 3);
    assert_eq!(find_mounted(&host, &esp("/efi"), None).unwrap().esp.number, 3);
}

#[test]
fn what_is_no_mounted_esp_is_refused() {
    let line = |device: &str, rest: &str| {
        format!("25 1 254:2 / / rw - ext4 /dev/vda2 rw\n30 25 {device} {rest}\n")
    };
    for (name, mountinfo, hint, expected) in [
        (
            "nothing mounted",
            "25 1 254:2 / / rw - ext4 /dev/vda2 rw\n".into(),
            None,
            "esp-not-mounted",
        ),
        (
            "an automount that fails",
            line("0:44", "/ /efi rw - autofs systemd-1 rw"),
            None,
            "esp-not-mounted",
        ),
        (
            "another file system",
            line("254:1", "/ /efi rw - ext4 /dev/vda1 rw"),
            None,
            "esp-not-mounted",
        ),
        (
            "a directory of it",
            line("254:1", "/EFI /efi rw - vfat /dev/vda1 rw"),
            None,
            "esp-not-mounted",
        ),
        (
            "a tmpfs over it",
            format!("{PLAIN}40 30 0:50 / /efi rw - tmpfs tmpfs rw\n"),
            None,
            "esp-not-mounted",
        ),
        ("another one than booted", PLAIN.into(), Some(Uuid::from_u128(1)), "esp-mismatch"),
        ("a whole disk", line("254:0", "/ /efi rw - vfat /dev/vda rw"), None, "esp-not-on-disk"),
        (
            "a mapped device",
            line("253:0", "/ /efi rw - vfat /dev/mapper/esp rw"),
            None,
            "esp-not-on-disk",
        ),
        ("an unknown device", line("99:9", "/ /efi rw - vfat /dev/x rw"), None, "esp-not-on-disk"),
    ] {
        let host = Host::new();
        host.add_stacked("dm-0", 253, 0, &["vda1"]);
        host.mount(&mountinfo);
        for config in [auto(), esp("/efi")] {
            let error = find_mounted(&host, &config, hint).unwrap_err();
            assert_eq!(error.code().name(), expected, "{name}: {error}");
        }
    }
}

#[test]
fn a_second_disk_with_the_same_guid_is_ambiguous() {
    let host = Host::new();
    host.mount(PLAIN);
    host.add_disk("vdb", 255);
    let error = find_mounted(&host, &auto(), Some(ESP_UUID)).unwrap_err();
    assert_eq!(error.code().name(), "esp-ambiguous");
    assert!(error.to_string().contains("dev/vdb"), "{error}");
    // Also where only its backup table is left.
    patch(&host.path("dev/vdb"), 512, b"x");
    assert_eq!(find_mounted(&host, &auto(), None).unwrap_err().code().name(), "esp-ambiguous");
    run(program("sgdisk").args(["-g", "-u", "1:R"]).arg(host.path("dev/vdb")));
    find_mounted(&host, &auto(), Some(ESP_UUID)).unwrap();
    // Junk, and a drive without a medium, are passed over.
    fs::write(host.path("dev/vdb"), b"junk").unwrap();
    find_mounted(&host, &auto(), None).unwrap();
    fs::remove_file(host.path("dev/vdb")).unwrap();
    find_mounted(&host, &auto(), None).unwrap();
}

#[test]
fn the_members_of_a_raid_of_whole_disks_are_no_second_disk() {
    let host = Host::new();
    host.mount(&PLAIN.replace("254:1", "9:1"));
    host.add_disk("md126", 9);
    let slaves = host.path("sys/devices/virtual/md126/slaves");
    fs::create_dir(&slaves).unwrap();
    let member = fs::canonicalize(host.path("sys/block/vda")).unwrap();
    std::os::unix::fs::symlink(member, slaves.join("vda")).unwrap();
    assert_eq!(find_mounted(&host, &auto(), None).unwrap().disk.path(), host.path("dev/md126"));
}

#[test]
fn a_table_that_the_kernel_has_not_read_again_is_refused() {
    let host = Host::new();
    host.mount(PLAIN);
    host.write("sys/devices/virtual/vda/vda3/start", "18433\n");
    let error = find_mounted(&host, &auto(), None).unwrap_err();
    assert_eq!(error.code().name(), "gpt-stale");
    assert!(error.to_string().contains("partition 3"), "{error}");
}

#[test]
fn the_slots_may_be_on_another_disk() {
    let host = Host::new();
    host.mount(PLAIN);
    host.add_disk("vdb", 255);
    run(program("sgdisk").arg("-G").arg(host.path("dev/vdb")));
    let config = HostConfig { disk: Some("/dev/vdb".into()), ..auto() };
    let place = find_mounted(&host, &config, None).unwrap();
    assert_eq!(place.disk.path(), host.path("dev/vdb"));
    assert_eq!(place.esp_disk().path(), host.path("dev/vda"));
    assert_eq!(place.esp.uuid, ESP_UUID);
}

/// Makes a FAT in the ESP of the disk at `path`.
fn format_esp(path: &Path) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("esp");
    fs::File::create(&file).unwrap().set_len(4 * MIB).unwrap();
    run(program("mkfs.vfat").arg(&file));
    patch(path, MIB, &fs::read(file).unwrap());
}

#[test]
fn a_mounted_esp_is_damaged_by_structure_and_not_by_its_dirty_mark() {
    let host = Host::new();
    host.mount(PLAIN);
    let disk = host.path("dev/vda");
    let check = || find_mounted(&host, &auto(), None).unwrap().check_esp();
    assert_eq!(check().unwrap_err().code().name(), "esp-damaged", "not formatted");
    format_esp(&disk);
    check().unwrap();
    patch(&disk, MIB + 0x25, &[1]);
    check().unwrap();
    patch(&disk, MIB + 11, &[1]);
    assert_eq!(check().unwrap_err().code().name(), "esp-damaged");
}

#[test]
fn a_read_only_esp_is_damaged_only_where_nobody_asked_for_it() {
    let host = Host::new();
    format_esp(&host.path("dev/vda"));
    for (ours, file_system, expected) in [
        ("rw", "ro", Some("esp-damaged")),
        ("ro", "ro", Some("esp-read-only")),
        ("ro", "rw", Some("esp-read-only")),
        ("rw", "rw", None),
    ] {
        host.mount(&format!(
            "25 1 254:2 / / ro - ext4 /dev/vda2 ro\n\
             30 25 254:1 / /efi {ours} - vfat /dev/vda1 {file_system},errors=remount-ro\n"
        ));
        let result = find_mounted(&host, &auto(), None).unwrap().check_esp();
        assert_eq!(result.err().map(|error| error.code().name()), expected, "{ours} {file_system}");
    }
}

/// A host in a directory, as `sim` makes it.
fn directory_host() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    test_disk::made(directory.path(), 4096);
    fs::create_dir_all(directory.path().join("efi/EFI/flipside")).unwrap();
    directory
}

fn find_in(directory: &Path, config: &HostConfig, hint: Option<Uuid>) -> Result<Place, HostError> {
    find(&Root::new(directory), config, hint, &Durable::new())
}

#[test]
fn a_directory_is_a_host() {
    let host = directory_host();
    for hint in [None, Some(ESP_UUID)] {
        for config in [auto(), HostConfig { disk: Some("/disk.img".into()), ..esp("/efi") }] {
            let place = find_in(host.path(), &config, hint).unwrap();
            assert_eq!(place.esp_directory, host.path().join("efi"));
            assert_eq!(place.disk.path(), host.path().join("disk.img"));
            assert_eq!(place.esp.uuid, ESP_UUID);
            // Nobody formatted the partition that the directory stands for.
            place.check_esp().unwrap();
        }
    }
    let disk = host.path().join("disk.img");
    format_esp(&disk);
    find_in(host.path(), &auto(), None).unwrap().check_esp().unwrap();
    patch(&disk, MIB + 0x25, &[1]);
    let error = find_in(host.path(), &auto(), None).unwrap().check_esp().unwrap_err();
    assert_eq!(error.code().name(), "esp-damaged");
    assert!(error.to_string().contains("not cleanly unmounted"), "{error}");
}

#[test]
fn what_is_wrong_with_a_directory_is_said() {
    let code = |host: &tempfile::TempDir, hint| {
        find_in(host.path(), &auto(), hint).err().map(|error| error.code().name())
    };
    let host = directory_host();
    assert_eq!(code(&host, Some(Uuid::from_u128(1))), Some("esp-mismatch"));
    let (disk, second) = (host.path().join("disk.img"), host.path().join("usb.img"));
    fs::copy(&disk, &second).unwrap();
    assert_eq!(code(&host, None), Some("esp-ambiguous"));
    assert_eq!(code(&host, Some(ESP_UUID)), Some("esp-ambiguous"));
    // Another ESP is not ours where the loader has named ours.
    test_disk::make(&second, 512);
    run(program("sgdisk").args(["-u", "1:R"]).arg(&second));
    assert_eq!(code(&host, Some(ESP_UUID)), None);
    assert_eq!(code(&host, None), Some("esp-ambiguous"));
    fs::write(&second, b"junk").unwrap();
    assert_eq!(code(&host, None), None);
    // Another name for the same disk.
    std::os::unix::fs::symlink("disk.img", host.path().join("again.img")).unwrap();
    assert_eq!(code(&host, None), None);
    fs::remove_file(host.path().join("again.img")).unwrap();

    patch(&disk, 4096, b"x");
    assert_eq!(code(&host, None), Some("gpt-damaged"));
    fs::remove_file(&second).unwrap();
    assert_eq!(code(&host, None), Some("gpt-damaged"));
    fs::write(&disk, vec![0; 100_000]).unwrap();
    assert_eq!(code(&host, None), Some("gpt-missing"));
    fs::remove_file(&disk).unwrap();
    assert_eq!(code(&host, None), Some("disk-missing"));
    // An empty mount point.
    fs::remove_dir_all(host.path().join("efi/EFI")).unwrap();
    assert_eq!(code(&host, None), Some("esp-not-mounted"));
}

/// Whether `find_if_host` says that this is no flipside host, or with which code it fails.
fn is_no_host(directory: &Path, config: &HostConfig) -> Result<bool, &'static str> {
    let found = find_if_host(&Root::new(directory), config, None, &Durable::new(), || None);
    found.map(|place| place.is_none()).map_err(|error| error.code().name())
}

#[test]
fn without_an_esp_it_is_a_host_if_slots_are_in_sight() {
    let host = directory_host();
    assert_eq!(is_no_host(host.path(), &auto()), Ok(false));
    fs::remove_dir_all(host.path().join("efi")).unwrap();
    assert_eq!(is_no_host(host.path(), &auto()), Err("esp-not-mounted"));
    // Slots of other names are not in sight.
    let mut others = auto();
    (others.slots.a, others.slots.b) = ("root-a".into(), "root-b".into());
    assert_eq!(is_no_host(host.path(), &others), Ok(true));
    let configured = HostConfig { esp: Some("/efi".into()), ..others.clone() };
    assert_eq!(is_no_host(host.path(), &configured), Err("esp-not-mounted"));
    fs::remove_file(host.path().join("disk.img")).unwrap();
    assert_eq!(is_no_host(host.path(), &auto()), Ok(true));
}

#[test]
fn slots_are_seen_in_the_kernels_partitions_and_on_unmounted_disks() {
    let host = Host::new();
    let is_seen = || signs::slots_are_in_sight(&host.root(), &auto());
    assert!(is_seen(), "by the table of the disk");
    fs::remove_file(host.path("dev/vda")).unwrap();
    assert!(!is_seen());
    let uevent = |label| {
        let text = format!("DEVNAME=vda3\nPARTN=3\nPARTNAME={label}\n");
        host.write("sys/devices/virtual/vda/vda3/uevent", &text);
    };
    uevent("data");
    assert!(!is_seen());
    uevent("system-b");
    assert!(is_seen(), "by the kernel, where this user may not read the disk");
}

#[test]
fn documents_name_each_place_where_the_esp_is_looked_for() {
    let documents =
        [include_str!("../../../../docs/install.md"), include_str!("../../../../docs/errors.md")];
    for document in documents {
        let line = document.lines().find(|line| line.contains("`/boot/efi`")).unwrap();
        for point in super::USUAL_POINTS {
            assert!(line.contains(&format!("`{point}`")), "{point}: {line}");
        }
    }
}
