// SPDX-License-Identifier: MIT OR Apache-2.0

//! Secure Boot: a boot file that the firmware would not start is refused before anything is written.

use std::process::Output;
use std::sync::Arc;

use flipside_core::host::durable::Step;
use flipside_image::Digest;
use flipside_image::code::Coded as _;
use flipside_sim::Backend;
use nix::errno::Errno;

use crate::support::documents;
use crate::support::host::{TestHost, loader_program, update_and_finish};
use crate::support::images::ImageBuilder;
use crate::support::program_host::ProgramHost;
use crate::support::secure_boot::{
    IMAGE_SHA256, SHA1, TBS_SHA256, certificate, fixture, hex, list, set, turn_on,
};
use crate::support::steps::Steps;

const CODE: &str = "boot-file-untrusted";
/// What osslsigncode says of `by-signer.efi`.
const HASH: &str = "c3d1e472fb16c292f9f8d18d08899ec480f68387b3b9bffdae87b5d7a8e80d09";
const OF_OS: &str = "usr/lib/systemd/boot/efi/systemd-bootx64.efi";
const LOADER: &str = "efi/EFI/BOOT/BOOTX64.EFI";

/// Version 2 with this boot file.
fn image(boot_file: &str) -> ImageBuilder {
    ImageBuilder::new("2").chunk_size(4096).payload("kernel.efi", fixture(boot_file))
}

/// Follows a tag that has version 2 with this boot file.
fn host(boot_file: &str) -> ProgramHost {
    let host = ProgramHost(TestHost::running(&ImageBuilder::new("1")));
    host.0.publish(&image(boot_file));
    host
}

/// The hash of a certificate without its signature, as openssl shows that part.
fn tbs_hash(name: &str) -> Vec<u8> {
    let certificate = fixture(&format!("{name}.der"));
    // SEQUENCE, with a length of two bytes; then the part that is signed, another one.
    let length = usize::from(u16::from_be_bytes([certificate[6], certificate[7]]));
    assert_eq!(
        (certificate[..2].to_vec(), certificate[4..6].to_vec()),
        (vec![0x30, 0x82], vec![0x30, 0x82])
    );
    Digest::of(&certificate[4..8 + length]).as_bytes().to_vec()
}

fn warnings(host: &ProgramHost) -> Output {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_flipside"));
    documents::output(command.arg("--root").arg(host.0.path()).arg("update"))
}

#[test]
fn what_the_firmware_would_start_is_installed() {
    let hash = list(IMAGE_SHA256, &hex(HASH));
    for (name, boot_file, db, dbx) in [
        ("by a chain through an authority", "by-signer.efi", certificate("root"), vec![]),
        ("by the signer's own certificate", "by-signer.efi", certificate("signer"), vec![]),
        ("by one of two signatures", "by-both.efi", certificate("root"), vec![]),
        ("by its hash", "program.efi", hash, vec![]),
        ("somebody else is revoked", "by-signer.efi", certificate("root"), certificate("other")),
    ] {
        let host = host(boot_file);
        turn_on(&host.0.path(), &db, &dbx);
        println!("{name}");
        host.updates();
        assert_eq!(host.0.boot(), "B 2 promoted", "{name}");
    }
}

#[test]
fn what_the_firmware_would_not_start_is_refused_and_the_slot_is_untouched() {
    let root = certificate("root");
    let tbs = |name| list(TBS_SHA256, &[tbs_hash(name), vec![0; 16]].concat());
    let host = host("program.efi");
    for (boot_file, db, dbx, expected) in [
        (
            "by-other.efi",
            root.clone(),
            vec![],
            "signed by test other, and the firmware knows test root",
        ),
        ("program.efi", root.clone(), vec![], "not signed, and the firmware knows test root"),
        (
            "changed.efi",
            root.clone(),
            vec![],
            "signed by test signer, and the firmware knows test root",
        ),
        ("by-signer.efi", vec![], vec![], "signed by test signer, and the firmware knows nothing"),
        ("by-signer.efi", root.clone(), list(IMAGE_SHA256, &hex(HASH)), "its hash is revoked"),
        (
            "by-signer.efi",
            root.clone(),
            certificate("signer"),
            "certificate test signer is revoked",
        ),
        ("by-signer.efi", root.clone(), certificate("root"), "certificate test root is revoked"),
        ("by-signer.efi", root.clone(), tbs("signer"), "certificate test signer is revoked"),
        ("by-both.efi", root.clone(), tbs("other"), "certificate test other is revoked"),
    ] {
        host.0.publish(&image(boot_file));
        turn_on(&host.0.path(), &db, &dbx);
        let sentence = host.refuses(1, CODE);
        assert!(sentence.contains(expected), "{boot_file}: {sentence}");
        assert!(sentence.contains("the image's kernel.efi"), "{boot_file}: {sentence}");
    }
    host.boots_as_before();
}

