// SPDX-License-Identifier: MIT OR Apache-2.0

//! Where a host looks for the delta to an image, and what it passes over.

use std::path::Path;
use std::time::{Duration, Instant};

use flipside_image::delta::{DELTA_CANDIDATES, DELTA_CONFIG_TYPE, DELTA_TYPE};
use flipside_image::{Descriptor, Digest, EMPTY_TYPE, INDEX_TYPE, Index};
use flipside_source::signatures::referrers_tag;
use flipside_source::{ArchiveSource, LayoutSource, Location, Source, TAG_ANNOTATION, open};
use serde_json::{Value, json};

use crate::support::delta_stage::{Stage, page, some, status};
use crate::support::deltas::{Artifact, Pair, bare, labelled, list, write_blob};
use crate::support::images::ImageBuilder;
use crate::support::proxy::Fault;
use crate::support::put::Repository;

/// A manifest of another kind that any list may have.
fn other_artifact(repository: &Repository, nth: usize) -> Descriptor {
    repository.bundle(&Digest::of(b"another image"), &nth.to_le_bytes())
}

#[test]
fn without_a_referrers_api_the_tag_lists_the_delta() {
    let stage = Stage::new("delta/tag");
    assert_eq!(stage.found().unwrap(), None);
    let (delta, artifact) = stage.pair.delta("1");
    stage.tag(&[artifact.put(&stage.repository())]);
    stage.proxy.forget();
    let source = stage.source();
    assert_eq!(source.delta(&stage.pair.new, &stage.pair.from()).unwrap(), Some(delta));
    let paths: Vec<_> = stage.proxy.seen().iter().map(|seen| seen.path.clone()).collect();
    // The API, the tag, the manifest and the config.
    assert_eq!(stage.manifests(), 1, "{paths:?}");
    assert_eq!(stage.proxy.count(&referrers_tag(&stage.pair.new.digest)), 1, "{paths:?}");
    assert_eq!(stage.proxy.count("/blobs/"), 1, "no layer is fetched: {paths:?}");
    // Nothing else is a delta to this image, or from this one.
    assert_eq!(source.delta(&stage.pair.new, &stage.pair.new.digest).unwrap(), None);
    assert_eq!(source.delta(&stage.pair.old, &stage.pair.from()).unwrap(), None);
}

#[test]
fn a_referrers_api_is_asked_for_deltas_page_by_page() {
    let stage = Stage::new("delta/api");
    stage.proxy.has_referrers(2);
    let repository = stage.repository();
    assert_eq!(stage.found().unwrap(), None);
    for nth in 0_u8..4 {
        repository.bundle(&stage.pair.new.digest, &[nth]);
    }
    let (_, artifact) = stage.pair.delta("1");
    artifact.put(&repository);
    stage.proxy.forget();
    assert_eq!(stage.found().unwrap(), some("1"));
    assert_eq!(stage.proxy.count("/referrers/"), 3);
    assert_eq!(stage.proxy.count(&format!("?artifactType={DELTA_TYPE}")), 1);
    assert_eq!(stage.proxy.count(&referrers_tag(&stage.pair.new.digest)), 0);
    assert_eq!(stage.manifests(), 1, "{:?}", stage.proxy.seen());
    // A registry that filters by the type of the config finds none of this type.
    stage.proxy.fault("artifactType=", 1, page(&[], None));
    assert_eq!(stage.found().unwrap(), some("1"));
}

#[test]
fn entries_that_lost_what_they_said_are_looked_at() {
    let stage = Stage::new("delta/bare");
    let (_, artifact) = stage.pair.delta("1");
    let repository = stage.repository();
    let entry = artifact.put(&repository);
    let others: Vec<_> = (0..3).map(|nth| bare(&other_artifact(&repository, nth))).collect();
    for kind in [None, Some(DELTA_TYPE), Some(DELTA_CONFIG_TYPE), Some(EMPTY_TYPE)] {
        let artifact_type = kind.map(str::to_owned);
        let entry = Descriptor { artifact_type, ..bare(&entry) };
        stage.tag(&[&others[..], &[entry]].concat());
        assert_eq!(stage.found().unwrap(), some("1"), "{kind:?}");
    }
    // The plain one is asked for first.
    stage.tag(&[&others[..], &[entry]].concat());
    stage.proxy.forget();
    assert_eq!(stage.found().unwrap(), some("1"));
    assert_eq!(stage.manifests(), 1);
}

