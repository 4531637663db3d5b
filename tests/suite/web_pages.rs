// SPDX-License-Identifier: MIT OR Apache-2.0

//! Who answers in place of a registry: networks that want a person to log in, proxies, and web
//! servers of other things.

use std::sync::Arc;

use flipside_core::progress::Silent;
use flipside_image::code::Coded;
use flipside_publish::push::push;
use serde_json::json;

use crate::support::images::{ImageBuilder, OsImage};
use crate::support::policy_host::{PolicyHost, document, release};
use crate::support::program_host::{ProgramHost, refusal};
use crate::support::proxy::{Fault, Proxy};
use crate::support::registry::{Registry, fixture};
use crate::support::tokens::Tokens;

const NAME: &str = "acme/portal:2";
const ALWAYS: usize = usize::MAX;
const PAGE: &str = "<!DOCTYPE html><html><title>please log in</title></html>";
const REMEDY: &str = "where a registry was expected: log in to this network, or check the proxy \
                      and the registry's name";

/// A registry with version 2, and a host that follows it through a proxy.
struct Stage {
    _registry: Arc<Registry>,
    image: OsImage,
    host: ProgramHost,
    proxy: Proxy,
    _directory: tempfile::TempDir,
}

impl Stage {
    fn new() -> Self {
        let registry = Registry::shared();
        let directory = tempfile::tempdir().unwrap();
        let image = ImageBuilder::new("2").write(directory.path());
        registry.push(directory.path(), NAME);
        let (host, proxy) = (ProgramHost::new(), Proxy::start(registry.address()));
        host.follow(&format!("{}/{NAME}", proxy.address()), "");
        Self { _registry: registry, image, host, proxy, _directory: directory }
    }

    /// `update` and `check` end with this sentence and nothing else is said, also to who logs in.
    fn is_told(&self, sentence: &str) {
        let said = self.host.refuses(1, "registry-error");
        assert_eq!(said, sentence);
        assert_eq!(refusal(&self.host.program(["check"]), 1, "registry-error"), sentence);
        let status = self.host.program(["status"]);
        let status = String::from_utf8(status.stdout).unwrap();
        assert!(!status.contains("available"), "{status}");
        assert!(!self.host.file("run/motd.d/flipside").exists(), "{sentence}");
    }
}

fn answer(status: u16, kind: &str, body: &str) -> Fault {
    let headers = if kind.is_empty() { vec![] } else { vec![("content-type", kind.to_owned())] };
    Fault::Status(status, headers, body.to_owned())
}

