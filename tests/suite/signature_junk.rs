// SPDX-License-Identifier: MIT OR Apache-2.0

//! Good signatures beside any number of others, which anybody who may push can put there.

use std::ops::ControlFlow;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flipside_image::code::Coded;
use flipside_image::signature::{Form, Signed, Verifier};
use flipside_image::{Descriptor, Digest};
use flipside_publish::sign::{PrivateKey, bundle, simple};
use flipside_source::signatures::{BUNDLE_TYPE, SIGNATURE_ANNOTATION, Worth};
use flipside_source::{LayoutSource, Location, Signature, Source, open};
use serde_json::{Value, json};

use crate::support::images::ImageBuilder;
use crate::support::keys::{new_key, verifier};
use crate::support::proxy::{Fault, Proxy};
use crate::support::put::Repository;
use crate::support::registry::{Registry, fixture, options};
use crate::support::signed::SignedHost;

/// The repository that cosign's fixtures name.
const COSIGN: &str = "192.168.64.2:5000/cosign-signed-single-sample";
/// More than is looked at closely in one home.
const MANY: usize = 70;

/// A repository, with and without a referrers API.
struct Stage {
    proxy: Proxy,
    name: &'static str,
    directory: tempfile::TempDir,
    /// Ends with the last test that has it.
    _registry: Arc<Registry>,
}

impl Stage {
    fn new(name: &'static str, has_api: bool) -> Self {
        let registry = Registry::shared();
        let proxy = Proxy::start(registry.address());
        if has_api {
            proxy.has_referrers(30);
        }
        Self { proxy, name, directory: tempfile::tempdir().unwrap(), _registry: registry }
    }

    fn repository(&self) -> Repository {
        Repository::at(self.proxy.address(), self.name)
    }

    fn source(&self) -> Box<dyn Source> {
        let location: Location =
            format!("{}/{}:1", self.proxy.address(), self.name).parse().unwrap();
        open(&location, &options(self.directory.path())).unwrap()
    }

    /// Puts bundles where this registry has them.
    fn bundles(&self, subject: &Digest, bundles: &[Vec<u8>]) {
        let repository = self.repository();
        let listed: Vec<_> = bundles.iter().map(|b| repository.bundle(subject, b)).collect();
        repository.referrers(subject, &listed);
    }
}

/// What a host with this verifier finds: the form of a good signature, or what it says instead.
fn found(source: &dyn Source, subject: &Digest, verifier: &Verifier) -> String {
    let mut good = None;
    let end =
        source.signatures(subject, &mut |signature| match verifier.check(subject, &signature) {
            Ok(signed) => {
                good = Some(signed);
                ControlFlow::Break(())
            }
            Err(flaw) if flaw.is_plausible() => ControlFlow::Continue(Worth::Plausible),
            Err(_) => ControlFlow::Continue(Worth::Nothing),
        });
    match (good, end) {
        (Some(Signed { form: Form::SimpleSigning, .. }), _) => "simple".to_owned(),
        (Some(Signed { form: Form::Bundle, .. }), _) => "bundle".to_owned(),
        (None, Ok(())) => "none".to_owned(),
        (None, Err(error)) => error.code().name().to_owned(),
    }
}

/// What cosign signed, its payload and its signature.
fn cosigned() -> (Digest, Vec<u8>, String) {
    let read = |name: &str| std::fs::read(fixture("cosign").join(name)).unwrap();
    let stored = read("valid/signature-1");
    let stored = stored.strip_prefix(b"\0sigstore-json\n").unwrap();
    let stored: Value = serde_json::from_slice(stored).unwrap();
    let payload = STANDARD.decode(stored["payload"].as_str().unwrap()).unwrap();
    let signature = stored["annotations"][SIGNATURE_ANNOTATION].as_str().unwrap().to_owned();
    (Digest::of(&read("valid/manifest.json")), payload, signature)
}

/// A host that trusts the key of cosign's fixtures, and `key`.
fn host(key: &PrivateKey) -> Verifier {
    let cosign = std::fs::read_to_string(fixture("cosign/cosign.pub")).unwrap();
    verifier(&[&cosign, &key.public().to_pem()], COSIGN, |_| {})
}

/// Real bundles of others, no two alike: with a certificate, and with the hint of another key.
fn of_others(number: usize) -> Vec<Vec<u8>> {
    let read = |name: &str| {
        let path = fixture("cosign/bundles").join(name).join("bundle.sigstore.json");
        std::fs::read(path).unwrap()
    };
    let kinds = [read("happy-path-intoto-in-dsse-v3"), read("managed-key-happy-path")];
    (0..number).map(|nth| [&kinds[nth % 2][..], &vec![b' '; nth]].concat()).collect()
}

/// What a referrers API answers. Registries take no list of what they do not have.
fn listing(entries: &[Value]) -> Fault {
    let kind = "application/vnd.oci.image.index.v1+json";
    let index = json!({"schemaVersion": 2, "mediaType": kind, "manifests": entries});
    Fault::Status(200, vec![("content-type", kind.to_owned())], index.to_string())
}

