// SPDX-License-Identifier: MIT OR Apache-2.0

//! The systemd units: loaded together by systemd's own code, and as closed as their work allows.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn units() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("units");
    let mut units: Vec<_> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    units.sort();
    assert!(units.len() >= 10);
    units
}

fn name(unit: &Path) -> &str {
    unit.file_name().unwrap().to_str().unwrap()
}

/// The program's output, or `None` and a message where systemd is not there.
fn run(program: &str, arguments: &[&str]) -> Option<Output> {
    let mut command = Command::new(program);
    match command.args(arguments).env("SYSTEMD_LOG_LEVEL", "info").output() {
        Ok(output) => Some(output),
        Err(error) => {
            println!("skipped: {program}: {error}");
            None
        }
    }
}

/// A root with systemd's own targets and every unit of ours, enabled.
struct Host(tempfile::TempDir);

impl Host {
    fn new(change: impl Fn(&str, String) -> String) -> Self {
        let host = Self(tempfile::tempdir().unwrap());
        let own = host.0.path().join("usr/lib/systemd/system");
        fs::create_dir_all(&own).unwrap();
        fs::create_dir_all(host.0.path().join("usr/bin")).unwrap();
        // Any program will do for the one that is systemd's.
        for program in ["flipside", "journalctl"] {
            let path = host.0.path().join("usr/bin").join(program);
            fs::copy(env!("CARGO_BIN_EXE_flipside"), path).unwrap();
        }
        for entry in fs::read_dir("/usr/lib/systemd/system").into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|end| end == "target") && path.is_file() {
                fs::copy(&path, own.join(name(&path))).unwrap();
            }
        }
        // What a service of Type=dbus asks for.
        fs::write(own.join("dbus.socket"), "[Socket]\nListenStream=/run/dbus/socket\n").unwrap();
        fs::write(own.join("dbus.service"), "[Service]\nExecStart=/usr/bin/flipside\n").unwrap();
        for unit in units() {
            let text = change(name(&unit), fs::read_to_string(&unit).unwrap());
            enable(host.0.path(), name(&unit), &text);
            fs::write(own.join(name(&unit)), text).unwrap();
        }
        host
    }

    /// What systemd says when it loads all of them and starts a boot.
    fn verified(&self) -> Option<(bool, String)> {
        let root = format!("--root={}", self.0.path().display());
        let units = units();
        let mut arguments = vec!["verify", "--man=no", &root];
        arguments.extend(["multi-user.target", "boot-complete.target"]);
        arguments.extend(["rescue.target", "emergency.target", "shutdown.target"]);
        arguments.extend(units.iter().map(|unit| name(unit)));
        let output = run("systemd-analyze", &arguments)?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        // Parts of systemd that are no targets are not copied.
        let ours = |line: &&str| line.contains("flipside") || line.contains("cycle");
        let lines: Vec<&str> = text.lines().filter(ours).collect();
        Some((output.status.success(), lines.join("\n")))
    }
}

/// As `systemctl enable` does.
fn enable(root: &Path, name: &str, text: &str) {
    for (key, kind) in [("WantedBy=", "wants"), ("RequiredBy=", "requires")] {
        let lines = text.lines().filter_map(|line| line.strip_prefix(key));
        for target in lines.flat_map(str::split_whitespace) {
            let directory = root.join(format!("etc/systemd/system/{target}.{kind}"));
            fs::create_dir_all(&directory).unwrap();
            let to = format!("/usr/lib/systemd/system/{name}");
            std::os::unix::fs::symlink(to, directory.join(name)).unwrap();
        }
    }
}

#[test]
fn units_that_fetch_have_a_limit_of_memory() {
    let fetches =
        ["update", "check", "rollback"].map(|c| format!("ExecStart=/usr/bin/flipside {c}"));
    let mut found = 0;
    for unit in units() {
        let text = fs::read_to_string(&unit).unwrap();
        if text.lines().any(|line| fetches.iter().any(|start| line.starts_with(start))) {
            found += 1;
            assert!(text.contains("\nMemoryMax="), "{}", unit.display());
        }
    }
    assert!(found >= 4, "{found}");
}

#[test]
fn all_units_load_together_without_a_warning_or_a_cycle() {
    let Some((_, said)) = Host::new(|_, text| text).verified() else { return };
    assert_eq!(said, "");
}

/// Otherwise the test above would show nothing.
#[test]
fn the_obvious_ordering_makes_a_cycle_that_is_seen() {
    let obvious = |name: &str, text: String| match name {
        "flipside-promote.service" => text
            .replace("DefaultDependencies=no\n", "")
            .replace("After=local-fs.target multi-user.target", "After=local-fs.target")
            .replace("WantedBy=basic.target", "WantedBy=multi-user.target"),
        _ => text,
    };
    let Some((_, said)) = Host::new(obvious).verified() else { return };
    assert!(said.contains("ordering cycle"), "{said}");
}

