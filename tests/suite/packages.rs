// SPDX-License-Identifier: MIT OR Apache-2.0

//! What `make install`, the .deb and the .rpm contain: all three are the tree that
//! packaging/install fills.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files_below(directory: &Path) -> BTreeSet<PathBuf> {
    let mut files = BTreeSet::new();
    let Ok(entries) = std::fs::read_dir(directory) else { return files };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_below(&path))
        } else {
            files.extend([path])
        };
    }
    files
}

fn read(path: &str) -> String {
    std::fs::read_to_string(repository().join(path)).unwrap()
}

/// What `packaging/generate.rs` makes, a few of each kind.
const GENERATED: [&str; 6] = [
    "man/flipside.1",
    "man/flipside.toml.5",
    "man/flipside-update.8",
    "bash/flipside",
    "zsh/_flipside",
    "fish/flipside.fish",
];

/// The tree, with a few bytes in place of the program, and without the generated files.
fn installed(parts: &[&str]) -> (tempfile::TempDir, BTreeMap<String, Vec<u8>>) {
    let directory = tempfile::tempdir().unwrap();
    let binary = directory.path().join("flipside");
    std::fs::write(&binary, "the program").unwrap();
    for file in GENERATED {
        let path = directory.path().join("generated").join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "generated").unwrap();
    }
    let tree = directory.path().join("tree");
    let status = Command::new(repository().join("packaging/install"))
        .arg(&binary)
        .arg(directory.path().join("generated"))
        .args(parts)
        .env("DESTDIR", &tree)
        .status()
        .unwrap();
    assert!(status.success());
    let named = |path: PathBuf| {
        let content = std::fs::read(&path).unwrap();
        (path.strip_prefix(&tree).unwrap().display().to_string(), content)
    };
    let files = files_below(&tree).into_iter().map(named);
    let files = files.filter(|(_, content)| content != b"generated").collect();
    (directory, files)
}

#[test]
fn every_unit_and_setting_is_installed_and_nothing_that_is_not_in_the_repository() {
    let (_directory, installed) = installed(&[]);
    let mut expected = BTreeSet::new();
    for directory in [
        "units",
        "config",
        "docs/schema",
        "hooks/examples",
        "packaging/initrd",
        "packaging/initramfs-tools",
        "packaging/dracut",
    ] {
        let files = files_below(&repository().join(directory));
        expected.extend(files.into_iter().filter(|file| !file.ends_with("README.md")));
    }
    let contents: Vec<Vec<u8>> = expected.iter().map(|file| std::fs::read(file).unwrap()).collect();
    for (file, content) in expected.iter().zip(&contents) {
        let name = file.file_name().unwrap().to_str().unwrap();
        let found = installed.iter().any(|(path, installed)| {
            (path.ends_with(&format!("/{name}")) || path.contains("dracut")) && installed == content
        });
        assert!(found, "{} is not installed", file.display());
    }
    let documents = "usr/share/doc/flipside/";
    for (path, content) in &installed {
        let is_known =
            contents.contains(content) || path == "usr/bin/flipside" || path.starts_with(documents);
        assert!(is_known, "{path} comes from nowhere");
    }
    assert!(installed.contains_key("usr/share/doc/flipside/examples/flipside.toml"));
    assert!(installed.contains_key("usr/share/doc/flipside/schema/status.schema.json"));
    assert!(installed.contains_key("usr/share/flipside/hooks/battery"));
    let is_enabled = |path: &String| path.starts_with("etc/") || path.contains("pre-upgrade.d");
    assert!(!installed.keys().any(is_enabled), "nothing may be tracked or asked");
}

/// One that is left out without a word is missed by who looks for it on a host.
#[test]
fn what_is_missing_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let binary = directory.path().join("flipside");
    std::fs::write(&binary, "the program").unwrap();
    let output = Command::new(repository().join("packaging/install"))
        .arg(&binary)
        .arg(directory.path().join("generated"))
        .env("DESTDIR", directory.path().join("tree"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("install: there is no "), "{output:?}");
}

#[test]
fn the_parts_share_no_file() {
    let mut owners: BTreeMap<String, &str> = BTreeMap::new();
    for part in ["flipside", "initramfs-tools", "dracut"] {
        for path in installed(&[part]).1.into_keys() {
            let other = owners.insert(path.clone(), part);
            assert_eq!(other, None, "{path} is also in {part}");
        }
    }
}

