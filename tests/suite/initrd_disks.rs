// SPDX-License-Identifier: MIT OR Apache-2.0

//! Which partitions the initrd gives names, and which boots it refuses.

use std::fs;
use std::os::unix::fs::symlink;

use crate::support::initrd::{Initrd, shells};

const ESP: &str = "3f6e2a51-9c04-4b7d-8e12-5a0d6c7b8f90";
const LAYOUT: [(&str, &str); 6] = [
    ("ESP", ESP),
    ("system-a", "00000000-0000-0000-0000-00000000000a"),
    ("system-b", "00000000-0000-0000-0000-00000000000b"),
    ("v a", "00000000-0000-0000-0000-00000000001a"),
    ("v b", "00000000-0000-0000-0000-00000000001b"),
    ("", "00000000-0000-0000-0000-0000000000ff"),
];
/// The same disk without the ESP that was booted from.
const OTHER_LAYOUT: [(&str, &str); 3] = [
    ("ESP", "3f6e2a51-9c04-4b7d-8e12-000000000000"),
    ("system-a", "00000000-0000-0000-0000-0000000000aa"),
    ("system-b", "00000000-0000-0000-0000-0000000000bb"),
];

fn booted(slot: &str) -> Initrd {
    let initrd = Initrd::new();
    initrd.disk("vda", &LAYOUT);
    initrd.nvram.set_loader("LoaderDevicePartUUID", ESP);
    let id = format!("\\EFI\\flipside\\boot-{slot}.efi");
    initrd.nvram.set_loader("StubImageIdentifier", &id);
    initrd
}

#[test]
fn the_partitions_of_the_booted_slot_are_called_after_their_payloads() {
    for shell in shells() {
        let initrd = booted("b");
        initrd.disk("vdb", &OTHER_LAYOUT);
        assert_eq!(initrd.name(shell, "vda", 3, "system-b"), None, "nothing is decided");
        assert!(initrd.run(shell, "decide").status.success());
        for (disk, number, label, expected) in [
            ("vda", 1, "ESP", None),
            ("vda", 2, "system-a", None),
            ("vda", 3, "system-b", Some("system")),
            ("vda", 4, "v a", None),
            ("vda", 5, "v b", Some("verity")),
            ("vda", 6, "$(reboot)", None),
            ("vda", 6, "", None),
            ("vdb", 3, "system-b", None),
        ] {
            let name = initrd.name(shell, disk, number, label);
            assert_eq!(name.as_deref(), expected, "{shell:?}: {disk}{number}");
        }
        // The system that comes up has no labels there, and a database that remembers.
        fs::remove_file(initrd.path("usr/lib/flipside/labels")).unwrap();
        assert_eq!(initrd.name(shell, "vda", 3, "system-b"), None);
    }
}

#[test]
fn kernels_that_tell_no_guids_have_blkid_asked() {
    for shell in shells() {
        let initrd = Initrd::new();
        initrd.disk("vda", &LAYOUT.map(|(label, _)| (label, "")));
        initrd.nvram.set_loader("LoaderDevicePartUUID", ESP);
        initrd.nvram.set_loader("StubImageIdentifier", "\\EFI\\flipside\\boot-a.efi");
        initrd.program(
            "blkid",
            &format!("[ \"$1$2$3$4$5\" = -p-sPART_ENTRY_UUID-ovalue ] || exit 1\ncase $6 in */dev/vda1) echo {ESP} ;; esac"),
        );
        assert!(initrd.run(shell, "decide").status.success());
        assert_eq!(initrd.name(shell, "vda", 2, "system-a").as_deref(), Some("system"));
        assert_eq!(initrd.name(shell, "vda", 3, "system-b"), None);
    }
}

#[test]
fn without_a_named_esp_the_only_disk_with_slots_is_taken() {
    for shell in shells() {
        let initrd = Initrd::new();
        initrd.write("proc/cmdline", "flipside.slot=b");
        initrd.disk("sda", &[("ESP", "1"), ("data", "2")]);
        assert!(initrd.run(shell, "decide").status.success());
        assert_eq!(initrd.run(shell, "settle").status.code(), Some(1), "no such disk yet");
        initrd.disk("vda", &LAYOUT);
        assert_eq!(initrd.name(shell, "vda", 3, "system-b"), None);
        assert_eq!(initrd.run(shell, "settle").status.code(), Some(1), "no link yet");
        assert_eq!(initrd.answer("disk").as_deref(), Some("vda"));
        assert_eq!(initrd.name(shell, "vda", 3, "system-b").as_deref(), Some("system"));
        initrd.write("dev/flipside/system", "");
        assert_eq!(initrd.run(shell, "settle").status.code(), Some(0));
    }
}