#[test]
fn a_page_for_people_in_place_of_a_registry_is_said_and_is_no_update() {
    for (status, kind, body, said) in [
        (200, "text/html; charset=utf-8", PAGE, "200 OK with a web page"),
        (200, "Application/XHTML+XML", PAGE, "200 OK with a web page"),
        (200, "text/plain", "please log in", "200 OK with text/plain"),
        (200, "application/json", r#"{"login":"required"}"#, "200 OK with application/json"),
        (200, "", PAGE, "200 OK with something"),
        (401, "text/html", PAGE, "401 Unauthorized with a web page"),
        (403, "text/html", PAGE, "403 Forbidden with a web page"),
        (404, "text/html", PAGE, "404 Not Found with a web page"),
        (511, "text/html", PAGE, "511 Network Authentication Required with a web page"),
    ] {
        let stage = Stage::new();
        stage.proxy.fault("/v2/", ALWAYS, answer(status, kind, body));
        let sentence = format!("{} answered {said} {REMEDY}", stage.proxy.address());
        stage.is_told(&sentence);
        stage.host.set("policy.document = \"off\"\n");
        stage.is_told(&sentence);
        stage.host.boots_as_before();
        stage.proxy.calm();
        stage.host.updates();
    }
}

#[test]
fn a_page_at_any_question_is_told_as_one() {
    let stage = Stage::new();
    let config = stage.image.image.manifest.config.digest.to_string();
    let manifest = format!("manifests/{}", stage.image.digest);
    for path in [&manifest[..], ".policy", &config] {
        stage.proxy.calm();
        stage.proxy.fault(path, ALWAYS, answer(200, "text/html", PAGE));
        let expected =
            format!("{} answered 200 OK with a web page {REMEDY}", stage.proxy.address());
        // The tag itself was answered by the registry: there is an update.
        assert_eq!(stage.host.refuses(1, "registry-error"), expected);
        assert!(!stage.host.file("run/motd.d/flipside").exists(), "{path}");
    }
    // What hashes as it has to is the blob, whatever its server calls it.
    let text = std::fs::read_to_string(stage.image.blob(&config.parse().unwrap())).unwrap();
    stage.proxy.calm();
    stage.proxy.fault(&config, ALWAYS, answer(200, "text/html", &text));
    stage.host.updates();
}

#[test]
fn a_page_in_place_of_a_payload_is_told_as_one() {
    let stage = Stage::new();
    let layer = stage.image.image.layer("system").unwrap().descriptor.digest.to_string();
    stage.proxy.fault(&layer, ALWAYS, answer(200, "text/html", PAGE));
    let sentence = refusal(&stage.host.program(["update"]), 1, "registry-error");
    assert!(sentence.contains("200 OK with a web page where a registry"), "{sentence}");
    stage.host.boots_as_before();
}

#[test]
fn a_page_in_place_of_a_token_is_told_as_one() {
    let stage = Stage::new();
    stage.proxy.want_tokens(Tokens::default());
    stage.proxy.fault("/token", ALWAYS, answer(200, "text/html", PAGE));
    stage.is_told(&format!("{} answered 200 OK with a web page {REMEDY}", stage.proxy.address()));
}

#[test]
fn a_redirect_to_a_login_page_is_told_as_one() {
    let stage = Stage::new();
    let place = "http://login.flipside.invalid/?from=registry";
    stage.proxy.fault("/v2/", ALWAYS, Fault::Redirect(place.to_owned()));
    let sentence = stage.host.refuses(1, "plain-http-refused");
    let expected = format!("{} redirects to login.flipside.invalid", stage.proxy.address());
    assert!(sentence.starts_with(&expected), "{sentence}");
    assert!(sentence.contains("log in to this network"), "{sentence}");
}

#[test]
fn a_page_in_place_of_a_document_that_was_seen_is_no_missing_document() {
    for status in [200, 404] {
        let host = PolicyHost::new();
        host.put(&document(1, &[release("1", &host.one, json!({}))]));
        assert_eq!(host.at.says(&["update"]), "up to date: 1");
        host.proxy.fault(".policy", ALWAYS, answer(status, "text/html", PAGE));
        host.host().refuses(1, "registry-error");
        assert!(!host.host().file("run/motd.d/flipside").exists());
    }
}

#[test]
fn a_page_in_place_of_a_graph_is_waited_out() {
    let host = PolicyHost::new();
    host.host().set(&format!("track.graph = \"http://{}/fleet\"\n", host.proxy.address()));
    host.proxy.fault("/graph", ALWAYS, answer(200, "text/html", PAGE));
    let sentence = host.host().refuses(75, "graph-unreachable");
    assert!(sentence.contains("it answers with a web page; log in"), "{sentence}");
}

#[test]
fn a_page_in_place_of_a_registry_ends_a_push() {
    let registry = Registry::shared();
    let proxy = Proxy::start(registry.address());
    proxy.fault("/v2/", ALWAYS, answer(200, "text/html", PAGE));
    let reference = format!("{}/portal/push:1", proxy.address()).parse().unwrap();
    let layout = fixture("reference-image-zstd");
    let error = push(&layout, None, &reference, &registry.options(), &Silent).unwrap_err();
    assert_eq!(error.code().name(), "registry-error", "{error}");
    assert!(error.to_string().contains("200 OK with a web page"), "{error}");
    // Quay greets with a word that it calls a web page.
    proxy.calm();
    proxy.fault("/v2/", 1, answer(200, "text/html; charset=utf-8", "true"));
    push(&layout, None, &reference, &registry.options(), &Silent).unwrap();
}
