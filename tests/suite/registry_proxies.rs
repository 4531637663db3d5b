// SPDX-License-Identifier: MIT OR Apache-2.0

//! Proxies, by the settings and by the environment: a program of its own for each environment.

use std::process::Command;

use flipside_image::code::Coded;
use flipside_source::{Location, open};

use crate::support::documents;
use crate::support::images::ImageBuilder;
use crate::support::program_host::ProgramHost;
use crate::support::proxy::{Fault, Proxy};
use crate::support::registry::{Registry, fixture, options};

const VARIABLES: [&str; 8] = [
    "http_proxy",
    "HTTP_PROXY",
    "https_proxy",
    "HTTPS_PROXY",
    "all_proxy",
    "ALL_PROXY",
    "no_proxy",
    "NO_PROXY",
];

/// What [`resolving_in_a_process_of_its_own`] resolves.
const REFERENCE: &str = "FLIPSIDE_TEST_REFERENCE";

#[test]
#[ignore = "started by the other test"]
fn resolving_in_a_process_of_its_own() {
    let Ok(reference) = std::env::var(REFERENCE) else { return };
    let directory = tempfile::tempdir().unwrap();
    let mut options = options(directory.path());
    options.plain_http = vec!["registry.invalid".into()];
    options.timing.tries = 1;
    let location: Location = reference.parse().unwrap();
    match open(&location, &options).unwrap().resolve() {
        Ok(digest) => println!("result {digest}"),
        Err(error) => println!("result {}", error.code().name()),
    }
}

fn resolve(reference: &str, environment: &[(&str, &str)]) -> String {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--ignored", "--nocapture", "--exact"]);
    command.arg("registry_proxies::resolving_in_a_process_of_its_own");
    for name in VARIABLES {
        command.env_remove(name);
    }
    command.env(REFERENCE, reference).envs(environment.iter().copied());
    let output = String::from_utf8(command.output().unwrap().stdout).unwrap();
    let result = output.lines().find_map(|l| l.split_once("result ").map(|r| r.1.to_owned()));
    result.unwrap_or_else(|| panic!("{output}"))
}

#[test]
fn proxies_are_used_for_others_and_never_for_this_machine() {
    let registry = Registry::shared();
    let digest = registry.push(&fixture("reference-image-zstd"), "z:1").to_string();
    let proxy = Proxy::start(registry.address());
    let address = format!("http://{}", proxy.address());
    let far = "registry.invalid/z:1";
    assert_eq!(resolve(far, &[]), "registry-unknown-host");
    assert_eq!(resolve(far, &[("http_proxy", &address)]), digest);
    assert_eq!(proxy.seen().len(), 1);
    let except = [("http_proxy", &address[..]), ("no_proxy", "registry.invalid")];
    assert_eq!(resolve(far, &except), "registry-unknown-host");
    let nowhere = [("http_proxy", "http://127.0.0.1:9"), ("all_proxy", "http://127.0.0.1:9")];
    assert_eq!(resolve(&registry.image("z:1"), &nowhere), digest);
    assert_eq!(proxy.seen().len(), 1);
}

/// The sentence and code of `check` on a host whose registry is far away.
fn says(settings: &str, environment: &[(&str, &str)]) -> String {
    let host = ProgramHost::new();
    host.follow("registry.flipside.invalid/acme/edge:stable", settings);
    let mut command = host.command(["check"]);
    for name in VARIABLES {
        command.env_remove(name);
    }
    let output = documents::output(command.envs(environment.iter().copied()));
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_proxy_that_fails_is_named() {
    let unknown = "cannot find the address of the proxy proxy.flipside.invalid:3128";
    let nobody = "cannot reach the proxy 127.0.0.1:9: ";
    let far = "http://proxy.flipside.invalid:3128";
    // Another name for port 9 of this machine, which is the proxy and not the registry.
    let near = "http://127.0.0.1:9/";
    std::thread::scope(|scope| {
        let mut cases = Vec::new();
        for (settings, environment, said) in [
            ("", vec![("https_proxy", far)], unknown),
            ("", vec![("HTTPS_PROXY", near)], nobody),
            ("proxy = \"http://127.0.0.1:9\"", vec![("https_proxy", far)], nobody),
            (
                "proxy = \"127.0.0.1:9\"\nplain_http = [\"registry.flipside.invalid\"]",
                vec![],
                nobody,
            ),
            (
                "proxy = \"http://127.0.0.1:9\"\nno_proxy = [\"*.flipside.invalid\"]",
                vec![],
                "cannot find the address of registry.flipside.invalid: ",
            ),
            (
                "",
                vec![("https_proxy", near), ("no_proxy", "registry.flipside.invalid:443")],
                "cannot find the address of registry.flipside.invalid: ",
            ),
        ] {
            cases.push((said, scope.spawn(move || says(settings, &environment))));
        }
        for (said, case) in cases {
            let sentence = case.join().unwrap();
            assert!(sentence.starts_with(&format!("flipside: {said}")), "{said}: {sentence}");
        }
    });
}

#[test]
fn a_proxy_that_refuses_is_named() {
    let registry = Registry::shared();
    let proxy = Proxy::start(registry.address());
    let setting = format!("proxy = \"http://{}\"", proxy.address());
    // It knows no CONNECT.
    let sentence = says(&setting, &[]);
    let expected = format!(
        "flipside: cannot reach registry.flipside.invalid: the proxy {} makes no connection: ",
        proxy.address()
    );
    assert!(sentence.starts_with(&expected), "{sentence}");
    let plain = format!("{setting}\nplain_http = [\"registry.flipside.invalid\"]");
    proxy.fault("", usize::MAX, Fault::Status(407, vec![], String::new()));
    let sentence = says(&plain, &[]);
    let expected = format!("flipside: the proxy {} answered 407 Proxy", proxy.address());
    assert!(sentence.starts_with(&expected), "{sentence}");
}

#[test]
fn the_proxy_of_the_settings_leads_to_the_registry() {
    let registry = Registry::shared();
    let proxy = Proxy::start(registry.address());
    let directory = tempfile::tempdir().unwrap();
    ImageBuilder::new("2").write(directory.path());
    registry.push(directory.path(), "acme/by-proxy:2");
    let host = ProgramHost::new();
    let settings = format!(
        "proxy = \"http://{}\"\nplain_http = [\"registry.flipside.invalid\"]",
        proxy.address()
    );
    host.follow("registry.flipside.invalid/acme/by-proxy:2", &settings);
    host.updates();
    assert!(!proxy.seen().is_empty());
}
