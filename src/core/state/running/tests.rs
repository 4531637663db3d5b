// SPDX-License-Identifier: MIT OR Apache-2.0

use super::*;
use crate::host::test_disk::SLOT_UUIDS;
use crate::host::test_host::Host;
use flipside_image::code::Coded as _;

type Told = Vec<(String, Option<Slot>)>;

fn determine_on(host: &Host, told: Told) -> Result<Running, HostError> {
    determine(&host.root(), &host.disk(), &HostConfig::default(), told)
}

fn say(slot: Slot) -> (String, Option<Slot>) {
    (format!("LoaderEntrySelected is flipside-{}.conf", slot.letter()), Some(slot))
}

/// Loop device, device mapper and a second disk, beside `vda`.
fn host(mountinfo: &str) -> Host {
    let host = Host::new();
    host.add_stacked("dm-0", 253, 0, &["vda2", "vda4"]);
    host.add_stacked("dm-1", 253, 1, &["dm-0"]);
    host.add_stacked("dm-2", 253, 2, &["vda4"]);
    host.add_device("virtual/loop0", 7, 0, 1 << 20);
    host.write("sys/devices/virtual/loop0/loop/backing_file", "/store/system-a.raw\n");
    host.add_device("virtual/loop1", 7, 1, 1 << 20);
    host.write("sys/devices/virtual/loop1/loop/backing_file", "/run/a (deleted)\n");
    host.add_device("virtual/loop2", 7, 2, 1 << 20);
    host.write("sys/devices/virtual/loop2/loop/backing_file", "/run/live/medium/root.squashfs\n");
    host.add_device("virtual/loop3", 7, 3, 1 << 20);
    host.write("sys/devices/virtual/loop3/loop/backing_file", "/run/store/root.erofs\n");
    host.add_stacked("dm-3", 253, 3, &["loop3"]);
    host.add_disk("vdb", 255);
    if !mountinfo.is_empty() {
        host.mount(mountinfo);
    }
    host
}

