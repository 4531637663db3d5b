// SPDX-License-Identifier: MIT OR Apache-2.0

//! Tokens, redirects, and where credentials may go.

use std::sync::Arc;

use flipside_core::progress::Silent;
use flipside_image::Architecture;
use flipside_image::code::Coded;
use flipside_publish::push::push;
use flipside_source::{Location, Options, Reference, Source, fetch_image, open};

use crate::support::proxy::{Fault, Proxy, Seen};
use crate::support::registry::{Registry, fixture, login_file, options};
use crate::support::tokens::Tokens;

struct Stage {
    registry: Arc<Registry>,
    proxy: Proxy,
    options: Options,
    _directory: tempfile::TempDir,
}

/// `flipside:correct horse` in base64.
const BASIC: &str = "ZmxpcHNpZGU6Y29ycmVjdCBob3JzZQ==";

impl Stage {
    fn new() -> Self {
        let registry = Registry::shared();
        let directory = tempfile::tempdir().unwrap();
        registry.push(&fixture("reference-image-uncompressed"), "a:1");
        let proxy = Proxy::start(registry.address());
        let options = options(directory.path());
        Self { registry, proxy, options, _directory: directory }
    }

    /// Stores the password for the proxy.
    fn log_in(&mut self) {
        let file = login_file(self.proxy.address(), "flipside", "correct horse");
        std::fs::write(self.options.root.path("/login.json"), file).unwrap();
        self.options.auth_file = Some("/login.json".into());
    }

    fn source(&self) -> Box<dyn Source> {
        let location: Location = format!("{}/a:1", self.proxy.address()).parse().unwrap();
        open(&location, &self.options).unwrap()
    }

    /// Fetches the image and its largest blob.
    fn fetch(&self) -> Result<(), flipside_source::SourceError> {
        let source = self.source();
        let image = fetch_image(&*source, &source.resolve()?, Architecture::X86_64)?;
        let blob = image.layer("system").unwrap().descriptor;
        source.blob("payload", blob, u64::MAX).map(|_| ())
    }
}

#[test]
fn an_anonymous_token_is_fetched_once() {
    let stage = Stage::new();
    stage.proxy.want_tokens(Tokens::default());
    stage.fetch().unwrap();
    let seen = stage.proxy.seen();
    assert_eq!(stage.proxy.count("/token"), 1);
    assert_eq!(seen[1].path, "/token?scope=repository%3Aa%3Apull&service=test");
    assert_eq!(seen[1].authorization, None);
    assert!(seen[2..].iter().all(|s| s.authorization.as_deref() == Some("Bearer token-1")));
}

#[test]
fn a_token_is_for_the_own_repository_whatever_the_registry_asks_for() {
    for (scope, query) in [
        ("repository:*:*", ""),
        ("repository:a:pull", "?scope=repository:*:*"),
        ("registry:catalog:*", ""),
        ("repository:a:pull,push,delete", ""),
        ("repository:a:pull repository:b:push", ""),
        ("", ""),
    ] {
        let mut stage = Stage::new();
        stage.log_in();
        let tokens = Tokens { basic: Some(BASIC.into()), ..Tokens::default() };
        let realm = Some(format!("http://{}/token{query}", stage.proxy.address()));
        stage.proxy.want_tokens(Tokens { scope: Some(scope.into()), realm, ..tokens });
        stage.fetch().unwrap();
        let seen = stage.proxy.seen();
        let asked: Vec<_> = seen.iter().filter(|s| s.path.starts_with("/token")).collect();
        let [asked] = asked.as_slice() else { panic!("{seen:?}") };
        assert_eq!(asked.path, "/token?scope=repository%3Aa%3Apull&service=test");
    }
}

