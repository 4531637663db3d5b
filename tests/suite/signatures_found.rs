// SPDX-License-Identifier: MIT OR Apache-2.0

//! Where signatures are looked for, and what it takes to say that there is none.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use flipside_image::Digest;
use flipside_image::code::Coded;
use flipside_source::signatures::{
    BUNDLE_TYPE, EMPTY_TYPE, Worth, all, referrers_tag, signature_tag,
};
use flipside_source::{LayoutSource, Location, Options, Signature, Source, SourceError, open};
use serde_json::json;

use crate::support::images::ImageBuilder;
use crate::support::proxy::{Fault, Proxy};
use crate::support::put::{Repository, oci_manifest};
use crate::support::registry::{Registry, fixture, options};

/// A registry without a referrers API, one with it before the same storage, and a repository of
/// this test's own.
struct Stage {
    registry: Arc<Registry>,
    proxy: Proxy,
    options: Options,
    name: &'static str,
    subject: Digest,
    _directory: tempfile::TempDir,
}

impl Stage {
    fn new(name: &'static str) -> Self {
        let registry = Registry::shared();
        let subject = registry.push(&fixture("reference-image-zstd"), &format!("{name}:1"));
        let proxy = Proxy::start(registry.address());
        let directory = tempfile::tempdir().unwrap();
        let options = options(directory.path());
        Self { registry, proxy, options, name, subject, _directory: directory }
    }

    fn source_at(&self, address: &str) -> Box<dyn Source> {
        let location: Location = format!("{address}/{}:1", self.name).parse().unwrap();
        open(&location, &self.options).unwrap()
    }

    /// By the proxy.
    fn source(&self) -> Box<dyn Source> {
        self.source_at(self.proxy.address())
    }

    fn repository(&self, address: &str) -> Repository {
        Repository::at(address, self.name)
    }

    fn found(&self) -> Vec<String> {
        names(&all(&*self.source(), &self.subject).unwrap())
    }
}

/// Their content, as these tests write it.
fn names(found: &[Signature]) -> Vec<String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let name = |signature: &Signature| match signature {
        Signature::Simple { payload, annotations } => {
            let signature = annotations.get("dev.cosignproject.cosign/signature");
            format!("{} {}", text(payload), signature.map_or("-", String::as_str))
        }
        Signature::Bundle { bundle, .. } => text(bundle),
        Signature::Unreadable { .. } => "unreadable".to_owned(),
    };
    found.iter().map(name).collect()
}

/// Everything that is handed over, and the error at its end.
fn handed_over(source: &dyn Source, subject: &Digest) -> (Vec<String>, Option<SourceError>) {
    let mut found = Vec::new();
    let end = source.signatures(subject, &mut |signature| {
        found.push(signature);
        ControlFlow::Continue(Worth::Nothing)
    });
    (names(&found), end.err())
}

#[test]
fn a_sibling_is_of_the_same_repository_and_keeps_its_login() {
    let registry = Registry::start_with_password();
    let first = registry.push(&fixture("reference-image-zstd"), "a/b:1");
    let second = registry.push(&fixture("reference-image-uncompressed"), "a/b:2");
    let source = registry.source("a/b:1");
    assert_eq!(source.resolve().unwrap(), first);
    let sibling = source.sibling("2").unwrap();
    assert_eq!(sibling.resolve().unwrap(), second);
    assert_eq!(sibling.repository(), source.repository());
    assert_eq!(sibling.sibling(&first.to_string()).unwrap().resolve().unwrap(), first);
    drop(source);
    assert!(sibling.manifest(&second).is_ok());
    assert_eq!(sibling.sibling("3").unwrap().resolve().unwrap_err().code().name(), "tag-not-found");
    assert_eq!(sibling.sibling("a/3").err().unwrap().code().name(), "reference-invalid");
}

#[test]
fn a_sibling_in_a_layout_is_another_of_its_images() {
    let directory = tempfile::tempdir().unwrap();
    let first = ImageBuilder::new("1").tag("one").write(directory.path());
    let second = ImageBuilder::new("2").tag("two").write(directory.path());
    let source = LayoutSource::open(directory.path(), Some("one")).unwrap();
    assert_eq!(source.resolve().unwrap(), first.digest);
    let sibling = source.sibling("two").unwrap();
    assert_eq!(sibling.resolve().unwrap(), second.digest);
    assert_eq!(sibling.to_string(), format!("oci:{}:two", directory.path().display()));
    assert_eq!(
        sibling.sibling("none").unwrap().resolve().unwrap_err().code().name(),
        "tag-not-found"
    );
    assert_eq!(sibling.sibling("").err().unwrap().code().name(), "reference-invalid");
}