#[test]
fn the_device_behind_the_root_decides_however_it_is_stacked() {
    use Slot::{A, B};
    for (name, mountinfo, expected) in [
        ("plain", "25 1 254:2 / / ro - ext4 /dev/vda2 ro\n", Some(A)),
        ("plain, the other", "25 1 254:3 / / ro shared:1 - erofs /dev/root ro\n", Some(B)),
        (
            "verity on data and hash partition",
            "25 1 253:0 / / ro - erofs /dev/mapper/root ro\n",
            Some(A),
        ),
        ("two layers of device mapper", "25 1 253:1 / / ro - ext4 /dev/dm-1 ro\n", Some(A)),
        ("LVM on the data partition", "25 1 253:2 / / rw - ext4 /dev/mapper/vg-root rw\n", None),
        (
            "/usr alone",
            "25 1 254:4 / / rw - ext4 /dev/vda4 rw\n26 25 254:3 / /usr ro - ext4 /dev/vda3 ro\n",
            Some(B),
        ),
        (
            "/usr, with tmpfs as root",
            "25 1 0:30 / / rw - tmpfs tmpfs rw\n26 25 253:0 / /usr ro - erofs /dev/dm-0 ro\n",
            Some(A),
        ),
        (
            "btrfs by its source",
            "25 1 0:33 /root / rw - btrfs /dev/vda3 rw,subvolid=256,subvol=/root\n",
            Some(B),
        ),
        ("btrfs that the kernel mounted", "25 1 0:33 / / rw - btrfs /dev/root rw\n", None),
        (
            "overlay",
            "25 1 0:40 / / rw - overlay overlay rw,lowerdir=/sysroot,upperdir=/data/up,workdir=/data/w\n\
             26 25 254:3 / /sysroot ro - erofs /dev/vda3 ro\n27 25 254:4 / /data rw - ext4 /dev/vda4 rw\n",
            Some(B),
        ),
        (
            "overlay from before the root was switched",
            "25 1 0:40 / / rw - overlay overlay rw,lowerdir=/gone,upperdir=/x\n",
            None,
        ),
        (
            "overlay of overlayroot",
            "25 1 0:40 / / rw - overlay overlayroot rw,lowerdir=/media/root-ro,upperdir=/media/root-rw/overlay\n\
             26 25 254:2 / /media/root-ro ro - erofs /dev/vda2 ro\n27 25 0:41 / /media/root-rw rw - tmpfs tmpfs-root rw\n",
            Some(A),
        ),
        (
            "overlay of dracut on dm-verity",
            "25 1 0:40 / / rw - overlay LiveOS_rootfs rw,lowerdir=/run/rootfsbase,upperdir=/run/overlayfs\n\
             26 25 0:41 / /run rw - tmpfs tmpfs rw\n27 26 253:0 / /run/rootfsbase ro - erofs /dev/mapper/root ro\n",
            Some(A),
        ),
        (
            "overlay of systemd-sysext on a /usr under tmpfs",
            "25 1 0:30 / / rw - tmpfs tmpfs rw\n26 25 254:3 /usr /usr ro - erofs /dev/vda3 ro\n\
             27 25 0:31 / /run rw - tmpfs tmpfs rw\n\
             28 26 0:44 / /usr ro - overlay sysext ro,lowerdir=/run/systemd/sysext/meta/usr:/usr\n",
            Some(B),
        ),
        (
            "overlay whose lower directory another mount hides now",
            "1 1 0:2 / / rw - rootfs rootfs rw\n\
             25 1 0:40 / / rw - overlay overlay rw,lowerdir=/mnt,upperdir=/x\n\
             26 25 0:31 / /mnt rw - tmpfs tmpfs rw\n27 26 254:2 / /mnt/x ro - erofs /dev/vda2 ro\n",
            None,
        ),
        (
            "systemd.volatile=yes",
            "25 1 0:30 / / rw - tmpfs tmpfs rw\n26 25 253:0 /usr /usr ro - erofs /dev/mapper/root ro\n",
            Some(A),
        ),
        (
            "systemd.volatile=state",
            "25 1 254:3 / / ro - erofs /dev/vda3 ro\n26 25 0:30 / /var rw - tmpfs tmpfs rw\n",
            Some(B),
        ),
        (
            // Its lower directory was /sysroot, of which nothing is seen any more.
            "systemd.volatile=overlay",
            "25 1 0:40 / / rw - overlay overlay rw,lowerdir=/sysroot,upperdir=/run/systemd/overlay-sysroot/upper\n\
             26 25 0:31 / /run rw - tmpfs tmpfs rw\n",
            None,
        ),
        (
            "squashfs in a loop device in memory, from a slot",
            "25 1 0:40 / / rw - overlay overlay rw,lowerdir=/run/live/rootfs,upperdir=/run/up\n\
             26 25 0:31 / /run rw - tmpfs tmpfs rw\n27 26 7:2 / /run/live/rootfs ro - squashfs /dev/loop2 ro\n\
             28 26 254:3 / /run/live/medium ro - ext4 /dev/vda3 ro\n",
            Some(B),
        ),
        (
            "erofs in a file, without a loop device",
            "25 1 0:50 / / ro - erofs /run/store/root.erofs ro\n26 25 254:3 / /run/store ro - ext4 /dev/vda3 ro\n",
            Some(B),
        ),
        (
            "a file that is called like a device",
            "25 1 0:50 / / ro - erofs /store/vda2 ro\n26 25 254:4 / /store ro - ext4 /dev/vda4 ro\n",
            None,
        ),
        (
            "a device of loops on a slot",
            "25 1 253:3 / / ro - erofs /dev/mapper/root ro\n26 25 254:2 / /run/store ro - ext4 /dev/vda2 ro\n",
            Some(A),
        ),
        (
            "an image in a file",
            "25 1 7:0 / / ro - squashfs /dev/loop0 ro\n26 25 254:2 / /store rw - ext4 /dev/vda2 rw\n",
            Some(A),
        ),
        ("an image in memory", "25 1 7:1 / / ro - squashfs /dev/loop1 ro\n", None),
        (
            "another disk's partition of that number",
            "25 1 255:2 / / ro - ext4 /dev/vdb2 ro\n",
            None,
        ),
        ("the data partition", "25 1 254:4 / / rw - ext4 /dev/vda4 rw\n", None),
        ("NFS", "25 1 0:50 / / rw - nfs4 10.0.0.1:/root rw\n", None),
        ("an unknown device", "25 1 99:1 / / rw - ext4 /dev/x rw\n", None),
        (
            "the initial ramfs below",
            "1 1 0:2 / / rw - rootfs rootfs rw\n25 1 254:2 / / ro - ext4 /dev/vda2 ro\n",
            Some(A),
        ),
    ] {
        let host = host(mountinfo);
        match (determine_on(&host, Vec::new()), expected) {
            (Ok(running), expected) => {
                assert_eq!(Some(running.slot), expected, "{name}");
                assert_eq!(running.evidence[0].slot, expected, "{name}");
            }
            (Err(error), None) => assert_eq!(error.code().name(), "running-slot-unknown", "{name}"),
            (Err(error), Some(_)) => panic!("{name}: {error}"),
        }
    }
}

