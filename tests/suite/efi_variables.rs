// SPDX-License-Identifier: MIT OR Apache-2.0

//! Firmware variables on hosts that have none, only let them be read, or take writes without doing
//! them; and what the variables say about the running slot.

use std::os::unix::fs::PermissionsExt as _;

use flipside_core::host::boot::{Backend as _, BootError, SlotProof};
use flipside_core::host::durable::{Durable, Step, StepObserver};
use flipside_core::host::efi::{EfiError, GLOBAL_VARIABLE, boot_facts, esp_hint, evidence};
use flipside_core::host::{Root, Slot};
use flipside_image::code::Coded as _;

use crate::support::nvram::{ESP, Nvram, OTHER_ESP, entry, path, slot};
use crate::support::steps::Steps;

#[test]
fn a_host_without_variables_is_told_so() {
    let directory = tempfile::tempdir().unwrap();
    let error = flipside_core::testing::variables(&Root::new(directory.path()), &Durable::new())
        .unwrap_err();
    assert_eq!(error.code().name(), "efi-variables-missing");
}

#[test]
fn read_only_variables_are_refused_before_anything_is_written() {
    let nvram = Nvram::with(&[5], &[(5, slot('a'))]);
    let steps = Steps::new();
    let boot = nvram.boot(&steps.durable());
    let mode = |mode| {
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(nvram.efivars(), permissions).unwrap();
    };
    mode(0o555);
    assert_eq!(boot.check(Slot::A).unwrap_err().code().name(), "efi-variables-read-only");
    boot.secure(Slot::A).unwrap();
    assert_eq!(
        boot.add(Slot::B, SlotProof::Present).unwrap_err().code().name(),
        "efi-variables-read-only"
    );
    assert_eq!(boot.first().unwrap(), Some(Slot::A));
    mode(0o755);
    assert_eq!(steps.take(), [""; 0]);
}

/// Undoes every write to one variable right before the next step.
struct Undo {
    nvram: std::path::PathBuf,
    name: &'static str,
}

impl StepObserver for Undo {
    fn before(&self, step: &Step<'_>) -> std::io::Result<()> {
        // The write goes to a name that leads elsewhere: the firmware takes it, and has it not.
        if let Step::SetVariable(path, contents) = step
            && path.starts_with(&self.nvram)
            && path.to_string_lossy().contains(self.name)
        {
            let _ = std::fs::remove_file(path);
            std::os::unix::fs::symlink("/dev/null", path).unwrap();
            assert!(contents.len() > 4);
        }
        Ok(())
    }
}

#[test]
fn a_write_that_the_firmware_undoes_is_noticed() {
    for name in ["BootOrder", "Boot0001", "BootNext"] {
        let nvram = Nvram::with(&[5], &[(5, slot('a'))]);
        let undo = Undo { nvram: nvram.efivars(), name };
        let boot = nvram.boot(&Durable::observed(std::sync::Arc::new(undo)));
        let error =
            boot.add(Slot::B, SlotProof::Present).and_then(|()| boot.arm(Slot::B)).unwrap_err();
        assert_eq!(error.code().name(), "nvram-write-lost", "{name}");
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[test]
fn attributes_of_a_variable_are_kept() {
    let nvram = Nvram::empty();
    let path = nvram.efivars().join("BootNext-8be4df61-93ca-11d2-aa0d-00e098032b8c");
    std::fs::write(&path, b"\x27\0\0\0\x05\0").unwrap();
    let variables = flipside_core::testing::variables(&nvram.root(), &Durable::new()).unwrap();
    variables.write("BootNext", GLOBAL_VARIABLE, &[6, 0]).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"\x27\0\0\0\x06\0");
}

#[test]
fn a_variable_without_complete_attributes_is_absent() {
    let nvram = Nvram::empty();
    let variables = flipside_core::testing::variables(&nvram.root(), &Durable::new()).unwrap();
    for contents in [&b""[..], b"\x07", b"\x07\0\0"] {
        let path = nvram.efivars().join("BootNext-8be4df61-93ca-11d2-aa0d-00e098032b8c");
        std::fs::write(&path, contents).unwrap();
        assert_eq!(variables.read("BootNext", GLOBAL_VARIABLE).unwrap(), None);
    }
}

#[test]
fn what_real_firmware_and_systemd_boot_left_is_understood() {
    let nvram = Nvram::empty();
    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/efivars-ovmf");
    for entry in std::fs::read_dir(fixtures).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), nvram.efivars().join(entry.file_name())).unwrap();
    }
    let esp = loader_entries();
    let variables = flipside_core::testing::variables(&nvram.root(), &Durable::new()).unwrap();
    assert_eq!(esp_hint(&variables).unwrap(), Some(ESP.uuid));
    assert_eq!(
        evidence(&variables, ESP.uuid, esp.path()).unwrap(),
        [
            (
                "LoaderEntrySelected is flipside-b.conf, which starts /EFI/flipside/boot-b.efi"
                    .to_owned(),
                Some(Slot::B)
            ),
            ("LoaderImageIdentifier is \\EFI\\BOOT\\BOOTX64.EFI".to_owned(), None),
            ("BootCurrent is Boot0003, \"EFI Internal Shell\"".to_owned(), None),
        ]
    );
    let boot = nvram.boot(&Durable::new());
    assert_eq!(boot.first().unwrap(), Some(Slot::A));
    // The shell's short form needs no write; its whole path becomes the short form, once.
    let mut expected = nvram.all();
    let whole_path = format!("Boot0004-{GLOBAL_VARIABLE}");
    expected.insert(whole_path, [&[7, 0, 0, 0][..], &slot('a')].concat());
    for _ in 0..2 {
        boot.secure(Slot::A).unwrap();
        boot.add(Slot::B, SlotProof::Present).unwrap();
        assert_eq!(nvram.all(), expected);
    }
}

