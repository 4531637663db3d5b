// SPDX-License-Identifier: MIT OR Apache-2.0

//! The machine in a directory: what boots, what is judged whole, and that its judge is nobody's
//! relative.

use std::fs;
use std::path::Path;

use flipside::cli::new_machine;
use flipside_image::Architecture;
use flipside_publish::disk::{Plan, SectorSize};
use flipside_sim::{self as sim, BootOptions, NewOptions, Power, Promote, Promotion};

use crate::support::documents;
use crate::support::images::{ImageBuilder, kernel};
use crate::support::sim_machine::SimMachine;

#[test]
fn the_simulator_shares_no_code_with_the_updater() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/sim");
    let allowed = ["image::"];
    let mut files = 0;
    for file in fs::read_dir(sources).unwrap() {
        let path = file.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        for (_, used) in
            text.match_indices("flipside_").map(|(at, word)| (at, &text[at + word.len()..]))
        {
            let word = used.split_whitespace().next().unwrap();
            assert!(
                allowed.iter().any(|start| used.starts_with(start)),
                "{}: {word}",
                path.display()
            );
        }
        for wanted in ["super::super::", "flipside::", "flipside-core", "flipside-publish"] {
            assert!(!text.contains(wanted), "{}: {wanted}", path.display());
        }
        files += 1;
    }
    assert!(files > 10, "the sources are elsewhere");
}

#[test]
fn a_new_machine_is_a_whole_host_that_boots_slot_a() {
    for (sector_size, bytes) in [(SectorSize::Bytes512, 512), (SectorSize::Bytes4096, 4096)] {
        let disk = Plan { sector_size: Some(sector_size), ..Plan::default() };
        let machine = SimMachine::on_disk(&disk, |_| {});
        for file in [
            "disk.img",
            "efi/EFI/flipside/boot-a.efi",
            "efi/EFI/BOOT/BOOTX64.EFI",
            "efi/loader/entries/flipside-a.conf",
            "etc/os-release",
            "etc/flipside/flipside.toml",
            "proc/cmdline",
            "proc/sys/kernel/random/boot_id",
            "var/lib/flipside",
            "run/flipside",
        ] {
            assert!(machine.directory.join(file).exists(), "{bytes}: {file}");
        }
        assert_eq!(machine.order(), Some(vec![0, 1, 2]));
        assert_eq!(machine.read("BootCurrent").as_deref(), Some(&[0, 0][..]));
        for name in ["StubImageIdentifier", "LoaderImageIdentifier"] {
            assert_eq!(machine.text(name).as_deref(), Some("\\EFI\\flipside\\boot-a.efi"));
        }
        assert_eq!(machine.text("StubDevicePartUUID"), machine.text("LoaderDevicePartUUID"));
        let config = fs::read_to_string(machine.directory.join("etc/flipside/flipside.toml"));
        assert!(config.unwrap().contains(&format!("oci:{}", machine.two.layout.display())));
        assert_eq!(machine.judged_plainly(), "A 1.0");
        assert_eq!(machine.boot_to_success('a'), "A 1.0 (promoted)");
        assert_eq!(machine.judged(&Power { wipe_nvram: true, ..Power::default() }), "A 1.0");
    }
}

#[test]
fn a_boot_has_a_new_boot_id_an_empty_run_and_its_own_root() {
    let machine = SimMachine::with_both();
    let read = |name| fs::read_to_string(machine.directory.join(name)).unwrap();
    let (id, root) = (read("proc/sys/kernel/random/boot_id"), read("proc/cmdline"));
    fs::write(machine.directory.join("run/flipside/lock"), "").unwrap();
    machine.set_next(3);
    assert_eq!(machine.boot_to_success('b'), "B 2.0 (promoted)");
    assert_ne!(read("proc/sys/kernel/random/boot_id"), id);
    assert_ne!(read("proc/cmdline"), root);
    assert!(read("etc/os-release").contains("VERSION_ID=\"2.0\""));
    assert!(!machine.directory.join("run/flipside/lock").exists());
    assert_eq!(machine.read("BootNext"), None, "consumed");
    assert_eq!(machine.read("BootCurrent").as_deref(), Some(&[3, 0][..]));
}

