// SPDX-License-Identifier: MIT OR Apache-2.0

//! `flipside policy`: documents are made, checked, and published beside their tag.

use std::path::Path;
use std::process::{Command, Output};

use crate::support::documents;
use crate::support::images::ImageBuilder;
use crate::support::registry::Registry;

fn policy(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flipside"));
    documents::output(command.arg("policy").args(arguments))
}

fn says(arguments: &[&str]) -> String {
    let output = policy(arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

fn refuses(arguments: &[&str], status: i32, part: &str) {
    let output = policy(arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(status), "{arguments:?}: {said}");
    assert!(said.contains(part), "{arguments:?}: {said}");
}

fn document(file: &Path) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

#[test]
fn a_document_is_built_release_by_release() {
    let registry = Registry::shared();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("policy.json");
    let path = file.to_str().unwrap();
    let mut digests = Vec::new();
    for version in ["2026.9", "2026.10"] {
        let layout = directory.path().join(version);
        ImageBuilder::new(version).write(&layout);
        digests.push(registry.push(&layout, &format!("policy/built:{version}")).to_string());
    }
    let image = |version: &str| registry.image(&format!("policy/built:{version}"));

    let layout = format!("oci:{}", directory.path().join("2026.9").display());
    says(&["build", "--release", &layout, "-o", path]);
    let newer = format!("2026.10={}", image("2026.10"));
    let start = "2030-01-01T00:00:00Z";
    refuses(
        &["build", "--from", path, "--release", &newer, "--rollout", "48h", "--start", start],
        1,
        "over a year after `issued` [policy-document-invalid]",
    );
    let day = |days: i64| {
        let time = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24 * days);
        time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    };
    let is_over = "is over before `issued`: leave it out, or mend its year";
    for (start, part) in [(-365, is_over), (-3, is_over), (365, "than the document expires")] {
        refuses(
            &[
                "build",
                "--from",
                path,
                "--release",
                &newer,
                "--rollout",
                "48h",
                "--start",
                &day(start),
            ],
            1,
            part,
        );
    }
    says(&[
        "build",
        "--from",
        path,
        "--release",
        &newer,
        "--rollout",
        "2d",
        "--start-percentage",
        "0.1",
        "--barrier",
        "2026.10=new keys",
        "--expires-in",
        "10d",
        "-o",
        path,
    ]);
    let built = document(&file);
    let listed = |at: usize| {
        (built["releases"][at]["version"].clone(), built["releases"][at]["digest"].clone())
    };
    assert_eq!(listed(0), ("2026.9".into(), digests[0].clone().into()));
    assert_eq!(listed(1), ("2026.10".into(), digests[1].clone().into()));
    assert_eq!(built["releases"][1]["rollout"]["start"], built["issued"]);
    assert_eq!(built["releases"][1]["rollout"]["duration"], "2d");
    assert_eq!(built["releases"][1]["barrier"]["reason"], "new keys");
    assert!(says(&["lint", path]).ends_with("releases listed: 2"));

    // To stdout, which a pipe may take on.
    let text = says(&["build", "--from", path, "--withdraw", "2026.10=eats data"]);
    let withdrawn: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(withdrawn["releases"][1]["withdrawn"]["reason"], "eats data");

    for (arguments, part) in [
        (["--withdraw", "3=x"], "no release \"3\""),
        (["--forget", "3"], "no release \"3\""),
        (["--release", &format!("3={}", image("2026.10"))], "is version 2026.10, not 3"),
        (["--release", &image("none")], "[tag-not-found]"),
        (["--expires-in", "400d"], "over a year after"),
    ] {
        refuses(&[&["build", "--from", path], &arguments[..]].concat(), 1, part);
    }
    assert_eq!(document(&file), built, "what was refused changed nothing");
}

#[test]
fn lint_tells_errors_and_warnings() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("policy.json");
    let path = file.to_str().unwrap();
    let digest = flipside_image::Digest::of(b"1");
    let write = |issued: &str, expires: &str, release: &str| {
        let text = format!(
            r#"{{"format_version":"1","issued":"{issued}","expires":"{expires}","releases":[
               {{"version":"1","digest":"{digest}"{release}}}]}}"#
        );
        std::fs::write(&file, text).unwrap();
    };
    let (issued, expires) = ("2026-01-01T00:00:00Z", "2026-01-31T00:00:00Z");
    write(issued, expires, "");
    let said = says(&["lint", path]);
    assert!(said.starts_with("warning: it has expired"), "{said}");

    let rollout =
        r#","rollout":{"start":"2026-01-01T00:00:00Z","start_percentage":-1,"duration":"x"}"#;
    write(issued, expires, rollout);
    let output = policy(&["--json", "lint", path]);
    assert_eq!(output.status.code(), Some(1));
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let levels: Vec<&str> = found["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| finding["level"].as_str().unwrap())
        .collect();
    assert_eq!(levels, ["error", "error", "warning"]);
    assert_eq!(found["findings"][0]["place"], "release 1");

    write("soon", expires, "");
    refuses(&["lint", path], 1, "[policy-document-invalid]");
    refuses(&["lint", "/nowhere/policy.json"], 1, "[io-failed]");
}

#[test]
fn a_document_is_pushed_beside_its_tag_and_never_an_older_one() {
    let registry = Registry::shared();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("policy.json");
    let path = file.to_str().unwrap();
    let layout = directory.path().join("layout");
    let write = |issued: &str, reason: &str| {
        let digest = flipside_image::Digest::of(b"1");
        let text = format!(
            r#"{{"format_version":"1","issued":"{issued}","expires":"2026-12-31T00:00:00Z","releases":[
               {{"version":"1","digest":"{digest}","withdrawn":{{"reason":"{reason}"}}}}]}}"#
        );
        std::fs::write(&file, text).unwrap();
    };
    let in_layout = format!("oci:{}:stable", layout.display());
    for target in [registry.image("policy/pushed:stable"), in_layout.clone()] {
        write("2026-11-02T00:00:00Z", "one");
        let pushed = says(&["push", path, &target]);
        assert!(pushed.starts_with(&format!("pushed {target}.policy sha256:")), "{pushed}");
        assert_eq!(says(&["push", path, &target]), pushed, "the same again");
        write("2026-11-02T00:00:00Z", "two");
        refuses(&["push", path, &target], 1, "hosts take only a later one");
        write("2026-11-01T00:00:00Z", "older");
        refuses(&["push", path, &target], 1, "[policy-change-invalid]");
        write("2026-11-03T00:00:00Z", "three");
        assert_ne!(says(&["push", path, &target]), pushed);
    }
    // It is no image: what is left to choose from is the image.
    ImageBuilder::new("1").write(&layout);
    let options = crate::support::registry::options(directory.path());
    let location = format!("oci:{}", layout.display()).parse().unwrap();
    flipside_source::open(&location, &options).unwrap().resolve().unwrap();

    std::fs::write(&file, "{}").unwrap();
    refuses(&["push", path, &in_layout], 1, "[policy-document-invalid]");
    write("2026-11-04T00:00:00Z", "four");
    for (target, part) in [
        (format!("oci:{}", layout.display()), "name a tag"),
        (format!("r.example/a@{}", flipside_image::Digest::of(b"1")), "a digest is no tag"),
        (format!("r.example/a:{}", "x".repeat(125)), "the tag is too long"),
        ("oci-archive:/a.tar:1".to_owned(), "an archive cannot be added to"),
    ] {
        refuses(&["push", path, &target], 1, part);
    }
}
