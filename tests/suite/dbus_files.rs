// SPDX-License-Identifier: MIT OR Apache-2.0

//! The files around `flipside dbus-service`: they name what the program names, and nothing else.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use flipside::report::dbus::{INTERFACE, NAME, OBJECT, Operation};

use crate::support::bus::{Bus, runtime};
use crate::support::updater::{Client, Updater};

const SERVICE: &str = "units/flipside-dbus.service";
const POLICY: &str = "config/polkit-1/actions/org.flipside.Updater1.policy";
const RULE: &str = "config/polkit-1/rules.d/50-flipside.rules";
const BUS: &str = "config/dbus-1/system.d/org.flipside.Updater1.conf";
const ACTIVATION: &str = "config/dbus-1/system-services/org.flipside.Updater1.service";
const SYSUSERS: &str = "config/sysusers.d/flipside.conf";

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap()
}

/// What stands between `begin` and `end`, each time.
fn between<'a>(text: &'a str, begin: &str, end: &str) -> BTreeSet<&'a str> {
    text.split(begin).skip(1).map(|rest| rest.split(end).next().unwrap()).collect()
}

#[test]
fn the_rule_lets_the_service_start_its_units_and_no_other() {
    let rule = read(RULE);
    let listed = rule.split_once("var units = [").unwrap().1.split_once(']').unwrap().0;
    let listed: BTreeSet<&str> = listed.split('"').skip(1).step_by(2).collect();
    assert_eq!(listed, Operation::ALL.map(Operation::unit).into());
    for needed in
        ["subject.user == \"flipside\"", "\"verb\") == \"start\"", "units.indexOf(", "manage-units"]
    {
        assert!(rule.contains(needed), "{needed}");
    }
}

#[test]
fn every_method_has_its_action_and_only_looking_is_free() {
    let policy = read(POLICY);
    let actions = between(&policy, "<action id=\"", "\"");
    assert_eq!(actions, Operation::ALL.map(Operation::action).into());
    for operation in Operation::ALL {
        let start = format!("<action id=\"{}\">", operation.action());
        let action = policy.split_once(&start).unwrap().1.split_once("</action>").unwrap().0;
        let active = match operation {
            Operation::Check => "yes",
            _ => "auth_admin_keep",
        };
        assert!(action.contains(&format!("<allow_active>{active}</allow_active>")), "{action}");
        for others in ["allow_any", "allow_inactive"] {
            assert!(action.contains(&format!("<{others}>auth_admin</{others}>")), "{action}");
        }
        // Without an owner polkit answers only root.
        assert!(action.contains(".owner\">unix-user:flipside<"), "{action}");
    }
}

#[test]
fn bus_unit_and_user_are_called_the_same_everywhere() {
    let unit = path(SERVICE).file_name().unwrap().to_str().unwrap().to_owned();
    for (file, lines) in [
        (ACTIVATION, vec![format!("Name={NAME}"), format!("SystemdService={unit}")]),
        (SERVICE, vec![format!("BusName={NAME}"), "User=flipside".into(), "Type=dbus".into()]),
        (SERVICE, vec!["ExecStart=/usr/bin/flipside dbus-service".into()]),
        (ACTIVATION, vec!["User=flipside".into()]),
    ] {
        let text = read(file);
        for line in lines {
            assert!(text.lines().any(|found| found == line), "{file}: {line}");
        }
    }
    let bus = read(BUS);
    assert_eq!(between(&bus, "<policy user=\"", "\""), ["flipside"].into());
    assert_eq!(between(&bus, "own=\"", "\""), [NAME].into());
    assert_eq!(between(&bus, "send_destination=\"", "\""), [NAME].into());
    assert!(read(SYSUSERS).lines().any(|line| line.starts_with("u     flipside -  ")));
}

/// A name in the docs that is not one on the bus, or the other way round, is found here.
#[test]
fn the_introspection_documents_every_member_and_the_reference_knows_it() {
    let (bus, directory) = (Bus::start(), tempfile::tempdir().unwrap());
    let _service = Updater::start(&bus, directory.path(), 60);
    let (xml, all) = runtime().block_on(async {
        let client = Client::on(&bus).await;
        let introspectable = Some("org.freedesktop.DBus.Introspectable");
        let reply =
            client.0.call_method(Some(NAME), OBJECT, introspectable, "Introspect", &()).await;
        (reply.unwrap().body().deserialize::<String>().unwrap(), client.all().await)
    });
    let start = format!("<interface name=\"{INTERFACE}\">");
    let interface = xml.split_once(&start).unwrap().1.split_once("</interface>").unwrap().0;
    let methods = between(interface, "<method name=\"", "\"");
    assert_eq!(methods, Operation::ALL.map(Operation::method).into());
    let properties = between(interface, "<property name=\"", "\"");
    assert_eq!(properties, all.keys().map(String::as_str).collect());
    // A comment stands before each member.
    let mut is_documented = false;
    for line in interface.lines().map(str::trim) {
        match line {
            "-->" => is_documented = true,
            _ if line.starts_with("<method ") || line.starts_with("<property ") => {
                assert!(std::mem::take(&mut is_documented), "{line}");
            }
            _ => {}
        }
    }
    let reference = read("docs/dbus.md");
    let known = between(&reference, "\n| `", "`");
    for name in methods.union(&properties) {
        assert!(known.contains(name), "docs/dbus.md does not describe {name}");
    }
    let kinds = between(interface, "<property ", "access");
    for kind in kinds {
        let (name, kind) = kind.split_once("\" type=\"").unwrap();
        let name = name.strip_prefix("name=\"").unwrap();
        let row = format!("\n| `{name}` | `{}` |", kind.trim_end().trim_end_matches('"'));
        assert!(reference.contains(&row), "docs/dbus.md: {row}");
    }
    for operation in Operation::ALL {
        for name in [operation.action(), operation.unit()] {
            assert!(reference.contains(&format!("`{name}`")), "docs/dbus.md: {name}");
        }
    }
    is_xml("the introspection", &xml);
}

#[test]
fn the_policies_are_xml_and_the_bus_takes_its_own() {
    is_xml(POLICY, &read(POLICY));
    is_xml(BUS, &read(BUS));
    let _bus = Bus::with(&format!("<include>{}</include>", path(BUS).display()));
}

/// What an XML parser thinks of it, where there is one.
fn is_xml(name: &str, text: &str) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file.xml");
    std::fs::write(&file, text).unwrap();
    let python = "import sys, xml.dom.minidom; xml.dom.minidom.parse(sys.argv[1])";
    let parsers: [(&str, &[&str]); 2] = [("xmllint", &["--noout"]), ("python3", &["-c", python])];
    for (program, arguments) in parsers {
        if let Ok(output) = Command::new(program).args(arguments).arg(&file).output() {
            assert!(output.status.success(), "{name}: {output:?}");
            return;
        }
    }
    println!("skipped: neither xmllint nor python3 is here to parse {name}");
}

#[test]
fn the_service_has_next_to_no_privilege() {
    let Some(output) = systemd_analyze(&["security", "--offline=yes", "--threshold=8"]) else {
        println!("skipped: no systemd-analyze that knows --offline (systemd 250)");
        return;
    };
    assert!(output.status.success(), "exposure over 0.8: {output:?}");
}

fn systemd_analyze(arguments: &[&str]) -> Option<Output> {
    let mut command = Command::new("systemd-analyze");
    command.args(arguments).arg("--no-pager").arg(path(SERVICE)).stdin(Stdio::null());
    let output = command.output().ok()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (!said.contains("unrecognized option")).then_some(output)
}
