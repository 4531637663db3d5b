// SPDX-License-Identifier: MIT OR Apache-2.0

//! `image delta` and `image push --delta-from`: deltas beside their images, in registries and in
//! layouts. That a delta makes its image is tested beside the code that makes it.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use flipside_image::delta::{ChunkDelta, DELTA_CONFIG_LIMIT, Delta, DeltaManifest};
use flipside_image::signature::referrers_tag;
use flipside_image::{Architecture, Descriptor, Digest, Image, Index};
use flipside_source::{LayoutSource, Source};
use serde_json::Value;

use crate::support::documents;
use crate::support::images::{ImageBuilder, OsImage, content};
use crate::support::program_host::refusal;
use crate::support::proxy::Proxy;
use crate::support::registry::Registry;

fn flipside(directory: &Path, line: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flipside"));
    command.arg("--quiet").args(line.split_whitespace());
    documents::output(command.current_dir(directory))
}

fn good(directory: &Path, line: &str) -> String {
    let output = flipside(directory, line);
    assert!(output.status.success(), "{line}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn json(directory: &Path, line: &str) -> Value {
    serde_json::from_str(&good(directory, &format!("{line} --json"))).unwrap()
}

/// Two versions in one layout, with their versions as tags.
fn two(directory: &Path) -> (OsImage, OsImage) {
    let write =
        |version: &str| ImageBuilder::new(version).tag(version).write(directory.join("layout"));
    (write("1"), write("2"))
}

/// The deltas among `entries`, each read as hosts do.
fn read(source: &dyn Source, entries: &[Descriptor], image: &Image) -> Vec<Delta> {
    let kind = Some(flipside_image::delta::DELTA_TYPE);
    let deltas = entries.iter().filter(|entry| entry.artifact_type.as_deref() == kind);
    let read = |entry: &Descriptor| {
        let manifest = DeltaManifest::parse(&source.manifest(&entry.digest).unwrap()).unwrap();
        assert!(DeltaManifest::may_be(entry, &manifest.from));
        assert_eq!(manifest.subject.digest, image.digest);
        let config = source.blob("config", &manifest.config, DELTA_CONFIG_LIMIT).unwrap();
        for layer in &manifest.layers {
            assert!(layer.size > 0);
            source.blob("frames", layer, u64::MAX).unwrap();
        }
        Delta::parse(&config, &manifest, image).unwrap()
    };
    deltas.map(read).collect()
}

/// What the tag in place of the referrers API lists.
fn referrers(source: &dyn Source, image: &Digest) -> Vec<Descriptor> {
    let tag = source.sibling(&referrers_tag(image)).unwrap();
    match tag.resolve() {
        Ok(digest) => Index::parse(&tag.manifest(&digest).unwrap()).unwrap().manifests,
        Err(_) => Vec::new(),
    }
}

fn listed(layout: &Path) -> Vec<Descriptor> {
    Index::parse(&fs::read(layout.join("index.json")).unwrap()).unwrap().manifests
}

/// What a proxy saw being sent, as `METHOD path`.
fn sent(proxy: &Proxy) -> Vec<String> {
    let seen = proxy.seen().into_iter().filter(|seen| !["GET", "HEAD"].contains(&&*seen.method));
    seen.map(|seen| format!("{} {}", seen.method, seen.path)).collect()
}

#[test]
fn a_delta_is_pushed_beside_its_image_and_nothing_is_pushed_twice() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    let (old, new) = two(here);
    let registry = Registry::shared();
    let proxy = Proxy::start(registry.address());
    let at = |tag: &str| format!("{}/delta/pushed:{tag}", proxy.address());
    for version in ["1", "2"] {
        good(here, &format!("image push oci:layout:{version} {}", at(version)));
    }
    let text = good(here, &format!("image delta {} {}", at("1"), at("2")));
    let source = registry.source("delta/pushed:2");
    let entries = referrers(&*source, &new.digest);
    let [entry] = &entries[..] else { panic!("{entries:?}") };
    let head = format!("pushed {} delta from 1: ", at("2"));
    assert!(text.starts_with(&head) && text.contains(" KiB instead of "), "{text}");
    assert!(text.trim_end().ends_with(&format!("({})", entry.digest)), "{text}");
    let deltas = read(&*source, &entries, &new.image);
    assert_eq!(deltas[0].from, old.image.manifest.config.digest);
    let system = deltas[0].payload(&"system".parse().unwrap()).unwrap();
    assert!(system.chunks().any(|chunk| matches!(chunk, ChunkDelta::Copy(_))));

    proxy.forget();
    assert_eq!(good(here, &format!("image delta {} {}", at("1"), at("2"))), text);
    assert_eq!(sent(&proxy), [""; 0]);
    // Another one from the same image takes its place. Whoever else is in the list stays.
    good(here, "image key release");
    good(here, &format!("image sign --key release.key {}", at("2")));
    assert_eq!(referrers(&*source, &new.digest).len(), 2);
    let line = format!("image delta {} {} --level 1 --jobs 1", at("1"), at("2"));
    let made = json(here, &line);
    let entries = referrers(&*source, &new.digest);
    assert_eq!((entries.len(), read(&*source, &entries, &new.image).len()), (2, 1));
    assert_eq!(made["digest"], entries[1].digest.to_string());
    assert_ne!(entries[1].digest, entry.digest);
    assert_eq!(made["from"]["config"], old.image.manifest.config.digest.to_string());
    assert_eq!(made["to"]["digest"], new.digest.to_string());
    // The number of threads makes no other delta.
    assert_eq!(json(here, &line.replace("--jobs 1", "--jobs 5")), made);
}