#[test]
fn the_reboot_that_is_due_follows_every_run_of_the_timer() {
    let path = units().into_iter().find(|unit| name(unit) == "flipside-update.service").unwrap();
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.contains("\nOnSuccess=flipside-reboot-window.service\n"), "{text}");
    assert!(text.contains("\nOnFailure=flipside-update-failed.service\n"), "{text}");
    let failed = units().into_iter().find(|unit| name(unit) == "flipside-update-failed.service");
    let failed = std::fs::read_to_string(failed.unwrap()).unwrap();
    assert!(failed.contains("\nWants=flipside-reboot-window.service\n"), "{failed}");
    // A run outside of all update windows is made again in the next one.
    let again = units().into_iter().find(|unit| name(unit) == "flipside-update-window.service");
    let again = std::fs::read_to_string(again.unwrap()).unwrap();
    assert!(again.contains("\nWants=flipside-update.service\n"), "{again}");
    let retry = units().into_iter().find(|unit| name(unit) == "flipside-update-retry.service");
    let retry = std::fs::read_to_string(retry.unwrap()).unwrap();
    assert!(retry.contains("\nWants=flipside-update.service\n"), "{retry}");
    // It tells that unit so that it was stopped.
    assert!(text.contains("\nSuccessExitStatus=75\n"), "{text}");
}

/// systemd 252 counts a unit that it names twice as two, warns of it, and tells neither's result.
#[test]
fn no_unit_is_triggered_in_two_ways() {
    let mut triggered = BTreeSet::new();
    for unit in units() {
        let text = fs::read_to_string(&unit).unwrap();
        let values = ["OnSuccess=", "OnFailure="]
            .into_iter()
            .flat_map(|key| text.lines().filter_map(move |line| line.strip_prefix(key)));
        for other in values.flat_map(str::split_whitespace) {
            assert!(triggered.insert(other.to_owned()), "{other} twice");
        }
    }
    assert_eq!(triggered.len(), 2);
}

/// What is tried again by itself is no failure of the unit that a person started.
#[test]
fn a_deferral_fails_no_unit_that_updates_or_looks() {
    for command in ["update", "check"] {
        let start = format!("ExecStart=/usr/bin/flipside {command}");
        let of = |unit: &PathBuf| fs::read_to_string(unit).unwrap().contains(&start);
        let found: Vec<_> = units().into_iter().filter(of).collect();
        assert!(!found.is_empty(), "{command}");
        for unit in found {
            let text = fs::read_to_string(&unit).unwrap();
            assert!(text.contains("\nSuccessExitStatus=75\n"), "{}", unit.display());
        }
    }
}

#[test]
fn the_services_are_as_closed_as_their_work_allows() {
    for unit in units() {
        let most = match name(&unit) {
            "flipside-update.service" | "flipside-promote.service" => 25,
            "flipside-update-now.service" | "flipside-check.service" => 25,
            "flipside-rollback.service" | "flipside-retry.service" => 25,
            "flipside-dbus.service" => 8,
            // They reboot, or run what the host's owner has them run.
            "flipside-reboot.service" | "flipside-reboot-window.service" => 25,
            "flipside-trial-deadline.service" => 50,
            "flipside-health.service" => 80,
            "flipside-catalog.service" => 15,
            // It has another unit started, and does nothing itself.
            "flipside-update-window.service"
            | "flipside-update-retry.service"
            | "flipside-update-failed.service" => continue,
            other if other.ends_with(".service") => panic!("{other} has no limit"),
            _ => continue,
        };
        let threshold = format!("--threshold={most}");
        let path = unit.to_str().unwrap();
        let arguments = ["security", "--offline=yes", "--no-pager", &threshold, path];
        let Some(output) = run("systemd-analyze", &arguments) else { return };
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let last = text.lines().last().unwrap_or_default();
        println!("{last}");
        assert!(output.status.success(), "{last}\n{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// What a sandbox takes away without a word until a host is in the field.
#[test]
fn the_sandboxes_leave_what_the_work_needs() {
    for unit in units() {
        let name = name(&unit).to_owned();
        let text = fs::read_to_string(&unit).unwrap();
        let sets = |line: &str| text.lines().any(|l| l == line);
        let of = |key: &str| -> BTreeSet<String> {
            let lines = text.lines().filter_map(|line| line.strip_prefix(key));
            lines.flat_map(str::split_whitespace).map(str::to_owned).collect()
        };
        assert!(text.starts_with("# SPDX-License-Identifier: MIT OR Apache-2.0\n"), "{name}");
        assert!(!sets("PrivateDevices=yes") || name == "flipside-dbus.service", "{name}");
        let only_reads = ["flipside-dbus.service", "flipside-catalog.service"]
            .contains(&name.as_str())
            || name.starts_with("flipside-reboot");
        if sets("ProtectKernelTunables=yes") && !only_reads {
            assert!(of("ReadWritePaths=").contains("-/sys/firmware/efi/efivars"), "{name}");
        }
        // It makes /efi and /boot read-only for good: of two settings for a path the stricter counts.
        assert!(!sets("ProtectSystem=full") && !sets("ProtectSystem=yes"), "{name}");
        let writes_variables = ["update", "update-now", "rollback", "promote", "health"];
        let writes = writes_variables.iter().any(|w| name == format!("flipside-{w}.service"));
        let capabilities = of("CapabilityBoundingSet=");
        if writes && !capabilities.is_empty() {
            // efivarfs makes its files immutable.
            assert!(capabilities.contains("CAP_LINUX_IMMUTABLE"), "{name}");
        }
        if name == "flipside-trial-deadline.service" {
            assert!(capabilities.contains("CAP_SYS_BOOT"));
            assert!(sets("IgnoreOnIsolate=yes") && sets("DefaultDependencies=no"));
            assert!(!text.contains("Protect"), "emergency mode may lack what a name space needs");
        }
    }
}