/// Bundles with the hint of `key`, none of which it made.
fn imitated(key: &PrivateKey, subject: &Digest, number: usize) -> Vec<Vec<u8>> {
    let hint = STANDARD.encode(key.public().hint().as_bytes());
    let forged = |_| {
        let mut forged: Value = serde_json::from_slice(&bundled(&new_key(), subject)).unwrap();
        forged["verificationMaterial"]["publicKey"]["hint"] = json!(hint);
        forged.to_string().into_bytes()
    };
    (0..number).map(forged).collect()
}

fn bundled(key: &PrivateKey, subject: &Digest) -> Vec<u8> {
    let Signature::Bundle { bundle, .. } = bundle(key, subject).unwrap() else { panic!() };
    bundle
}

#[test]
fn junk_under_the_sig_tag_does_not_hide_the_good_one() {
    let (subject, payload, signature) = cosigned();
    let key = new_key();
    let host = host(&key);
    let others: Vec<_> = (0..MANY).map(|_| signed(&new_key(), &payload)).collect();
    let huge = vec![b' '; 65 << 10];
    type Case<'a> = (&'a str, Vec<(&'a [u8], &'a str)>);
    let junk: [Case<'_>; 4] = [
        ("others' signatures", others.iter().map(|s| (&payload[..], s.as_str())).collect()),
        ("no signatures", vec![(&payload, ""); MANY]),
        ("too large", vec![(&huge, &signature); MANY]),
        ("no base64", vec![(&payload, "?"); MANY]),
    ];
    for (case, junk) in junk {
        let stage = Stage::new("junk/sig", false);
        stage.repository().simple(&subject, &[&junk[..], &[(&payload, &signature)]].concat());
        assert_eq!(found(&*stage.source(), &subject, &host), "simple", "{case}");
    }
}

fn signed(key: &PrivateKey, payload: &[u8]) -> String {
    STANDARD.encode(key.sign(payload).unwrap())
}

#[test]
fn junk_in_one_home_does_not_end_the_search_in_the_other() {
    let (subject, payload, signature) = cosigned();
    let key = new_key();
    let host = host(&key);
    // One payload more than is looked at, each of which might be a good one.
    let payloads: Vec<_> = (0..MANY).map(|n| [&payload[..], &vec![b' '; n + 1]].concat()).collect();
    let junk: Vec<_> = payloads.iter().map(|p| (&p[..], signature.as_str())).collect();
    for (name, has_api) in [("junk/other-tag", false), ("junk/other-api", true)] {
        let stage = Stage::new(name, has_api);
        stage.repository().simple(&subject, &junk);
        assert_eq!(found(&*stage.source(), &subject, &host), "signatures-over-limit");
        stage.bundles(&subject, &[bundled(&key, &subject)]);
        assert_eq!(found(&*stage.source(), &subject, &host), "bundle", "{name}");

        let stage = Stage::new(if has_api { "junk/back-api" } else { "junk/back-tag" }, has_api);
        stage.bundles(&subject, &imitated(&key, &subject, MANY));
        assert_eq!(found(&*stage.source(), &subject, &host), "signatures-over-limit");
        stage.repository().simple(&subject, &[(&payload, &signature)]);
        assert_eq!(found(&*stage.source(), &subject, &host), "simple", "{name}");
    }
}

#[test]
fn bundles_of_others_do_not_hide_the_good_one_beside_them() {
    let subject = Digest::of(b"an image");
    let key = new_key();
    let host = host(&key);
    for (name, has_api) in [("junk/tag", false), ("junk/api", true)] {
        let stage = Stage::new(name, has_api);
        let good = bundled(&key, &subject);
        // Also what this key signed for other images.
        let replayed = (0..MANY).map(|n| bundled(&key, &Digest::of(&n.to_le_bytes())));
        let bundles: Vec<_> = of_others(MANY).into_iter().chain(replayed).chain([good]).collect();
        stage.bundles(&subject, &bundles);
        assert_eq!(found(&*stage.source(), &subject, &host), "bundle", "{name}");
    }
}

#[test]
fn what_is_no_bundle_is_not_counted() {
    let subject = Digest::of(b"an image of another kind");
    let (key, stage) = (new_key(), Stage::new("junk/kinds", false));
    let repository = stage.repository();
    let good = repository.bundle(&subject, &bundled(&key, &subject));
    let number = |n: usize| Digest::of(&n.to_le_bytes());
    let entry = |n, size| Descriptor {
        artifact_type: Some(BUNDLE_TYPE.to_owned()),
        ..Descriptor::new(good.media_type.clone(), number(n), size)
    };
    let large = (0..MANY).map(|n| entry(n, 65 << 10));
    let typed = (0..600).map(|n| Descriptor {
        artifact_type: Some("application/vnd.example.sbom".to_owned()),
        ..entry(1000 + n, 500)
    });
    // The same one under many names, and for another image.
    let copies = (0..MANY).map(|_| repository.bundle(&Digest::of(b"another"), b"{}"));
    let listed = large.chain(typed).chain(copies).chain([good.clone()]);
    let listed: Vec<_> = listed.map(|entry| json!(entry)).collect();
    stage.proxy.fault("/referrers/", 1, listing(&listed));
    assert_eq!(found(&*stage.source(), &subject, &host(&key)), "bundle");

    // Attestations say what they are, and are looked at last.
    let mut listed: Vec<_> = (0..600).map(|n| entry(n, 500)).collect();
    for attestation in &mut listed {
        let kind = "https://slsa.dev/provenance/v1".to_owned();
        attestation.annotations.insert("dev.sigstore.bundle.predicateType".to_owned(), kind);
    }
    listed.push(good);
    let listed: Vec<_> = listed.iter().map(|entry| json!(entry)).collect();
    stage.proxy.fault("/referrers/", 1, listing(&listed));
    assert_eq!(found(&*stage.source(), &subject, &host(&key)), "bundle");
}