#[test]
fn an_image_without_signatures_has_none_in_either_kind_of_registry() {
    let stage = Stage::new("found/none");
    assert_eq!(stage.found(), [""; 0]);
    assert_eq!(stage.proxy.count(&referrers_tag(&stage.subject)), 2, "the two tags");
    stage.proxy.has_referrers(0);
    assert_eq!(stage.found(), [""; 0]);
}

#[test]
fn both_homes_are_read_with_and_without_a_referrers_api() {
    let stage = Stage::new("found/both");
    let subject = &stage.subject;
    let repository = stage.repository(stage.registry.address());
    repository.simple(subject, &[(b"p1", "s1"), (b"p2", "s2")]);
    let bundle = repository.bundle(subject, b"bundle");
    // As lists of other tools have them: a type, that of the config, none; other things; twice.
    let typed = |kind: &str| {
        let bundle = repository.bundle(subject, format!("bundle {kind}").as_bytes());
        let artifact_type = Some(kind.to_owned()).filter(|kind| !kind.is_empty());
        flipside_image::Descriptor { artifact_type, ..bundle }
    };
    let listed =
        [bundle.clone(), typed(BUNDLE_TYPE), typed(EMPTY_TYPE), typed(""), typed("x/y"), bundle];
    repository.referrers(subject, &listed);
    let expected = [
        "p1 s1",
        "p2 s2",
        "bundle",
        &format!("bundle {BUNDLE_TYPE}"),
        &format!("bundle {EMPTY_TYPE}"),
        "bundle ",
    ];
    assert_eq!(stage.found(), expected);

    // The API is asked in the place of the tag, page by page.
    stage.proxy.has_referrers(2);
    let with_api = stage.repository(stage.proxy.address());
    for nth in 0..5 {
        with_api.bundle(subject, format!("api {nth}").as_bytes());
    }
    stage.proxy.forget();
    assert_eq!(stage.found(), ["p1 s1", "p2 s2", "api 0", "api 1", "api 2", "api 3", "api 4"]);
    assert_eq!(stage.proxy.count("/referrers/"), 3);
    assert_eq!(stage.proxy.count(&format!("manifests/{}", referrers_tag(subject))), 1, "the .sig");
}

#[test]
fn nothing_more_is_asked_once_there_is_enough() {
    let stage = Stage::new("found/enough");
    stage.repository(stage.registry.address()).simple(&stage.subject, &[(b"a", "1"), (b"b", "2")]);
    let end = stage.source().signatures(&stage.subject, &mut |_| ControlFlow::Break(()));
    end.unwrap();
    assert_eq!(stage.proxy.seen().len(), 2, "{:?}", stage.proxy.seen());
}

#[test]
fn signatures_are_the_registrys_and_mirrors_help_where_it_does_not_answer() {
    let mut stage = Stage::new("found/mirror");
    let mirror = Proxy::start(stage.registry.address());
    stage.options.mirrors = vec![mirror.address().to_owned()];
    let status = |code| Fault::Status(code, vec![], String::new());
    // The registry's silence counts, whatever a mirror has.
    stage.repository(stage.registry.address()).simple(&stage.subject, &[(b"p", "s")]);
    stage.proxy.fault("sha256-", 100, status(404));
    let (found, error) = handed_over(&*stage.source(), &stage.subject);
    assert!(found.is_empty() && error.is_none(), "{found:?} {error:?}");
    assert!(mirror.seen().is_empty(), "{:?}", mirror.seen());
    // So do its signatures.
    stage.proxy.calm();
    mirror.fault("sha256-", 100, Fault::Status(200, vec![], "no JSON".into()));
    let (found, error) = handed_over(&*stage.source(), &stage.subject);
    assert!(error.is_none(), "{error:?}");
    assert_eq!(found, ["p s"]);
    assert!(mirror.seen().is_empty(), "{:?}", mirror.seen());
    // What a mirror has is enough where the registry says nothing, ...
    for registry in [stage.proxy.address(), "127.0.0.1:9"] {
        mirror.calm();
        stage.proxy.fault("", 1000, status(500));
        let source = stage.source_at(registry);
        source.signatures(&stage.subject, &mut |_| ControlFlow::Break(())).unwrap();
        // ... and its silence is no word for "none".
        let (found, error) = handed_over(&*source, &stage.subject);
        let code = error.unwrap().code().name();
        assert!(["registry-error", "registry-unreachable"].contains(&code), "{code}");
        assert_eq!(found, ["p s"]);
        mirror.fault("sha256-", 100, status(404));
        let (found, error) = handed_over(&*source, &stage.subject);
        assert!(found.is_empty() && error.is_some(), "{found:?}");
    }
}