/// A boot file is judged as well where the state directory does not take it.
#[test]
fn it_is_judged_without_a_spool() {
    for (boot_file, expected) in [("by-other.efi", Some(CODE)), ("by-signer.efi", None)] {
        for at_once in [true, false] {
            let host = host(boot_file);
            turn_on(&host.0.path(), &certificate("root"), &[]);
            let before = host.snapshot();
            let steps: Arc<Steps> = Steps::with(move |step| match step {
                Step::CreateUnnamed(..) if at_once => Some(Errno::ENOSPC.into()),
                Step::WriteUnnamed(..) => Some(Errno::ENOSPC.into()),
                _ => None,
            });
            let updated = update_and_finish(&host.0.run_with(steps.durable(), |_| {}));
            let code = updated.as_ref().err().map(|error| error.code().name());
            assert_eq!(code, expected, "{boot_file} {at_once}: {updated:?}");
            if expected.is_some() {
                host.assert_unchanged_since(&before, boot_file);
            }
        }
    }
}

#[test]
fn in_setup_mode_and_where_it_is_off_nothing_is_asked() {
    for (secure_boot, setup_mode, word, line) in [
        (0, 1, "setup", "firmware  Secure Boot is in setup mode: no boot file is checked"),
        (0, 0, "off", "firmware  Secure Boot is off: no boot file is checked"),
    ] {
        let host = host("by-other.efi");
        turn_on(&host.0.path(), &certificate("root"), &certificate("other"));
        set(&host.0.path(), "SecureBoot", &[secure_boot]);
        set(&host.0.path(), "SetupMode", &[setup_mode]);
        host.updates();
        assert_eq!(host.0.status().secure_boot.as_deref(), Some(word));
        let shown = host.program(["status"]);
        let text = String::from_utf8(shown.stdout).unwrap();
        assert!(text.lines().any(|shown| shown == line), "{text}");
        assert_eq!(host.0.boot(), "B 2 promoted");
    }
}

#[test]
fn the_status_says_that_it_is_on_and_nothing_where_the_firmware_does_not() {
    let host = host("by-signer.efi");
    assert_eq!(host.0.status().secure_boot, None);
    turn_on(&host.0.path(), &certificate("root"), &[]);
    assert_eq!(host.0.status().secure_boot.as_deref(), Some("on"));
    let output = host.program(["status", "--json"]);
    let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    documents::check("status", &status);
    assert_eq!(status["secure_boot"], "on");
}

#[test]
fn what_cannot_be_judged_is_a_warning() {
    let unknown = "it is not known whether the firmware starts the image's kernel.efi";
    for (boot_file, db, dbx, why) in [
        ("by-curve.efi", certificate("curve"), vec![], "1.2.840.10045.4.3.2"),
        ("by-other.efi", list(SHA1, &[1; 20]), vec![], "db has entries of the kind"),
        ("by-signer.efi", certificate("root"), vec![1; 20], "dbx is damaged"),
    ] {
        let host = host(boot_file);
        turn_on(&host.0.path(), &db, &dbx);
        let output = warnings(&host);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && text.contains(unknown), "{boot_file}: {output:?}");
        assert!(text.contains(why), "{boot_file}: {text}");
    }
    // Whatever cannot be judged, nothing is said where the answer is clear.
    let host = host("by-signer.efi");
    turn_on(&host.0.path(), &[list(SHA1, &[1; 20]), certificate("root")].concat(), &[]);
    let output = warnings(&host);
    assert!(!String::from_utf8_lossy(&output.stderr).contains("not known"), "{output:?}");
}