/// What can be wrong with one delta. The next one is taken instead.
#[test]
fn a_delta_that_cannot_be_used_is_passed_over() {
    let stage = Stage::new("delta/wrong");
    let repository = stage.repository();
    let [(_, good), (_, bad)] = ["good", "bad"].map(|name| stage.pair.delta(name));
    let good_entry = good.put(&repository);
    let digest = json!(Digest::of(b"x"));
    let other_config = |config: &[u8]| {
        let descriptor = Descriptor::of(DELTA_CONFIG_TYPE, config);
        let artifact = bad.clone().with("/config", json!(descriptor));
        Artifact { config: config.to_vec(), ..artifact }
    };
    let changed = |pointer: &str, value: Value| {
        let mut config: Value = serde_json::from_slice(&bad.config).unwrap();
        *config.pointer_mut(pointer).unwrap() = value;
        other_config(config.to_string().as_bytes())
    };
    let mut long = bad.clone();
    long.manifest["annotations"]["padding"] = json!(" ".repeat(65 << 10));
    let from = "/annotations/org.flipside.delta.from";
    let config_size = bad.config.len();
    for (case, artifact, is_config_fetched) in [
        ("from another image", bad.clone().with(from, digest.clone()), false),
        ("to another image", bad.clone().with("/subject/digest", digest.clone()), false),
        ("another kind", bad.clone().with("/artifactType", json!("application/x")), false),
        ("no layers", bad.clone().with("/layers", json!([])), true),
        (
            "config said to be smaller",
            bad.clone().with("/config/size", json!(config_size - 9)),
            true,
        ),
        ("config of 50 MiB", bad.clone().with("/config/size", json!(50 << 20)), false),
        ("manifest of 65 KiB", long, false),
        ("no JSON", other_config(b"["), true),
        ("another new image inside", changed("/to/manifest", digest.clone()), true),
        ("another old image inside", changed("/from/config", digest.clone()), true),
        ("another format", changed("/format_version", json!("2")), true),
        ("window beyond the end", changed("/payloads/0/from_size", json!(1)), true),
    ] {
        // Not put into the registry, which may look into it.
        let (digest, bytes) = (artifact.entry().digest, artifact.bytes());
        repository.blob(DELTA_CONFIG_TYPE, &artifact.config);
        let kind = vec![("content-type", flipside_image::MANIFEST_TYPE.to_owned())];
        let fault = Fault::Status(200, kind, String::from_utf8(bytes).unwrap());
        stage.proxy.calm();
        stage.proxy.fault(&digest.to_string(), 100, fault);
        // Lists may say anything.
        let bad = labelled(Descriptor { size: 900, ..artifact.entry() }, &stage.pair.from());
        stage.listed(&[bad.clone(), good_entry.clone()]);
        let found = stage.found().unwrap_or_else(|error| panic!("{case}: {error}"));
        assert_eq!(found, some("good"), "{case}");
        let of_bad = format!("blobs/{}", artifact.manifest["config"]["digest"].as_str().unwrap());
        assert_eq!(stage.proxy.count(&of_bad) > 0, is_config_fetched, "{case}");
        assert_eq!(stage.manifests(), 2, "{case}");
        stage.listed(&[bad]);
        assert_eq!(stage.found().unwrap(), None, "{case}");
    }
    // A manifest that is listed as too large is not even asked for.
    stage.proxy.calm();
    stage.listed(&[Descriptor { size: 65 << 10, ..good_entry }]);
    assert_eq!((stage.found().unwrap(), stage.manifests()), (None, 0));
}

