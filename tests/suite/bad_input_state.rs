// SPDX-License-Identifier: MIT OR Apache-2.0

//! What is wrong with flipside's own directories, its settings, and its company.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Arc;

use flipside_core::host::durable::{Durable, Step, StepObserver};
use flipside_image::code::Coded as _;

use super::bad_input_host::partition;
use crate::support::host::update_and_finish;
use crate::support::program_host::{ProgramHost, refusal};

/// Lets the kernel of this host show partition 3, `system-b`, as mounted at `/var`.
fn mount_slot_at_var(host: &ProgramHost) {
    let (start, size) = partition(host, 3);
    for (file, content) in [
        ("dev", "254:3".to_owned()),
        ("partition", "3".to_owned()),
        ("start", (start / 512).to_string()),
        ("size", (size / 512).to_string()),
    ] {
        host.write(&format!("sys/devices/virtual/vda/vda3/{file}"), content + "\n");
    }
    for (directory, name) in [("dev/block", "254:3"), ("class/block", "vda3")] {
        fs::create_dir_all(host.file("sys").join(directory)).unwrap();
        let link = host.file("sys").join(directory).join(name);
        symlink("../../devices/virtual/vda/vda3", link).unwrap();
    }
    let mounts = "25 1 0:30 / / rw - tmpfs tmpfs rw\n26 25 254:3 / /var rw - ext4 /dev/vda3 rw\n";
    host.write("proc/self/mountinfo", mounts);
}

#[test]
fn p8_a_state_directory_inside_a_slot_is_refused() {
    let host = ProgramHost::new();
    mount_slot_at_var(&host);
    let sentence = host.refuses(1, "state-inside-slot");
    assert!(sentence.contains("system-b, which belongs to slot B"), "{sentence}");
    host.boots_as_before();
}

#[test]
fn a_state_directory_that_takes_nothing_is_refused() {
    let directory = "var/lib/flipside";
    for (script, code) in [
        (format!("mount --bind -o ro {directory} {directory}"), "state-unwritable"),
        (format!("mount -t tmpfs -o size=64k tmpfs {directory}"), "state-full"),
    ] {
        let host = ProgramHost::new();
        let Some(mut command) = host.update_with_mounts(&script) else { return };
        let sentence = host.refuses_in(&mut command, 1, code);
        assert!(sentence.contains(directory), "{sentence}");
        host.boots_as_before();
    }
}

/// A state directory that is full by the time it is written.
struct FullState;

impl StepObserver for FullState {
    fn before(&self, step: &Step<'_>) -> std::io::Result<()> {
        match step {
            Step::Create(path) if path.to_string_lossy().contains("var/lib/flipside") => {
                Err(std::io::ErrorKind::StorageFull.into())
            }
            _ => Ok(()),
        }
    }
}

#[test]
fn a_state_directory_that_fills_up_meanwhile_is_told() {
    let host = ProgramHost::new();
    let run = host.0.run_with(Durable::observed(Arc::new(FullState)), |_| {});
    assert_eq!(update_and_finish(&run).unwrap_err().code().name(), "state-full");
    assert_eq!(host.codes_in_status(), ["state-full"]);
    host.boots_as_before();
    host.updates();
}

#[test]
fn a_second_flipside_is_deferred() {
    let host = ProgramHost::new();
    host.write("run/flipside/lock", "");
    let lock = fs::File::open(host.file("run/flipside/lock")).unwrap();
    lock.lock().unwrap();
    host.refuses(75, "locked");
    // Run by the timer, that is status and no failure.
    let output = host.program(["update", "--automatic"]);
    assert!(output.status.success(), "{output:?}");
    drop(lock);
    host.boots_as_before();
    host.updates();
}

/// There is no status where there are no settings: every command says which mistake it is.
#[test]
fn a_mistake_in_the_settings_is_named() {
    let cases = [
        (
            "[track]\nimgae = \"x\"\n",
            "config-unknown-key",
            "track.imgae; the nearest valid key is track.image",
        ),
        ("[track\n", "config-invalid", "50-test.toml, line 1"),
        ("[update]\nautomatic = \"yes\"\n", "config-invalid", "update.automatic"),
        (
            "[host.slots]\na = \"system-a\"\nb = \"system-a\"\n",
            "config-invalid",
            "both name the partition \"system-a\"",
        ),
    ];
    for (lines, code, said) in cases {
        let host = ProgramHost::new();
        host.set(lines);
        let before = host.snapshot();
        let refusing: &[&str] = match code {
            // Below: the commands that have to work in the older of two slots.
            "config-unknown-key" => &["update", "check", "status", "verify"],
            _ => &["update", "check", "status", "promote", "rollback", "health", "verify"],
        };
        for command in refusing {
            let sentence = refusal(&host.program([*command]), 1, code);
            assert!(sentence.contains(said), "{command}: {sentence}");
        }
        let output = host.program(["status", "--json"]);
        let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(document["error"]["code"], code);
        host.assert_unchanged_since(&before, code);
        fs::remove_dir_all(host.file("etc/flipside/flipside.toml.d")).unwrap();
        host.boots_as_before();
    }
}

#[test]
fn a_host_that_follows_nothing_has_nothing_to_do() {
    let host = ProgramHost::new();
    host.write("etc/flipside/flipside.toml", "");
    host.has_nothing_to_do();
    let status = host.program(["status", "--json"]);
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(
        (&status["follows"], &status["running"]["slot"]),
        (&serde_json::Value::Null, &"a".into())
    );
    host.boots_as_before();
}
