// SPDX-License-Identifier: MIT OR Apache-2.0

//! Registries that are wrong, gone or hostile: what `flipside update` says, and that the host
//! stays what it was.

use std::process::Command;
use std::sync::Arc;

use flipside_image::Digest;

use crate::support::certificates::Authority;
use crate::support::documents;
use crate::support::images::{ImageBuilder, OsImage};
use crate::support::program_host::{ProgramHost, refusal};
use crate::support::proxy::{Fault, Proxy};
use crate::support::registry::{PASSWORD, Registry, USER, login_file};

const NAME: &str = "acme/bad-input:2";
const ALWAYS: usize = usize::MAX;

/// A registry with version 2.
struct Stage {
    registry: Arc<Registry>,
    image: OsImage,
    _directory: tempfile::TempDir,
}

impl Stage {
    fn new() -> Self {
        let registry = Registry::shared();
        let directory = tempfile::tempdir().unwrap();
        let image = ImageBuilder::new("2").write(directory.path());
        registry.push(directory.path(), NAME);
        Self { registry, image, _directory: directory }
    }

    /// A host that follows the image through a proxy.
    fn host(&self) -> (ProgramHost, Proxy) {
        let (host, proxy) = (ProgramHost::new(), Proxy::start(self.registry.address()));
        host.follow(&format!("{}/{NAME}", proxy.address()), "");
        (host, proxy)
    }

    fn config(&self) -> Digest {
        self.image.image.manifest.config.digest
    }
}

