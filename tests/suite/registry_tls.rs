// SPDX-License-Identifier: MIT OR Apache-2.0

//! Certificates: whom flipside speaks to, and what it says otherwise.

use std::sync::Arc;

use flipside_core::progress::Silent;
use flipside_image::Digest;
use flipside_image::code::Coded;
use flipside_publish::PublishError;
use flipside_publish::push::push;
use flipside_source::{Location, Options, SourceError, fetch_graph, open};

use crate::support::certificates::{Authority, Certificate};
use crate::support::proxy::{Fault, Proxy};
use crate::support::registry::{Registry, fixture, options};
use crate::support::tokens::Tokens;

struct Stage {
    registry: Arc<Registry>,
    authority: Authority,
    options: Options,
    _directory: tempfile::TempDir,
}

impl Stage {
    fn new() -> Self {
        let registry = Registry::shared();
        let directory = tempfile::tempdir().unwrap();
        registry.push(&fixture("reference-image-zstd"), "z:1");
        let authority = Authority::new();
        let mut options = options(directory.path());
        std::fs::write(options.root.path("/ca.pem"), authority.pem()).unwrap();
        options.ca = vec!["/ca.pem".into()];
        Self { registry, authority, options, _directory: directory }
    }

    fn good(&self) -> Certificate {
        self.authority.certificate("127.0.0.1", 2020, 2100)
    }

    fn resolve(&self, proxy: &Proxy) -> Result<Digest, SourceError> {
        let location: Location = format!("{}/z:1", proxy.address()).parse().unwrap();
        open(&location, &self.options)?.resolve()
    }

    /// Pushes to a repository that this server has not seen yet.
    fn push(&self, proxy: &Proxy) -> Result<Digest, PublishError> {
        let name = proxy.address().rsplit_once(':').unwrap().1;
        let reference = format!("{}/push-{name}:1", proxy.address()).parse().unwrap();
        push(&fixture("reference-image-zstd"), None, &reference, &self.options, &Silent)
    }

    /// The code of the refusal, and what follows the server's name in its sentence.
    fn refusal(&self, certificate: &Certificate) -> (&'static str, String) {
        let proxy = Proxy::start_tls(self.registry.address(), certificate.server(None));
        let error = self.resolve(&proxy).unwrap_err();
        let start = format!("the TLS certificate of {} ", proxy.address());
        let sentence = error.to_string();
        let rest = sentence.strip_prefix(&start).unwrap_or_else(|| panic!("{sentence}"));
        (error.code().name(), rest.to_owned())
    }

    fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.options.root.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
}

#[test]
fn a_certificate_of_an_authority_of_ours_is_trusted() {
    let stage = Stage::new();
    let proxy = Proxy::start_tls(stage.registry.address(), stage.good().server(None));
    assert_eq!(stage.resolve(&proxy).unwrap(), stage.registry.source("z:1").resolve().unwrap());
}

#[test]
fn bad_certificates_have_a_code_and_a_remedy_each() {
    let stage = Stage::new();
    let today = jiff::Timestamp::now().strftime("%Y-%m-%d").to_string();
    let expired = format!(
        "has expired (2001-01-01; this host's clock says {today}): renew it, or set this host's clock"
    );
    let early = format!(
        "is not valid yet (2090-01-01; this host's clock says {today}): set this host's clock, or wait"
    );
    let certificate = |name, from, until| stage.authority.certificate(name, from, until);
    for (certificate, code, said) in [
        (certificate("127.0.0.1", 2000, 2001), "tls-certificate-expired", &expired[..]),
        (certificate("127.0.0.1", 2090, 2100), "tls-certificate-not-yet-valid", &early),
        (
            certificate("r.example", 2020, 2100),
            "tls-wrong-name",
            "is for r.example: use that name, or make one with another subjectAltName",
        ),
        (
            stage.authority.certificate_without_names(),
            "tls-wrong-name",
            "is for no name: make one with a subjectAltName, since the common name does not count",
        ),
        (
            Authority::new().certificate("127.0.0.1", 2020, 2100),
            "tls-untrusted",
            "cannot be trusted: no authority that this host knows has signed it; if the authority \
             is yours, name its certificate in track.ca",
        ),
        (
            stage.authority.as_server(),
            "tls-untrusted",
            "cannot be trusted: it is the certificate of an authority; make one for the server, \
             with basicConstraints=CA:FALSE",
        ),
    ] {
        assert_eq!(stage.refusal(&certificate), (code, said.to_owned()));
    }
}