#[test]
fn credentials_go_to_no_token_service_of_another_origin_unless_it_is_listed() {
    let layout = fixture("reference-image-uncompressed");
    for login in [r#""auth":"LOGIN""#, r#""identitytoken":"LOGIN""#] {
        let mut stage = Stage::new();
        let service = Proxy::start(stage.registry.address());
        service.want_tokens(Tokens::default());
        let realm = Some(format!("http://{}/token", service.address()));
        let elsewhere = Tokens { realm, issued: 1, ..Tokens::default() };
        stage.proxy.want_tokens(elsewhere.clone());
        // Who has nothing to lose may ask anybody.
        stage.fetch().unwrap();
        assert_eq!(service.seen()[0].authorization, None);
        service.calm();
        service.want_tokens(Tokens::default());

        let login = login.replace("LOGIN", BASIC);
        let file = format!(r#"{{"auths":{{"{}":{{{login}}}}}}}"#, stage.proxy.address());
        std::fs::write(stage.options.root.path("/login.json"), file).unwrap();
        stage.options.auth_file = Some("/login.json".into());
        let reference: Reference = format!("{}/a:2", stage.proxy.address()).parse().unwrap();
        let pushed = push(&layout, None, &reference, &stage.options, &Silent).unwrap_err();
        for error in [stage.fetch().unwrap_err().to_string(), pushed.to_string()] {
            assert!(error.contains(service.address()), "{error}");
            assert!(error.contains("track.token_realms"), "{error}");
        }
        assert_eq!(stage.fetch().unwrap_err().code().name(), "token-realm-refused");
        assert_eq!(pushed.code().name(), "token-realm-refused");
        assert!(service.seen().is_empty(), "{:?}", service.seen());

        stage.options.token_realms = vec![service.address().to_owned()];
        stage.fetch().unwrap();
        assert_eq!(service.seen().len(), 1);
        let seen = &service.seen()[0];
        assert!(seen.authorization.is_some() || seen.body.contains("refresh_token="), "{seen:?}");
    }
}

#[test]
fn a_push_asks_for_a_token_that_may_pull_and_push() {
    let layout = fixture("reference-image-uncompressed");
    for login in [r#""auth":"LOGIN""#, r#""identitytoken":"LOGIN""#] {
        let mut stage = Stage::new();
        let tokens = Tokens { scope: Some("repository:*:*".into()), ..Tokens::default() };
        stage.proxy.want_tokens(tokens);
        let login = login.replace("LOGIN", BASIC);
        let file = format!(r#"{{"auths":{{"{}":{{{login}}}}}}}"#, stage.proxy.address());
        std::fs::write(stage.options.root.path("/login.json"), file).unwrap();
        stage.options.auth_file = Some("/login.json".into());
        let reference: Reference = format!("{}/pushed:1", stage.proxy.address()).parse().unwrap();
        push(&layout, None, &reference, &stage.options, &Silent).unwrap();
        let seen = stage.proxy.seen();
        let asked: Vec<_> = seen.iter().filter(|s| s.path.starts_with("/token")).collect();
        assert!(!asked.is_empty());
        for asked in asked {
            let parameters = format!("{}{}", asked.path, asked.body);
            assert!(parameters.contains("scope=repository%3Apushed%3Apull%2Cpush"), "{asked:?}");
        }
        // The secret itself goes to the token service alone.
        let basic = format!("Basic {BASIC}");
        let to_registry = |s: &&Seen| s.path.starts_with("/v2/");
        assert!(seen.iter().filter(to_registry).all(|s| s.authorization.as_ref() != Some(&basic)));
    }
}

#[test]
fn a_token_that_expires_is_renewed_also_in_the_middle_of_a_blob() {
    let stage = Stage::new();
    stage.proxy.want_tokens(Tokens { uses: Some(1), ..Tokens::default() });
    stage.fetch().unwrap();
    assert!(stage.proxy.count("/token") >= 4);
    stage.proxy.forget();
    stage.proxy.want_tokens(Tokens { uses: Some(4), ..Tokens::default() });
    let source = stage.source();
    let image = fetch_image(&*source, &source.resolve().unwrap(), Architecture::X86_64).unwrap();
    let blob = image.layer("system").unwrap().descriptor;
    // The token is used up by the time that the rest is asked for.
    stage.proxy.fault("blobs", 1, Fault::Cut(1_000));
    let tokens = stage.proxy.count("/token");
    source.blob("payload", blob, u64::MAX).unwrap();
    source.blob("payload", blob, u64::MAX).unwrap();
    assert!(stage.proxy.count("/token") > tokens);
}

#[test]
fn the_token_service_gets_the_password_and_the_registry_does_not() {
    let mut stage = Stage::new();
    let basic = Some(BASIC.to_owned());
    stage.proxy.want_tokens(Tokens { basic: basic.clone(), ..Tokens::default() });
    let error = stage.fetch().unwrap_err();
    assert_eq!(error.code().name(), "registry-unauthorized", "{error}");
    stage.log_in();
    stage.proxy.forget();
    stage.fetch().unwrap();
    let stage = Stage::new();
    for seen in stage.proxy.seen() {
        let is_basic = seen.authorization.is_some_and(|a| a.starts_with("Basic "));
        assert_eq!(is_basic, seen.path.starts_with("/token"));
    }
}

#[test]
fn errors_of_the_token_service_are_told() {
    let stage = Stage::new();
    for (status, code) in [
        (403, "registry-forbidden"),
        (401, "registry-unauthorized"),
        (404, "registry-error"),
        (429, "registry-rate-limited"),
        (503, "registry-error"),
        (200, "registry-error"),
    ] {
        stage.proxy.calm();
        stage.proxy.want_tokens(Tokens::default());
        stage.proxy.fault("/token", 100, Fault::Status(status, vec![], "{}".into()));
        let error = stage.fetch().unwrap_err();
        assert_eq!(error.code().name(), code, "{status} {error}");
    }
    let stage = Stage::new();
    stage.proxy.want_tokens(Tokens::default());
    stage.proxy.fault("/token", 1, Fault::Status(503, vec![], String::new()));
    stage.fetch().unwrap();
}

#[test]
fn a_token_that_is_never_good_is_not_renewed_for_ever() {
    let stage = Stage::new();
    stage.proxy.want_tokens(Tokens { uses: Some(0), ..Tokens::default() });
    assert_eq!(stage.fetch().unwrap_err().code().name(), "registry-unauthorized");
    assert!(stage.proxy.seen().len() < 10);
}

#[test]
fn a_token_service_without_tls_far_away_gets_no_password() {
    let mut stage = Stage::new();
    stage.log_in();
    let realm = Some("http://token.invalid/token".to_owned());
    stage.proxy.want_tokens(Tokens { realm, ..Tokens::default() });
    assert_eq!(stage.fetch().unwrap_err().code().name(), "plain-http-refused");
}

#[test]
fn a_redirect_is_followed_and_the_token_stays_behind() {
    let stage = Stage::new();
    let storage = Proxy::start(stage.registry.address());
    stage.proxy.want_tokens(Tokens::default());
    let source = stage.source();
    let digest = source.resolve().unwrap();
    let image = fetch_image(&*source, &digest, Architecture::X86_64).unwrap();
    let blob = image.layer("system").unwrap().descriptor;
    let place = format!("http://u:p@{}/v2/a/blobs/{}?sig=secret", storage.address(), blob.digest);
    stage.proxy.forget();
    stage.proxy.fault("blobs", 1, Fault::Redirect(place));
    source.blob("payload", blob, u64::MAX).unwrap();
    assert_eq!(stage.proxy.seen()[0].authorization.as_deref(), Some("Bearer token-1"));
    let seen = storage.seen();
    assert_eq!((seen.len(), seen[0].authorization.clone()), (1, None));
    assert!(seen[0].path.ends_with("?sig=secret"));
}

#[test]
fn a_redirect_on_the_same_host_keeps_the_token_also_when_relative() {
    let stage = Stage::new();
    stage.proxy.want_tokens(Tokens::default());
    stage.proxy.fault(
        "manifests/1",
        1,
        Fault::Status(
            401,
            vec![(
                "www-authenticate",
                format!(r#"Bearer realm="http://{}/token",service="x""#, stage.proxy.address()),
            )],
            String::new(),
        ),
    );
    stage.proxy.fault("manifests/1", 1, Fault::Redirect("../../a/manifests/1?again".into()));
    stage.source().resolve().unwrap();
    let seen = stage.proxy.seen();
    assert_eq!(seen.last().unwrap().path, "/v2/a/manifests/1?again");
    assert_eq!(seen.last().unwrap().authorization.as_deref(), Some("Bearer token-1"));
}

#[test]
fn storage_whose_signed_url_has_expired_is_asked_for_again() {
    let stage = Stage::new();
    let storage = Proxy::start(stage.registry.address());
    let source = stage.source();
    let image = fetch_image(&*source, &source.resolve().unwrap(), Architecture::X86_64).unwrap();
    let blob = image.layer("system").unwrap().descriptor;
    let place = format!("http://{}/v2/a/blobs/{}?sig=secret", storage.address(), blob.digest);
    stage.proxy.fault("blobs", 100, Fault::Redirect(place));
    storage.fault("blobs", 1, Fault::Status(403, vec![], "sig=secret".into()));
    source.blob("payload", blob, u64::MAX).unwrap();
    storage.fault("blobs", 100, Fault::Status(403, vec![], "sig=secret".into()));
    let error = source.blob("payload", blob, u64::MAX).unwrap_err();
    assert_eq!(error.code().name(), "registry-error", "{error}");
    assert!(!format!("{error} {error:?}").contains("secret"));
}

#[test]
fn redirects_come_to_an_end() {
    let stage = Stage::new();
    stage.proxy.fault("manifests", 100, Fault::Redirect("/v2/a/manifests/1".into()));
    assert_eq!(stage.source().resolve().unwrap_err().code().name(), "redirect-invalid");
    assert_eq!(stage.proxy.seen().len(), 1);
    let stage = Stage::new();
    for n in 0..20 {
        stage.proxy.fault("manifests", 1, Fault::Redirect(format!("/v2/a/manifests/1?{n}")));
    }
    assert_eq!(stage.source().resolve().unwrap_err().code().name(), "redirect-invalid");
    assert_eq!(stage.proxy.seen().len(), 11);
}

#[test]
fn redirects_to_places_that_may_not_be_asked_are_refused() {
    let stage = Stage::new();
    for (place, code) in [
        ("http://far.invalid/x?sig=secret", "plain-http-refused"),
        ("ftp://far.invalid/x", "redirect-invalid"),
        ("http://", "redirect-invalid"),
        ("file:///etc/passwd", "redirect-invalid"),
    ] {
        stage.proxy.calm();
        stage.proxy.fault("manifests", 1, Fault::Redirect(place.into()));
        let error = stage.source().resolve().unwrap_err();
        assert_eq!(error.code().name(), code, "{place}: {error}");
        assert!(!error.to_string().contains("secret"));
    }
}

#[test]
fn an_identity_token_is_posted_and_never_redirected_away() {
    let mut stage = Stage::new();
    stage.proxy.want_tokens(Tokens::default());
    let file =
        format!(r#"{{"auths":{{"{}":{{"identitytoken":"refresh+me"}}}}}}"#, stage.proxy.address());
    std::fs::write(stage.options.root.path("/login.json"), file).unwrap();
    stage.options.auth_file = Some("/login.json".into());
    stage.fetch().unwrap();
    let post = stage.proxy.seen().into_iter().find(|s| s.path.starts_with("/token")).unwrap();
    assert_eq!(post.method, "POST");
    assert!(post.body.contains("grant_type=refresh_token"), "{}", post.body);
    assert!(post.body.contains("refresh_token=refresh%2Bme"), "{}", post.body);
    let thief = Proxy::start(stage.registry.address());
    stage.proxy.fault("/token", 1, Fault::Redirect(format!("http://{}/token", thief.address())));
    let error = stage.fetch().unwrap_err();
    assert_eq!(error.code().name(), "redirect-invalid", "{error}");
    assert!(thief.seen().is_empty());
}