#[test]
fn a_trial_that_is_not_promoted_falls_back_once() {
    let machine = SimMachine::with_both();
    machine.prove('a');
    machine.set_next(3);
    assert_eq!(machine.boot_with(&[]), "B 2.0 (trial)");
    assert_eq!(machine.boot_to_success('a'), "A 1.0 (fell back)");
    assert_eq!(machine.boot_to_success('a'), "A 1.0 (promoted)");
}

#[test]
fn boot_next_that_cannot_be_started_falls_back_at_once() {
    let machine = SimMachine::with_both();
    machine.prove('a');
    machine.set_next(3);
    fs::remove_file(machine.esp("EFI/flipside/boot-b.efi")).unwrap();
    assert_eq!(machine.boot_with(&[]), "A 1.0 (fell back)");
    assert_eq!(machine.boot_with(&[]), "A 1.0 (promoted)");
}

#[test]
fn what_the_judge_says_of_a_damaged_machine() {
    type Damage = fn(&SimMachine);
    fn zero_first_sector(machine: &SimMachine, path: &str) {
        let mut bytes = fs::read(machine.esp(path)).unwrap();
        bytes[..512].fill(0);
        fs::write(machine.esp(path), bytes).unwrap();
    }
    const A: &str = "EFI/flipside/boot-a.efi";
    const B: &str = "EFI/flipside/boot-b.efi";
    let cases: &[(&str, Damage, &str, &str)] = &[
        ("nothing", |_| {}, "B 2.0", "A 1.0"),
        ("no boot file B", |m| fs::remove_file(m.esp(B)).unwrap(), "A 1.0", "A 1.0"),
        ("B's boot file has no first sector", |m| zero_first_sector(m, B), "A 1.0", "A 1.0"),
        (
            "B's boot file has no first sector, and sorts first in the loader",
            |m| {
                zero_first_sector(m, B);
                m.write_loader_entry('a', 1);
                m.write_loader_entry('b', 0);
            },
            "A 1.0",
            "no boot entry could be started",
        ),
        (
            "B's boot file is cut short",
            |m| fs::write(m.esp(B), &m.two.payload("kernel.efi")[..9000]).unwrap(),
            "slot B crashes",
            "A 1.0",
        ),
        (
            "B's boot file has more at its end",
            |m| fs::write(m.esp(B), [m.two.payload("kernel.efi"), b"x"].concat()).unwrap(),
            "slot B crashes",
            "A 1.0",
        ),
        (
            "system-b is damaged",
            |m| m.write_partition("system-b", 299_999, b"?!"),
            "slot B: partition system-b is damaged",
            "A 1.0",
        ),
        (
            "more behind the payload",
            |m| m.write_partition("system-b", 300_000, b"?"),
            "B 2.0",
            "A 1.0",
        ),
        (
            "system-b holds 1.0",
            |m| m.write_partition("system-b", 0, m.one.payload("system")),
            "slot B mixes images: its boot file is of 2.0, its partition system-b of 1.0",
            "A 1.0",
        ),
        (
            "boot file B is of 1.0",
            |m| fs::write(m.esp(B), m.one.payload("kernel.efi")).unwrap(),
            "slot B mixes images: its boot file is of 1.0, its partition system-b of 2.0",
            "A 1.0",
        ),
        (
            "system-a is damaged",
            |m| m.write_partition("system-a", 0, &[0xff; 8]),
            "B 2.0",
            "slot A: partition system-a is damaged",
        ),
        (
            "both boot files are gone",
            |m| [A, B].iter().for_each(|path| fs::remove_file(m.esp(path)).unwrap()),
            "systemd-boot has no entry",
            "systemd-boot has no entry",
        ),
        (
            "the loader is damaged",
            |m| {
                fs::write(m.esp("EFI/BOOT/BOOTX64.EFI"), kernel(Architecture::X86_64, 5, 9000))
                    .unwrap()
            },
            "B 2.0",
            "the loader \\EFI\\BOOT\\BOOTX64.EFI is damaged",
        ),
        (
            "the disk has no partition table",
            |m| {
                let file =
                    fs::File::options().write(true).open(m.directory.join("disk.img")).unwrap();
                let end = file.metadata().unwrap().len();
                use std::os::unix::fs::FileExt as _;
                file.write_all_at(&[0; 512], 512).unwrap();
                file.write_all_at(&[0; 512], end - 512).unwrap();
            },
            "the disk cannot be read",
            "the disk cannot be read",
        ),
    ];
    for (name, damage, with_next, without_nvram) in cases {
        let machine = SimMachine::with_both();
        machine.set_next(3);
        damage(&machine);
        let judged = machine.judged_plainly();
        assert!(judged.starts_with(with_next), "{name}: {judged}");
        let judged = machine.judged(&Power { wipe_nvram: true, ..Power::default() });
        assert!(judged.starts_with(without_nvram), "{name}, without NVRAM: {judged}");
    }
}