#[test]
fn a_registry_that_does_not_answer_has_not_said_none() {
    let stage = Stage::new("found/silent");
    let tag = format!("manifests/{}", referrers_tag(&stage.subject));
    let sig = format!("manifests/{}", signature_tag(&stage.subject));
    let status = |code| Fault::Status(code, vec![], String::new());
    let index_type = || ("content-type", "application/vnd.oci.image.index.v1+json".to_owned());
    for (path, fault, code) in [
        (&sig[..], status(500), "registry-error"),
        (&sig, status(403), "registry-forbidden"),
        (&sig, status(429), "registry-rate-limited"),
        (&sig, Fault::Flood(5 << 20), "image-over-limit"),
        ("/referrers/", status(500), "registry-error"),
        ("/referrers/", status(403), "registry-forbidden"),
        ("/referrers/", Fault::Status(200, vec![index_type()], "[".into()), "image-malformed"),
        // No such API: the tag is asked, and that is what fails.
        ("/referrers/", status(404), ""),
        ("/referrers/", status(405), ""),
        ("/referrers/", Fault::Status(200, vec![], "<html>".into()), ""),
        (&tag, status(503), "registry-error"),
    ] {
        stage.proxy.calm();
        stage.proxy.fault(path, 1000, fault.clone());
        let (found, error) = handed_over(&*stage.source(), &stage.subject);
        assert_eq!(found, [""; 0]);
        assert_eq!(error.map_or("", |e| e.code().name()), code, "{path} {fault:?}");
    }
}

#[test]
fn what_cannot_be_read_does_not_hide_what_stands_beside_it() {
    let stage = Stage::new("found/damaged");
    let subject = &stage.subject;
    let repository = stage.repository(stage.registry.address());
    let large = vec![b' '; 65 << 10];
    repository.simple(subject, &[(&large, "large"), (b"gone", "x"), (b"bent", "x"), (b"p", "s")]);
    let blob = |bytes: &[u8]| format!("blobs/{}", Digest::of(bytes));
    stage.proxy.fault(&blob(b"gone"), 1, Fault::Status(404, vec![], String::new()));
    stage.proxy.fault(&blob(b"bent"), 1, Fault::Corrupt(0));
    let (found, error) = handed_over(&*stage.source(), subject);
    assert!(error.is_none(), "{error:?}");
    assert_eq!(found, ["unreadable", "unreadable", "unreadable", "p s"]);
    assert_eq!(stage.proxy.count(&blob(&large)), 0, "too large to be fetched");
}

#[test]
fn signatures_without_end_are_an_error_and_bounded() {
    let stage = Stage::new("found/endless");
    let subject = &stage.subject;
    let repository = stage.repository(stage.registry.address());
    let many: Vec<_> = (0..70).map(|nth| format!("{nth}")).collect();
    let many: Vec<_> = many.iter().map(|payload| (payload.as_bytes(), "s")).collect();
    repository.simple(subject, &many);
    let (found, error) = handed_over(&*stage.source(), subject);
    assert_eq!((found.len(), error.unwrap().code().name()), (64, "signatures-over-limit"));

    // A list of referrers whose pages never end.
    repository.simple(subject, &[]);
    let index = r#"{"schemaVersion":2,"manifests":[]}"#;
    let kind = ("content-type", "application/vnd.oci.image.index.v1+json".to_owned());
    let link = ("link", "</x?last=1>; rel=\"next\"".to_owned());
    let page = Fault::Status(200, vec![kind, link], index.into());
    stage.proxy.forget();
    stage.proxy.fault("/referrers/", 1000, page);
    let (found, error) = handed_over(&*stage.source(), subject);
    assert_eq!((found.len(), error.unwrap().code().name()), (0, "signatures-over-limit"));
    assert_eq!(stage.proxy.count("/referrers/"), 16);
    assert_eq!(stage.proxy.count("last=1"), 15);
}

