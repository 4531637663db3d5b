// SPDX-License-Identifier: MIT OR Apache-2.0

//! HTTP_PROXY and NO_PROXY: a program of its own for each environment.

use std::process::Command;

use flipside_image::code::Coded;
use flipside_source::{Location, open};

use crate::support::proxy::Proxy;
use crate::support::registry::{Registry, fixture, options};

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
    for name in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"] {
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