#[test]
fn images_that_share_a_kernel_are_told_apart_by_their_system() {
    let temporary = tempfile::tempdir().unwrap();
    let same = kernel(Architecture::X86_64, 1, 20_000);
    let image = |version: &str| {
        ImageBuilder::new(version)
            .payload("kernel.efi", same.clone())
            .write(temporary.path().join(version))
    };
    let (one, two) = (image("1.0"), image("2.0"));
    let machine = SimMachine::with(|options| {
        options.images = [&one, &two].map(|i| format!("oci:{}", i.layout.display())).into();
    });
    assert_eq!(machine.judged_plainly(), "A 1.0");
    machine.write_partition("system-a", 0, two.payload("system"));
    assert_eq!(machine.judged_plainly(), "A 2.0");
}

#[test]
fn further_payloads_belong_to_the_image_as_well() {
    let temporary = tempfile::tempdir().unwrap();
    let image = |version: &str, byte: u8| {
        ImageBuilder::new(version)
            .payload("verity", vec![byte; 5000])
            .payload("notes", vec![byte; 10])
            .write(temporary.path().join(version))
    };
    let images = [image("1.0", 1), image("2.0", 2)];
    let machine = SimMachine::with(|options| {
        options.images = images.iter().map(|i| format!("oci:{}", i.layout.display())).collect();
        options.payloads = vec!["verity".into()];
    });
    let config = fs::read_to_string(machine.directory.join("etc/flipside/flipside.toml")).unwrap();
    assert!(config.contains("verity-a") && config.contains("verity-b"), "{config}");
    assert_eq!(machine.judged_plainly(), "A 1.0");
    machine.write_partition("verity-a", 0, &[2; 5000]);
    let judged = machine.judged_plainly();
    assert!(judged.contains("partition verity-a of 2.0"), "{judged}");
}

#[test]
fn a_failed_loader_leaves_its_traces_for_the_next_entry() {
    let machine = SimMachine::with_both();
    machine.write_loader_entry('b', 0);
    machine.write_loader_entry('a', 1);
    fs::write(machine.esp("EFI/flipside/boot-b.efi"), vec![0; 20_000]).unwrap();
    // The firmware's own entry for the disk first: systemd-boot, which ends at its first entry.
    machine.set_order(&[1, 0, 3]);
    assert_eq!(machine.boot_with(&[]), "A 1.0 (trial)");
    assert_eq!(machine.text("LoaderEntrySelected").as_deref(), Some("flipside-b.conf"));
    assert_eq!(machine.text("LoaderImageIdentifier").as_deref(), Some("\\EFI\\BOOT\\BOOTX64.EFI"));
    assert_eq!(machine.text("StubImageIdentifier").as_deref(), Some("\\EFI\\flipside\\boot-a.efi"));
}

#[test]
fn a_promotion_that_fails_is_told() {
    let machine = SimMachine::new();
    let fails = |_: &Path| Err("no".to_owned());
    let options = BootOptions { promote: Promote::Call(&fails), ..BootOptions::default() };
    let outcome = sim::boot(&machine.directory, &options).unwrap();
    assert_eq!(outcome.promotion, Promotion::Failed("no".into()));
    assert_eq!(outcome.booted.unwrap().1, sim::Ending::Trial);
}

