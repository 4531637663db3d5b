// SPDX-License-Identifier: MIT OR Apache-2.0

use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use flipside_image::code::Coded as _;
use flipside_image::rollout::Wariness;

mod sentences;

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(Path::new("/etc/flipside/flipside.toml"), text.as_bytes())
}

/// Lines that begin with `#` and no space are settings.
fn shipped() -> String {
    let file = include_str!("../../config/flipside.toml");
    let uncomment = |line: &str| match line.strip_prefix('#') {
        Some(rest) if rest.starts_with(|c: char| !c.is_whitespace()) => rest.to_owned(),
        _ => line.to_owned(),
    };
    file.lines().map(uncomment).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_shipped_file_says_the_defaults() {
    assert_eq!(parse(include_str!("../../config/flipside.toml")).unwrap(), Config::default());
    assert_eq!(parse(&shipped()).unwrap(), Config::default());
}

#[test]
fn the_shipped_file_names_every_key() {
    let mut with_examples = shipped();
    for key in ["image", "verity", "identity", "product"] {
        with_examples = with_examples.replace(&format!("# {key} ="), &format!("{key} ="));
    }
    let fragment = fragment::Fragment::parse(
        Path::new("x"),
        with_examples.as_bytes(),
        fragment::UnknownKeys::Refused,
    )
    .unwrap();
    for key in keys::all() {
        let key = key.join(".").replace('*', "verity");
        assert!(fragment.0.iter().any(|setting| setting.key() == key), "{key}");
    }
}

#[test]
fn every_key_reaches_its_setting() {
    let config = parse(
        r#"
        track.image = "registry.example.com/acme/edge:stable"
        track.mirrors = ["cache.example.com/acme/edge"]
        track.plain_http = ["10.0.0.1:5000"]
        track.ca = ["/etc/ca.pem"]
        track.client_cert = "/etc/cert.pem"
        track.client_key = "/etc/key.pem"
        track.auth_file = "/etc/auth.json"
        track.token_realms = ["login.example.org"]
        track.proxy = "http://proxy.example.com:3128"
        track.no_proxy = ["*.example.com", "10.0.0.0/8"]
        track.max_rate = "2MiB"
        track.min_rate = "64KiB"
        track.time_limit = "15min"
        track.graph = "https://updates.example.com/fleet?group=edge"
        update.automatic = "check"
        update.allow_downgrade = true
        update.read_back = false
        update.deltas = "writable"
        update.windows = ["Sat 01:00 2h"]
        update.hold = true
        update.hold_until = 2026-12-01
        update.hold_reason = "a fair"
        boot.backend = "systemd-boot"
        policy.min_version = "2026.11"
        policy.document = "require"
        policy.wariness = 0.25
        policy.clock = "trusted"
        policy.hooks.timeout = "1s"
        policy.hooks.on_timeout = "block"
        policy.hooks.memory = "64MiB"
        policy.hooks.container = { image = "registry.example.com/hooks/fleet:1", network = true }
        policy.signature = { mode = "require", identity = "r.example/acme", product = "acme" }
        reboot.strategy = "window"
        reboot.windows = ["Sat,Sun 22:00 2h Europe/Berlin", "Mon..Fri 03:00 1h 30min"]
        reboot.notice = "0s"
        reboot.kexec = true
        [host]
        esp = "/efi"
        disk = "/dev/sda"
        compatible = ["acme-edge", "acme-edge-2"]
        slots.a = "one"
        slots.b = "two"
        payloads.verity = { a = "v1", b = "v2" }
        payloads."odd.name" = { a = "o1", b = "o2" }
        [trial]
        deadline = "1d 2h"
        attempts = 0x3
        [health]
        timeout = "5min"
        "#,
    )
    .unwrap();
    let labels = |a: &str, b: &str| SlotLabels { a: a.into(), b: b.into() };
    let address = |text: &str| Address(text.into());
    let path = |text: &str| HostPath(text.into());
    let limit = |seconds| TimeLimit(Duration::from_secs(seconds));
    let expected = Config {
        track: Track {
            image: Some(address("registry.example.com/acme/edge:stable")),
            mirrors: vec![address("cache.example.com/acme/edge")],
            plain_http: vec![PlainHost("10.0.0.1:5000".into())],
            ca: vec![path("/etc/ca.pem")],
            client_cert: Some(path("/etc/cert.pem")),
            client_key: Some(path("/etc/key.pem")),
            auth_file: Some(path("/etc/auth.json")),
            token_realms: vec![address("login.example.org")],
            proxy: Some(ProxyUrl("http://proxy.example.com:3128".into())),
            no_proxy: vec![NoProxy("*.example.com".into()), NoProxy("10.0.0.0/8".into())],
            max_rate: Some(Size(2 << 20)),
            min_rate: Some(Rate(64 << 10)),
            time_limit: Some(limit(900)),
            graph: Some(HttpUrl("https://updates.example.com/fleet?group=edge".into())),
        },
        update: Update {
            automatic: Automatic::Check,
            allow_downgrade: true,
            read_back: false,
            deltas: Deltas::Writable,
            windows: vec!["Sat 01:00 2h".parse().unwrap()],
            is_held: true,
            hold_until: Some("2026-12-01".parse().unwrap()),
            hold_reason: Some("a fair".into()),
        },
        host: Host {
            esp: PathOrAuto(Some("/efi".into())),
            disk: PathOrAuto(Some("/dev/sda".into())),
            compatible: vec![Word("acme-edge".into()), Word("acme-edge-2".into())],
            slots: labels("one", "two"),
            payloads: [
                ("verity".to_owned(), labels("v1", "v2")),
                ("odd.name".to_owned(), labels("o1", "o2")),
            ]
            .into(),
        },
        boot: Boot { backend: BootBackend::SystemdBoot },
        trial: Trial { deadline: limit(93_600), attempts: 3 },
        health: Health { timeout: limit(300) },
        policy: Policy {
            min_version: Some("2026.11".into()),
            document: DocumentMode::Require,
            clock: ClockMode::Trusted,
            wariness: Wariness::new(0.25),
            hooks: Hooks {
                timeout: limit(1),
                on_timeout: OnTimeout::Block,
                memory: Size(64 << 20),
                container: ContainerHook {
                    image: Some(address("registry.example.com/hooks/fleet:1")),
                    network: true,
                },
            },
            signature: SignaturePolicy {
                mode: SignatureMode::Require,
                identity: Some(address("r.example/acme")),
                product: Some(Word("acme".into())),
            },
        },
        reboot: Reboot {
            strategy: RebootStrategy::Window,
            windows: vec![
                "sunday,Sat 22:00 120min Europe/Berlin".parse().unwrap(),
                "Mon,Tue..thu,fri 3:00 90min".parse().unwrap(),
            ],
            notice: Wait(Duration::ZERO),
            kexec: true,
        },
    };
    assert_eq!(config, expected);
}

#[test]
fn what_is_no_text_is_named() {
    let error = Config::parse(Path::new("/f"), b"[track]\nimage = \"\xff\"").unwrap_err();
    assert_eq!(error.to_string(), "/f, line 2: the file is not UTF-8");
    assert_eq!(error.code().name(), "config-invalid");
}

fn toml_like() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        Just("track"),
        Just("image"),
        Just("host"),
        Just("slots"),
        Just("payloads"),
        Just("a"),
        Just("trial"),
        Just("attempts"),
        Just("deadline"),
        Just("ca"),
        Just("x"),
        Just("\"\""),
    ];
    let key = prop::collection::vec(name, 1..4).prop_map(|names| names.join("."));
    let value = prop_oneof![
        Just("\"10min\"".to_owned()),
        Just("[\"/a\"]".to_owned()),
        Just("{ a = 'x' }".to_owned()),
        Just("-0x1".to_owned()),
        Just("1e400".to_owned()),
        Just("2026-11-21".to_owned()),
        any::<i64>().prop_map(|number| number.to_string()),
        "\\PC{0,8}",
    ];
    let line = prop_oneof![
        (key.clone(), value).prop_map(|(key, value)| format!("{key} = {value}")),
        key.prop_map(|key| format!("[{key}]")),
    ];
    prop::collection::vec(line, 0..6).prop_map(|lines| lines.join("\n"))
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in prop_oneof![toml_like(), "\\PC{0,60}"]) {
        if let Err(error) = parse(&text) {
            let said = error.to_string();
            prop_assert!(said.starts_with("/etc/flipside/flipside.toml, line "), "{}", said);
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        let _ = Config::parse(Path::new("/f"), &bytes);
    }
}