/// The hash of a program without data directories: all of it but its checksum.
fn hash_of(program: &[u8]) -> Vec<u8> {
    let at = 0x98 + 64;
    Digest::of(&[&program[..at], &program[at + 4..]].concat()).as_bytes().to_vec()
}

#[test]
fn a_loader_that_the_firmware_would_not_start_replaces_none() {
    let new = loader_program("258.1-1");
    for (name, is_on, db, replaced) in [
        ("off", false, vec![], true),
        ("its hash is known", true, list(IMAGE_SHA256, &hash_of(&new)), true),
        ("it is not known", true, certificate("root"), false),
    ] {
        let host = TestHost::running(&ImageBuilder::new("1"));
        let path = host.file(OF_OS);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, &new).unwrap();
        turn_on(&host.path(), &db, &[]);
        set(&host.path(), "SecureBoot", &[is_on.into()]);
        let before = std::fs::read(host.file(LOADER)).unwrap();
        assert_eq!(host.boot(), "A 1 promoted");
        let now = std::fs::read(host.file(LOADER)).unwrap();
        assert!(now == if replaced { new.clone() } else { before }, "{name}");
        assert!(!host.file("efi/EFI/flipside/loader.efi").exists(), "{name}");
    }
}

/// `program.efi`, as shim calls itself.
fn shim() -> Vec<u8> {
    let mut shim = fixture("program.efi");
    let at = shim.windows(9).position(|window| window == b"flipside,").unwrap();
    shim[at..at + 9].copy_from_slice(b"shim,4,x,");
    shim
}

#[test]
fn shims_lists_count_only_where_it_starts_systemd_boot() {
    for (name, backend, has_shim, expected) in [
        ("the firmware starts boot files", Backend::Uefi, true, Some(CODE)),
        ("no shim", Backend::SystemdBoot, false, Some(CODE)),
        ("shim", Backend::SystemdBoot, true, None),
    ] {
        let host = TestHost::running_by(backend, &ImageBuilder::new("1"));
        host.publish(&image("by-signer.efi"));
        turn_on(&host.path(), &[], &[]);
        set(&host.path(), "MokListRT", &certificate("root"));
        if has_shim {
            let loader = host.file(LOADER);
            std::fs::rename(&loader, host.file("efi/EFI/BOOT/grubx64.efi")).unwrap();
            std::fs::write(&loader, shim()).unwrap();
        }
        let updated = host.update();
        let code = updated.as_ref().err().map(|error| error.code().name());
        assert_eq!(code, expected, "{name}: {updated:?}");
    }
}

#[test]
fn shim_refuses_by_its_own_lists_and_generations() {
    for (name, variable, value, in_sysfs, expected) in [
        ("a list in sysfs", "MokListRT", certificate("root"), true, None),
        (
            "its hash",
            "MokListXRT",
            list(IMAGE_SHA256, &hex(HASH)),
            false,
            Some("its hash is revoked"),
        ),
        (
            "that in sysfs",
            "MokListXRT",
            certificate("signer"),
            true,
            Some("test signer is revoked"),
        ),
        ("generations", "SbatLevelRT", b"sbat,1\nflipside,2\n".to_vec(), false, None),
        (
            "a later one",
            "SbatLevelRT",
            b"sbat,1\nflipside,3\n".to_vec(),
            false,
            Some("SbatLevelRT asks for flipside 3"),
        ),
    ] {
        let host = TestHost::running_by(Backend::SystemdBoot, &ImageBuilder::new("1"));
        host.publish(&image("by-signer.efi"));
        let loader = host.file(LOADER);
        std::fs::rename(&loader, host.file("efi/EFI/BOOT/grubx64.efi")).unwrap();
        std::fs::write(&loader, shim()).unwrap();
        let db = if variable == "MokListRT" { vec![] } else { certificate("root") };
        turn_on(&host.path(), &db, &[]);
        if in_sysfs {
            let directory = host.file("sys/firmware/efi/mok-variables");
            std::fs::create_dir_all(&directory).unwrap();
            std::fs::write(directory.join(variable), &value).unwrap();
        } else {
            set(&host.path(), variable, &value);
        }
        let updated = host.update();
        let message = updated.as_ref().err().map(ToString::to_string);
        match (&message, expected) {
            (None, None) => {}
            (Some(message), Some(expected)) if message.contains(expected) => {}
            _ => panic!("{name}: {message:?}"),
        }
    }
}