/// Lists what was put into a registry in a layout as well: blobs by hash, entries as given.
fn list(layout: &Path, blobs: &[&[u8]], entries: Vec<serde_json::Value>) {
    for blob in blobs {
        std::fs::write(layout.join("blobs/sha256").join(Digest::of(blob).hex()), blob).unwrap();
    }
    let path = layout.join("index.json");
    let mut index: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    index["manifests"].as_array_mut().unwrap().extend(entries);
    std::fs::write(path, index.to_string()).unwrap();
}

#[test]
fn layouts_have_signatures_as_flipside_and_other_tools_write_them() {
    let manifest_type = "application/vnd.oci.image.manifest.v1+json";
    let describe = |kind: &str, bytes: &[u8]| json!({"mediaType": kind, "digest": Digest::of(bytes), "size": bytes.len()});
    let simple = |payload: &[u8]| {
        let mut layer = describe("application/vnd.dev.cosign.simplesigning.v1+json", payload);
        layer["annotations"] = json!({"dev.cosignproject.cosign/signature": "s"});
        oci_manifest(describe("x/y", b"{}"), vec![layer]).to_string()
    };
    let bundle = |subject: &Digest, bytes: &[u8]| {
        let mut manifest =
            oci_manifest(describe(EMPTY_TYPE, b"{}"), vec![describe(BUNDLE_TYPE, bytes)]);
        manifest["subject"] = json!({"mediaType": manifest_type, "digest": subject, "size": 7});
        manifest.to_string()
    };
    let directory = tempfile::tempdir().unwrap();
    let image = ImageBuilder::new("1").write(directory.path());
    let other = Digest::of(b"another image");
    let (tagged, saved) = (simple(b"p"), simple(b"saved"));
    let (indexed, direct) = (bundle(&image.digest, b"indexed"), bundle(&image.digest, b"direct"));
    let foreign = bundle(&other, b"foreign");
    let missing = bundle(&image.digest, b"missing");
    let referrers =
        json!({"schemaVersion": 2, "manifests": [describe(manifest_type, indexed.as_bytes())]});
    let referrers = referrers.to_string();
    let entry = |bytes: &str, key: &str, value: &str| {
        let mut entry = describe(manifest_type, bytes.as_bytes());
        entry["annotations"] = json!({key: value});
        entry
    };
    let tag = "org.opencontainers.image.ref.name";
    let mut index_entry = entry(&referrers, tag, &referrers_tag(&image.digest));
    index_entry["mediaType"] = json!("application/vnd.oci.image.index.v1+json");
    let entries = vec![
        entry(&tagged, tag, &signature_tag(&image.digest)),
        entry("foreign", tag, &signature_tag(&other)),
        entry(&saved, "kind", "dev.cosignproject.cosign/sigs"),
        index_entry,
    ];
    let blobs: Vec<&[u8]> = vec![
        tagged.as_bytes(),
        saved.as_bytes(),
        indexed.as_bytes(),
        direct.as_bytes(),
        foreign.as_bytes(),
        missing.as_bytes(),
        referrers.as_bytes(),
        b"p",
        b"saved",
        b"indexed",
        b"direct",
        b"foreign",
    ];
    list(directory.path(), &blobs, entries);
    // The only image is still the only one.
    let source = LayoutSource::open(directory.path(), None).unwrap();
    assert_eq!(source.resolve().unwrap(), image.digest);

    let direct = [&direct, &foreign, &missing].map(|m| describe(manifest_type, m.as_bytes()));
    list(directory.path(), &[], direct.to_vec());
    let (found, error) = handed_over(&source, &image.digest);
    assert!(error.is_none(), "{error:?}");
    assert_eq!(found, ["p s", "saved s", "indexed", "direct", "unreadable"]);
    assert_eq!(handed_over(&source, &other).0, ["unreadable", "saved s", "foreign"]);
}