#[test]
fn files_that_are_no_plain_pem_are_refused_with_what_makes_them_so() {
    let mut stage = Stage::new();
    let proxy = Proxy::start_tls(stage.registry.address(), stage.good().server(None));
    let trusted = stage.authority.pem().replace("BEGIN CERT", "BEGIN TRUSTED CERT");
    let trusted = trusted.replace("END CERT", "END TRUSTED CERT");
    for (content, said) in [
        (stage.authority.der(), "it is DER; make PEM of it with `openssl x509 -inform der`"),
        (trusted.into_bytes(), "it is a TRUSTED CERTIFICATE, which only OpenSSL reads"),
        (b"hello".to_vec(), "it holds nothing in PEM form that is of use"),
        (vec![], "it holds nothing in PEM form that is of use"),
    ] {
        stage.write("/ca.pem", content);
        let error = stage.resolve(&proxy).unwrap_err();
        assert_eq!(error.code().name(), "tls-file-unusable", "{error}");
        let sentence = error.to_string();
        assert!(
            sentence.starts_with("cannot use track.ca ") && sentence.contains(said),
            "{sentence}"
        );
    }
    stage.write("/ca.pem", stage.authority.pem());
    let own = stage.authority.certificate("client", 2020, 2100);
    stage.write("/c.pem", &own.chain);
    stage.write("/k.pem", own.key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY"));
    stage.options.client_cert = Some("/c.pem".into());
    stage.options.client_key = Some("/k.pem".into());
    let error = stage.resolve(&proxy).unwrap_err().to_string();
    assert!(
        error.starts_with("cannot use track.client_key ") && error.contains("password"),
        "{error}"
    );
}

#[test]
fn certificates_of_one_host_are_taken_where_podman_has_them() {
    for place in ["containers", "docker"] {
        let mut stage = Stage::new();
        stage.options.ca = vec![];
        let clients = Authority::new();
        let own = clients.certificate("client", 2020, 2100);
        let proxy = Proxy::start_tls(stage.registry.address(), stage.good().server(Some(&clients)));
        let at = |name: &str| format!("/etc/{place}/certs.d/{}/{name}", proxy.address());
        // Of another host.
        stage.write(&format!("/etc/{place}/certs.d/r.example/ca.crt"), stage.authority.pem());
        let error = stage.resolve(&proxy).unwrap_err();
        assert!(["tls-untrusted", "tls-no-authorities"].contains(&error.code().name()), "{error}");
        stage.write(&at("ca.crt"), stage.authority.pem());
        stage.write(&at("README"), "no certificate");
        assert_eq!(stage.resolve(&proxy).unwrap_err().code().name(), "tls-failed");
        stage.write(&at("client.cert"), &own.chain);
        let error = stage.resolve(&proxy).unwrap_err();
        assert_eq!(error.code().name(), "tls-file-unusable");
        assert!(error.to_string().contains("there is no client.key beside it"), "{error}");
        stage.write(&at("client.key"), &own.key);
        stage.resolve(&proxy).unwrap();
        stage.push(&proxy).unwrap();
        assert!(proxy.seen().iter().all(|seen| seen.identified));
    }
}

#[test]
fn a_client_certificate_is_shown_where_it_is_asked_for() {
    let mut stage = Stage::new();
    let clients = Authority::new();
    let proxy = Proxy::start_tls(stage.registry.address(), stage.good().server(Some(&clients)));
    let error = stage.resolve(&proxy).unwrap_err();
    assert_eq!(error.code().name(), "tls-failed", "{error}");
    assert_eq!(stage.push(&proxy).unwrap_err().code().name(), "tls-failed");
    let own = clients.certificate("client", 2020, 2100);
    std::fs::write(stage.options.root.path("/c.pem"), &own.chain).unwrap();
    std::fs::write(stage.options.root.path("/k.pem"), &own.key).unwrap();
    stage.options.client_cert = Some("/c.pem".into());
    stage.options.client_key = Some("/k.pem".into());
    stage.resolve(&proxy).unwrap();
    stage.push(&proxy).unwrap();
    assert!(proxy.seen().iter().any(|seen| seen.method == "PUT"));
}

#[test]
fn the_client_certificate_is_for_the_registry_and_its_mirrors_alone() {
    let mut stage = Stage::new();
    let clients = Authority::new();
    let own = clients.certificate("client", 2020, 2100);
    std::fs::write(stage.options.root.path("/c.pem"), &own.chain).unwrap();
    std::fs::write(stage.options.root.path("/k.pem"), &own.key).unwrap();
    stage.options.client_cert = Some("/c.pem".into());
    stage.options.client_key = Some("/k.pem".into());
    let start = || {
        let asks = stage.good().server_that_asks(&clients);
        Proxy::start_tls(stage.registry.address(), asks)
    };
    let (registry, other) = (start(), start());
    let calm = || {
        registry.calm();
        other.calm();
    };
    let shown = |proxy: &Proxy| proxy.seen().iter().map(|s| s.identified).collect::<Vec<_>>();

    let away = format!("https://{}/v2/z/manifests/1", other.address());
    registry.fault("manifests", 1, Fault::Redirect(away.clone()));
    stage.resolve(&registry).unwrap();
    assert_eq!((shown(&registry), shown(&other)), (vec![true], vec![false]), "a redirect");

    // Nor does it come back to whom it was shown before.
    calm();
    registry.fault("manifests", 1, Fault::Redirect(away));
    let back = format!("https://{}/v2/z/manifests/1?back", registry.address());
    other.fault("manifests", 1, Fault::Redirect(back));
    stage.resolve(&registry).unwrap();
    assert_eq!(shown(&registry), [true, false], "a redirect to and fro");

    calm();
    registry.fault("manifests", 1, Fault::Redirect("/v2/z/manifests/1?same".into()));
    stage.resolve(&registry).unwrap();
    assert_eq!(shown(&registry), [true, true], "a redirect on the registry itself");

    calm();
    let realm = Some(format!("https://{}/token", other.address()));
    registry.want_tokens(Tokens { realm, issued: 1, ..Tokens::default() });
    other.want_tokens(Tokens::default());
    stage.resolve(&registry).unwrap();
    assert_eq!(other.count("/token"), 1);
    assert_eq!(shown(&other), [false], "a token service");
    assert!(shown(&registry).iter().all(|shown| *shown), "{:?}", registry.seen());

    calm();
    let graph = format!("https://{}", other.address());
    let _ = fetch_graph(&graph, &[], &stage.options);
    assert_eq!(shown(&other), [false], "an update graph");

    calm();
    registry.fault("blobs/uploads/", usize::MAX, Fault::Elsewhere(other.address().into()));
    let reference = format!("{}/elsewhere:1", registry.address()).parse().unwrap();
    push(&fixture("reference-image-zstd"), None, &reference, &stage.options, &Silent).unwrap();
    assert!(shown(&registry).iter().all(|shown| *shown), "{:?}", registry.seen());
    let uploaded = shown(&other);
    assert!(!uploaded.is_empty() && uploaded.iter().all(|shown| !shown), "an upload elsewhere");

    calm();
    let options = Options { mirrors: vec![other.address().into()], ..stage.options.clone() };
    let location: Location = format!("{}/z:1", registry.address()).parse().unwrap();
    let source = open(&location, &options).unwrap();
    let digest = source.resolve().unwrap();
    source.manifest(&digest).unwrap();
    assert_eq!((shown(&registry), shown(&other)), (vec![true], vec![true]), "a mirror");
}

#[test]
fn pem_files_that_cannot_be_used_are_named() {
    let mut stage = Stage::new();
    let proxy = Proxy::start_tls(stage.registry.address(), stage.good().server(None));
    std::fs::write(stage.options.root.path("/empty.pem"), "").unwrap();
    std::fs::write(stage.options.root.path("/bad.pem"), "-----BEGIN CERTIFICATE-----\n?\n")
        .unwrap();
    for file in ["/missing.pem", "/empty.pem", "/bad.pem"] {
        stage.options.ca = vec![file.into()];
        let error = stage.resolve(&proxy).unwrap_err();
        assert_eq!(error.code().name(), "tls-file-unusable", "{error}");
        assert!(error.to_string().contains(file), "{error}");
    }
    stage.options.ca = vec!["/ca.pem".into()];
    stage.options.client_cert = Some("/ca.pem".into());
    let error = stage.resolve(&proxy).unwrap_err();
    assert_eq!(error.code().name(), "tls-file-unusable", "{error}");
}

#[test]
fn a_redirect_out_of_tls_is_refused_unless_listed() {
    let mut stage = Stage::new();
    let proxy = Proxy::start_tls(stage.registry.address(), stage.good().server(None));
    proxy.fault("manifests", 1, Fault::Redirect("http://far.invalid/x".into()));
    let error = stage.resolve(&proxy).unwrap_err();
    assert_eq!(error.code().name(), "plain-http-refused", "{error}");
    let plain = Proxy::start(stage.registry.address());
    let place = format!("http://{}/v2/z/manifests/1", plain.address());
    stage.options.plain_http = vec![plain.address().to_owned()];
    proxy.fault("manifests", 1, Fault::Redirect(place));
    stage.resolve(&proxy).unwrap();
    assert_eq!(plain.seen().len(), 1);
}

#[test]
fn a_server_of_plain_http_is_told_from_a_bad_certificate() {
    let stage = Stage::new();
    let proxy = Proxy::start_tls(stage.registry.address(), stage.good().server(None));
    let plain = Proxy::start(stage.registry.address());
    let place = format!("https://{}/v2/z/manifests/1", plain.address());
    proxy.fault("manifests", 1, Fault::Redirect(place));
    let error = stage.resolve(&proxy).unwrap_err();
    assert_eq!(error.code().name(), "plain-http-refused", "{error}");
    assert!(error.to_string().contains(plain.address()));
}
