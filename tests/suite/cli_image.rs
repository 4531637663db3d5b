// SPDX-License-Identifier: MIT OR Apache-2.0

//! `flipside image` as people type it.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use flipside_image::Architecture;
use serde_json::Value;

use crate::support::documents;
use crate::support::images::{ImageBuilder, content, kernel};
use crate::support::registry::Registry;

fn flipside(directory: &Path, line: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flipside"));
    command.args(line.split_whitespace()).current_dir(directory);
    documents::output(command.env_remove("SOURCE_DATE_EPOCH"))
}

fn good(directory: &Path, line: &str) -> String {
    let output = flipside(directory, line);
    assert!(output.status.success(), "{line}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn bad(directory: &Path, line: &str) -> (Option<i32>, String) {
    let output = flipside(directory, line);
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

fn files() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| fs::write(directory.path().join(name), bytes).unwrap();
    write("system.img", &content(1, 100_000));
    write("boot.efi", &kernel(Architecture::Aarch64, 2, 10_000));
    write("os-release", b"ID=acme\nNAME='Acme OS'\nVERSION_ID=1\nARCHITECTURE=arm64\n");
    directory
}

#[test]
fn an_image_is_built_inspected_moved_and_extracted() {
    let files = files();
    let here = files.path();
    let line = "image build --payload system=system.img --payload kernel.efi=boot.efi \
        --os-release os-release --version 2026.11.1 --tag stable --chunk-size 64KiB --level 1 \
        --annotation org.flipside.barrier=true --revision abc --created 2026-11-21T03:00:00Z \
        --partition system=uuid=0f0e0d0c-0b0a-0908-0706-050403020100,flags=0x1 --output layout";
    let text = good(here, line);
    assert!(text.starts_with("built oci:layout:stable\n"), "{text}");

    let json: Value = serde_json::from_str(&good(here, "image inspect oci:layout --json")).unwrap();
    assert_eq!(json["product_info"]["version"], "2026.11.1");
    assert_eq!(json["product_info"]["variant"], "aarch64");
    assert_eq!(json["annotations"]["org.opencontainers.image.created"], "2026-11-21T03:00:00Z");
    assert_eq!(json["annotations"]["org.opencontainers.image.revision"], "abc");
    assert_eq!(json["payloads"][0]["partition"]["flags"], 1);
    assert_eq!(json["payloads"][0]["chunks"], 2);
    assert!(text.contains(json["digest"].as_str().unwrap()));

    // An image for another machine than this is looked at all the same.
    good(here, "image pull oci:layout:stable copy");
    assert!(good(here, "image pull oci:layout:stable copy").contains("fetched 0 B"));
    let again = good(here, "image inspect oci:copy:stable --json");
    assert_eq!(serde_json::from_str::<Value>(&again).unwrap(), json);
    good(here, "image extract oci:copy system -o out.img");
    let read = |name: &str| fs::read(here.join(name)).unwrap();
    assert_eq!(read("out.img"), read("system.img"));
}

#[test]
fn every_command_takes_a_layout_with_and_without_oci() {
    let files = files();
    let here = files.path();
    let registry = Registry::shared();
    let build = "image build --payload system=system.img --payload kernel.efi=boot.efi \
        --os-release os-release --level 1";
    let said = good(here, &format!("{build} --output oci:out:1.0"));
    assert!(said.starts_with("built oci:out:1.0\n"), "{said}");
    good(here, &format!("{build} --output out:1.1"));
    let (code, said) = bad(here, &format!("{build} --output out:1.2 --tag 1.3"));
    assert!(code == Some(1) && said.contains("[argument-invalid]"), "{said}");
    let shown = good(here, "image inspect oci:out:1.0");
    let absolute = here.join("out").display().to_string();
    for name in ["out:1.0", "./out:1.0", &format!("{absolute}:1.0"), "oci:out:1.0"] {
        assert_eq!(good(here, &format!("image inspect {name}")), shown, "{name}");
        good(here, &format!("image push {name} {}", registry.image("layouts:1")));
        good(here, &format!("image pull {name} copy-of-it"));
        good(here, &format!("image pull {name} oci:copy-of-it:other"));
        good(here, &format!("image extract {name} system -o system.out"));
        let release = good(here, &format!("policy build --release 1={name}"));
        assert!(release.contains("\"version\": \"1\""), "{release}");
    }
    for name in ["copy-of-it", "oci:copy-of-it", "copy-of-it:other"] {
        assert_eq!(good(here, &format!("image inspect {name}")), shown, "{name}");
    }
    good(here, "policy build --expires-in 1d --output policy.json");
    good(here, "policy push policy.json copy-of-it:other");
    good(here, "image key release");
    good(here, "image sign --key release.key out:1.0 --identity r.example/a");
    let image = ImageBuilder::new("1").write(here.join("own"));
    for name in ["own", "./own", "oci:own"] {
        let machine = format!("machine-{}", name.replace(['.', '/', ':'], "-"));
        good(here, &format!("sim new {machine} --image {name}"));
        good(here, &format!("sim boot {machine} --image {name}"));
        let disk = good(here, &format!("disk build --image {name} -o {machine}.img"));
        assert!(disk.contains(&image.digest.to_string()), "{disk}");
    }
}

#[test]
fn errors_have_their_code_and_leave_nothing_behind() {
    let files = files();
    let here = files.path();
    let half = "image build --payload system=system.img --output layout";
    let build = format!("{half} --payload kernel.efi=boot.efi");
    for (line, status, part) in [
        (build.clone(), 2, "--os-release"),
        (format!("{half} --os-release os-release"), 1, "[payload-missing]"),
        (
            half.replace("system=system.img", "kernel.efi=boot.efi") + " --os-release os-release",
            1,
            "[payload-missing]",
        ),
        (format!("{build} --os-release a --product-info b"), 2, "cannot be used with"),
        (format!("{build} --os-release os-release --level 0"), 2, "--level"),
        (format!("{build} --os-release os-release --chunk-size 17MiB"), 2, "--chunk-size"),
        (format!("{build} --os-release os-release --level 3 --uncompressed"), 2, "--level"),
        ("image push nowhere 127.0.0.1:9/a/b:c".to_owned(), 1, "No such file or directory"),
        ("image inspect nowhere".to_owned(), 2, "nowhere"),
        (format!("{build} --os-release os-release --tag a:b"), 1, "[argument-invalid]"),
        (format!("{build} --os-release os-release --partition x=flags=1"), 1, "[argument-invalid]"),
        (format!("{build} --os-release system.img"), 1, "[product-info-invalid]"),
        (format!("{build} --product-info os-release"), 1, "[product-info-invalid]"),
        ("image inspect oci:absent".to_owned(), 1, "No such file or directory"),
        ("image inspect oci:.".to_owned(), 1, "[layout-invalid]"),
        ("image inspect oci-archive:system.img".to_owned(), 1, "[layout-invalid]"),
        ("image push . 127.0.0.1:9/a/b:c".to_owned(), 1, "[layout-invalid]"),
    ] {
        let (code, stderr) = bad(here, &line);
        assert_eq!(code, Some(status), "{line}: {stderr}");
        assert!(stderr.contains(part), "{line}: {stderr}");
        assert!(!here.join("layout").exists(), "{line}");
    }
}

#[test]
fn a_version_that_every_build_would_have_is_warned_of() {
    let files = files();
    let here = files.path();
    let debian = "ID=debian\nNAME=\"Debian GNU/Linux\"\nVERSION_ID=\"12\"\n";
    fs::write(here.join("debian"), debian).unwrap();
    fs::write(here.join("own"), format!("{debian}IMAGE_VERSION=7\n")).unwrap();
    let build = "image build --allow-unbootable --payload a=boot.efi -o layout --os-release";
    let warning = "flipside: warning: every build from this debian has the version 12: give each \
                   its own with --version\n";
    for (line, expected) in [
        (format!("{build} debian"), warning),
        (format!("{build} debian --version 12.7"), ""),
        (format!("{build} own"), ""),
    ] {
        assert_eq!(bad(here, &format!("{line} --progress none")), (Some(0), expected.to_owned()));
    }
}

#[test]
fn a_source_date_epoch_becomes_the_time_of_creation() {
    let files = files();
    let build = |value: &str| {
        Command::new(env!("CARGO_BIN_EXE_flipside"))
            .args("image build --allow-unbootable --payload a=boot.efi".split(' '))
            .args("--os-release os-release -o l".split(' '))
            .current_dir(files.path())
            .env("SOURCE_DATE_EPOCH", value)
            .output()
            .unwrap()
    };
    assert!(String::from_utf8(build("0").stdout).unwrap().contains("1970-01-01T00:00:00Z"));
    assert_eq!(build("soon").status.code(), Some(1));
}

#[test]
fn a_push_from_a_machine_without_ca_certificates_says_so_in_one_sentence() {
    let files = files();
    let here = files.path();
    good(
        here,
        "image build --payload system=system.img --payload kernel.efi=boot.efi \
         --os-release os-release --output layout",
    );
    let mut command = Command::new(env!("CARGO_BIN_EXE_flipside"));
    command.args(["image", "push", "layout", "registry.example/acme/edge:stable"]);
    command.current_dir(here).env("SSL_CERT_FILE", here.join("none"));
    command.env("SSL_CERT_DIR", here.join("none"));
    let output = documents::output(&mut command);
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(told.matches("this host has no CA certificates").count(), 1, "{told}");
    assert!(told.contains("[tls-no-authorities]"), "{told}");
}