#[test]
fn a_registry_with_a_referrers_api_gets_no_tag_in_its_place() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    let (_, new) = two(here);
    let registry = Registry::shared();
    let proxy = Proxy::start(registry.address());
    proxy.has_referrers(0);
    let image = format!("{}/delta/listed:2", proxy.address());
    let line = format!("image push oci:layout:2 {image} --delta-from oci:layout:1");
    good(here, &line);
    let source = registry.source("delta/listed:2");
    assert_eq!(referrers(&*source, &new.digest), []);
    let puts = sent(&proxy).into_iter().filter(|line| line.starts_with("PUT /v2/delta/listed/m"));
    // The image, its delta, the tag.
    assert_eq!(puts.count(), 3);
}

#[test]
fn a_push_makes_deltas_and_brings_those_of_the_layout_before_the_tag_moves() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    let (_, new) = two(here);
    ImageBuilder::new("3").tag("3").write(here.join("layout"));
    let registry = Registry::shared();
    let proxy = Proxy::start(registry.address());
    let stable = format!("{}/delta/on-the-way:stable", proxy.address());
    good(here, &format!("image push oci:layout:1 {stable}"));
    // In the layout stands one from version 3.
    let text = good(here, "image delta oci:layout:3 oci:layout:2");
    assert!(text.starts_with("wrote oci:layout delta from 3: "), "{text}");
    proxy.forget();
    let line = format!("image push oci:layout:2 {stable} --delta-from {stable}");
    let text = good(here, &line);
    let (delta, image) = text.trim_end().split_once('\n').unwrap();
    assert!(delta.starts_with(&format!("pushed {stable} delta from 1: ")), "{text}");
    assert_eq!(image, format!("pushed {stable} {}", new.digest));
    let source = registry.source("delta/on-the-way:stable");
    let deltas = read(&*source, &referrers(&*source, &new.digest), &new.image);
    let from: Vec<_> = deltas.iter().map(|delta| delta.from_version.as_str()).collect();
    assert_eq!(from, ["3", "1"]);
    let sent = sent(&proxy);
    let last = |what: &str| sent.iter().rposition(|line| line.ends_with(what)).unwrap();
    assert!(last(&new.digest.to_string()) < last(&referrers_tag(&new.digest)), "{sent:?}");
    assert_eq!(last("manifests/stable"), sent.len() - 1, "{sent:?}");
    // Now the tag names the image itself. There is nothing to make, and that is no error.
    let again = json(here, &line);
    assert_eq!(again["digest"], new.digest.to_string());
    assert_eq!(again["deltas"], serde_json::json!([]));
}

