// SPDX-License-Identifier: MIT OR Apache-2.0

//! The second boot backend: systemd-boot counts the trial's tries on its entry files, and NVRAM is
//! neither written nor needed.

use flipside::report::status::State;
use flipside::run;
use flipside_core::host::Slot;
use flipside_sim::{Backend, Power, Quirk};

use crate::support::host::{TestHost, loader_program};
use crate::support::images::ImageBuilder;

fn version(version: &str) -> ImageBuilder {
    ImageBuilder::new(version)
}

fn host() -> TestHost {
    TestHost::running_by(Backend::SystemdBoot, &version("1"))
}

/// The names of the loader's entries, in the order of the alphabet.
fn entries(host: &TestHost) -> Vec<String> {
    let files = std::fs::read_dir(host.file("efi/loader/entries")).unwrap();
    let mut names: Vec<_> =
        files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn entry(host: &TestHost, name: &str) -> String {
    std::fs::read_to_string(host.file(format!("efi/loader/entries/{name}"))).unwrap()
}

/// Variables that firmware boots by, with their bytes.
fn boot_variables(host: &TestHost) -> Vec<(String, Vec<u8>)> {
    let Ok(files) = std::fs::read_dir(host.file("sys/firmware/efi/efivars")) else {
        return Vec::new();
    };
    let mut variables: Vec<_> = files
        .map(|file| file.unwrap())
        .map(|file| (file.file_name().into_string().unwrap(), std::fs::read(file.path()).unwrap()))
        .filter(|(name, _)| name.starts_with("Boot") && !name.starts_with("BootCurrent"))
        .collect();
    variables.sort();
    variables
}

fn quirk(quirk: Quirk) -> Power {
    Power { wipe_nvram: false, quirks: vec![quirk] }
}

#[test]
fn an_update_is_tried_once_promoted_and_nvram_is_never_written() {
    for power in [
        Power::default(),
        Power { wipe_nvram: true, quirks: Vec::new() },
        quirk(Quirk::NoRuntimeVariables),
        quirk(Quirk::IgnoreBootNext),
        quirk(Quirk::NewLoader),
        quirk(Quirk::OldStub),
        quirk(Quirk::RenameDoubled),
    ] {
        let host = host();
        let variables = boot_variables(&host);
        host.publish(&version("2"));
        assert_eq!(host.arm(), "B 2");
        assert_eq!(entries(&host), ["flipside-a.conf", "flipside-b+1.conf", "flipside-b.conf"]);
        let trial = "title      Acme OS B (trial)\n\
                     sort-key   flipside\n\
                     linux      /EFI/flipside/boot-b.efi\n";
        assert_eq!(entry(&host, "flipside-b+1.conf"), trial);
        assert_eq!(boot_variables(&host), variables);
        assert_eq!(host.status().state, State::Armed);

        assert_eq!(host.boot_with(false, power.clone()), "B 2 promoted", "{power:?}");
        assert_eq!(entries(&host), ["flipside-a.conf", "flipside-b.conf"], "{power:?}");
        assert!(entry(&host, "flipside-b.conf").contains("flipside-0"));
        assert!(entry(&host, "flipside-a.conf").contains("flipside-1"));
        assert_eq!(host.boot_with(false, power.clone()), "B 2 promoted", "{power:?}");
        host.publish(&version("3"));
        assert_eq!(host.arm(), "A 3", "{power:?}");
        assert_eq!(host.boot_with(false, power.clone()), "A 3 promoted", "{power:?}");
    }
}

#[test]
fn a_trial_that_never_succeeds_falls_back_and_counts_as_an_attempt() {
    let host = host();
    host.publish(&version("2"));
    for attempt in 1..=2 {
        assert_eq!(host.arm(), "B 2", "attempt {attempt}");
        assert_eq!(host.boot_and_fail(), "B 2 trial");
        let names = ["flipside-a.conf", "flipside-b+0-1.conf", "flipside-b.conf"];
        assert_eq!(entries(&host), names);
        assert_eq!(host.boot(), "A 1 fell back");
    }
    // P7: and nothing of it boots any more.
    assert_eq!(host.refusal(), "digest-failed");
    assert_eq!(entries(&host), ["flipside-a.conf"]);
    host.publish(&version("3"));
    assert_eq!(host.arm(), "B 3");
    assert_eq!(host.boot(), "B 3 promoted");
}

#[test]
fn a_rename_that_the_power_cut_tears_costs_an_attempt_and_never_the_host() {
    for torn in [Quirk::RenameTorn, Quirk::RenameDoubled, Quirk::RenameLost] {
        let host = host();
        host.publish(&version("2"));
        host.arm();
        assert_eq!(host.boot_with(true, quirk(torn)), "B 2 trial", "{torn:?}");
        let again = host.boot_and_fail();
        // Still to be tried, where the old name is there.
        let expected = if torn == Quirk::RenameTorn { "A 1 fell back" } else { "B 2 trial" };
        assert_eq!(again, expected, "{torn:?}");
        assert!(host.boot().starts_with("A 1"), "{torn:?}");
        assert!(host.update().is_ok());
    }
}

#[test]
fn superseded_withdrawn_and_rolled_back() {
    let host = host();
    host.publish(&version("2"));
    host.arm();
    host.publish(&version("3"));
    assert_eq!(host.arm(), "B 3");
    host.publish(&version("1"));
    assert!(matches!(host.update().unwrap(), run::Outcome::Unarmed { slot: Slot::B, .. }));
    assert_eq!(entries(&host), ["flipside-a.conf", "flipside-b.conf"]);
    assert_eq!(host.boot(), "A 1 promoted");
    host.publish(&version("4"));
    host.arm();
    assert_eq!(host.boot(), "B 4 promoted");
    run::rollback(&host.run(), false).unwrap();
    assert_eq!(entries(&host), ["flipside-a+1.conf", "flipside-a.conf", "flipside-b.conf"]);
    assert_eq!(host.boot(), "A 1 promoted");
    assert_eq!(entries(&host), ["flipside-a.conf", "flipside-b.conf"]);
    assert_eq!(host.boot(), "A 1 promoted");
    assert_eq!(host.refusal(), "digest-rolled-back");
}

#[test]
fn a_rollback_out_of_a_trial_comes_back() {
    let host = host();
    host.publish(&version("2"));
    host.arm();
    assert_eq!(host.boot_and_fail(), "B 2 trial");
    run::rollback(&host.run(), false).unwrap();
    assert!(host.boot().starts_with("A 1"));
    assert_eq!(host.refusal(), "digest-rolled-back");
    assert!(host.boot().starts_with("A 1"));
}

/// What `systemd-bless-boot good` does (bless-boot.c): the count goes from the name, unless a
/// file of that name is there.
fn bless(host: &TestHost) {
    let counted = host.file("efi/loader/entries/flipside-b+0-1.conf");
    let good = host.file("efi/loader/entries/flipside-b.conf");
    if !good.exists() && counted.exists() {
        std::fs::rename(counted, good).unwrap();
    }
}

#[test]
fn systemd_bless_boot_changes_nothing_before_and_after_the_promotion() {
    for blessed_first in [true, false] {
        let host = host();
        host.publish(&version("2"));
        host.arm();
        host.boot_and_fail();
        let before = entries(&host);
        if blessed_first {
            bless(&host);
            assert_eq!(entries(&host), before);
        }
        host.promote();
        let promoted = entries(&host);
        bless(&host);
        assert_eq!(entries(&host), promoted);
        assert_eq!(host.boot(), "B 2 promoted");
        assert_eq!(host.boot(), "B 2 promoted");
    }
}

#[test]
fn a_loader_that_would_not_come_back_is_refused_before_anything_is_written() {
    let loader = "efi/EFI/BOOT/BOOTX64.EFI";
    type Spoil = fn(&TestHost);
    let cases: [(&str, Spoil); 4] = [
        ("loader-not-systemd-boot", |host| {
            std::fs::write(host.file("efi/EFI/BOOT/BOOTX64.EFI"), "MZ shim").unwrap();
        }),
        ("loader-too-old", |host| {
            std::fs::write(host.file("efi/EFI/BOOT/BOOTX64.EFI"), loader_program("249.11"))
                .unwrap();
        }),
        ("loader-default-set", |host| {
            let text = "timeout 0\ndefault flipside-*\n";
            std::fs::write(host.file("efi/loader/loader.conf"), text).unwrap();
        }),
        ("loader-default-set", |host| {
            let name = "LoaderEntryDefault-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
            let value: Vec<u8> = "a*\0".encode_utf16().flat_map(u16::to_le_bytes).collect();
            let bytes = [vec![7, 0, 0, 0], value].concat();
            std::fs::write(host.file("sys/firmware/efi/efivars").join(name), bytes).unwrap();
        }),
    ];
    for (code, spoil) in cases {
        let host = host();
        host.publish(&version("2"));
        spoil(&host);
        let before = entries(&host);
        assert_eq!(host.refusal(), code);
        assert_eq!(entries(&host), before);
        assert!(!host.file("efi/EFI/flipside/boot-b.efi").exists());
    }
    assert!(host().file(loader).is_file());
}

fn set_loader_variable(host: &TestHost, name: &str, text: &str) {
    let vendor = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
    let text = text.encode_utf16().flat_map(u16::to_le_bytes);
    let bytes: Vec<u8> = [7, 0, 0, 0].into_iter().chain(text).collect();
    std::fs::write(host.file(format!("sys/firmware/efi/efivars/{name}-{vendor}")), bytes).unwrap();
}

/// One that matches keeps the trial from its turn, or the promoted slot from its.
#[test]
fn an_entry_that_somebody_chose_is_refused_with_what_lifts_it() {
    type Choose = fn(&TestHost);
    let cases: [(&str, &str, Choose); 7] = [
        ("LoaderEntryPreferred", "`bootctl set-preferred \"\"`", |host| {
            set_loader_variable(host, "LoaderEntryPreferred", "flipside-a.conf\0");
        }),
        // Nothing that it matches is there yet; the update makes it.
        ("LoaderEntryPreferred", "`bootctl set-preferred \"\"`", |host| {
            set_loader_variable(host, "LoaderEntryPreferred", "FLIPSIDE-B*\0");
        }),
        ("`preferred` in loader/loader.conf", "remove that line", |host| {
            let text = "timeout 0\npreferred flipside-a.conf\n";
            std::fs::write(host.file("efi/loader/loader.conf"), text).unwrap();
        }),
        ("LoaderEntryDefault", "`bootctl set-default \"\"`", |host| {
            set_loader_variable(host, "LoaderEntryDefault", "@saved\0");
        }),
        ("`default` in loader/loader.conf", "remove that line", |host| {
            let text = "preferred gone.conf\ndefault flipside-?.conf\n";
            std::fs::write(host.file("efi/loader/loader.conf"), text).unwrap();
        }),
        ("LoaderEntryDefault", "`bootctl set-default \"\"`", |host| {
            std::fs::create_dir_all(host.file("efi/EFI/Linux")).unwrap();
            std::fs::write(host.file("efi/EFI/Linux/Other+3.efi"), "").unwrap();
            set_loader_variable(host, "LoaderEntryDefault", "other.efi\0");
        }),
        // Of another partition; systemd-boot told of it.
        ("LoaderEntryDefault", "`bootctl set-default \"\"`", |host| {
            set_loader_variable(host, "LoaderEntries", "flipside-a.conf\0fedora.conf\0");
            set_loader_variable(host, "LoaderEntryDefault", "fedora*\0");
        }),
    ];
    for (place, remedy, choose) in cases {
        let host = host();
        host.publish(&version("2"));
        choose(&host);
        let before = entries(&host);
        let error = host.update().unwrap_err();
        let said = error.to_string();
        assert_eq!(
            flipside_image::code::Coded::code(&error).name(),
            "loader-default-set",
            "{place}"
        );
        assert!(said.contains(place) && said.contains(remedy), "{said}");
        assert_eq!(entries(&host), before, "{place}");
    }
}

#[test]
fn a_choice_of_an_entry_that_is_gone_stands_in_nobodys_way() {
    for (variable, pattern) in [
        ("LoaderEntryDefault", "auto-windows\0"),
        ("LoaderEntryDefault", "fedora-6.1*.conf\0"),
        ("LoaderEntryPreferred", "talos-v1.?.efi\0"),
        ("LoaderEntryDefault", "\0"),
    ] {
        let host = host();
        host.publish(&version("2"));
        let text = "timeout 0\npreferred gone-*\ndefault gone.conf\n";
        std::fs::write(host.file("efi/loader/loader.conf"), text).unwrap();
        set_loader_variable(&host, variable, pattern);
        assert_eq!(host.arm(), "B 2", "{variable} {pattern}");
        assert_eq!(host.boot(), "B 2 promoted", "{variable} {pattern}");
        assert_eq!(host.boot(), "B 2 promoted", "{variable} {pattern}");
    }
}

/// What the refusal is for: `sim` goes by what somebody chose, and the trial never starts.
#[test]
fn a_preferred_entry_keeps_a_trial_from_its_turn() {
    let host = host();
    host.publish(&version("2"));
    host.arm();
    set_loader_variable(&host, "LoaderEntryPreferred", "flipside-a.conf\0");
    assert_eq!(host.boot_and_fail(), "A 1 promoted");
    assert!(entries(&host).contains(&"flipside-b+1.conf".to_owned()));
}

#[test]
fn a_promote_that_finds_nothing_to_do_writes_nothing() {
    use flipside_core::host::durable::{Durable, Step, StepObserver};
    struct NoWrites;
    impl StepObserver for NoWrites {
        fn before(&self, step: &Step<'_>) -> std::io::Result<()> {
            match step {
                Step::Phase(_) | Step::Sync(_) | Step::SyncDirectory(_) => Ok(()),
                step => panic!("P10: {step:?}"),
            }
        }
    }
    let host = host();
    let durable = Durable::observed(std::sync::Arc::new(NoWrites));
    run::promote(&host.run_with(durable.clone(), |_| {})).unwrap();
    run::update(&host.run_with(durable, |_| {}), flipside::config::Initiative::Manual).unwrap();
}

#[test]
fn entries_that_the_other_backend_left_are_taken_away_before_the_boot_file() {
    let host = host();
    host.publish(&version("2"));
    host.arm();
    let config = host.file("etc/flipside/flipside.toml");
    let text = std::fs::read_to_string(&config).unwrap().replace("systemd-boot", "uefi");
    std::fs::write(config, text).unwrap();
    host.publish(&version("3"));
    assert_eq!(host.arm(), "B 3");
    assert_eq!(entries(&host), ["flipside-a.conf", "flipside-b.conf"]);
    assert_eq!(host.boot(), "B 3 promoted");
}
