// SPDX-License-Identifier: MIT OR Apache-2.0

//! The machine ID that outlives the slots: what promote keeps, and what the initrd's shell program
//! binds over the root's before PID 1 is started. That a real kernel mounts it is seen in a virtual
//! machine.

use std::fs;

use crate::support::initrd::{Initrd, shells};
use crate::support::program_host::ProgramHost;

const ESP: &str = "3f6e2a51-9c04-4b7d-8e12-5a0d6c7b8f90";
const ID: &str = "0123456789abcdef0123456789abcdef";
const DATA: &str = "00000000-0000-0000-0000-0000000000da";
const LAYOUT: [(&str, &str); 4] = [
    ("ESP", ESP),
    ("system-a", "00000000-0000-0000-0000-00000000000a"),
    ("system-b", "00000000-0000-0000-0000-00000000000b"),
    ("data", DATA),
];
const FSTAB: &str = "# a comment\n\
     /dev/flipside/system / auto defaults,ro 0 0\n\
     PARTLABEL=esp /efi vfat umask=0077 0 2\n\
     PARTLABEL=data /var ext4 defaults 0 2\n\
     tmpfs /tmp tmpfs mode=1777 0 0";

/// In slot A, with a root that has no ID; the ID is kept in `file` of the data partition `vda4`,
/// which is an ext4, is called `DATA` as that, and can be mounted.
fn booted(fstab: Option<&str>, file: &str) -> Initrd {
    let initrd = Initrd::new();
    initrd.disk("vda", &LAYOUT);
    initrd.nvram.set_loader("LoaderDevicePartUUID", ESP);
    initrd.nvram.set_loader("StubImageIdentifier", "\\EFI\\flipside\\boot-a.efi");
    initrd.write("root/etc/machine-id", "uninitialized\n");
    if let Some(fstab) = fstab {
        initrd.write("root/etc/fstab", fstab);
    }
    initrd.program("modprobe", "exit 0");
    initrd.program("udevadm", "exit 0");
    initrd.program(
        "blkid",
        "case \"$*\" in *' TYPE '*/dev/vda4) echo ext4 ;; *' LABEL '*/dev/vda4) echo DATA ;; esac",
    );
    // What the file system holds stands where it is mounted.
    initrd.program(
        "mount",
        "echo \"$*\" >>\"$FLIPSIDE_ROOT/mounts\"
         case \"$*\" in '-t ext4 -o ro,'*/dev/vda4' '*) ;; '-o bind '*) ;;
         *) exit 1 ;; esac",
    );
    initrd.program("umount", "echo \"umount $*\" >>\"$FLIPSIDE_ROOT/mounts\"");
    initrd.write(&format!("run/flipside/boot/data/{file}"), format!("{ID}\n"));
    initrd
}

/// What is bound over the root's ID.
fn bound(initrd: &Initrd, shell: &[&str]) -> Option<String> {
    assert!(initrd.run(shell, "decide").status.success());
    let mut command = initrd.command(shell, "machine-id");
    let output = command.arg(initrd.path("root")).output().unwrap();
    assert!(output.status.success(), "{shell:?}: {output:?}");
    let mounts = fs::read_to_string(initrd.path("mounts")).unwrap_or_default();
    let is_open = |line: &&str| line.starts_with("-t ");
    let closed = mounts.lines().filter(|line| line.starts_with("umount ")).count();
    assert_eq!(mounts.lines().filter(is_open).count(), closed, "what is mounted is unmounted");
    let line = mounts.lines().find(|line| line.starts_with("-o bind "))?;
    let (from, to) = line.strip_prefix("-o bind ").unwrap().split_once(' ').unwrap();
    assert!(to.ends_with("root/etc/machine-id"), "{line}");
    Some(fs::read_to_string(from).unwrap().trim_end().to_owned())
}