#[test]
fn a_layout_lists_its_delta_without_a_tag() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    let (_, new) = two(here);
    good(here, "image pull oci:layout:2 only");
    good(here, "image delta layout:1 only");
    let source = LayoutSource::open(&here.join("only"), None).unwrap();
    assert_eq!(source.resolve().unwrap(), new.digest);
    let entries = listed(&here.join("only"));
    assert_eq!((entries.len(), entries[1].annotations.len()), (2, 1));
    assert_eq!(read(&source, &entries, &new.image).len(), 1);
    // Elsewhere, beside nothing.
    for output in ["apart", "oci:apart"] {
        good(here, &format!("image delta oci:layout:1 oci:layout:2 -o {output}"));
        let source = LayoutSource::open(&here.join("apart"), None).unwrap();
        assert_eq!(read(&source, &listed(&here.join("apart")), &new.image).len(), 1);
        assert_eq!(listed(&here.join("apart")).len(), 1);
    }
    // An archive is read, and not written to.
    let mut tar = Command::new("tar");
    let tar = tar.args(["-cf", "only.tar", "-C", "only", "."]).current_dir(here).status();
    assert!(tar.unwrap().success());
    good(here, "image delta oci:layout:1 oci-archive:only.tar -o apart");
    assert_eq!(listed(&here.join("apart")).len(), 1);
    let output = flipside(here, "image delta oci:layout:1 oci-archive:only.tar");
    assert!(refusal(&output, 1, "argument-invalid").contains("--output"));
    let output = flipside(here, "image delta oci:layout:1 oci:layout:2 -o apart:tag");
    assert!(refusal(&output, 1, "argument-invalid").contains("a delta has no tag"));
}

#[test]
fn what_saves_too_little_is_not_published() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    let other = ImageBuilder::new("other").payload("system", content(99, 300_000));
    other.tag("other").write(here.join("layout"));
    let (_, new) = two(here);
    ImageBuilder::new("1").annotation("a", "b").tag("same").write(here.join("layout"));
    let registry = Registry::shared();
    let proxy = Proxy::start(registry.address());
    let image = format!("{}/delta/refused:2", proxy.address());
    let line = format!("image push oci:layout:2 {image} --delta-from oci:layout:other");
    // The image is as good without it.
    assert_eq!(json(here, &line)["deltas"], serde_json::json!([]));
    proxy.forget();
    let output = flipside(here, &format!("image delta oci:layout:other {image}"));
    let sentence = refusal(&output, 1, "delta-too-large");
    assert!(sentence.starts_with("no delta from other is published: "), "{sentence}");
    assert_eq!(sent(&proxy), [""; 0]);
    let source = registry.source("delta/refused:2");
    assert_eq!(referrers(&*source, &new.digest), []);
    let before = listed(&here.join("layout"));
    for from in ["1", "same"] {
        let output = flipside(here, &format!("image delta oci:layout:{from} oci:layout:1"));
        let sentence = refusal(&output, 1, "argument-invalid");
        assert!(sentence.contains("both images have the content of version 1"), "{sentence}");
    }
    assert_eq!(listed(&here.join("layout")), before);
}

#[test]
fn both_images_are_for_one_machine() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    two(here);
    let other = ImageBuilder::new("3").architecture(Architecture::Aarch64);
    other.tag("3").write(here.join("layout"));
    let output = flipside(here, "image delta oci:layout:3 oci:layout:2");
    refusal(&output, 1, "wrong-architecture");
    let output = flipside(here, "image delta oci:layout:1 oci:layout:2 --architecture aarch64");
    refusal(&output, 1, "wrong-architecture");
    let registry = Registry::shared();
    let image = registry.image("delta/machines:2");
    let output = flipside(here, &format!("image push layout:2 {image} --delta-from layout:3"));
    refusal(&output, 1, "wrong-architecture");
    assert!(registry.source("delta/machines:2").resolve().is_err());
}

#[test]
fn content_that_has_moved_costs_little() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    let system = content(5, 6 << 20);
    let mut in_place = system.clone();
    in_place[1 << 20..(1 << 20) + 100].copy_from_slice(&content(6, 100));
    // No multiple of the chunk size, and more than a window reaches.
    let mut moved = vec![0; (2 << 20) + 3 * 4096];
    moved.extend(&in_place);
    for (version, system) in [("1", system), ("2", in_place), ("3", moved)] {
        let builder = ImageBuilder::new("1").payload("system", system).uncompressed();
        let builder = ImageBuilder { version: version.into(), ..builder };
        builder.tag(version).write(here.join("layout"));
    }
    let fetch = |version: &str| {
        let made = json(here, &format!("image delta layout:1 layout:{version} -o apart"));
        made["fetch"].as_u64().unwrap()
    };
    let (in_place, moved) = (fetch("2"), fetch("3"));
    assert!(in_place < 2000 && moved < 8000, "{in_place} {moved}");
}