/// The units with an `[Install]` section are enabled by the preset and by both packages' scripts.
#[test]
fn what_is_enabled_is_the_same_everywhere() {
    let preset: BTreeSet<String> = read("config/preset/50-flipside.preset")
        .lines()
        .filter_map(|line| line.strip_prefix("enable "))
        .map(str::to_owned)
        .collect();
    let installable: BTreeSet<String> = files_below(&repository().join("units"))
        .into_iter()
        .filter(|unit| std::fs::read_to_string(unit).unwrap().contains("\n[Install]\n"))
        .map(|unit| unit.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    assert_eq!(preset, installable);
    for script in ["debian/postinst", "debian/postrm", "rpm/post", "rpm/preun"] {
        let text = read(&format!("packaging/{script}"));
        let line = text.lines().find(|line| line.contains("flipside-update.timer flipside"));
        let units: BTreeSet<String> = line
            .unwrap_or_else(|| panic!("{script} has no list"))
            .split(['"', ' '])
            .filter(|word| word.starts_with("flipside-"))
            .map(str::to_owned)
            .collect();
        assert_eq!(units, preset, "{script}");
    }
}

#[test]
fn both_packages_and_their_parts_have_the_version_of_the_program() {
    let manifest: toml::Table = read("Cargo.toml").parse().unwrap();
    let metadata = &manifest["package"]["metadata"];
    let version = env!("CARGO_PKG_VERSION");
    for part in ["initramfs-tools", "dracut"] {
        let depends = metadata["deb"]["variants"][part]["depends"].as_str().unwrap();
        assert!(depends.starts_with(&format!("flipside (>= {version})")), "{part}: {depends}");
    }
    let requires = &metadata["generate-rpm"]["variants"]["dracut"]["requires"]["flipside"];
    assert_eq!(requires.as_str(), Some(format!(">= {version}").as_str()));
}

#[test]
fn the_example_has_every_key_and_is_taken_when_nothing_is_commented_out() {
    let example = read("config/flipside.toml");
    let mut uncommented = String::new();
    for line in example.lines() {
        let line = line.strip_prefix('#').unwrap_or(line);
        let line = line.strip_prefix(' ').unwrap_or(line);
        let is_setting = line.starts_with('[')
            || line.split_once(" = ").is_some_and(|(key, _)| !key.contains(' '));
        if is_setting {
            uncommented.push_str(line);
            uncommented.push('\n');
        }
    }
    let settings: toml::Table = uncommented.parse().unwrap();
    for line in read("docs/configuration.md").lines() {
        let Some((key, _)) = line.strip_prefix("| `").and_then(|line| line.split_once('`')) else {
            continue;
        };
        if !key.contains('.') {
            continue;
        }
        let mut names = key.replace('*', "verity");
        let mut at = Some(&toml::Value::Table(settings.clone()));
        for name in std::mem::take(&mut names).split('.') {
            at = at.and_then(|value| value.get(name));
        }
        assert!(at.is_some(), "config/flipside.toml has no {key}");
    }

    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("etc/flipside/flipside.toml");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, uncommented).unwrap();
    let config = flipside::config::Config::load(&flipside_core::host::Root::new(directory.path()));
    assert!(config.unwrap().track.image.is_some());
}

#[test]
fn documentation_that_units_name_is_installed() {
    let (_directory, installed) = installed(&["flipside"]);
    let commands = flipside::cli::command();
    for unit in files_below(&repository().join("units")) {
        let text = std::fs::read_to_string(&unit).unwrap();
        let lines = text.lines().filter_map(|line| line.strip_prefix("Documentation="));
        for link in lines.flat_map(str::split_whitespace) {
            let is_known = match link.split_once(':') {
                Some(("man", "flipside.toml(5)" | "flipside(8)")) => true,
                Some(("man", page)) => page
                    .strip_prefix("flipside-")
                    .and_then(|page| page.strip_suffix("(8)"))
                    .is_some_and(|name| commands.find_subcommand(name).is_some()),
                Some(("file", path)) => installed.contains_key(path.trim_start_matches('/')),
                _ => link.starts_with("https://"),
            };
            assert!(is_known, "{}: {link}", unit.display());
        }
    }
}

/// What is mounted below is not flipside's, and nothing there leaves the package half removed.
#[test]
fn a_purge_takes_what_is_flipsides_and_ends_well_where_something_stays() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    for place in ["run/flipside", "run/motd.d", "var/lib/flipside/trials"] {
        std::fs::create_dir_all(root.join(place)).unwrap();
    }
    for file in ["run/flipside/status.json", "run/motd.d/flipside", "run/motd.d/theirs"] {
        std::fs::write(root.join(file), "").unwrap();
    }
    let bin = root.join("bin");
    std::fs::create_dir(&bin).unwrap();
    // Users of this machine are none of the test's business; `rm` says how it ended for a mounted place.
    let programs = [
        ("getent", "exit 2"),
        ("deb-systemd-helper", "exit 0"),
        ("rm", "command -p rm \"$@\"; echo \"$@\" >>\"$DPKG_ROOT/said\"; exit 1"),
    ];
    for (name, script) in programs {
        let path = bin.join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&path, mode).unwrap();
    }
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    for action in ["remove", "purge"] {
        let status = Command::new("sh")
            .arg(repository().join("packaging/debian/postrm"))
            .arg(action)
            .env("DPKG_ROOT", root)
            .env("PATH", &path)
            .status()
            .unwrap();
        assert!(status.success(), "{action}");
    }
    let left = |place: &str| root.join(place).exists();
    assert!(!left("run/flipside") && !left("run/motd.d/flipside") && !left("var/lib/flipside"));
    assert!(left("run/motd.d/theirs"));
    let said = std::fs::read_to_string(root.join("said")).unwrap();
    let recursive: Vec<&str> = said.lines().filter(|line| line.starts_with("-rf")).collect();
    assert!(recursive.iter().all(|line| line.contains("--one-file-system")), "{said}");
    assert!(!recursive.is_empty());
}

#[test]
fn a_release_stops_at_a_number_that_overflows() {
    let manifest: toml::Table = read("Cargo.toml").parse().unwrap();
    assert_eq!(manifest["profile"]["release"]["overflow-checks"].as_bool(), Some(true));
}