#[test]
fn in_doubt_between_disks_the_boot_is_refused() {
    for shell in shells() {
        let initrd = Initrd::new();
        initrd.write("proc/cmdline", "flipside.slot=b");
        initrd.disk("vda", &LAYOUT);
        initrd.disk("vdb", &OTHER_LAYOUT);
        assert!(initrd.run(shell, "decide").status.success());
        for command in ["settle", "settle", "check"] {
            let output = initrd.run(shell, command);
            assert_eq!(output.status.code(), Some(3), "{shell:?}: {command}: {output:?}");
            let said = String::from_utf8(output.stderr).unwrap();
            assert!(said.contains("several disks hold slots"), "{said}");
        }
        assert_eq!(initrd.name(shell, "vda", 3, "system-b"), None);

        // A copy of the whole disk, the ESP's GUID with it.
        let initrd = booted("a");
        initrd.disk("vdb", &LAYOUT);
        assert!(initrd.run(shell, "decide").status.success());
        let output = initrd.run(shell, "check");
        assert_eq!(output.status.code(), Some(3), "{shell:?}: {output:?}");

        // Two partitions with the label.
        let initrd = booted("a");
        initrd.disk("vdc", &[("x", "1")]);
        assert!(initrd.run(shell, "decide").status.success());
        assert_eq!(initrd.run(shell, "check").status.code(), Some(0), "{shell:?}");
        initrd.write("sys/devices/pci0000:00/vda/vda6/uevent", "DEVNAME=vda6\nPARTNAME=system-a\n");
        assert_eq!(initrd.run(shell, "check").status.code(), Some(3), "{shell:?}");
    }
}

#[test]
fn a_link_that_leads_elsewhere_ends_the_boot() {
    for shell in shells() {
        for (link, expected) in [("../vda2", 0), ("../vdb2", 3), ("../vda3", 3), ("../mapper/x", 3)]
        {
            let initrd = booted("a");
            assert!(initrd.run(shell, "decide").status.success());
            fs::create_dir(initrd.path("dev/flipside")).unwrap();
            symlink(link, initrd.path("dev/flipside/system")).unwrap();
            let output = initrd.run(shell, "check");
            assert_eq!(output.status.code(), Some(expected), "{shell:?}: {link}: {output:?}");
        }
    }
}

#[test]
fn where_nothing_tells_the_boot_files_decide() {
    let program: &[u8] = b"MZ\x78\0";
    for shell in shells() {
        for (a, b, expected) in [
            (Some(program), None, Some("a")),
            (None, Some(program), Some("b")),
            (Some(program), Some(program), Some("a")),
            // One that is being written has no first sector.
            (Some(&[0; 512][..]), Some(program), Some("b")),
            (Some(&[][..]), Some(program), Some("b")),
            (None, None, None),
        ] {
            let initrd = Initrd::new();
            initrd.disk("vda", &LAYOUT);
            initrd.nvram.set_loader("LoaderDevicePartUUID", ESP);
            // A kernel's part; that a real one mounts the ESP is seen in a virtual machine.
            initrd.program("modprobe", "exit 1");
            initrd.program("umount", "exit 0");
            initrd.program(
                "mount",
                "case \"$*\" in '-t vfat -o ro,'*'/dev/vda1 '*) exit 0 ;; esac; exit 1",
            );
            for (slot, content) in [("a", a), ("b", b)] {
                let Some(content) = content else { continue };
                initrd
                    .write(&format!("run/flipside/boot/efi/EFI/flipside/boot-{slot}.efi"), content);
            }
            assert!(initrd.run(shell, "decide").status.success());
            let output = initrd.run(shell, "settle");
            let status = if expected.is_some() { 1 } else { 3 };
            assert_eq!(output.status.code(), Some(status), "{shell:?}: {output:?}");
            assert_eq!(initrd.answer("slot").as_deref(), expected, "{shell:?}");
        }
    }
}

#[test]
fn on_another_host_nothing_is_done() {
    for shell in shells() {
        let initrd = Initrd::new();
        initrd.disk("sda", &[("ESP", ESP), ("root", "1")]);
        initrd.nvram.set_loader("LoaderDevicePartUUID", ESP);
        for (command, expected) in [("decide", 0), ("is-boot", 1), ("check", 0), ("reboots", 1)] {
            let output = initrd.run(shell, command);
            assert_eq!(output.status.code(), Some(expected), "{shell:?}: {command}: {output:?}");
        }
        assert_eq!(initrd.name(shell, "sda", 2, "root"), None);
    }
}
