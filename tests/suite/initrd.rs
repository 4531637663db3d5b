// SPDX-License-Identifier: MIT OR Apache-2.0

//! Which slot was booted, as the initrd's shell programs tell it from variables and the command
//! line.

use std::process::Command;

use crate::support::initrd::{Initrd, PROGRAMS, shells};
use crate::support::nvram::{self, ESP, OTHER_ESP};

/// What a variable of the boot loader interface says; `Boot` stands for BootCurrent, whose entry
/// starts this file.
type Told<'a> = &'a [(&'a str, &'a str)];

fn initrd(cmdline: &str, told: Told<'_>) -> Initrd {
    let initrd = Initrd::new();
    initrd.write("proc/cmdline", cmdline);
    for (name, value) in told {
        match *name {
            "Boot" => {
                initrd.nvram.set("BootCurrent", &[0x1a, 0xb0]);
                initrd.nvram.set("BootB01A", &nvram::file(value));
            }
            name => initrd.nvram.set_loader(name, value),
        }
    }
    initrd
}

const A: &str = "\\EFI\\flipside\\boot-a.efi";
const B: &str = "\\EFI\\flipside\\boot-b.efi";

/// What is tried, the command line, what is told, and the slot with its source.
type Case<'a> = (&'a str, &'a str, Told<'a>, Option<(&'a str, &'a str)>);

#[test]
fn the_first_source_that_names_a_slot_tells_it() {
    let esp = ESP.uuid.to_string().to_uppercase();
    let here = esp.as_str();
    let other = OTHER_ESP.uuid.to_string();
    let there = other.as_str();
    let all_but: [(&str, &str); 5] = [
        ("LoaderDevicePartUUID", here),
        ("StubImageIdentifier", B),
        ("LoaderEntrySelected", "flipside-b.conf"),
        ("LoaderImageIdentifier", B),
        ("Boot", B),
    ];
    let mut told_a = all_but;
    told_a[1].1 = A;
    let mut selected_a = all_but;
    selected_a[2].1 = "flipside-a.conf";
    let mut loader_a = all_but;
    loader_a[3].1 = A;
    let cases: &[Case<'_>] = &[
        ("nothing", "", &[], None),
        ("kexec", "flipside.slot=a", &all_but, Some(("a", "flipside.slot"))),
        ("kexec, in capitals", "flipside.slot=A", &all_but, Some(("a", "flipside.slot"))),
        ("the last", "flipside.slot=b flipside.slot=a", &all_but, Some(("a", "flipside.slot"))),
        ("the stub before the entry", "", &told_a, Some(("a", "StubImageIdentifier"))),
        ("the entry before the loader", "", &selected_a[2..4], Some(("a", "LoaderEntrySelected"))),
        ("the loader", "", &loader_a[3..4], Some(("a", "LoaderImageIdentifier"))),
        (
            "the firmware, where what it tried before did not start",
            "",
            &[
                ("LoaderDevicePartUUID", here),
                ("LoaderEntrySelected", "flipside-b.conf"),
                ("LoaderImageIdentifier", B),
                ("Boot", A),
            ],
            Some(("a", "BootCurrent")),
        ),
        ("the firmware", "", &[("Boot", A)], Some(("a", "BootCurrent"))),
        (
            "systemd-boot from the removable path",
            "",
            &[
                ("LoaderDevicePartUUID", here),
                ("LoaderImageIdentifier", "\\EFI\\BOOT\\BOOTX64.EFI"),
                ("LoaderEntrySelected", "flipside-b.conf"),
                ("Boot", "\\EFI\\BOOT\\BOOTX64.EFI"),
            ],
            Some(("b", "LoaderEntrySelected")),
        ),
        (
            "counted tries",
            "",
            &[("LoaderEntrySelected", "flipside-b+0-1.conf")],
            Some(("b", "LoaderEntrySelected")),
        ),
        (
            "tries left",
            "",
            &[("LoaderEntrySelected", "flipside-a+1.conf")],
            Some(("a", "LoaderEntrySelected")),
        ),
        (
            "an old loader",
            "",
            &[("LoaderEntrySelected", "flipside-a")],
            Some(("a", "LoaderEntrySelected")),
        ),
        (
            "another case",
            "",
            &[("LoaderImageIdentifier", "/efi/FLIPSIDE/Boot-B.EFI")],
            Some(("b", "LoaderImageIdentifier")),
        ),
        (
            "doubled separators",
            "",
            &[("LoaderImageIdentifier", "\\EFI\\\\flipside\\\\boot-b.efi")],
            Some(("b", "LoaderImageIdentifier")),
        ),
        (
            "a stub on another partition than the loader",
            "",
            &[
                ("LoaderDevicePartUUID", here),
                ("StubDevicePartUUID", there),
                ("StubImageIdentifier", A),
                ("Boot", B),
            ],
            Some(("b", "BootCurrent")),
        ),
        ("an entry for another partition", "", &[("StubDevicePartUUID", there), ("Boot", B)], None),
        ("kexec without loader", "ro flipside.slot=b", &[], Some(("b", "flipside.slot"))),
    ];
    for shell in shells() {
        for (name, cmdline, told, expected) in cases {
            let initrd = initrd(cmdline, told);
            let output = initrd.run(shell, "decide");
            assert!(output.status.success(), "{shell:?}: {name}: {output:?}");
            let slot = initrd.answer("slot");
            assert_eq!(slot.as_deref(), expected.map(|(slot, _)| slot), "{shell:?}: {name}");
            let said = String::from_utf8(output.stderr).unwrap();
            let source = expected.map_or("", |(_, source)| source);
            assert!(said.trim_end().ends_with(source), "{shell:?}: {name}: {said}");
        }
    }
}