/// Of each key in the document's table: its name and its default.
fn documented() -> Vec<(&'static str, &'static str)> {
    let document = include_str!("../../docs/configuration.md");
    let rows = document.lines().filter_map(|line| line.strip_prefix("| `"));
    let row = |row: &'static str| {
        let cells: Vec<&str> = row.split(" | ").collect();
        Some((cells.first()?.trim_end_matches('`'), cells.get(2)?.trim_matches('`')))
    };
    rows.filter_map(row).filter(|(key, _)| key.contains('.')).collect()
}

#[test]
fn the_document_names_every_key() {
    let named: Vec<&str> = documented().iter().map(|(key, _)| *key).collect();
    let keys: Vec<String> = keys::all().iter().map(|key| key.join(".")).collect();
    assert_eq!(named, keys);
}

#[test]
fn the_document_says_the_defaults() {
    for (key, default) in documented() {
        let value = match default {
            // What is calculated where it is not set.
            "none" | "16KiB" => continue,
            "true" | "false" | "[]" | "2" => default.to_owned(),
            text => format!("{:?}", text.trim_matches('"')),
        };
        assert_eq!(parse(&format!("{key} = {value}")).unwrap(), Config::default(), "{key}");
    }
}

/// A name that no key has would protect nothing.
#[test]
fn what_some_files_may_set_or_not_are_keys() {
    let keys: Vec<String> = keys::all().iter().map(|key| key.join(".")).collect();
    let drop_ins = [drop_in::DropIn::Hold, drop_in::DropIn::Switch].map(drop_in::DropIn::key);
    for name in load::NOT_IN_RUN.into_iter().chain(load::STATE_KEYS).chain(drop_ins) {
        let is_named = |key: &String| key == name || name.ends_with('.') && key.starts_with(name);
        assert!(keys.iter().any(is_named), "{name}");
    }
}