#[test]
fn an_image_that_comes_later_is_learnt() {
    let machine = SimMachine::new();
    let three = ImageBuilder::new("3.0").write(machine.directory.join("../three"));
    machine.write_partition("system-a", 0, three.payload("system"));
    fs::write(machine.esp("EFI/flipside/boot-a.efi"), three.payload("kernel.efi")).unwrap();
    assert!(machine.judged_plainly().contains("damaged"));
    let images = vec![format!("oci:{}", three.layout.display())];
    let outcome = sim::boot(&machine.directory, &BootOptions { images, ..BootOptions::default() });
    assert_eq!(outcome.unwrap().booted.unwrap().0.version, "3.0");
    assert_eq!(machine.judged_plainly(), "A 3.0", "remembered");
}

fn flipside(arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_flipside"));
    let output = documents::output(command.args(arguments));
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn the_last_line_of_a_boot_says_how_it_ended() {
    let machine = SimMachine::with_both();
    let directory = machine.directory.to_str().unwrap();
    let last = |arguments: &[&str]| {
        let (status, text) = flipside(&[&["sim", "boot", directory], arguments].concat());
        (status, text.lines().last().unwrap().to_owned())
    };
    machine.prove('a');
    assert_eq!(last(&["--fail"]), (Some(0), "booted slot A: 1.0 (promoted)".into()));
    machine.set_next(3);
    assert_eq!(last(&["--fail"]), (Some(0), "booted slot B: 2.0 (trial)".into()));
    assert_eq!(last(&["--fail"]), (Some(0), "booted slot A: 1.0 (fell back)".into()));
    let quirks = ["--fail", "--quirk", "old-stub", "--quirk", "first-only", "--wipe-nvram"];
    assert_eq!(last(&quirks), (Some(0), "booted slot A: 1.0 (promoted)".into()));
    assert_eq!(flipside(&["sim", "boot", directory, "--quirk", "no-such"]).0, Some(2));
    let (status, json) = flipside(&["sim", "boot", directory, "--fail", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (status, &json["booted"]["slot"], &json["ending"]),
        (Some(0), &"a".into(), &"promoted".into())
    );
    fs::remove_dir_all(machine.esp("EFI")).unwrap();
    let (status, line) = last(&["--fail"]);
    assert!(status == Some(1) && line.starts_with("nothing boots: "), "{line}");
}

#[test]
fn every_quirk_is_listed_with_what_it_does() {
    let (status, text) = flipside(&["sim", "boot", "nowhere", "--quirk", "help"]);
    assert_eq!((status, text.lines().count()), (Some(0), sim::Quirk::all().len()));
    for (line, quirk) in text.lines().zip(sim::Quirk::all()) {
        assert!(line.starts_with(quirk.name()), "{line}");
        assert!(line.len() > 35, "{line}");
    }
}

#[test]
fn what_is_no_machine_is_refused() {
    use flipside_image::code::Coded as _;
    let temporary = tempfile::tempdir().unwrap();
    let error = sim::boot(temporary.path(), &BootOptions::default()).unwrap_err();
    assert_eq!(error.code().name(), "sim-no-machine");
    fs::write(temporary.path().join("sim.json"), "{\"format\": 7}").unwrap();
    let error = sim::Judge::of(temporary.path()).unwrap_err();
    assert_eq!(error.code().name(), "sim-no-machine");
    let new = |directory: &Path, options| new_machine(directory, &options, &Plan::default());
    let error = new(temporary.path(), NewOptions::default()).unwrap_err();
    assert_eq!(error.code.name(), "sim-not-empty");
    let images = vec!["registry.example/acme:stable".into()];
    let error = new(&temporary.path().join("new"), NewOptions { images, ..NewOptions::default() });
    assert_eq!(error.unwrap_err().code.name(), "reference-invalid");
}