fn loader_entries() -> tempfile::TempDir {
    let esp = tempfile::tempdir().unwrap();
    let entries = esp.path().join("loader/entries");
    std::fs::create_dir_all(&entries).unwrap();
    for letter in ['a', 'b'] {
        let text = format!(
            "title      Acme OS\n# a comment\nsort-key   flipside-0\nefi        /EFI/flipside/boot-{letter}.efi\n"
        );
        std::fs::write(entries.join(format!("flipside-{letter}.conf")), text).unwrap();
    }
    std::fs::write(entries.join("garbage.conf"), b"\xff\xfeefi\n\0").unwrap();
    esp
}

#[test]
fn facts_name_a_slot_only_where_they_speak_of_it() {
    let a = "\\EFI\\flipside\\boot-a.efi";
    let other = OTHER_ESP.uuid.to_string();
    let ours = ESP.uuid.to_string().to_uppercase();
    for (variables, expected) in [
        (vec![("StubImageIdentifier", a)], Some(Slot::A)),
        (vec![("StubImageIdentifier", "/efi/flipside/BOOT-B.EFI")], Some(Slot::B)),
        (vec![("StubImageIdentifier", a), ("StubDevicePartUUID", &ours)], Some(Slot::A)),
        (vec![("StubImageIdentifier", a), ("StubDevicePartUUID", &other)], None),
        (vec![("StubImageIdentifier", a), ("StubDevicePartUUID", "garbage")], Some(Slot::A)),
        (vec![("LoaderImageIdentifier", a), ("LoaderDevicePartUUID", &other)], None),
        (vec![("LoaderImageIdentifier", a)], Some(Slot::A)),
        (vec![("LoaderEntrySelected", "flipside-a.conf")], Some(Slot::A)),
        (vec![("LoaderEntrySelected", "flipside-a")], Some(Slot::A)),
        (vec![("LoaderEntrySelected", "flipside-a.conf"), ("LoaderDevicePartUUID", &other)], None),
        (vec![("LoaderEntrySelected", "../entries/flipside-a.conf")], None),
        (vec![("LoaderEntrySelected", "absent.conf")], None),
        (vec![("LoaderEntrySelected", "garbage.conf")], None),
        (vec![("LoaderEntrySelected", "auto-windows")], None),
    ] {
        let nvram = Nvram::empty();
        for (name, text) in &variables {
            nvram.set_loader(name, text);
        }
        let esp = loader_entries();
        let opened = flipside_core::testing::variables(&nvram.root(), &Durable::new()).unwrap();
        let facts = evidence(&opened, ESP.uuid, esp.path()).unwrap();
        assert_eq!(facts.len(), 1, "{variables:?}");
        assert_eq!(facts[0].1, expected, "{variables:?}: {}", facts[0].0);
    }
}

