// SPDX-License-Identifier: MIT OR Apache-2.0

//! Whole updates under every firmware fault of FIELD.md and of `sim`: each ends in the new OS,
//! promoted, or in a refusal with a code, or in a trial that the firmware never let boot; never in
//! a dead machine, and never in NVRAM that grows.

use flipside::run::Outcome;
use flipside_image::code::Coded as _;
use flipside_sim::{Power, Quirk};

use crate::support::host::TestHost;
use crate::support::images::ImageBuilder;
use crate::support::nvram;
use crate::support::steps::Steps;

fn version(version: impl ToString) -> ImageBuilder {
    ImageBuilder::new(&version.to_string()).chunk_size(16 << 10).system_size(64 << 10)
}

fn power(quirk: Quirk) -> Power {
    Power { quirks: vec![quirk], ..Power::default() }
}

/// What a round of update and boot came to: `armed`, `up-to-date` or a code; and the boot.
fn round(host: &TestHost, quirk: Quirk) -> (String, String) {
    let update = match host.update() {
        Ok(Outcome::Armed { before: false, .. }) => "armed".to_owned(),
        Ok(Outcome::Armed { .. }) => "waiting".to_owned(),
        Ok(Outcome::UpToDate { .. }) => "up-to-date".to_owned(),
        Ok(other) => format!("{other:?}"),
        Err(error) => error.code().name().to_owned(),
    };
    (update, host.boot_with(false, power(quirk)))
}

/// Where an update under each fault ends, in at most four rounds.
fn expected(quirk: Quirk) -> &'static str {
    match quirk {
        // The firmware never lets the trial boot: P7 ends it.
        Quirk::VolatileWrites | Quirk::LoseEntries | Quirk::SkipBootNext => "digest-failed",
        // It forgets all, and so no trial was started: the image is not to blame.
        Quirk::LoseNvram => "nvram-not-kept",
        Quirk::IgnoreBootNext => "bootnext-ignored",
        Quirk::NoRuntimeVariables => "efi-variables-missing",
        // What the firmware says of the slot that runs contradicts the device it runs from.
        Quirk::WrongBootCurrent => "running-slot-unclear",
        // The order comes back at every power-on, and each run goes to the new system again.
        Quirk::BootOrderLock => "up-to-date",
        _ => "B 2 promoted",
    }
}

#[test]
fn under_each_firmware_fault_an_update_ends_in_the_new_system_or_in_a_refusal() {
    for quirk in Quirk::all().iter().copied() {
        let host = TestHost::running(&version(1));
        host.publish(&version(2));
        let mut said = Vec::new();
        let mut end = String::new();
        for _ in 0..4 {
            let (update, boot) = round(&host, quirk);
            assert!(!boot.starts_with("dead"), "{quirk:?}: {boot}");
            end = if boot == "B 2 promoted" { boot.clone() } else { update.clone() };
            said.push((update, boot));
        }
        assert_eq!(end, expected(quirk), "{quirk:?}: {said:?}");
        let installs = said.iter().filter(|(update, _)| update == "armed").count();
        assert!(installs <= 2, "{quirk:?} is tried for ever: {said:?}");
    }
}

#[test]
fn p7_under_each_firmware_fault_what_never_comes_up_is_not_tried_for_ever() {
    for (quirk, loses_state) in
        Quirk::all().iter().flat_map(|quirk| [(*quirk, false), (*quirk, true)])
    {
        let host = TestHost::running(&version(1));
        // The firmware has it from the first: what it did to the running slot's entry is repaired.
        host.boot_with(false, power(quirk));
        host.publish(&version(2));
        let mut said = Vec::new();
        for _ in 0..10 {
            let update = host.update().map(|outcome| match outcome {
                Outcome::Armed { before, .. } => !before,
                _ => false,
            });
            let boot = host.boot_with(true, power(quirk));
            assert!(!boot.starts_with("dead"), "{quirk:?}: {boot}");
            said.push((update.map_err(|error| error.code().name()), boot));
            if loses_state {
                let _ = std::fs::remove_dir_all(host.file("var/lib/flipside"));
            }
        }
        let armed = said.iter().filter(|(update, _)| *update == Ok(true)).count();
        assert!(armed <= 2, "{quirk:?}, state lost: {loses_state}: {said:?}");
        assert!(said[8].1.starts_with("A 1"), "{quirk:?}: {said:?}");
    }
}

#[test]
fn under_each_firmware_fault_nvram_does_not_grow() {
    for quirk in Quirk::all().iter().copied() {
        let host = TestHost::running(&version(1));
        let mut counts = Vec::new();
        for next in 2..8 {
            host.publish(&version(next));
            for _ in 0..2 {
                let (_, boot) = round(&host, quirk);
                assert!(!boot.starts_with("dead"), "{quirk:?}: {boot}");
            }
            counts.push(entries(&host));
        }
        assert!(counts[5] <= counts[1], "{quirk:?}: {counts:?}");
    }
}

