// SPDX-License-Identifier: MIT OR Apache-2.0

//! The hook that an image brings: its payload `pre-upgrade`, run from memory.

use std::process::Command;

use serde_json::Value;

use crate::support::documents;
use crate::support::images::ImageBuilder;
use crate::support::program_host::ProgramHost;

/// A host that runs 1, with 2 on offer, which brings `hook`.
fn offered(hook: impl Into<Vec<u8>>) -> ProgramHost {
    let host = ProgramHost::new();
    host.0.publish(&ImageBuilder::new("2").payload("pre-upgrade", hook));
    host
}

fn asked(host: &ProgramHost) -> (Option<i32>, Value) {
    let output = host.program(["hooks", "run", "--json"]);
    (output.status.code(), serde_json::from_slice(&output.stdout).unwrap())
}

const SCRIPT: &str = "#!/bin/sh\ncat > \"$FLIPSIDE_ROOT/stdin.json\"\n\
                      echo \"$FLIPSIDE_RUNNING_VERSION to $FLIPSIDE_NEW_VERSION\"\n";

#[test]
fn it_is_asked_first_and_decides() {
    let host = offered(format!("{SCRIPT}exit 75\n"));
    host.write("etc/flipside/hooks/pre-upgrade.d/10-never", "#!/bin/sh\nexit 1\n");
    let sentence = host.refuses(75, "hook-deferred");
    assert!(sentence.contains("the image's hook: 1 to 2"), "{sentence}");
    let document: Value =
        serde_json::from_slice(&std::fs::read(host.file("stdin.json")).unwrap()).unwrap();
    assert_eq!((&document["version"], &document["new"]["version"]), (&1.into(), &"2".into()));

    let (status, said) = asked(&host);
    assert_eq!(status, Some(75));
    assert_eq!(said["answers"].as_array().unwrap().len(), 1);
    assert_eq!(said["answers"][0]["kind"], "image");
    assert_eq!(said["answers"][0]["ran_as"], "process-group");
    assert!(said["answers"][0]["path"].is_null());
}

#[test]
fn one_that_allows_lets_the_update_go_on_without_a_word_about_its_payload() {
    let host = offered(SCRIPT);
    let mut command = Command::new(env!("CARGO_BIN_EXE_flipside"));
    let output = documents::output(command.arg("--root").arg(host.0.path()).arg("update"));
    assert!(output.status.success(), "{output:?}");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!stderr.contains("skipped"), "{stderr}");
    assert_eq!(host.0.boot(), "B 2 promoted");
}

#[test]
fn programs_and_scripts_run_alike_also_by_systemd() {
    let of = |name: &str| {
        let places = ["/usr/bin", "/bin"].map(|place| format!("{place}/{name}"));
        std::fs::read(places.iter().find(|path| std::fs::exists(path).unwrap()).unwrap()).unwrap()
    };
    // Its own file, which nobody can change any more.
    let sealed = "#!/bin/sh\ncase $0 in /proc/self/fd/*) ;; *) echo \"$0\"; exit 3 ;; esac\n\
                  (echo x >> \"$0\") 2> /dev/null && exit 4\n\
                  (echo x > \"$0\") 2> /dev/null && exit 5\nexit 0\n";
    let failing = "the image's hook blocks the update with exit status 1";
    for (hook, code, reason) in [
        (of("true"), "", ""),
        (sealed.into(), "", ""),
        (of("false"), "hook-blocked", failing),
        (b"#!/bin/sh\necho no; exit 3\n".to_vec(), "hook-blocked", "the image's hook: no"),
        (b"no program\n".to_vec(), "hook-failed", "the image's hook cannot be run: "),
    ] {
        let host = offered(hook);
        for runs_as in ["process-group", "unit"] {
            #[cfg(feature = "dbus")]
            let _systemd = (runs_as == "unit")
                .then(|| crate::support::systemd::PlayedSystemd::of(&host.0.path()));
            if cfg!(not(feature = "dbus")) && runs_as == "unit" {
                continue;
            }
            let (_, said) = asked(&host);
            assert_eq!(said["answers"][0]["ran_as"], runs_as, "{said}");
            assert_eq!(said["code"].as_str().unwrap_or_default(), code, "{runs_as}: {said}");
            let found = said["reason"].as_str().unwrap_or_default();
            assert!(found.starts_with(reason), "{runs_as}: {said}");
        }
    }
}

