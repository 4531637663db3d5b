// SPDX-License-Identifier: MIT OR Apache-2.0

//! Files, images and people as the command line knows them.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::certificates::Authority;
use crate::support::documents;
use crate::support::images::ImageBuilder;
use crate::support::journald::Journald;
use crate::support::program_host::{ProgramHost, refusal};
use crate::support::proxy::Proxy;
use crate::support::registry::{PASSWORD, Registry, USER, fixture, login_file};

const PROGRAM: &str = env!("CARGO_BIN_EXE_flipside");

/// `flipside` with these words, in `directory`.
fn flipside(directory: &Path, line: &str) -> Command {
    let mut command = Command::new(PROGRAM);
    command.arg("--quiet").args(line.split_whitespace()).current_dir(directory);
    command
}

fn good(directory: &Path, line: &str) -> String {
    let output = documents::output(&mut flipside(directory, line));
    assert!(output.status.success(), "{line}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The sentence of a refusal, which speaks of options and not of settings.
fn refused(directory: &Path, line: &str, code: &str) -> String {
    let sentence = refusal(&documents::output(&mut flipside(directory, line)), 1, code);
    assert!(!sentence.contains("track."), "{sentence}");
    sentence
}

#[test]
fn an_auth_file_is_relative_to_the_working_directory_and_named_by_its_option() {
    let registry = Registry::start_with_password();
    let (here, host) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let here = here.path();
    let login = login_file(registry.address(), USER, PASSWORD);
    fs::write(here.join("auth.json"), login).unwrap();
    let layout = fixture("reference-image-zstd");
    let push = format!("image push {} {}", layout.display(), registry.image("a:1"));
    good(here, &format!("{push} --auth-file auth.json"));
    good(here, &format!("--root {} {push} --auth-file auth.json", host.path().display()));
    let sentence = refused(here, &push, "registry-unauthorized");
    assert!(sentence.contains("--auth-file"), "{sentence}");
    let line = format!("{push} --auth-file gone.json");
    let sentence = refused(here, &line, "credentials-unreadable");
    assert!(sentence.contains(&here.join("gone.json").display().to_string()), "{sentence}");
    let policy = here.join("policy.json");
    good(here, &format!("policy build --expires-in 1d --output {}", policy.display()));
    let line = format!("policy push policy.json {}", registry.image("a:1"));
    refused(here, &line, "registry-unauthorized");
    good(here, &format!("{line} --auth-file auth.json"));
}

#[test]
fn certificates_are_relative_to_the_working_directory_and_named_by_their_options() {
    let registry = Registry::shared();
    registry.push(&fixture("reference-image-zstd"), "z:1");
    let (authority, clients) = (Authority::new(), Authority::new());
    let server = authority.certificate("127.0.0.1", 2020, 2100).server(Some(&clients));
    let proxy = Proxy::start_tls(registry.address(), server);
    let own = clients.certificate("client", 2020, 2100);
    let here = tempfile::tempdir().unwrap();
    let here = here.path();
    for (name, text) in [("ca.pem", &authority.pem()), ("c.pem", &own.chain), ("k.pem", &own.key)] {
        fs::write(here.join(name), text).unwrap();
    }
    let inspect = format!("image inspect {}/z:1", proxy.address());
    let trusting = format!("{inspect} --ca ca.pem");
    good(here, &format!("{trusting} --client-cert c.pem --client-key k.pem"));
    let unusable = "tls-file-unusable";
    for (line, code, part) in [
        (trusting.clone(), "tls-failed", "--client-cert, which only the registry"),
        (format!("{inspect} --ca k.pem"), unusable, "cannot use --ca /"),
        (format!("{trusting} --client-cert no --client-key k.pem"), unusable, "--client-cert /"),
        (format!("{trusting} --client-cert c.pem --client-key no"), unusable, "--client-key /"),
    ] {
        let sentence = refused(here, &line, code);
        assert!(sentence.contains(part), "{sentence}");
    }
}

#[test]
fn what_is_followed_is_found_from_any_working_directory() {
    let host = ProgramHost::new();
    let here = tempfile::tempdir().unwrap();
    let here = here.path().canonicalize().unwrap();
    ImageBuilder::new("3").tag("stable").write(here.join("img1"));
    let absolute = format!("oci:{}/img1", here.display());
    let drop_in = "etc/flipside/flipside.toml.d/90-switch.toml";
    for (named, tag) in [
        ("oci:img1:stable", ":stable"),
        ("oci:img1", ""),
        ("./img1", ""),
        ("./img1:stable", ":stable"),
    ] {
        let output = host.command(["switch", named]).current_dir(&here).output().unwrap();
        assert!(output.status.success(), "{named}: {output:?}");
        let text = fs::read_to_string(host.file(drop_in)).unwrap();
        assert!(text.ends_with(&format!("image = \"{absolute}{tag}\"\n")), "{named}: {text}");
    }
    assert!(host.boots_what_it_finds_in(Path::new("/"), "3"));
    good(&here, "sim new machine --image img1 --track oci:img1:stable");
    let settings = fs::read_to_string(here.join("machine/etc/flipside/flipside.toml")).unwrap();
    assert!(settings.contains(&format!("\"{absolute}:stable\"")), "{settings}");
}

impl ProgramHost {
    /// Whether an update from this working directory installs `version`.
    fn boots_what_it_finds_in(&self, directory: &Path, version: &str) -> bool {
        let output = self.command(["update"]).current_dir(directory).output().unwrap();
        String::from_utf8_lossy(&output.stdout).starts_with(&format!("{version} is installed"))
    }
}

#[test]
fn who_may_not_change_the_host_is_told_so_before_anything_else() {
    let host = ProgramHost::new();
    assert!(host.program(["check"]).status.success());
    let follows = host.program(["status"]);
    let journald = Journald::of(&host.0.path());
    let mode = |name: &str, mode| {
        fs::set_permissions(host.file(name), Permissions::from_mode(mode)).unwrap();
    };
    fs::set_permissions(host.0.directory.path(), Permissions::from_mode(0o755)).unwrap();
    mode("run/systemd/journal/socket", 0o666);
    mode("etc/flipside/flipside.toml", 0o600);
    mode("efi", 0o700);
    mode("run", 0o555);
    mode("run/flipside", 0o555);
    fs::create_dir_all(host.file("var/lib/flipside/trials")).unwrap();
    mode("var/lib/flipside/trials", 0o000);
    // Where another user can start it.
    let program = host.file("flipside");
    fs::copy(PROGRAM, &program).unwrap();
    let is_root = fs::metadata(&program).unwrap().uid() == 0;
    let run = |line: &str| {
        let mut command = Command::new(&program);
        command.arg("--root").arg(host.0.path()).args(line.split(' '));
        if is_root {
            command.uid(65534).gid(65534);
        }
        documents::output(&mut command)
    };
    for line in [
        "check",
        "check --explain",
        "update",
        "promote",
        "rollback",
        "retry --all",
        "verify",
        "hold",
        "unhold",
        "switch later",
        "hooks run",
        "health",
        "reboot",
        "history --log",
        "history --log 2",
    ] {
        let sentence = refusal(&run(line), 1, "needs-root");
        assert!(sentence.contains("the rights of root"), "{line}: {sentence}");
    }
    assert_eq!(run("status").stdout, follows.stdout);
    let history = run("history");
    assert!(history.status.success() && history.stderr.is_empty(), "{history:?}");
    assert!(journald.entries().is_empty(), "an ordinary user leaves nothing in the journal");
    if is_root {
        let mut live = Command::new(&program);
        let live = live.args(["update"]).uid(65534).gid(65534).output().unwrap();
        let sentence = refusal(&live, 1, "needs-root");
        assert_eq!(sentence, "this command needs root: run it as root, for example with sudo");
    }
    mode("run", 0o755);
    mode("run/flipside", 0o755);
    mode("var/lib/flipside/trials", 0o700);
}

#[test]
fn an_image_is_named_as_the_status_shows_it() {
    let host = ProgramHost::new();
    host.set("[trial]\nattempts = 1\n");
    host.updates();
    assert_eq!(host.0.boot_and_fail(), "B 2 trial");
    assert_eq!(host.boot(), "booted slot A: 1 (fell back)");
    let status = host.0.status();
    let [one, two] = [0, 1].map(|slot: usize| status.slots[slot].digest.unwrap());
    assert_eq!(status.failed[0].digest, two);
    let says = |line: &str| {
        let output = host.program(line.split(' '));
        assert!(output.status.success(), "{line}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let shown = two.short();
    assert_eq!(says("retry 2"), format!("{shown} may be installed again\n"));
    let why = "it has not failed, and no rollback left it";
    let again = format!("nothing is noted against {shown} itself: {why}\n");
    for name in [shown.as_str(), &two.hex()[..8], &two.hex()[..20], &two.to_string(), "2"] {
        assert_eq!(says(&format!("retry {name}")), again);
    }
    for name in ["1", &one.short(), &one.hex()[..8]] {
        assert_eq!(says(&format!("verify {name}")), "slot A    whole\n");
    }
    for line in ["verify 9", "retry 9", &format!("retry {}", &two.hex()[..7])] {
        refusal(&host.program(line.split(' ')), 1, "image-unknown");
    }
    assert_eq!(host.program(["verify", "--slot", "a", "1"]).status.code(), Some(2));
}

#[test]
fn nothing_is_drawn_behind_the_last_line_of_a_run() {
    let host = ProgramHost::new();
    host.0.publish(&ImageBuilder::new("1"));
    for (line, last) in [
        ("check", "up to date"),
        ("check --explain", "up to date"),
        ("check --json", "}"),
        ("update", "up to date: 1"),
    ] {
        let command = format!("exec {PROGRAM} --root {} {line}", host.0.path().display());
        // script(1) of util-linux gives it a terminal.
        let mut script = Command::new("script");
        script.args(["--quiet", "--return", "--command", &command, "/dev/null"]);
        let Ok(output) = script.env("TERM", "xterm").stdin(Stdio::null()).output() else {
            println!("skipped: no script(1) to make a terminal with");
            return;
        };
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("looking for an update"), "{line}: {text:?}");
        assert!(text.ends_with(&format!("{last}\r\n")), "{line}: {text:?}");
    }
}
