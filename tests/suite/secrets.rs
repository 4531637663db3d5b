// SPDX-License-Identifier: MIT OR Apache-2.0

//! No secret reaches what others can read: the status document, the login message, the history, the
//! journal and the terminal.

use std::fs;
use std::path::Path;

use crate::support::hooks::put_hook;
use crate::support::program_host::{ProgramHost, refusal};

const SECRET: &str = "hunter2";

/// Every file of the host that says it, besides its settings.
fn files_with_secret(directory: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            files_with_secret(&path, found);
        } else if path.is_file() && !path.ends_with("disk.img") {
            let bytes = fs::read(&path).unwrap();
            if bytes.windows(SECRET.len()).any(|window| window == SECRET.as_bytes()) {
                found.push(path.display().to_string());
            }
        }
    }
}

fn assert_kept(host: &ProgramHost, case: &str) {
    let mut found = Vec::new();
    for place in ["run", "var", "efi"] {
        files_with_secret(&host.file(place), &mut found);
    }
    assert!(found.is_empty(), "{case}: {found:?}");
}

#[test]
fn a_reference_with_a_password_is_refused_and_not_repeated() {
    for setting in [
        format!("track.image = \"user:{SECRET}@r.example/a:b\""),
        format!("track.image = \"user:{SECRET}@r.example/a@sha256:{}\"", "12ab".repeat(16)),
        format!("track.image = \"https://user:{SECRET}@r.example/a:b\""),
        format!("track.image = \"https://{SECRET}@r.example/a:b\""),
        format!("track.image = \"user:{SECRET}/x@r.example/a:b\""),
        format!("track.mirrors = [\"r.example/a\", \"user:{SECRET}@m.example/a\"]"),
        format!("track.plain_http = [\"user:{SECRET}@m.example:5000\"]"),
        format!("track.graph = \"https://user:{SECRET}@u.example\""),
        format!("policy.hooks.container.image = \"user:{SECRET}@r.example/h:1\""),
        format!("policy.signature.identity = \"user:{SECRET}@r.example/a\""),
    ] {
        let host = ProgramHost::new();
        host.set(&setting);
        // There is no auth file for graph servers.
        let is_graph = setting.starts_with("track.graph");
        let remedy = if is_graph { "without a user" } else { "track.auth_file" };
        for command in
            [&["update"][..], &["check"], &["status"], &["status", "--json"], &["promote"]]
        {
            let output = host.program(command);
            let sentence = refusal(&output, 1, "config-invalid");
            assert!(sentence.contains(remedy), "{sentence}");
            let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(!sentence.contains(SECRET) && !stdout.contains(SECRET), "{sentence} {stdout}");
        }
        assert_kept(&host, &setting);
    }
}

#[test]
fn a_password_in_an_argument_is_not_repeated() {
    let host = ProgramHost::new();
    let reference = format!("user:{SECRET}@r.example/a:b");
    let switch = host.program(["switch", &reference]);
    refusal(&switch, 1, "reference-invalid");
    let inspect = host.program(["image", "inspect", &reference]);
    assert_eq!(inspect.status.code(), Some(2), "{inspect:?}");
    for output in [switch, inspect] {
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("track.auth_file") && !said.contains(SECRET), "{said}");
    }
    assert_kept(&host, "switch");
}

#[test]
fn a_mistake_in_another_setting_shows_no_password() {
    for setting in [
        format!("update.windows = \"https://user:{SECRET}@r.example\""),
        format!("track.ca = \"https://r.example/ca.pem?token={SECRET}\""),
        format!("update.automatic = \"user:{SECRET}@r.example\""),
    ] {
        let host = ProgramHost::new();
        host.set(&setting);
        let sentence = refusal(&host.program(["update"]), 1, "config-invalid");
        assert!(sentence.contains("***") && !sentence.contains(SECRET), "{sentence}");
    }
}

/// podman names the signed address that a registry redirected it to; a script what it was given.
#[test]
fn what_a_hook_says_is_shown_without_passwords_and_signatures() {
    for said in [
        format!("https://cdn.example/blob?X-Amz-Date=1&X-Amz-Signature={SECRET}"),
        format!("https://user:{SECRET}@fleet.example/may"),
        format!("Authorization: Bearer {SECRET}{SECRET}"),
        format!("Authorization: token {SECRET}{SECRET}"),
        format!("X-Auth-Token: {SECRET}"),
        format!("login --password={SECRET}"),
        format!("{{\"user\": \"u\", \"password\": \"{SECRET}\"}}"),
    ] {
        let host = ProgramHost::new();
        put_hook(&host, &format!("echo 'cannot get \"{said}\"' >&2; echo '{said}'; exit 75"));
        let sentence = host.refuses(75, "hook-deferred");
        assert!(sentence.contains("***") && !sentence.contains(SECRET), "{sentence}");
        assert_kept(&host, &said);
    }
}

#[test]
fn the_reason_of_a_hold_is_shown_without_passwords() {
    let host = ProgramHost::new();
    let reason = format!("see https://user:{SECRET}@wiki.example/fair");
    host.set(&format!("[update]\nhold = true\nhold_reason = {reason:?}\n"));
    let output = host.program(["update", "--automatic"]);
    assert!(output.status.success(), "{output:?}");
    let said = host.program(["status"]);
    let said = String::from_utf8(said.stdout).unwrap();
    assert!(said.contains("see https://***@wiki.example/fair"), "{said}");
    assert_kept(&host, &reason);
}
