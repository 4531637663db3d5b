// SPDX-License-Identifier: MIT OR Apache-2.0

//! Simulated machines and the images that they are to hold: `flipside sim` as people type it.

use std::fs;
use std::path::Path;
use std::process::Command;

use flipside_image::Architecture;

use crate::support::documents;
use crate::support::images::{ImageBuilder, kernel};
use crate::support::registry::Registry;

/// What `flipside` prints with these words in `directory`, and its exit status.
fn flipside(directory: &Path, line: &str) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flipside"));
    command.arg("--quiet").args(line.split_whitespace()).current_dir(directory);
    let output = documents::output(&mut command);
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

fn good(directory: &Path, line: &str) -> String {
    let (status, said) = flipside(directory, line);
    assert_eq!(status, Some(0), "{line}: {said}");
    said.trim_end().lines().last().unwrap_or_default().to_owned()
}

/// A machine that runs 1, which it was made with, and has installed 2, which was then published
/// to what it follows.
fn machine(directory: &Path, name: &str, follows: &str, publish: impl FnOnce()) {
    good(directory, &format!("sim new {name} --image one --track {follows}"));
    assert_eq!(good(directory, &format!("sim boot {name}")), "booted slot A: 1 (promoted)");
    publish();
    let said = good(directory, &format!("--root {name} update"));
    assert_eq!(said, "2 is installed in slot B and boots once at the next reboot");
}

#[test]
fn what_the_machine_follows_is_known_to_it() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    ImageBuilder::new("1").write(here.join("one"));
    let two = || ImageBuilder::new("2").tag("stable").write(here.join("two"));
    machine(here, "layout", "oci:two:stable", || drop(two()));
    assert_eq!(good(here, "sim boot layout"), "booted slot B: 2 (promoted)");
    let registry = Registry::shared();
    let tag = "sim-images:stable";
    let push = |layout: &str| {
        registry.push(&here.join(layout), tag);
    };
    push("one");
    machine(here, "registry", &registry.image(tag), || push("two"));
    // The tag may have moved before the reboot.
    push("one");
    assert_eq!(good(here, "sim boot registry"), "booted slot B: 2 (promoted)");
}

#[test]
fn an_image_that_the_machine_does_not_know_is_not_called_damaged() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    ImageBuilder::new("1").write(here.join("one"));
    let two = || ImageBuilder::new("2").tag("stable").write(here.join("two"));
    machine(here, "host", "oci:two:stable", || drop(two()));
    fs::remove_dir_all(here.join("two")).unwrap();
    machine(here, "other", "oci:two:stable", || drop(two()));
    let two = two();
    fs::rename(here.join("two"), here.join("moved")).unwrap();
    let (status, said) = flipside(here, "sim boot host");
    let reason = format!(
        "nothing boots: slot B cannot be judged: \\EFI\\flipside\\boot-b.efi is of an image that \
         this machine does not know, 2 ({}): `flipside sim boot --image DIR` names a layout that \
         has it",
        two.digest.short()
    );
    assert_eq!((status, said.lines().last()), (Some(1), Some(reason.as_str())));
    let booted = good(here, "sim boot other --image moved");
    assert_eq!(booted, "booted slot B: 2 (promoted)");
    fs::write(
        here.join("other/efi/EFI/flipside/boot-b.efi"),
        kernel(Architecture::X86_64, 9, 9999),
    )
    .unwrap();
    let (_, said) = flipside(here, "sim boot other");
    assert!(said.contains("boot-b.efi is damaged, it is no known image's"), "{said}");
}

#[test]
fn the_esp_has_room_for_two_boot_files_of_the_image() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    for version in ["1", "2"] {
        let seed = version.parse().unwrap();
        let boot_file = kernel(Architecture::X86_64, seed, 40 << 20);
        let image = ImageBuilder::new(version).payload("kernel.efi", boot_file).uncompressed();
        image.tag("stable").write(here.join(version));
    }
    good(here, "sim new host --image 1 --track oci:2:stable");
    good(here, "sim boot host");
    good(here, "--root host update");
    let built = flipside(here, "disk build --image 1 -o disk.img --esp-size 64MiB");
    assert_eq!(built.0, Some(1), "two do not fit: {}", built.1);
    let (_, built) = flipside(here, "disk build --image 1 -o disk.img --json");
    let built: serde_json::Value = serde_json::from_str(&built).unwrap();
    assert_eq!(built["partitions"][0]["size"], 512 << 20);
}

#[test]
fn a_machine_has_an_id_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    ImageBuilder::new("1").write(here.join("one"));
    let id = |name: &str, more: &str| {
        good(here, &format!("sim new {name} --image one {more}"));
        fs::read_to_string(here.join(name).join("etc/machine-id")).unwrap()
    };
    let first = id("a", "--seed 7");
    assert_eq!((first.len(), first.trim_end().len()), (33, 32), "{first}");
    assert_eq!(id("b", "--seed 7"), first);
    assert_ne!(id("c", ""), first);
}