#[test]
fn a_damaged_list_does_not_hide_what_it_lists_besides() {
    let (subject, key) = (Digest::of(b"a third image"), new_key());
    let stage = Stage::new("junk/lists", false);
    let repository = stage.repository();
    let good = json!(repository.bundle(&subject, &bundled(&key, &subject)));
    let strange = json!({"mediaType": good["mediaType"], "digest": "sha512:00", "size": -1});
    let host = host(&key);
    let whole = [vec![strange.clone(); MANY], vec![good]].concat();
    stage.proxy.fault("/referrers/", 1, listing(&whole));
    assert_eq!(found(&*stage.source(), &subject, &host), "bundle");
    // With more entries than anybody needs it is no list.
    stage.proxy.fault("/referrers/", 1, listing(&vec![strange; 1001]));
    assert_eq!(found(&*stage.source(), &subject, &host), "image-malformed");
}

#[test]
fn a_layout_has_limits_for_each_home_too() {
    let directory = tempfile::tempdir().unwrap();
    let image = ImageBuilder::new("1").write(directory.path());
    let (subject, key) = (image.digest, new_key());
    let host = host(&key);
    let blob = |bytes: &[u8]| {
        let path = directory.path().join("blobs/sha256").join(Digest::of(bytes).hex());
        std::fs::write(path, bytes).unwrap();
        json!({"digest": Digest::of(bytes), "size": bytes.len()})
    };
    let manifest_type = "application/vnd.oci.image.manifest.v1+json";
    let typed = |mut entry: Value, kind: &str| {
        entry["mediaType"] = json!(kind);
        entry
    };
    let junk = |n: usize| {
        let kind = "application/vnd.dev.cosign.simplesigning.v1+json";
        let mut layer = typed(blob(&vec![b'x'; n + 1]), kind);
        layer["annotations"] = json!({SIGNATURE_ANNOTATION: STANDARD.encode([1; 64])});
        layer
    };
    let layers: Vec<_> = (0..MANY).map(junk).collect();
    let config = typed(blob(b"{}"), "x/y");
    let manifest =
        json!({"schemaVersion": 2, "mediaType": manifest_type, "config": config, "layers": layers});
    let mut tagged = typed(blob(manifest.to_string().as_bytes()), manifest_type);
    let tag = flipside_source::signatures::signature_tag(&subject);
    tagged["annotations"] = json!({"org.opencontainers.image.ref.name": tag});
    let mut entries = vec![tagged];
    let bundles = of_others(MANY).into_iter().chain([bundled(&key, &subject)]);
    for bundle in bundles {
        let layer = typed(blob(&bundle), BUNDLE_TYPE);
        let subject = json!({"mediaType": manifest_type, "digest": subject, "size": 7});
        let manifest = json!({"schemaVersion": 2, "mediaType": manifest_type, "config": config,
            "layers": [layer], "subject": subject});
        entries.push(typed(blob(manifest.to_string().as_bytes()), manifest_type));
    }
    let path = directory.path().join("index.json");
    let mut index: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    index["manifests"].as_array_mut().unwrap().extend(entries);
    std::fs::write(path, index.to_string()).unwrap();
    let source = LayoutSource::open(directory.path(), None).unwrap();
    assert_eq!(found(&source, &subject, &host), "bundle");
}

#[test]
fn a_host_updates_whatever_stands_beside_the_signature() {
    let (stage, key) = (SignedHost::new("junk/host"), new_key());
    stage.trust("etc/release.pub", &key);
    let (subject, identity) = (stage.image.digest, stage.identity());
    let others: Vec<_> =
        (0..MANY).map(|n| simple(&new_key(), &subject, &format!("{identity}{n}"))).collect();
    stage.put_simple(&subject, &others);
    let repository = stage.repository();
    let mut listed: Vec<_> =
        of_others(MANY).iter().map(|bundle| repository.bundle(&subject, bundle)).collect();
    repository.referrers(&subject, &listed);
    let sentence = stage.refuses(75, "signature-unavailable");
    assert!(sentence.contains("more signatures"), "{sentence}");
    listed.push(repository.bundle(&subject, &bundled(&key, &subject)));
    repository.referrers(&subject, &listed);
    stage.host.updates();
}