#[test]
fn a_fact_that_clashes_with_the_device_is_named() {
    let host = host("25 1 254:2 / / ro - ext4 /dev/vda2 ro\n");
    let error =
        determine_on(&host, vec![("BootCurrent is 0007".into(), None), say(Slot::B)]).unwrap_err();
    assert_eq!(error.code().name(), "running-slot-unclear");
    assert_eq!(
        error.to_string(),
        "it is unclear which slot runs: the device behind / is vda2 (system-a) (slot A), but \
         LoaderEntrySelected is flipside-b.conf (slot B)"
    );
    let running =
        determine_on(&host, vec![("BootCurrent is 0007".into(), None), say(Slot::A)]).unwrap();
    assert_eq!(running.slot, Slot::A);
    assert_eq!(running.evidence.len(), 3);
    assert_eq!(running.evidence[2].slot, None);
}

#[test]
fn root_and_usr_of_different_slots_are_unclear() {
    let host =
        host("25 1 254:2 / / ro - ext4 /dev/vda2 ro\n26 25 254:3 / /usr ro - ext4 /dev/vda3 ro\n");
    let error = determine_on(&host, Vec::new()).unwrap_err();
    assert_eq!(error.code().name(), "running-slot-unclear");
    assert!(error.to_string().contains("behind /usr is vda3 (system-b)"), "{error}");
}

#[test]
fn without_a_device_the_other_facts_have_to_agree() {
    let host = host("25 1 0:30 / / rw - tmpfs tmpfs rw\n");
    assert_eq!(determine_on(&host, vec![say(Slot::B)]).unwrap().slot, Slot::B);
    let error = determine_on(&host, vec![say(Slot::B), say(Slot::A)]).unwrap_err();
    assert_eq!(error.code().name(), "running-slot-unclear");
    let silent = vec![("BootCurrent is absent".to_owned(), None)];
    let error = determine_on(&host, silent).unwrap_err();
    assert_eq!(error.to_string(), "cannot tell which slot is running: BootCurrent is absent");
    assert_eq!(determine_on(&host, Vec::new()).unwrap_err().code().name(), "running-slot-unknown");
}