#[test]
fn a_config_that_ends_before_its_size_is_passed_over() {
    let stage = Stage::new("delta/short");
    let repository = stage.repository();
    let [(_, good), (_, bad)] = ["good", "bad"].map(|name| stage.pair.delta(name));
    let size = json!(bad.config.len() + 9);
    let bad = bad.with("/config/size", size).put(&repository);
    stage.tag(&[bad.clone(), good.put(&repository)]);
    // By no proxy: the registry ends its refusal of such a range early.
    let location: Location =
        format!("{}/{}:1", stage.registry.address(), stage.name).parse().unwrap();
    let source = open(&location, &stage.options).unwrap();
    assert_eq!(stage.found_by(&*source).unwrap(), some("good"));
    stage.tag(&[bad]);
    assert_eq!(stage.found_by(&*source).unwrap(), None);
}

#[test]
fn a_delta_that_is_missing_or_damaged_is_passed_over() {
    let stage = Stage::new("delta/damaged");
    let repository = stage.repository();
    let [(_, good), (_, bad)] = ["good", "bad"].map(|name| stage.pair.delta(name));
    stage.tag(&[bad.put(&repository), good.put(&repository)]);
    let manifest = format!("manifests/{}", Digest::of(&bad.bytes()));
    let config = format!("blobs/{}", Digest::of(&bad.config));
    for (path, fault) in [
        (&manifest, status(404)),
        (&manifest, Fault::Corrupt(5)),
        (&manifest, Fault::Flood(5 << 20)),
        (&config, status(404)),
        (&config, Fault::Corrupt(5)),
        (&config, Fault::Cut(0)),
        (&config, Fault::ShortBody(0)),
    ] {
        stage.proxy.calm();
        assert_eq!(stage.found().unwrap(), some("bad"));
        stage.proxy.fault(path, 100, fault.clone());
        assert_eq!(stage.found().unwrap(), some("good"), "{path} {fault:?}");
    }
}

#[test]
fn only_so_many_candidates_are_looked_at() {
    let stage = Stage::new("delta/many");
    let repository = stage.repository();
    let (_, artifact) = stage.pair.delta("1");
    let good = artifact.put(&repository);
    let others: Vec<_> = (0..40).map(|nth| other_artifact(&repository, nth)).collect();
    let from = stage.pair.from();
    // Those that say as much, and those that say nothing.
    let labelled: Vec<_> = others.iter().map(|entry| labelled(bare(entry), &from)).collect();
    let bare_ones: Vec<_> = others.iter().map(bare).collect();
    for (junk, good, found) in [
        (&labelled[..DELTA_CANDIDATES], &good, None),
        (&labelled[..DELTA_CANDIDATES - 1], &good, some("1")),
        (&bare_ones[..DELTA_CANDIDATES], &bare(&good), None),
        (&bare_ones[..DELTA_CANDIDATES - 1], &bare(&good), some("1")),
        (&bare_ones[..], &good, some("1")),
    ] {
        stage.tag(&[junk, std::slice::from_ref(good)].concat());
        stage.proxy.forget();
        let begun = Instant::now();
        assert_eq!(stage.found().unwrap(), found);
        assert!(stage.manifests() <= DELTA_CANDIDATES, "{}", stage.manifests());
        assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    }
    // A list without end has the good one on a page that nobody comes to.
    let junk = page(&bare_ones, Some("last=1"));
    stage.proxy.fault("/referrers/", 16, junk);
    stage.listed(std::slice::from_ref(&good));
    stage.proxy.forget();
    assert_eq!(stage.found().unwrap(), None);
    assert_eq!((stage.proxy.count("/referrers/"), stage.manifests()), (16, DELTA_CANDIDATES));
    // On the next page it is found before everything that says less.
    stage.proxy.calm();
    stage.proxy.fault("/referrers/", 1, page(&bare_ones, Some("last=1")));
    stage.listed(std::slice::from_ref(&good));
    assert_eq!((stage.found().unwrap(), stage.manifests()), (some("1"), 1));
}