#[test]
fn hosts_of_plain_http_are_read_as_people_write_them() {
    for (text, expected) in [
        ("http://192.0.2.2:5000", "192.0.2.2:5000"),
        ("http://r.lan:5000/", "r.lan:5000"),
        ("r.lan", "r.lan"),
        ("cache", "cache"),
        ("[fd00::1]:5000", "[fd00::1]:5000"),
    ] {
        let config = parse(&format!("track.plain_http = [{text:?}]")).unwrap();
        assert_eq!(config.track.plain_http, [PlainHost(expected.into())], "{text}");
    }
    let both = "track.image = \"r.lan:5000/a:b\"\ntrack.plain_http = [\"r.lan\", \"r.lan:5000\"]";
    assert!(parse(both).is_ok());
}

#[test]
fn the_rate_that_mirrors_have_to_give_leaves_room_below_the_limit() {
    for (settings, expected) in [
        ("", Some(16 << 10)),
        ("min_rate = ''", Some(16 << 10)),
        ("min_rate = '0'", None),
        ("min_rate = '0'\nmax_rate = '1'", None),
        ("min_rate = '15KiB'\nmax_rate = '32KiB'", Some(15 << 10)),
        // Who limits the rate below the default has not contradicted anything.
        ("max_rate = '20KiB'", Some(5 << 10)),
        ("max_rate = '2MiB'", Some(16 << 10)),
        ("max_rate = '3'", None),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("etc/flipside/flipside.toml");
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, format!("[track]\n{settings}\n")).unwrap();
        let root = Root::new(directory.path());
        let track = Config::load(&root).unwrap().track;
        let options = track.source_options(root, flipside_core::cancel::Cancel::new());
        assert_eq!(options.min_rate, expected, "{settings}");
    }
}
