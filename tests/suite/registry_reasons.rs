// SPDX-License-Identifier: MIT OR Apache-2.0

//! What registries say of a failure stands in the sentence, without what they were shown.

use std::sync::Arc;

use flipside_core::progress::Silent;
use flipside_publish::push::push;
use serde_json::json;

use crate::support::images::ImageBuilder;
use crate::support::policy_host::{PolicyHost, document, release};
use crate::support::program_host::ProgramHost;
use crate::support::proxy::{Fault, Proxy};
use crate::support::registry::{PASSWORD, Registry, USER, fixture, login_file};
use crate::support::tokens::Tokens;

const NAME: &str = "acme/reasons:2";
const ALWAYS: usize = usize::MAX;

/// A host that follows version 2 through a proxy.
fn stage() -> (Arc<Registry>, ProgramHost, Proxy) {
    let registry = Registry::shared();
    let directory = tempfile::tempdir().unwrap();
    ImageBuilder::new("2").write(directory.path());
    registry.push(directory.path(), NAME);
    let (host, proxy) = (ProgramHost::new(), Proxy::start(registry.address()));
    host.follow(&format!("{}/{NAME}", proxy.address()), "");
    (registry, host, proxy)
}

fn refused(status: u16, code: &str, message: &str) -> Fault {
    let body = json!({"errors": [{"code": code, "message": message, "detail": null}]});
    Fault::Status(status, vec![], body.to_string())
}

#[test]
fn the_reason_of_a_registry_stands_in_the_sentence() {
    let forbids = "the image has 12 vulnerabilities and the project forbids pulling it";
    for (status, code, said, expected) in [
        (
            412,
            "PROJECTPOLICYVIOLATION",
            forbids,
            format!("answered 412 Precondition Failed (PROJECTPOLICYVIOLATION: {forbids})"),
        ),
        (
            403,
            "DENIED",
            "not\n\u{1b}[31mpaid",
            "denies access to acme/reasons:2: 403 Forbidden (DENIED: not [31mpaid)".to_owned(),
        ),
        (
            404,
            "NAME_UNKNOWN",
            "the project is archived",
            "has no tag 2 in acme/reasons (NAME_UNKNOWN: the project is archived)".to_owned(),
        ),
        (404, "MANIFEST_UNKNOWN", "manifest unknown", "has no tag 2 in acme/reasons".to_owned()),
    ] {
        let (_registry, host, proxy) = stage();
        // A HEAD has no body.
        proxy.fault("manifests", 1, Fault::Status(status, vec![], String::new()));
        proxy.fault("manifests", ALWAYS, refused(status, code, said));
        let output = host.program(["update"]);
        let sentence = String::from_utf8(output.stderr).unwrap();
        assert!(sentence.contains(&format!("{} {expected} [", proxy.address())), "{sentence}");
    }
}

#[test]
fn what_was_denied_is_said_of_a_policy_document() {
    let host = PolicyHost::new();
    host.put(&document(1, &[release("1", &host.one, json!({}))]));
    let denied = || refused(403, "DENIED", "robots may not");
    let expected = "denies access to os:stable.policy: 403 Forbidden (DENIED: robots may not)";
    for round in ["without a memory", "with one"] {
        host.proxy.fault(".policy", ALWAYS, denied());
        let sentence = host.host().refuses(1, "registry-forbidden");
        assert!(sentence.ends_with(expected), "{round}: {sentence}");
        host.proxy.calm();
        assert_eq!(host.at.says(&["update"]), "up to date: 1");
    }
}

/// Mostly there is none, and a HEAD that says so would be followed by a GET.
#[test]
fn p10_a_document_that_was_never_seen_is_asked_for_once() {
    let host = PolicyHost::new();
    assert_eq!(host.at.says(&["update"]), "up to date: 1");
    let asked: Vec<String> =
        host.proxy.seen().iter().map(|seen| format!("{} {}", seen.method, seen.path)).collect();
    assert_eq!(asked, ["HEAD /v2/os/manifests/stable", "GET /v2/os/manifests/stable.policy"]);
}

#[test]
fn a_registry_that_repeats_what_it_was_shown_gives_no_secret_away() {
    let (registry, host, proxy) = stage();
    let login = login_file(proxy.address(), USER, PASSWORD);
    let basic = "ZmxpcHNpZGU6Y29ycmVjdCBob3JzZQ==";
    host.write("etc/flipside/auth.json", login);
    let said = format!("{PASSWORD} and {basic} and token-1 are known");
    let challenge = vec![("www-authenticate", "Basic realm=\"x\"".to_owned())];
    proxy.fault("/v2/", 1, Fault::Status(401, challenge, String::new()));
    proxy.fault("/v2/", ALWAYS, refused(403, "DENIED", &said));
    let sentence = host.refuses(1, "registry-forbidden");
    assert!(sentence.contains("(DENIED: *** and *** and token-1 are known)"), "{sentence}");
    // By a token.
    proxy.calm();
    proxy.want_tokens(Tokens { issued: 1, ..Tokens::default() });
    proxy.fault("/token", ALWAYS, Fault::Status(200, vec![], r#"{"token":"token-1"}"#.into()));
    let file = proxy.address().to_owned();
    let options = {
        let mut options = registry.options();
        std::fs::write(options.root.path("/login.json"), login_file(&file, USER, PASSWORD))
            .unwrap();
        options.auth_file = Some("/login.json".into());
        options
    };
    proxy.fault("uploads", ALWAYS, refused(403, "DENIED", &said));
    let reference = format!("{}/reasons/push:1", proxy.address()).parse().unwrap();
    let error =
        push(&fixture("reference-image-zstd"), None, &reference, &options, &Silent).unwrap_err();
    let expected = "(DENIED: correct horse and ZmxpcHNpZGU6Y29ycmVjdCBob3JzZQ== and *** are known)";
    assert!(error.to_string().ends_with(expected), "{error}");
}
