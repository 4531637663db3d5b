// SPDX-License-Identifier: MIT OR Apache-2.0

//! `flipside policy` and where its documents are: files, registries, layouts.

use std::path::Path;
use std::process::Command;

use flipside_image::signature::signature_tag;

use crate::support::documents;
use crate::support::images::ImageBuilder;
use crate::support::program_host::refusal;
use crate::support::registry::Registry;

fn flipside(directory: &Path, line: &str) -> std::process::Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flipside"));
    command.arg("--quiet").args(line.split_whitespace()).current_dir(directory);
    documents::output(&mut command)
}

fn says(directory: &Path, line: &str) -> String {
    let output = flipside(directory, line);
    assert!(output.status.success(), "{line}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

#[test]
fn a_rollout_is_that_of_the_release_that_it_follows() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    let [one, two] = ["1", "2"].map(|version| ImageBuilder::new(version).write(here.join(version)));
    let start = (jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1))
        .strftime("%Y-%m-%dT%H:%M:%SZ")
        .to_string();
    let line = format!(
        "policy build --release 1 --release 2 --rollout 48h --start-percentage 7% \
         --start {start} --output policy.json"
    );
    let said = says(here, &line);
    let shown = said.strip_prefix("wrote policy.json\n").unwrap();
    assert_eq!(says(here, "policy show policy.json"), shown);
    let lines: Vec<&str> = shown.lines().collect();
    assert!(lines[0].starts_with("issued ") && lines[0].contains(", valid until "), "{said}");
    assert_eq!(lines[1], format!("1  {}", one.digest.short()));
    let rollout = format!("rollout over 48h from {start}, at first 7%");
    assert_eq!(lines[2], format!("2  {}  {rollout}", two.digest.short()));
    let document = std::fs::read_to_string(here.join("policy.json")).unwrap();
    assert!(document.contains("\"start_percentage\": 0.07,"), "{document}");
    assert_eq!(document.matches("rollout").count(), 1, "{document}");

    let both = says(here, "policy build --release 1 --rollout 1d --release 2 --rollout 2d");
    assert!(both.find("\"1d\"") < both.find("\"version\": \"2\""), "{both}");
    assert!(both.find("\"version\": \"2\"") < both.find("\"2d\""), "{both}");
    let output = flipside(here, "policy build --release 1 --rollout 1d --start-percentage 10");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("such as 10%"), "{output:?}");
}

#[test]
fn a_published_document_is_read_where_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    let image = ImageBuilder::new("1").tag("stable").write(here.join("1"));
    let registry = Registry::shared();
    for (at, tag) in [registry.image("policies:stable"), "1:stable".to_owned()].iter().enumerate() {
        let document = format!("{tag}.policy");
        says(here, "policy build --release 1:stable --expires-in 20d --output policy.json");
        let pushed = says(here, &format!("policy push policy.json {document}"));
        let named = if at == 0 { document.clone() } else { format!("oci:{document}") };
        assert!(pushed.starts_with(&format!("pushed {named} sha256:")), "{pushed}");
        let shown = says(here, "policy show policy.json");
        for place in [tag, &document] {
            assert_eq!(says(here, &format!("policy show {place}")), shown, "{place}");
            let linted = says(here, &format!("policy lint {place}"));
            assert!(linted.ends_with("releases listed: 1"), "{linted}");
        }
        let next = format!("policy build --from {tag} --withdraw 1=loud --output next.json");
        let next = says(here, &next);
        assert!(next.ends_with("  withdrawn: loud"), "{next}");
    }
    let document = registry.image("policies:stable.policy");
    let inspected = says(here, &format!("image inspect {document}"));
    assert!(inspected.starts_with("policy document sha256:"), "{inspected}");
    assert!(inspected.contains(" about stable\nissued "), "{inspected}");
    says(here, "image key release");
    says(here, &format!("image push 1:stable {}", registry.image("policies:signed")));
    says(here, &format!("image sign --key release.key {}", registry.image("policies:signed")));
    let tag = signature_tag(&image.digest);
    let signature = registry.image(&format!("policies:{tag}"));
    let inspected = says(here, &format!("image inspect {signature}"));
    says(here, &format!("image inspect {signature} --json"));
    let form = format!("\nfor        {}\nform       simple-signing, 1 in all", image.digest);
    assert!(
        inspected.starts_with("signatures sha256:") && inspected.ends_with(&form),
        "{inspected}"
    );
    let absent = format!("policy show {}", registry.image("policies:none"));
    refusal(&flipside(here, &absent), 1, "tag-not-found");
    let output = flipside(here, "policy lint gone.json");
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("cannot read gone.json"),
        "{output:?}"
    );
}