#[test]
fn what_the_initrd_found_counts_where_the_root_hides_its_device() {
    let hidden = "25 1 0:40 / / rw - overlay overlay rw,lowerdir=/sysroot,upperdir=/x\n";
    let host = host(hidden);
    host.write("run/flipside/boot/slot", "b\n");
    let running = determine_on(&host, Vec::new()).unwrap();
    assert_eq!(running.slot, Slot::B);
    assert_eq!(running.evidence[0].fact, "the initrd says that slot B was booted");
    let error = determine_on(&host, vec![say(Slot::A)]).unwrap_err();
    assert_eq!(error.code().name(), "running-slot-unclear");
    host.write("run/flipside/boot/slot", "neither\n");
    assert_eq!(determine_on(&host, Vec::new()).unwrap_err().code().name(), "running-slot-unknown");
    // Another root than the initrd found.
    let host = self::host("25 1 254:2 / / ro - erofs /dev/vda2 ro\n");
    host.write("run/flipside/boot/slot", "b\n");
    let error = determine_on(&host, Vec::new()).unwrap_err();
    assert!(error.to_string().contains("the initrd says that slot B"), "{error}");
}

#[test]
fn after_a_kexec_the_loaders_facts_are_passed_over() {
    let host = host("25 1 254:3 / / ro - ext4 /dev/vda3 ro\n");
    host.write("proc/cmdline", "quiet flipside.slot=b\n");
    let running = determine_on(&host, vec![say(Slot::A)]).unwrap();
    assert_eq!((running.slot, running.evidence.len()), (Slot::B, 2));
    for line in ["flipside.slot=a", "flipside.slot=b flipside.slot=a"] {
        host.write("proc/cmdline", line);
        let error = determine_on(&host, vec![say(Slot::B)]).unwrap_err();
        assert_eq!(error.code().name(), "running-slot-unclear", "{line}");
    }
    // Not one of the two: a silent fact, and the loader's facts are from before all the same.
    host.write("proc/cmdline", "flipside.slot=c");
    assert_eq!(determine_on(&host, vec![say(Slot::A)]).unwrap().slot, Slot::B);
}

#[test]
fn in_a_directory_the_command_line_names_the_device() {
    let host = host("");
    let [a, b] = SLOT_UUIDS;
    for (line, expected) in [
        (format!("root=PARTUUID={a}"), Some(Slot::A)),
        (format!("root=PARTUUID={}", b.to_string().to_uppercase()), Some(Slot::B)),
        (format!("root=/dev/disk/by-partuuid/{b}"), Some(Slot::B)),
        ("root=PARTLABEL=system-b".to_owned(), Some(Slot::B)),
        ("root=/dev/disk/by-partlabel/system-a".to_owned(), Some(Slot::A)),
        (format!("root=tmpfs usr=PARTUUID={b}"), Some(Slot::B)),
        (format!("root=PARTUUID={b} root=PARTUUID={a}"), Some(Slot::A)),
        (format!("root=PARTUUID={a} usr=PARTUUID={b}"), None),
        ("root=PARTLABEL=data".to_owned(), None),
        ("root=flipside:system".to_owned(), None),
        ("root=PARTUUID=junk".to_owned(), None),
    ] {
        host.write("proc/cmdline", &line);
        assert_eq!(determine_on(&host, Vec::new()).ok().map(|r| r.slot), expected, "{line}");
    }
}

#[test]
fn p1_what_runs_is_protected() {
    let host = host("25 1 254:2 / / ro - ext4 /dev/vda2 ro\n");
    let running = determine_on(&host, Vec::new()).unwrap();
    let disk = host.disk();
    for (label, expected) in [("system-a", true), ("system-b", false), ("data", false)] {
        let identity = disk.identity(disk.by_label(label).unwrap()).unwrap();
        assert_eq!(running.protected.has(&identity), expected, "{label}");
    }
    // Also where the loader alone tells, and what no slot owns but / stands on.
    let host = self::host("25 1 254:4 / / rw - ext4 /dev/vda4 rw\n");
    let running = determine_on(&host, vec![say(Slot::B)]).unwrap();
    let disk = host.disk();
    for (label, expected) in [("system-a", false), ("system-b", true), ("data", true)] {
        let identity = disk.identity(disk.by_label(label).unwrap()).unwrap();
        assert_eq!(running.protected.has(&identity), expected, "{label}");
    }
}