#[test]
fn nvram_is_not_written_where_nothing_changed() {
    for quirk in Quirk::all().iter().copied().filter(|quirk| !fights_back(*quirk)) {
        let host = TestHost::running(&version(1));
        host.publish(&version(2));
        for _ in 0..3 {
            round(&host, quirk);
        }
        host.boot_with(false, power(quirk));
        let steps = Steps::new();
        let _ = flipside::run::promote(&host.run_with(steps.durable(), |_| {}));
        let _ = flipside::run::update(
            &host.run_with(steps.durable(), |_| {}),
            flipside::config::Initiative::Automatic,
        );
        let written: Vec<_> =
            steps.take().into_iter().filter(|step| !step.starts_with("phase")).collect();
        assert!(written.is_empty(), "{quirk:?}: {written:?}");
    }
}

/// What firmware undoes at every boot is put right at every boot.
fn fights_back(quirk: Quirk) -> bool {
    matches!(quirk, Quirk::IgnoreBootNext | Quirk::BootOrderLock)
}

/// How many `Boot####` there are.
fn entries(host: &TestHost) -> usize {
    let is_entry = |name: &str| {
        let digits = name.strip_prefix("Boot").and_then(|rest| rest.split('-').next());
        digits.is_some_and(|d| d.len() == 4 && d.bytes().all(|b| b.is_ascii_hexdigit()))
    };
    let Ok(files) = std::fs::read_dir(host.file("sys/firmware/efi/efivars")) else { return 0 };
    files.filter(|file| is_entry(&file.as_ref().unwrap().file_name().to_string_lossy())).count()
}

/// Firmware that boots by the first instance of a path: an entry that flipside did not know would stay
/// before every slot that is promoted.
#[test]
fn a_promoted_slot_comes_before_an_entry_of_several_instances_that_booted_the_host() {
    let elsewhere = nvram::path(nvram::OTHER_ESP, Some("\\EFI\\flipside\\boot-a.efi"));
    for all_ours in [true, false] {
        let host = TestHost::running(&version(1));
        let efivars = host.file("sys/firmware/efi/efivars");
        let number = nvram::order(&efivars)[0];
        let name = format!("Boot{number:04X}");
        let entry = nvram::read(&efivars, &name).unwrap();
        let own = nvram::path_of(&entry);
        let several = match all_ours {
            true => nvram::with_instance(&own, &entry),
            // The firmware takes the first.
            false => nvram::with_instance(&own, &nvram::entry(1, "x", &elsewhere, &[])),
        };
        let file = efivars.join(format!("{name}-8be4df61-93ca-11d2-aa0d-00e098032b8c"));
        std::fs::write(file, [&[7, 0, 0, 0][..], &several].concat()).unwrap();
        assert_eq!(host.boot_with(true, Power::default()), "A 1 promoted", "{all_ours}");
        host.publish(&version(2));
        assert_eq!(host.arm(), "B 2");
        assert_eq!(host.boot(), "B 2 promoted", "{all_ours}");
        assert_eq!(host.boot(), "B 2 promoted", "{all_ours}");
        assert_eq!(nvram::read(&efivars, &name).unwrap() == several, !all_ours);
    }
}

/// As `efibootmgr --file-dev-path` makes them: firmware looks for the file on every file system.
#[test]
fn a_promoted_slot_comes_before_an_entry_of_a_boot_file_alone() {
    let host = TestHost::running(&version(1));
    let efivars = host.file("sys/firmware/efi/efivars");
    let write = |name: &str, data: &[u8]| {
        let file = efivars.join(format!("{name}-8be4df61-93ca-11d2-aa0d-00e098032b8c"));
        std::fs::write(file, [&[7, 0, 0, 0][..], data].concat()).unwrap();
    };
    let anywhere = nvram::path(nvram::OTHER_ESP, Some("\\EFI\\flipside\\boot-a.efi"));
    let (_, file) = anywhere.split_at(42);
    write("Boot0077", &nvram::entry(1, "x", file, &[]));
    let order = [&[0x77][..], &nvram::order(&efivars)].concat();
    write("BootOrder", &order.iter().flat_map(|n| n.to_le_bytes()).collect::<Vec<_>>());
    host.publish(&version(2));
    assert_eq!(host.arm(), "B 2");
    let place = |number: u16| nvram::order(&efivars).iter().position(|n| *n == number).unwrap();
    assert!(place(order[1]) < place(0x77), "{:?}", nvram::order(&efivars));
    assert_eq!(host.boot(), "B 2 promoted");
    assert!(nvram::order(&efivars)[0] != 0x77, "{:?}", nvram::order(&efivars));
}

#[test]
fn a_next_boot_that_is_somebody_elses_is_respected() {
    let host = TestHost::running(&version(1));
    host.publish(&version(2));
    let efivars = host.file("sys/firmware/efi/efivars");
    let name = |name: &str| efivars.join(format!("{name}-8be4df61-93ca-11d2-aa0d-00e098032b8c"));
    std::fs::write(name("Boot0077"), [&[7, 0, 0, 0][..], &nvram::foreign()].concat()).unwrap();
    std::fs::write(name("BootNext"), [7, 0, 0, 0, 0x77, 0]).unwrap();
    assert_eq!(host.refusal(), "bootnext-taken");
    assert_eq!(nvram::read(&efivars, "BootNext").unwrap(), [0x77, 0]);
    assert!(!host.file("efi/EFI/flipside/slot-b.json").exists());
    host.boot();
    assert_eq!(host.arm(), "B 2");
}
