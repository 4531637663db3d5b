// SPDX-License-Identifier: MIT OR Apache-2.0

//! The hook that is a container image, with podman played by a script that notes what it is asked
//! for; the registry is a real one.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use serde_json::Value;

use crate::support::certificates::Authority;
use crate::support::documents;
use crate::support::images::ImageBuilder;
use crate::support::program_host::ProgramHost;
use crate::support::proxy::Proxy;
use crate::support::registry::Registry;

/// Notes its arguments, and answers by the files `exists`, `pull` and `run` beside it.
const PODMAN: &str = r#"#!/bin/sh
place=${0%/*}
printf '%s\n' "$*" >> "$place/asked"
case $1 in
image) [ "$2" = rm ] || exec sh "$place/exists" ;;
images) echo sha256:beef ;;
pull) env | grep -i proxy > "$place/proxies"; exec sh "$place/pull" ;;
run) env | grep -i proxy > "$place/proxies"; cat > "$place/stdin"; exec sh "$place/run" ;;
esac
"#;

struct Container {
    host: ProgramHost,
    registry: Registry,
    image: String,
}

impl Container {
    fn new(more: &str) -> Self {
        let (host, registry) = (ProgramHost::new(), Registry::start());
        let layout = tempfile::tempdir().unwrap();
        ImageBuilder::new("9").write(layout.path());
        let image = registry.image("hooks/fleet:1");
        let status = Command::new(env!("CARGO_BIN_EXE_flipside"))
            .args(["--quiet", "image", "push"])
            .arg(format!("oci:{}", layout.path().display()))
            .arg(&image)
            .status();
        assert!(status.unwrap().success());
        host.set(&format!("[policy.hooks.container]\nimage = {image:?}\n{more}"));
        let this = Self { host, registry, image };
        this.answer("exists", "exit 0");
        this.answer("pull", "exit 0");
        this.answer("run", "echo fine");
        this.answer("podman", PODMAN);
        let podman = this.host.file("usr/bin/podman");
        std::fs::set_permissions(podman, std::fs::Permissions::from_mode(0o755)).unwrap();
        this
    }

    fn answer(&self, file: &str, text: &str) {
        self.host.write(&format!("usr/bin/{file}"), text);
    }

    fn ask(&self) -> Value {
        let output = self.host.program(["hooks", "run", "--json"]);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
    }

    fn asked(&self) -> String {
        std::fs::read_to_string(self.host.file("usr/bin/asked")).unwrap_or_default()
    }
}

#[test]
fn it_is_run_by_digest_without_network_and_reads_the_facts() {
    let container = Container::new("");
    container.host.write("etc/os-release", "ID=x\n");
    container.host.write("sys/class/power_supply/BAT0/capacity", "80\n");
    let root = container.host.0.path();
    let sys = format!(
        " --mount=type=bind,src={}/sys/class,dst=/run/host/sys/class,ro,bind-nonrecursive ",
        root.display()
    );
    let said = container.ask();
    assert_eq!(said["decision"], "allow", "{said}");
    let last = said["answers"].as_array().unwrap().last().unwrap();
    assert_eq!((&last["kind"], &last["said"]), (&"container".into(), &"fine".into()));
    let asked = container.asked();
    let lines: Vec<&str> = asked.lines().collect();
    let repository = container.image.rsplit_once(':').unwrap().0;
    assert_eq!(lines.len(), 3, "{asked}");
    assert_eq!(lines[0], "rm --force --ignore --time=0 flipside-hook");
    assert!(lines[1].starts_with(&format!("image exists {repository}@sha256:")), "{asked}");
    for word in [
        "run --rm ",
        " --read-only ",
        " --network=none ",
        " --pull=never ",
        " --log-driver=none ",
        // Not as root, whatever user the image sets.
        " --user=65534:65534 ",
        " --cap-drop=all ",
        " --security-opt=no-new-privileges ",
        " --name=flipside-hook ",
        " --timeout=61 ",
        " --cgroups=disabled ",
        // Firmware variables and control groups are mounted below /sys, and would stay writable.
        &sys,
        " --env=FLIPSIDE_NEW_VERSION=2 ",
        " --env=FLIPSIDE_ROOT=/run/host ",
        "/etc/os-release,dst=/run/host/etc/os-release,ro,bind-nonrecursive ",
    ] {
        assert!(lines[2].contains(word), "{word} is not in {asked}");
    }
    assert!(!lines[2].contains("/sys,"), "{asked}");
    assert!(lines[2].rsplit(' ').next().unwrap().starts_with(&format!("{repository}@sha256:")));
    let document = std::fs::read(container.host.file("usr/bin/stdin")).unwrap();
    let document: Value = serde_json::from_slice(&document).unwrap();
    assert_eq!(document["new"]["version"], "2");
}

#[cfg(feature = "dbus")]
#[test]
fn as_a_unit_it_has_control_groups_of_its_own() {
    let container = Container::new("network = true\n");
    let systemd = crate::support::systemd::PlayedSystemd::of(&container.host.0.path());
    let said = container.ask();
    assert_eq!(said["answers"][0]["ran_as"], "unit", "{said}");
    let asked = container.asked();
    assert!(asked.contains(" --cgroups=split --memory=268435456 --pids-limit=256 "), "{asked}");
    assert!(asked.contains(" --network=host "), "{asked}");
    let properties = systemd.with(|world| std::mem::take(&mut world.properties));
    assert_eq!(properties["Delegate"], "true");
    assert!(!properties.contains_key("ProtectSystem"));
}

#[test]
fn its_answers_and_podmans_own_are_told_apart() {
    for (run, decision, code, part) in [
        ("echo busy; exit 75", "defer", "hook-deferred", "the container hook: busy"),
        ("echo never; exit 1", "block", "hook-blocked", "the container hook: never"),
        ("echo no runtime >&2; exit 125", "block", "hook-failed", "status 125: no runtime"),
        ("exit 127", "block", "hook-failed", "podman ends with status 127"),
    ] {
        let container = Container::new("");
        container.answer("run", run);
        let said = container.ask();
        assert_eq!((&said["decision"], &said["code"]), (&decision.into(), &code.into()), "{said}");
        assert!(said["reason"].as_str().unwrap().contains(part), "{said}");
    }
}

#[test]
fn what_is_not_there_is_fetched_and_what_cannot_be_fetched_defers() {
    let container = Container::new("");
    container.answer("exists", "exit 1");
    assert_eq!(container.ask()["decision"], "allow");
    let asked = container.asked();
    let lines: Vec<&str> = asked.lines().collect();
    // What the tag named before does not stay.
    let repository = container.image.rsplit_once(':').unwrap().0;
    let find = format!("images --quiet --no-trunc --filter=reference={repository}");
    assert_eq!(lines[2..4], [find.as_str(), "image rm sha256:beef"]);
    assert!(lines[4].starts_with("pull --quiet "), "{asked}");
    container.answer("pull", "echo the disk is full >&2; exit 125");
    let said = container.ask();
    assert_eq!(said["code"], "container-hook-unavailable", "{said}");
    assert!(said["reason"].as_str().unwrap().contains("the disk is full"), "{said}");
}

#[test]
fn podman_reaches_the_registry_as_flipside_does() {
    let container = Container::new("");
    container.answer("exists", "exit 1");
    let registry = container.image.split('/').next().unwrap();
    let auth = format!(r#"{{"auths":{{{registry:?}:{{"auth":"dTpw"}}}}}}"#);
    container.host.write("run/flipside/auth.json", auth);
    let mut command = container.host.command(["hooks", "run"]);
    command.env("HTTPS_PROXY", "http://127.0.0.1:9").env("no_proxy", "lan");
    assert!(command.status().unwrap().success());
    let asked = container.asked();
    let pull = asked.lines().find(|line| line.starts_with("pull ")).unwrap();
    let file = container.host.file("run/flipside/auth.json");
    let expected = format!("pull --quiet --tls-verify=false --authfile={} ", file.display());
    assert!(pull.starts_with(&expected), "{asked}");
    // podman would hand them on to the container.
    assert_eq!(std::fs::read_to_string(container.host.file("usr/bin/proxies")).unwrap(), "");
    container.answer("pull", "tr '\\n' ' ' < \"${0%/*}/proxies\"; exit 1");
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    for variable in ["https_proxy=http://127.0.0.1:9/ ", "no_proxy=lan "] {
        assert!(said.contains(variable), "{said}");
    }
    let settings = "track.proxy = \"p.lan:3128\"\ntrack.no_proxy = [\"*.lan\"]\n";
    container.host.write("etc/flipside/flipside.toml.d/60-proxy.toml", settings);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    for variable in
        ["http_proxy=http://p.lan:3128/ ", "https_proxy=http://p.lan", "no_proxy=*.lan "]
    {
        assert!(said.contains(variable), "{said}");
    }
}

#[test]
fn an_image_that_does_not_exist_and_a_host_without_podman_block() {
    let container = Container::new("");
    std::fs::remove_file(container.host.file("usr/bin/podman")).unwrap();
    container.host.refuses(1, "container-hook-no-podman");
    let gone = container.image.replace("fleet", "gone");
    container.host.set(&format!("[policy.hooks.container]\nimage = {gone:?}\n"));
    let sentence = container.host.refuses(1, "container-hook-missing");
    assert!(sentence.contains("hooks/gone:1"), "{sentence}");
    assert_eq!(container.asked(), "");
    container.host.set("[policy.hooks.container]\nimage = \"127.0.0.1:9/a/b:1\"\n");
    container.host.refuses(75, "container-hook-unavailable");
}

/// After a promote, and never an obstacle to it.
#[test]
fn post_promote_hooks_are_told_and_their_failure_is_a_warning() {
    let host = ProgramHost::new();
    host.updates();
    let place = "etc/flipside/hooks/post-promote.d";
    for (name, script) in [
        ("10-fails", "echo no; exit 3"),
        (
            "20-notes",
            "cat > \"$FLIPSIDE_ROOT/told\"; echo \"$FLIPSIDE_OTHER_VERSION\" > \"$FLIPSIDE_ROOT/other\"",
        ),
    ] {
        host.write(&format!("{place}/{name}"), format!("#!/bin/sh\n{script}\n"));
        let path = host.file(format!("{place}/{name}"));
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    assert_eq!(host.0.boot_with(false, Default::default()), "B 2 promoted");
    // The boot above promoted in this process; the program's own promote finds nothing to do.
    assert!(host.program(["promote"]).status.success());
    assert!(!host.file("told").exists());
    host.0.publish(&ImageBuilder::new("3"));
    assert_eq!(host.0.arm(), "A 3");
    let mut boot = Command::new(env!("CARGO_BIN_EXE_flipside"));
    let output = documents::output(boot.args(["sim", "boot"]).arg(host.0.path()));
    assert!(output.status.success(), "{output:?}");
    // What the promote said.
    let warned = String::from_utf8_lossy(&output.stdout);
    assert!(warned.contains("hook 10-fails failed: no"), "{warned}");
    let told: Value = serde_json::from_slice(&std::fs::read(host.file("told")).unwrap()).unwrap();
    documents::check("hook", &told);
    assert_eq!(told["hook"], "post-promote");
    assert_eq!((&told["running"]["slot"], &told["running"]["version"]), (&"a".into(), &"3".into()));
    assert_eq!(std::fs::read_to_string(host.file("other")).unwrap(), "2\n");
}

#[test]
fn its_registry_is_not_shown_the_client_certificate_that_is_for_the_tracked_one() {
    let container = Container::new("");
    let (servers, clients) = (Authority::new(), Authority::new());
    let tls = servers.certificate("127.0.0.1", 2020, 2100).server_that_asks(&clients);
    let proxy = Proxy::start_tls(container.registry.address(), tls);
    let own = clients.certificate("client", 2020, 2100);
    container.host.write("etc/ca.pem", servers.pem());
    container.host.write("etc/own.pem", format!("{}{}", own.chain, own.key));
    container.host.set(&format!(
        "[track]\nca = ['/etc/ca.pem']\nclient_cert = '/etc/own.pem'\n\
         client_key = '/etc/own.pem'\n[policy.hooks.container]\nimage = \"{}/hooks/fleet:1\"\n",
        proxy.address()
    ));
    container.ask();
    let seen = proxy.seen();
    assert!(!seen.is_empty() && seen.iter().all(|request| !request.identified), "{seen:?}");
}