/// The stub of systemd 252 says which boot file it is, unless one said so before: of a kernel that
/// did not start, after which the firmware booted the next entry.
#[test]
fn what_an_attempt_that_failed_has_left_names_no_slot() {
    let (a, b) = ("\\EFI\\flipside\\boot-a.efi", "\\EFI\\flipside\\boot-b.efi");
    let nvram = Nvram::empty();
    nvram.set("BootCurrent", &[5, 0]);
    nvram.set("Boot0005", &entry(1, "VM OS A", &path(ESP, Some(a)), &[]));
    nvram.set_loader("LoaderDevicePartUUID", &ESP.uuid.to_string());
    nvram.set_loader("LoaderImageIdentifier", b);
    nvram.set_loader("LoaderEntrySelected", "flipside-b.conf");
    let esp = loader_entries();
    let variables = flipside_core::testing::variables(&nvram.root(), &Durable::new()).unwrap();
    let slots = || {
        let facts = evidence(&variables, ESP.uuid, esp.path()).unwrap();
        facts.into_iter().map(|(_, slot)| slot).collect::<Vec<_>>()
    };
    let running = || boot_facts(&variables, flipside_image::Architecture::X86_64).unwrap().running;
    assert_eq!(slots(), [None, None, Some(Slot::A)]);
    assert_eq!(running(), Some(Slot::A));
    // What is of this boot goes on counting, and so does what clashes with it.
    nvram.set_loader("LoaderImageIdentifier", a);
    assert_eq!(slots(), [None, Some(Slot::A), Some(Slot::A)]);
    nvram.set_loader("StubImageIdentifier", b);
    assert_eq!(slots(), [Some(Slot::B), None, Some(Slot::A), Some(Slot::A)]);
    assert_eq!(running(), None);
}

#[test]
fn boot_current_names_a_slot_by_its_entry() {
    let elsewhere = entry(1, "x", &path(OTHER_ESP, Some("\\EFI\\flipside\\boot-a.efi")), &[]);
    for (current, fact, expected) in [
        (&[5, 0][..], "BootCurrent is Boot0005, \\EFI\\flipside\\boot-b.efi", Some(Slot::B)),
        (&[6, 0], "BootCurrent is Boot0006, \"x\"", None),
        (&[7, 0], "BootCurrent is Boot0007, which does not exist", None),
        (&[8, 0], "BootCurrent is Boot0008, which is malformed", None),
        (&[5], "BootCurrent is malformed", None),
    ] {
        let nvram = Nvram::with(&[], &[(5, slot('b')), (6, elsewhere.clone()), (8, vec![1])]);
        nvram.set("BootCurrent", current);
        let variables = flipside_core::testing::variables(&nvram.root(), &Durable::new()).unwrap();
        let facts = evidence(&variables, ESP.uuid, nvram.directory.path()).unwrap();
        assert_eq!(facts, [(fact.to_owned(), expected)]);
    }
}

#[test]
fn an_unreadable_variable_is_an_error_not_an_absence() {
    let nvram = Nvram::empty();
    let path = nvram.efivars().join("BootOrder-8be4df61-93ca-11d2-aa0d-00e098032b8c");
    std::fs::create_dir(path).unwrap();
    let error = nvram.boot(&Durable::new()).secure(Slot::A).unwrap_err();
    assert!(matches!(error, BootError::Efi(EfiError::Read { .. })), "{error}");
}

#[test]
fn an_entry_of_others_that_cannot_be_read_stands_in_nobodys_way() {
    let nvram = Nvram::with(&[1, 5], &[(5, slot('a'))]);
    let path = nvram.efivars().join("Boot0001-8be4df61-93ca-11d2-aa0d-00e098032b8c");
    std::fs::create_dir(path).unwrap();
    let boot = nvram.boot(&Durable::new());
    boot.secure(Slot::A).unwrap();
    boot.add(Slot::B, SlotProof::Present).unwrap();
    assert_eq!(nvram.order(), [1, 5, 2]);
}

#[test]
fn a_signal_in_a_write_does_not_lose_the_step() {
    let interruptions = std::sync::atomic::AtomicU32::new(0);
    let steps = Steps::with(move |_| {
        let count = interruptions.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        (count < 2).then(|| nix::errno::Errno::EINTR.into())
    });
    let nvram = Nvram::with(&[5], &[(5, slot('a'))]);
    nvram.boot(&steps.durable()).add(Slot::B, SlotProof::Present).unwrap();
    assert_eq!(nvram.order(), [5, 1]);
    assert_eq!(steps.take(), ["set Boot0001", "set Boot0001", "set Boot0001", "set BootOrder"]);
}

#[test]
fn descriptions_cannot_steer_a_terminal() {
    let hostile = entry(1, "a\u{1b}[2Jb\nc", &path(OTHER_ESP, None), &[]);
    let nvram = Nvram::with(&[9], &[(9, hostile)]);
    assert_eq!(nvram.boot(&Durable::new()).order().unwrap()[0].description, "a[2Jbc");
}