#[test]
fn the_esp_is_the_partition_that_was_booted_from() {
    let (here, there) = (ESP.uuid.to_string(), OTHER_ESP.uuid.to_string());
    for shell in shells() {
        for (told, expected) in [
            (&[("LoaderDevicePartUUID", here.to_uppercase())][..], Some(&here)),
            (&[("StubDevicePartUUID", there.clone())], Some(&there)),
            (
                &[("LoaderDevicePartUUID", here.clone()), ("StubDevicePartUUID", there.clone())],
                Some(&here),
            ),
            (
                &[("LoaderDevicePartUUID", "junk".into()), ("StubDevicePartUUID", there.clone())],
                Some(&there),
            ),
            (&[("LoaderDevicePartUUID", format!("{here}0"))], None),
            (&[("Boot", B.to_owned())], Some(&here)),
            (&[("Boot", "\\EFI\\debian\\shimx64.efi".to_owned())], None),
        ] {
            let told: Vec<_> = told.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let initrd = initrd("", &told);
            assert!(initrd.run(shell, "decide").status.success());
            assert_eq!(initrd.answer("esp").as_ref(), expected, "{shell:?}: {told:?}");
        }
    }
}

#[test]
fn what_names_no_slot_is_passed_over_and_never_run() {
    let utf16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    let b = utf16(B);
    let contents: Vec<Vec<u8>> = vec![
        vec![],
        vec![0],
        vec![0, 0],
        b[..b.len() - 1].to_vec(),
        [&b[..], &[0x41]].concat(),
        [&b[..], &utf16("x")].concat(),
        utf16("$(touch run-by-shell)"),
        utf16("`touch run-by-shell`"),
        utf16("'; touch run-by-shell; '"),
        utf16("\"; touch run-by-shell; \""),
        utf16("*"),
        utf16("a b"),
        utf16("-n"),
        utf16("flipside-b+x.conf"),
        utf16("flipside-b+.conf"),
        utf16("flipside-b+1-1.conf.conf"),
        utf16("flipside-c.conf"),
        utf16("\\EFI\\flipside\\boot-b.efi.bak"),
        utf16("\\EFI\\flipside\\..\\flipside\\boot-b.efi"),
        utf16("\\EFI\\flipside\\boot-\u{251}.efi"),
        B.as_bytes().to_vec(),
        vec![0xff; 9000],
    ];
    for shell in shells() {
        let initrd = initrd("", &[]);
        std::fs::create_dir(initrd.path("run-here")).unwrap();
        for data in &contents {
            for name in ["StubImageIdentifier", "LoaderEntrySelected", "LoaderDevicePartUUID"] {
                initrd.nvram.set_loader_data(name, data);
            }
            for name in ["BootCurrent", "BootNext", "BootB01A"] {
                initrd.nvram.set(name, data);
            }
            let mut command = initrd.command(shell, "decide");
            let output = command.current_dir(initrd.path("run-here")).output().unwrap();
            assert!(output.status.success(), "{shell:?}: {data:x?}: {output:?}");
            assert!(output.stderr.is_empty(), "{shell:?}: {data:x?}: {output:?}");
            assert_eq!(initrd.answer("slot"), None, "{shell:?}: {data:x?}");
            assert_eq!(initrd.answer("esp"), None, "{shell:?}: {data:x?}");
            assert!(!initrd.path("run-here/run-by-shell").exists(), "{shell:?}: {data:x?}");
        }
    }
}

#[test]
fn entries_that_are_cut_short_name_nothing() {
    for shell in shells() {
        let whole = nvram::file(B);
        let initrd = initrd("", &[("Boot", B)]);
        // Each length costs some processes: the path's ends and a few in between.
        for length in (0..whole.len() - 6).step_by(5) {
            initrd.nvram.set("BootB01A", &whole[..length]);
            let output = initrd.run(shell, "decide");
            assert!(output.status.success() && output.stderr.is_empty(), "{length}: {output:?}");
            assert_eq!(initrd.answer("slot"), None, "{shell:?}: {length}");
        }
    }
}