#[test]
fn the_id_of_the_data_partition_is_bound_over_a_root_without_one() {
    let usual = "lib/flipside/machine-id";
    let line = |device: &str| FSTAB.replace("PARTLABEL=data", device);
    for shell in shells() {
        for (name, fstab, file) in [
            ("by its label", Some(FSTAB.to_owned()), usual),
            ("by its GUID", Some(line(&format!("PARTUUID={DATA}"))), usual),
            ("by its link", Some(line("/dev/disk/by-partlabel/data")), usual),
            ("by its file system", Some(line("LABEL=DATA")), usual),
            ("by its name", Some(line("/dev/vda4")), usual),
            ("without an fstab", None, usual),
            ("without a line for it", Some("PARTLABEL=esp /efi vfat - 0 2\n".to_owned()), usual),
            (
                "mounted at /var/lib",
                Some(FSTAB.replace("/var ", "/var/lib/ ")),
                "flipside/machine-id",
            ),
            (
                "by a bind mount",
                Some(FSTAB.replace("/var ", "/data ") + "\n/data/host /var none bind 0 0"),
                "host/lib/flipside/machine-id",
            ),
            (
                "the innermost line",
                Some(FSTAB.to_owned() + "\nPARTLABEL=x /var/log ext4 - 0 0\n"),
                usual,
            ),
        ] {
            let initrd = booted(fstab.as_deref(), file);
            assert_eq!(bound(&initrd, shell).as_deref(), Some(ID), "{shell:?}: {name}");
        }
    }
}

#[test]
fn a_root_with_an_id_of_its_own_keeps_it() {
    for shell in shells() {
        for (text, expected) in [
            ("fedcba9876543210fedcba9876543210\n", None),
            ("fedcba9876543210fedcba9876543210", None),
            ("", Some(ID)),
            ("uninitialized", Some(ID)),
            ("00000000000000000000000000000000\n", Some(ID)),
        ] {
            let initrd = booted(Some(FSTAB), "lib/flipside/machine-id");
            initrd.write("root/etc/machine-id", text);
            assert_eq!(bound(&initrd, shell).as_deref(), expected, "{shell:?}: {text:?}");
        }
        // Without the file there is nothing to bind it to.
        let initrd = booted(Some(FSTAB), "lib/flipside/machine-id");
        fs::remove_file(initrd.path("root/etc/machine-id")).unwrap();
        assert_eq!(bound(&initrd, shell), None, "{shell:?}");
    }
}

#[test]
fn whatever_is_missing_for_the_id_ends_no_boot() {
    type Change = fn(&Initrd);
    let changes: [(&str, Change); 7] = [
        ("the first boot: no file system", |initrd| initrd.program("blkid", "exit 2")),
        ("nothing is kept", |initrd| {
            fs::remove_file(initrd.path("run/flipside/boot/data/lib/flipside/machine-id")).unwrap();
        }),
        ("no ID is kept", |initrd| {
            initrd.write("run/flipside/boot/data/lib/flipside/machine-id", "$(reboot)\n");
        }),
        ("it cannot be mounted", |initrd| initrd.program("mount", "exit 32")),
        ("a volatile /var", |initrd| {
            let fstab = FSTAB.replace("PARTLABEL=data /var ext4", "tmpfs /var tmpfs");
            initrd.write("root/etc/fstab", fstab);
            fs::remove_file(initrd.path("dev/vda4")).unwrap();
        }),
        ("no such partition", |initrd| {
            initrd.write("root/etc/fstab", FSTAB.replace("PARTLABEL=data", "UUID=1"));
        }),
        ("binds that go round", |initrd| {
            initrd.write("root/etc/fstab", "/var /var none bind 0 0\n");
            fs::remove_file(initrd.path("dev/vda4")).unwrap();
        }),
    ];
    for shell in shells() {
        for (name, change) in changes {
            let initrd = booted(Some(FSTAB), "lib/flipside/machine-id");
            change(&initrd);
            assert_eq!(bound(&initrd, shell), None, "{shell:?}: {name}");
        }
    }
}

#[test]
fn the_id_of_another_system_is_left_alone() {
    for shell in shells() {
        let initrd = booted(Some(FSTAB), "lib/flipside/machine-id");
        let loader = initrd.nvram.directory.path().join("sys/firmware/efi/efivars");
        fs::remove_dir_all(loader).unwrap();
        assert_eq!(bound(&initrd, shell), None, "{shell:?}");
    }
}

#[test]
fn a_promote_keeps_the_machine_id_for_both_slots_once() {
    let host = ProgramHost::new();
    let kept = "var/lib/flipside/machine-id";
    host.write("etc/machine-id", "0123456789abcdef0123456789abcdef\n");
    let promote = || assert!(host.program(["promote"]).status.success());
    promote();
    assert!(!host.file(kept).exists(), "the initrd part did not boot this host");
    host.write("run/flipside/boot/slot", "a\n");
    promote();
    assert_eq!(fs::read_to_string(host.file(kept)).unwrap(), "0123456789abcdef0123456789abcdef\n");
    // P10: once.
    let before = host.snapshot();
    host.write("etc/machine-id", "fedcba9876543210fedcba9876543210\n");
    promote();
    host.assert_unchanged_since(&before, "promote");
}
