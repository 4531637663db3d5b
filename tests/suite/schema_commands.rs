// SPDX-License-Identifier: MIT OR Apache-2.0

//! Every command once, with `--json`: what it prints fits its schema in `docs/schema`, and no mistake
//! in it would be missed. Other tests hold what they see against the schemas as well
//! (`support::documents`).

use std::collections::BTreeSet;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output};

use flipside_image::Architecture;
use serde_json::{Value, json};

use crate::support::documents::{self, COMMON, SILENT, published};
use crate::support::hooks::put_hook;
use crate::support::images::{ImageBuilder, content, kernel};
use crate::support::registry_host::RegistryHost;

/// A builder's directory, a host, and what was printed for programs so far, by schema.
struct Stage {
    builder: tempfile::TempDir,
    host: RegistryHost,
    printed: Vec<(String, Value)>,
}

impl Stage {
    fn new() -> Self {
        let (builder, host) = (tempfile::tempdir().unwrap(), RegistryHost::new());
        let write = |name: &str, bytes: &[u8]| std::fs::write(builder.path().join(name), bytes);
        let architecture = Architecture::of_this_build().unwrap();
        write("system", &content(1, 100_000)).unwrap();
        write("kernel", &kernel(architecture, 2, 10_000)).unwrap();
        let os_release = format!("ID=x\nNAME=X\nVERSION_ID=1\nARCHITECTURE={architecture}\n");
        write("os-release", os_release.as_bytes()).unwrap();
        Self { builder, host, printed: Vec::new() }
    }

    fn run(&mut self, command: &mut Command, line: &str) -> Output {
        let (output, printed) = documents::run(command.args(line.split(' ')).arg("--json"));
        self.printed.extend(printed);
        output
    }

    /// Runs a command on the host that ends with `status`.
    fn on_host_with(&mut self, status: i32, line: &str) {
        let mut command = self.host.host.command([""; 0]);
        let output = self.run(&mut command, line);
        assert_eq!(output.status.code(), Some(status), "{line}: {output:?}");
    }

    fn on_host(&mut self, line: &str) {
        self.on_host_with(0, line);
    }

    /// Runs a command in the builder's directory.
    fn builds(&mut self, line: &str) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_flipside"));
        command.current_dir(self.builder.path());
        let output = self.run(&mut command, line);
        assert!(output.status.success(), "{line}: {output:?}");
    }

    /// What a publisher does.
    fn publishes(&mut self) {
        let image = self.host.registry.image("built:stable");
        self.builds("image key release");
        self.builds(
            "image build --payload system=system --payload kernel.efi=kernel --os-release \
             os-release --tag stable --annotation org.flipside.barrier=true \
             --partition system=uuid=0f0e0d0c-0b0a-0908-0706-050403020100,flags=0x1 -o layout",
        );
        self.builds("image sign --key release.key oci:layout --identity r.example/acme/edge");
        self.builds("image inspect oci:layout:stable");
        self.builds(&format!("image push layout {image}"));
        self.builds(
            "image build --payload system=system --payload kernel.efi=kernel --os-release \
             os-release --version 1.1 --payload more=os-release --tag more -o later",
        );
        self.builds(&format!("image delta {image} oci:later"));
        self.builds(&format!("image push later {image}.later --delta-from {image}"));
        self.builds(&format!("image pull {image} copy"));
        self.builds("image extract oci:copy system -o extracted --progress json");
        self.builds(&format!(
            "policy build --release 1={image} --rollout 48h --barrier 1=keys -o policy.json"
        ));
        self.builds("policy build --from policy.json --dead-end 1=old --withdraw 1=broken");
        self.builds("policy lint policy.json");
        self.builds("policy show policy.json");
        self.builds(&format!("policy push policy.json {image}"));
        self.builds(&format!("image inspect {image}.policy"));
        self.builds("disk build --image oci:layout:stable -o disk.img --esp-size 16MiB");
        self.builds("sim new machine --image oci:layout:stable --esp-size 16MiB");
        self.builds("sim boot machine");
    }

    /// A host's life: an update that a hook holds up at first, its trial, and the way back.
    fn updates(&mut self) {
        for line in ["status", "check --explain", "update", "reboot", "labels", "hooks list"] {
            self.on_host(line);
        }
        let digest = self.host.publish(&ImageBuilder::new("2")).digest;
        put_hook(&self.host.host, "echo later; exit 75");
        self.on_host("hooks list");
        self.on_host("hooks run --dry-run");
        self.on_host_with(75, "hooks run");
        self.on_host("check --explain");
        self.on_host_with(75, "update");
        self.on_host("update --automatic");
        for automatic in ["off", "check"] {
            self.host.host.set(&format!("update.automatic = {automatic:?}\n"));
            self.on_host("update --automatic");
        }
        put_hook(&self.host.host, "cat > \"$FLIPSIDE_ROOT/told\"");
        self.on_host("check");
        self.on_host("--progress json update");
        let told = std::fs::read(self.host.host.file("told")).unwrap();
        self.printed.push(("hook".to_owned(), serde_json::from_slice(&told).unwrap()));
        self.on_host("status");
        let host = self.host.host.0.path().display().to_string();
        self.builds(&format!("sim boot {host} --fail"));
        self.host.host.write("etc/flipside/health.d/required/10", "#!/bin/sh\nexit 0\n");
        let check = self.host.host.file("etc/flipside/health.d/required/10");
        std::fs::set_permissions(check, Permissions::from_mode(0o755)).unwrap();
        for line in ["health", "promote", "trial-deadline", "verify"] {
            self.on_host(line);
        }
        self.on_host("rollback --unverified");
        self.on_host(&format!("retry {digest}"));
        self.on_host("retry --all");
        self.on_host("hold --until 2999-01-01");
        self.on_host("update --automatic");
        self.on_host("unhold");
        self.on_host("switch testing --offline");
        self.on_host("switch --back");
        self.on_host_with(1, "history --log");
        let log = format!(
            "# version: 2\n# digest: {digest}\n# slot: b\n# reason: not promoted\n\
             # kept: 2026-11-21T14:03:00Z\n\nkernel: panic\n"
        );
        self.host.host.write("var/lib/flipside/trials/2.log", log);
        self.on_host("history --log");
        self.on_host("history");
    }
}