/// A layout with the new image, the delta to it under the tag or without one, and the same as an
/// archive.
#[test]
fn layouts_and_archives_have_deltas_as_registries_and_other_tools_list_them() {
    let pair = Pair::new();
    let (delta, artifact) = pair.delta("1");
    let (_, wrong) = pair.delta("wrong");
    let wrong = wrong.with("/subject/digest", json!(Digest::of(b"x")));
    let tag = |layout: &Path, entries: Vec<Descriptor>| {
        let index = Index::new(entries).to_bytes().unwrap();
        write_blob(layout, &index);
        let mut entry = Descriptor::of(INDEX_TYPE, &index);
        entry.annotations.insert(TAG_ANNOTATION.to_owned(), referrers_tag(&pair.new.digest));
        list(layout, &[entry]);
    };
    type Put<'a> = &'a dyn Fn(&Path);
    let cases: [(&str, Put<'_>, bool); 9] = [
        ("nothing", &|_| {}, false),
        ("tag", &|layout| tag(layout, vec![artifact.write(layout)]), true),
        ("bare, by tag", &|layout| tag(layout, vec![bare(&artifact.write(layout))]), true),
        ("untagged", &|layout| list(layout, &[artifact.write(layout)]), true),
        (
            "behind others",
            &|layout| list(layout, &[wrong.write(layout), artifact.write(layout)]),
            true,
        ),
        ("of another image", &|layout| list(layout, &[wrong.write(layout)]), false),
        ("missing", &|layout| list(layout, &[artifact.entry()]), false),
        (
            "without config",
            &|layout| {
                list(layout, &[artifact.write(layout)]);
                let config = Digest::of(&artifact.config).hex();
                std::fs::remove_file(layout.join("blobs/sha256").join(config)).unwrap();
            },
            false,
        ),
        (
            "damaged",
            &|layout| {
                list(layout, &[artifact.write(layout)]);
                let config = layout.join("blobs/sha256").join(Digest::of(&artifact.config).hex());
                std::fs::write(config, vec![b' '; artifact.config.len()]).unwrap();
            },
            false,
        ),
    ];
    for (case, put, is_there) in cases {
        let directory = tempfile::tempdir().unwrap();
        let layout = directory.path().join("layout");
        let image = ImageBuilder::new("2").write(&layout);
        assert_eq!(image.digest, pair.new.digest);
        put(&layout);
        let expected = is_there.then_some(&delta);
        let file = directory.path().join("image.tar");
        let mut archive = tar::Builder::new(Vec::new());
        archive.append_dir_all("", &layout).unwrap();
        std::fs::write(&file, archive.into_inner().unwrap()).unwrap();
        let sources: [Box<dyn Source>; 2] = [
            Box::new(LayoutSource::open(&layout, None).unwrap()),
            Box::new(ArchiveSource::open(&file, None).unwrap()),
        ];
        for source in sources {
            let found = source.delta(&pair.new, &pair.from()).unwrap();
            assert_eq!(found.as_ref(), expected, "{case}: {source}");
            assert_eq!(source.delta(&pair.new, &pair.new.digest).unwrap(), None, "{case}");
            assert_eq!(source.delta(&pair.old, &pair.from()).unwrap(), None, "{case}");
            // A delta does not make a second image of a layout.
            assert_eq!(source.resolve().unwrap(), pair.new.digest, "{case}");
            if is_there {
                let mut bytes = Vec::new();
                let frames = &delta.payloads[0].layer;
                let streamed = source.stream(frames, 0..frames.size, &mut |piece| {
                    bytes.extend_from_slice(piece);
                    Ok(())
                });
                streamed.unwrap();
                assert_eq!(bytes, artifact.frames, "{case}");
            }
        }
    }
}