#[test]
fn the_command_line_is_split_as_the_kernel_does() {
    for shell in shells() {
        for (cmdline, expected) in [
            ("quiet flipside.slot=b", Some("b")),
            ("flipside.slot=\"b\"\n", Some("b")),
            ("\"flipside.slot=b\"", Some("b")),
            ("x=\"y flipside.slot=b\"", None),
            ("x=\"y flipside.slot=b\" flipside.slot=a", Some("a")),
            ("flipside.slot=a -- flipside.slot=b", Some("a")),
            ("xflipside.slot=a flipside.slots=b", None),
            ("* ? [ab] flipside.slot=a ~", Some("a")),
            ("", None),
        ] {
            let initrd = initrd(cmdline, &[]);
            assert!(initrd.run(shell, "decide").status.success(), "{shell:?}: {cmdline}");
            assert_eq!(initrd.answer("slot").as_deref(), expected, "{shell:?}: {cmdline}");
        }
    }
}

#[test]
fn a_slot_on_the_command_line_that_is_none_ends_the_boot() {
    for shell in shells() {
        for value in ["c", "", "ab", "$(reboot)", "a;b", "/dev/vda2"] {
            let initrd = initrd(&format!("flipside.slot={value}"), &[("Boot", B)]);
            for command in ["decide", "settle", "check"] {
                let output = initrd.run(shell, command);
                assert_eq!(output.status.code(), Some(3), "{shell:?}: {value}: {output:?}");
            }
            assert_eq!(initrd.answer("slot"), None, "{shell:?}: {value}");
        }
    }
}

#[test]
fn boot_next_is_cleared_where_the_firmware_left_it_on_the_entry_that_it_booted() {
    let foreign = "\\EFI\\debian\\shimx64.efi";
    for shell in shells() {
        for (name, cmdline, file, next, expected) in [
            ("left behind", "", B, [0x1a, 0xb0], false),
            ("for another boot", "", B, [0x1b, 0xb0], true),
            ("after a kexec", "flipside.slot=a", B, [0x1a, 0xb0], true),
            ("of another system", "", foreign, [0x1a, 0xb0], true),
        ] {
            let initrd = initrd(cmdline, &[("Boot", file)]);
            initrd.nvram.set("BootNext", &next);
            assert!(initrd.run(shell, "decide").status.success(), "{shell:?}: {name}");
            assert_eq!(initrd.nvram.data("BootNext").is_some(), expected, "{shell:?}: {name}");
            assert!(initrd.nvram.data("BootCurrent").is_some());
        }
    }
}

#[test]
fn only_a_boot_of_flipsides_ends_in_a_reboot_instead_of_a_shell() {
    for shell in shells() {
        for (cmdline, told, expected, panic) in [
            ("root=/dev/vda2", &[][..], false, "0"),
            ("root=/dev/vda2", &[("Boot", A)], true, "10"),
            ("root=flipside:system", &[], true, "10"),
            ("root=/dev/flipside/system ro", &[], true, "10"),
            ("roothash=12 systemd.verity_root_data=/dev/flipside/system", &[], true, "10"),
            ("root=flipside:system panic=30", &[], true, "0"),
            ("root=flipside:system flipside.shell", &[], false, "0"),
        ] {
            let initrd = initrd(cmdline, told);
            // Read byte by byte, the kernel gives no line feed.
            initrd.write("proc/sys/kernel/panic", "0");
            assert!(initrd.run(shell, "decide").status.success(), "{shell:?}: {cmdline}");
            let reboots = initrd.run(shell, "reboots").status.success();
            assert_eq!(reboots, expected, "{shell:?}: {cmdline}");
            let written = std::fs::read_to_string(initrd.path("proc/sys/kernel/panic")).unwrap();
            assert_eq!(written.trim_end(), panic, "{shell:?}: {cmdline}");
        }
        // Set by others: theirs.
        let initrd = initrd("root=flipside:system", &[]);
        initrd.write("proc/sys/kernel/panic", "3\n");
        assert!(initrd.run(shell, "decide").status.success());
        assert_eq!(std::fs::read(initrd.path("proc/sys/kernel/panic")).unwrap(), b"3\n");
    }
}

#[test]
fn the_shell_programs_are_clean() {
    let packaging = std::path::Path::new(PROGRAMS).parent().unwrap();
    let mut scripts = Vec::new();
    let mut directories = vec![packaging.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let is_script = || std::fs::read(&path).unwrap().starts_with(b"#!/bin/");
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|end| end == "sh") || is_script() {
                scripts.push(path);
            }
        }
    }
    assert!(scripts.len() > 5, "{scripts:?}");
    match Command::new("shellcheck").args(["-x", "-P", PROGRAMS]).args(&scripts).output() {
        Ok(output) => {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        }
        Err(error) => println!("skipped: shellcheck: {error}"),
    }
}