fn status(status: u16, headers: &[(&'static str, &str)]) -> Fault {
    let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    Fault::Status(status, headers, String::new())
}

#[test]
fn a_sound_registry_is_followed() {
    let stage = Stage::new();
    let (host, _proxy) = stage.host();
    host.updates();
    assert_eq!(host.boot(), "booted slot B: 2 (promoted)");
}

#[test]
fn what_a_registry_does_wrong_has_a_code_and_changes_nothing() {
    let stage = Stage::new();
    let config = stage.config().to_string();
    let later: &[(&'static str, &str)] = &[("retry-after", "3600")];
    let cases: [(&str, &str, Fault, &str, &str); 9] = [
        ("401", "manifests", status(401, &[]), "registry-unauthorized", "other credentials"),
        ("403", "manifests", status(403, &[]), "registry-forbidden", "403"),
        ("404 of a blob", &config, status(404, &[]), "blob-not-found", &config),
        ("429", "manifests", status(429, later), "registry-rate-limited", "3600 s"),
        ("503 with a time", "manifests", status(503, later), "registry-error", "503"),
        ("502", "manifests", status(502, &[]), "registry-error", "502 Bad Gateway"),
        ("501", "manifests", status(501, &[]), "registry-error", "501"),
        ("truncated body", &config, Fault::Cut(0), "transfer-truncated", "broke off"),
        ("wrong digest", &config, Fault::Corrupt(9), "digest-mismatch", "config"),
    ];
    // Each in a thread: what is asked again waits in between.
    std::thread::scope(|scope| {
        for (name, path, fault, code, said) in cases {
            let (host, proxy) = stage.host();
            scope.spawn(move || {
                proxy.fault(path, ALWAYS, fault);
                let sentence = host.refuses(1, code);
                assert!(sentence.contains(said), "{name}: {sentence}");
                host.boots_as_before();
            });
        }
    });
}

#[test]
fn what_is_tried_again_within_a_run_is_a_warning() {
    let stage = Stage::new();
    let (host, proxy) = stage.host();
    proxy.fault("manifests", 2, status(520, &[]));
    let mut command = Command::new(env!("CARGO_BIN_EXE_flipside"));
    let output = documents::output(command.arg("--root").arg(host.0.path()).arg("update"));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    assert!(said.contains(&format!("trying again: {} answered 520", proxy.address())), "{said}");
}

#[test]
fn a_redirect_loop_ends() {
    let stage = Stage::new();
    let (host, proxy) = stage.host();
    let itself = format!("http://{}/v2/acme/bad-input/manifests/2", proxy.address());
    proxy.fault("manifests", ALWAYS, Fault::Redirect(itself));
    let sentence = host.refuses(1, "redirect-invalid");
    assert!(sentence.starts_with(proxy.address()), "{sentence}");
    host.boots_as_before();
}

#[test]
fn names_that_lead_nowhere_are_named() {
    let stage = Stage::new();
    let address = stage.registry.address();
    let nobody = "registry.flipside.invalid";
    let cases = [
        (format!("{address}/acme/bad-input:nope"), "tag-not-found", "no tag nope"),
        (format!("{address}/acme/nobody:2"), "tag-not-found", "acme/nobody"),
        (format!("{nobody}/acme/os:2"), "registry-unknown-host", nobody),
        (format!("{address}/Acme:2"), "reference-invalid", "Acme"),
    ];
    std::thread::scope(|scope| {
        for (image, code, said) in cases {
            scope.spawn(move || {
                let host = ProgramHost::new();
                host.follow(&image, "");
                let sentence = host.refuses(1, code);
                assert!(sentence.contains(said), "{sentence}");
                host.boots_as_before();
            });
        }
    });
}

#[test]
fn a_password_that_is_missing_or_wrong_is_said_with_the_files_and_the_entry() {
    let registry = Registry::start_with_password();
    let stage = Stage::new();
    registry.push(&stage.image.layout, NAME);
    let host = ProgramHost::new();
    host.follow(&registry.image(NAME), "");
    let sentence = host.refuses(1, "registry-unauthorized");
    assert!(sentence.contains("/etc/flipside/auth.json, "), "{sentence}");
    host.write("run/flipside/auth.json", "{\"auths\":null}");
    let sentence = host.refuses(1, "registry-unauthorized");
    let expected =
        "for it in ".to_owned() + &host.file("run/flipside/auth.json").display().to_string();
    assert!(sentence.contains(&format!("{expected} (track.auth_file)")), "{sentence}");
    host.write("run/flipside/auth.json", login_file(registry.address(), USER, "wrong"));
    let sentence = host.refuses(1, "registry-unauthorized");
    let entry = format!("auth.json (entry {}) are refused (UNAUTHORIZED: ", registry.address());
    assert!(sentence.contains(&entry), "{sentence}");
    host.boots_as_before();
}

/// systemd gives system services no HOME.
#[test]
fn credentials_in_the_home_of_the_user_are_found_with_and_without_home() {
    let registry = Registry::start_with_password();
    let stage = Stage::new();
    registry.push(&stage.image.layout, NAME);
    let host = ProgramHost::new();
    host.follow(&registry.image(NAME), "");
    let user = nix::unistd::geteuid();
    host.write("etc/passwd", format!("someone:x:{user}:{user}::/root:/bin/sh\n"));
    host.write("root/.docker/config.json", login_file(registry.address(), USER, PASSWORD));
    for home in [Some("/root"), None] {
        let mut command = host.command(["check"]);
        for name in ["HOME", "DOCKER_CONFIG", "XDG_CONFIG_HOME", "REGISTRY_AUTH_FILE"] {
            command.env_remove(name);
        }
        let output = documents::output(command.envs(home.map(|home| ("HOME", home))));
        assert!(output.status.success(), "{home:?}: {output:?}");
    }
}

#[test]
fn certificates_that_cannot_be_trusted_are_refused() {
    let stage = Stage::new();
    let authority = Authority::new();
    let name = "127.0.0.1";
    let cases = [
        (authority.certificate(name, 2020, 2100), None),
        (authority.certificate(name, 2000, 2001), Some("tls-certificate-expired")),
        (Authority::new().certificate(name, 2020, 2100), Some("tls-untrusted")),
        (authority.certificate("r.example", 2020, 2100), Some("tls-wrong-name")),
    ];
    for (certificate, code) in cases {
        let proxy = Proxy::start_tls(stage.registry.address(), certificate.server(None));
        let host = ProgramHost::new();
        host.write("etc/flipside/ca.pem", authority.pem());
        host.follow(&format!("{}/{NAME}", proxy.address()), "ca = [\"/etc/flipside/ca.pem\"]");
        let Some(code) = code else {
            host.updates();
            continue;
        };
        let sentence = host.refuses(1, code);
        assert!(sentence.contains(proxy.address()), "{sentence}");
        host.boots_as_before();
    }
}

/// What goes wrong while the target is being written leaves a target that does not boot.
#[test]
fn a_payload_that_breaks_off_or_is_damaged_leaves_the_running_slot() {
    let stage = Stage::new();
    let layer = stage.image.image.layer("system").unwrap().descriptor.digest.to_string();
    let cases = [
        ("truncated", Fault::Cut(0), "transfer-truncated"),
        ("damaged", Fault::Corrupt(50), "chunk-damaged"),
    ];
    std::thread::scope(|scope| {
        for (name, fault, code) in cases {
            let (host, proxy) = stage.host();
            let layer = layer.clone();
            scope.spawn(move || {
                proxy.fault(&layer, ALWAYS, fault);
                refusal(&host.program(["update"]), 1, code);
                assert_eq!(host.codes_in_status(), [code], "{name}");
                host.boots_as_before();
                // The next run goes on.
                proxy.calm();
                host.updates();
                assert_eq!(host.boot(), "booted slot B: 2 (promoted)", "{name}");
            });
        }
    });
}