/// The commands without commands of their own, as schemas are named.
fn commands(of: &clap::Command, name: &str, found: &mut BTreeSet<String>) {
    let below = of.get_subcommands().filter(|command| command.get_name() != "help");
    let mut is_leaf = true;
    for command in below {
        let dash = if name.is_empty() { "" } else { "-" };
        commands(command, &format!("{name}{dash}{}", command.get_name()), found);
        is_leaf = false;
    }
    if is_leaf {
        found.insert(name.to_owned());
    }
}

/// Each place in a document, as a JSON pointer.
fn places(value: &Value, pointer: &str, found: &mut Vec<String>) {
    found.push(pointer.to_owned());
    let children: Vec<(String, &Value)> = match value {
        Value::Object(members) => members.iter().map(|(name, of)| (name.clone(), of)).collect(),
        Value::Array(items) => {
            items.iter().enumerate().map(|(at, of)| (at.to_string(), of)).collect()
        }
        _ => Vec::new(),
    };
    for (name, child) in children {
        let name = name.replace('~', "~0").replace('/', "~1");
        places(child, &format!("{pointer}/{name}"), found);
    }
}

/// What may be left out of the documents here. Everything else has a value, if only `null`.
const OPTIONAL: [(&str, &str); 16] = [
    ("check", "/rules"),
    ("image-inspect", "/annotations/org.flipside.barrier"),
    ("image-inspect", "/annotations/org.opencontainers.image.version"),
    ("image-inspect", "/document/releases/0/barrier"),
    ("image-inspect", "/document/releases/0/rollout"),
    ("image-inspect", "/payloads/0/partition"),
    ("image-inspect", "/payloads/0/partition/flags"),
    ("image-inspect", "/payloads/0/partition/uuid"),
    ("image-inspect", "/signatures"),
    ("labels", "/labels/system"),
    ("policy-build", "/releases/0/barrier"),
    ("policy-build", "/releases/0/dead_end"),
    ("policy-build", "/releases/0/rollout"),
    ("policy-build", "/releases/0/withdrawn"),
    ("policy-show", "/releases/0/barrier"),
    ("policy-show", "/releases/0/rollout"),
];

/// Whether `document` fits with what `change` does to the value at `place`.
fn fits(
    name: &str,
    document: &Value,
    place: &str,
    change: impl FnOnce(&mut Value) -> Option<Value>,
) -> bool {
    let mut changed = document.clone();
    change(changed.pointer_mut(place).unwrap());
    documents::judge(name, &changed).is_ok()
}

#[test]
fn every_command_prints_documents_of_its_schema_and_no_mistake_in_them_is_missed() {
    let mut stage = Stage::new();
    stage.publishes();
    stage.updates();
    let used: BTreeSet<String> = stage.printed.iter().map(|(name, _)| name.clone()).collect();
    let mut expected = BTreeSet::new();
    commands(&flipside::cli::command(), "", &mut expected);
    expected.retain(|name| !SILENT.contains(&name.as_str()));
    expected.extend(["error", "hook", "progress"].map(str::to_owned));
    assert_eq!(used, expected);
    // The lines of the history are documents too: `documents::run` looks at those that are added.
    expected.extend(["history-entry", COMMON].map(str::to_owned));
    assert_eq!(published().into_keys().collect::<BTreeSet<_>>(), expected);

    let mut left_out = BTreeSet::new();
    for (name, document) in &stage.printed {
        let mut found = Vec::new();
        places(document, "", &mut found);
        for place in &found {
            let is_anything = fits(name, document, place, |value| {
                *value = json!([[]]);
                None
            });
            assert!(!is_anything, "{name}: {place:?} may be anything");
            let Some(members) = document.pointer(place).and_then(Value::as_object) else {
                continue;
            };
            let has_any = fits(name, document, place, |value| {
                value.as_object_mut()?.insert("unknown".to_owned(), json!([]))
            });
            assert!(!has_any, "{name}: {place:?} may have any member");
            for member in members.keys() {
                if fits(name, document, place, |value| value.as_object_mut()?.remove(member)) {
                    left_out.insert((name.as_str(), format!("{place}/{member}")));
                }
            }
        }
    }
    // What was built is shown as `inspect` does.
    left_out.retain(|(name, _)| *name != "image-build");
    assert_eq!(left_out, BTreeSet::from(OPTIONAL.map(|(name, place)| (name, place.to_owned()))));
}