#[cfg(feature = "dbus")]
#[test]
fn a_unit_gets_the_same_on_stdin() {
    let host = offered(SCRIPT);
    let _systemd = crate::support::systemd::PlayedSystemd::of(&host.0.path());
    let (status, said) = asked(&host);
    assert_eq!((status, &said["answers"][0]["said"]), (Some(0), &"1 to 2".into()), "{said}");
    let text = std::fs::read_to_string(host.file("stdin.json")).unwrap();
    assert!(text.ends_with("}\n") && text.matches('\n').count() == 1, "{text:?}");
    let document: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(document["hook"], "pre-upgrade");
}

#[test]
fn one_that_is_too_large_is_not_even_fetched() {
    let host = offered(vec![0; (16 << 20) + 1]);
    let sentence = host.refuses(1, "image-hook-too-large");
    assert!(sentence.contains("16777217 bytes"), "{sentence}");
}

#[test]
fn a_dry_run_lists_it_first_and_does_not_run_it() {
    let host = offered(format!("{SCRIPT}exit 1\n"));
    host.write("etc/flipside/hooks/pre-upgrade.d/10-plain", "x");
    let output = host.program(["hooks", "run", "--dry-run", "--json"]);
    assert!(output.status.success(), "{output:?}");
    let planned: Value = serde_json::from_slice(&output.stdout).unwrap();
    let kinds: Vec<_> =
        planned["hooks"].as_array().unwrap().iter().map(|hook| &hook["kind"]).collect();
    assert_eq!(kinds, ["image", "host"]);
    assert!(!host.file("stdin.json").exists());
}

#[test]
fn a_dry_run_lists_it_also_where_the_image_is_installed_already() {
    let host = offered("#!/bin/sh\n");
    host.0.allow_downgrades();
    host.updates();
    assert_eq!(host.0.boot(), "B 2 promoted");
    // Back to what the other slot holds, and forth again.
    host.0.publish(&ImageBuilder::new("1"));
    assert!(host.program(["update"]).status.success());
    assert_eq!(host.0.boot(), "A 1 promoted");
    host.0.publish(&ImageBuilder::new("2").payload("pre-upgrade", "#!/bin/sh\n"));
    let said = String::from_utf8(host.program(["check"]).stdout).unwrap();
    assert_eq!(said, "2 is installed and would be armed\n");
    let output = host.program(["hooks", "run", "--dry-run", "--json"]);
    let planned: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(planned["hooks"][0]["kind"], "image", "{planned}");
    assert_eq!(planned["new"]["version"], "2");
}

#[test]
fn image_build_takes_it_along_within_the_limit() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name);
    std::fs::write(file("system"), "system").unwrap();
    std::fs::write(file("hook"), SCRIPT).unwrap();
    std::fs::File::create(file("large")).unwrap().set_len((16 << 20) + 1).unwrap();
    std::fs::write(file("os-release"), "ID=x\nNAME=X\nVERSION_ID=1\n").unwrap();
    let build = |hook: &str, output: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_flipside"));
        command.args(["image", "build", "--allow-unbootable", "--architecture", "x86_64"]);
        command.arg("--os-release").arg(file("os-release")).arg("--payload");
        command.arg(format!("system={}", file("system").display()));
        command.arg("--pre-upgrade").arg(file(hook)).arg("--output").arg(file(output));
        documents::output(&mut command)
    };
    let output = build("hook", "image");
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("pre-upgrade"), "{output:?}");
    let output = build("large", "other");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("[argument-invalid]"));
}
