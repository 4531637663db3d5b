// SPDX-License-Identifier: MIT OR Apache-2.0

//! `image build`: what is written is one valid image, the same for the same input.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use flipside::report::progress::{Event, Progress, Silent};
use flipside_core::cancel::Cancel;
use flipside_image::code::Coded;
use flipside_image::{Digest, Index};
use flipside_publish::build::{self, is_tag};

use crate::support::images::{ImageBuilder, content};

/// Sizes around a chunk size of 1000 that have broken others.
const SIZES: [usize; 7] = [0, 1, 999, 1000, 1001, 3000, 123_457];

fn tree(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for name in ["oci-layout", "index.json"] {
        files.push((name.to_owned(), fs::read(directory.join(name)).unwrap()));
    }
    for entry in fs::read_dir(directory.join("blobs/sha256")).unwrap() {
        let entry = entry.unwrap();
        files.push((entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()));
    }
    files.sort();
    files
}

fn code(plan: &build::Plan) -> &'static str {
    build::build(plan, &Silent, &Cancel::new()).unwrap_err().code().name()
}

#[test]
fn every_blob_has_the_hash_that_its_name_says_and_nothing_else_is_left() {
    let layout = tempfile::tempdir().unwrap();
    ImageBuilder::new("1").write(layout.path());
    let blobs = tree(layout.path());
    assert_eq!(blobs.len(), 2 + 4);
    for (name, bytes) in blobs.iter().filter(|(name, _)| name.len() == 64) {
        assert_eq!(Digest::of(bytes).hex(), *name);
    }
    let mut names: Vec<_> =
        fs::read_dir(layout.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["blobs", "index.json", "oci-layout"]);
}

#[test]
fn an_image_whose_config_no_host_takes_is_not_built() {
    // A hash has 46 bytes in the config, and a frame's size at least 3 more.
    for (size, blobs) in [(400_000, 0), (360_000, 1)] {
        let (files, layout) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let builder = ImageBuilder::new("1").without_payloads().chunk_size(1).unbootable();
        let plan = builder.payload("system", vec![0; size]).plan(files.path(), layout.path());
        assert_eq!(code(&plan), "image-over-limit");
        let written = fs::read_dir(layout.path().join("blobs/sha256")).unwrap().count();
        assert_eq!(written, blobs, "{size}");
    }
}

#[test]
fn any_number_of_workers_writes_the_same_bytes() {
    let build = |workers, chunk_size| {
        let layout = tempfile::tempdir().unwrap();
        let builder = ImageBuilder::new("1").system_size(3_000_001).chunk_size(chunk_size);
        builder.workers(workers).write(layout.path());
        tree(layout.path())
    };
    for chunk_size in [4096, 77_777, 1 << 20, 16 << 20] {
        assert_eq!(build(1, chunk_size), build(7, chunk_size));
    }
}

#[test]
fn layers_decode_as_one_stream_with_the_zstd_command() {
    let layout = tempfile::tempdir().unwrap();
    for size in SIZES {
        let bytes = content(7, size);
        let image =
            ImageBuilder::new("1").payload("system", bytes.clone()).chunk_size(1000).unbootable();
        let image = image.write(layout.path());
        let file = image.layer_file("system");
        assert_eq!(zstd::decode_all(fs::File::open(&file).unwrap()).unwrap(), bytes);
        match Command::new("zstd")
            .arg("-dcq")
            .arg("--no-check")
            .stdin(fs::File::open(&file).unwrap())
            .output()
        {
            Ok(output) => {
                assert!(output.status.success(), "{size}: {output:?}");
                assert_eq!(output.stdout, bytes);
            }
            Err(error) => eprintln!("skipped: no zstd command here ({error})"),
        }
    }
}

#[test]
fn each_frame_holds_one_chunk_and_says_how_long_it_is() {
    let layout = tempfile::tempdir().unwrap();
    for size in SIZES {
        let bytes = content(9, size);
        let image =
            ImageBuilder::new("1").payload("system", bytes.clone()).chunk_size(1000).unbootable();
        let image = image.write(layout.path());
        let stored = fs::read(image.layer_file("system")).unwrap();
        let layer = image.image.layer("system").unwrap();
        let frames = layer.frames.unwrap();
        assert_eq!(frames.len(), size.div_ceil(1000));
        for (index, hash) in layer.payload.chunks() {
            let range = frames.range(index).unwrap();
            let frame = &stored[range.start as usize..range.end as usize];
            let length = zstd::zstd_safe::get_frame_content_size(frame).unwrap().unwrap();
            let chunk = zstd::bulk::decompress(frame, length as usize).unwrap();
            let place = layer.payload.chunk_range(index);
            assert_eq!(chunk, bytes[place.start as usize..place.end as usize]);
            assert_eq!(Digest::of(&chunk), *hash);
        }
    }
}

#[test]
fn an_uncompressed_layer_is_the_payload() {
    let layout = tempfile::tempdir().unwrap();
    for size in SIZES {
        let bytes = content(9, size);
        let image =
            ImageBuilder::new("1").payload("system", bytes.clone()).uncompressed().unbootable();
        let image = image.chunk_size(1000).write(layout.path());
        let layer = image.image.layer("system").unwrap();
        assert_eq!(layer.descriptor.media_type, "application/octet-stream");
        assert_eq!(layer.descriptor.digest, Digest::of(&bytes));
        assert!(layer.frames.is_none());
        assert_eq!(fs::read(image.layer_file("system")).unwrap(), bytes);
    }
}

#[test]
fn a_layout_gains_images_and_keeps_what_others_put_there() {
    let layout = tempfile::tempdir().unwrap();
    let first = ImageBuilder::new("1").tag("one").write(layout.path());
    let index = layout.path().join("index.json");
    let foreign = r#"{"mediaType":"a/b","digest":"sha512:00","size":1,"urls":["x"]}"#;
    let text = fs::read_to_string(&index).unwrap();
    fs::write(&index, text.replacen('[', &format!("[{foreign},"), 1)).unwrap();
    let second = ImageBuilder::new("2").tag("two").write(layout.path());
    let moved = ImageBuilder::new("3").tag("one").write(layout.path());
    let untagged = ImageBuilder::new("4").write(layout.path());
    let untagged_again = ImageBuilder::new("5").write(layout.path());

    let text = fs::read_to_string(&index).unwrap();
    assert!(text.contains("sha512:00") && text.contains("urls"), "{text}");
    let listed: Vec<_> =
        Index::parse(text.as_bytes()).unwrap().manifests.iter().map(|m| m.digest).collect();
    assert_eq!(listed, [second.digest, moved.digest, untagged_again.digest]);
    for image in [first, second, moved, untagged] {
        assert!(image.blob(&image.digest).exists());
    }
}

#[test]
fn what_is_no_layout_is_left_alone() {
    let files = tempfile::tempdir().unwrap();
    let output = tempfile::tempdir().unwrap();
    let plan = ImageBuilder::new("1").plan(files.path(), output.path());
    fs::write(output.path().join("notes"), "mine").unwrap();
    assert_eq!(code(&plan), "output-exists");
    fs::write(output.path().join("oci-layout"), "{\"imageLayoutVersion\":\"2.0.0\"}").unwrap();
    assert_eq!(code(&plan), "layout-invalid");
    fs::write(output.path().join("oci-layout"), "{\"imageLayoutVersion\":\"1.0.0\"}").unwrap();
    fs::write(output.path().join("index.json"), "[").unwrap();
    assert_eq!(code(&plan), "layout-invalid");
    fs::write(output.path().join("index.json"), "{\"manifests\":1}").unwrap();
    assert_eq!(code(&plan), "layout-invalid");
    assert_eq!(fs::read(output.path().join("notes")).unwrap(), b"mine");
}

#[test]
fn plans_that_make_no_image_are_refused_before_anything_is_written() {
    let files = tempfile::tempdir().unwrap();
    let output = files.path().join("layout");
    let good = ImageBuilder::new("1").plan(files.path(), &output);
    let refused = |change: &dyn Fn(&mut build::Plan), expected: &str| {
        let mut plan = good.clone();
        change(&mut plan);
        assert_eq!(code(&plan), expected);
        assert!(!output.exists());
    };
    refused(&|p| p.payloads.clear(), "argument-invalid");
    for name in ["system", "kernel.efi"] {
        let gone = |p: &mut build::Plan| p.payloads.retain(|payload| payload.name.as_str() != name);
        refused(&gone, "payload-missing");
    }
    refused(&|p| p.payloads.push(p.payloads[0].clone()), "argument-invalid");
    refused(&|p| p.product_info.version.clear(), "argument-invalid");
    refused(&|p| p.product_info.name = "a\nb".into(), "argument-invalid");
    refused(&|p| p.product_info.variant = "riscv64".into(), "argument-invalid");
    refused(&|p| p.encoding = build::LayerEncoding::Zstd(23), "argument-invalid");
    refused(&|p| p.encoding = build::LayerEncoding::Zstd(0), "argument-invalid");
    refused(&|p| p.tag = Some("a:b".into()), "argument-invalid");
    let version = "org.opencontainers.image.version".to_owned();
    refused(&|p| drop(p.annotations.insert(version.clone(), "2".into())), "argument-invalid");
    refused(&|p| p.payloads[0].file = "/dev/null".into(), "argument-invalid");
    refused(&|p| p.payloads[0].file = files.path().to_owned(), "argument-invalid");
    refused(&|p| p.payloads[0].file = files.path().join("absent"), "io-failed");
    nix::unistd::mkfifo(&files.path().join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    refused(&|p| p.payloads[0].file = files.path().join("fifo"), "argument-invalid");
    let stop = Cancel::new();
    stop.request();
    assert_eq!(build::build(&good, &Silent, &stop).unwrap_err().code().name(), "stopped");
}

#[test]
fn annotations_stand_in_the_manifest_with_the_version() {
    let layout = tempfile::tempdir().unwrap();
    let builder = ImageBuilder::new("1").annotation("org.flipside.barrier", "true");
    let annotations = builder.write(layout.path()).image.manifest.annotations;
    assert_eq!(annotations["org.opencontainers.image.version"], "1");
    assert_eq!(annotations["org.flipside.barrier"], "true");
}

fn shares_extents(directory: &Path) -> bool {
    let [mut from, to] = [(); 2].map(|()| tempfile::tempfile_in(directory).unwrap());
    std::io::Write::write_all(&mut from, &[1; 65536]).unwrap();
    rustix::fs::ioctl_ficlone(&to, &from).is_ok()
}

/// Changes a payload's file when the build has come to it, or half through it.
struct Meddler(PathBuf, fn(&Path), AtomicBool, bool);

impl Progress for Meddler {
    fn event(&self, event: Event) {
        let now = match event {
            Event::Payload { .. } => !self.3,
            Event::Written(_) => self.3,
            _ => false,
        };
        if now && !self.2.swap(true, Ordering::Relaxed) {
            (self.1)(&self.0);
        }
    }
}

#[test]
fn a_payload_that_changes_while_it_is_read_is_an_error() {
    let files = tempfile::tempdir().unwrap();
    let truncate = |path: &Path| {
        fs::OpenOptions::new().write(true).open(path).unwrap().set_len(10).unwrap();
    };
    let append = |path: &Path| {
        use std::io::Write as _;
        fs::OpenOptions::new().append(true).open(path).unwrap().write_all(b"x").unwrap();
    };
    let rewrite = |path: &Path| fs::write(path, vec![7; 3_000_000]).unwrap();
    let mut storages = vec![build::LayerEncoding::Zstd(3), build::LayerEncoding::Uncompressed];
    if shares_extents(files.path()) {
        eprintln!("skipped: here an uncompressed layer is a clone, which does not change");
        storages.pop();
    }
    for storage in storages {
        for half in [false, true] {
            for change in [truncate as fn(&Path), append, rewrite] {
                let output = tempfile::tempdir().unwrap();
                let mut plan =
                    ImageBuilder::new("1").system_size(3_000_000).plan(files.path(), output.path());
                plan.encoding = storage;
                plan.payloads.remove(0);
                plan.allow_unbootable = true;
                let file = plan.payloads[0].file.clone();
                let meddler = Meddler(file, change, AtomicBool::new(false), half);
                let error = build::build(&plan, &meddler, &Cancel::new()).unwrap_err();
                assert_eq!(error.code().name(), "payload-changed", "{storage:?} {half} {error}");
                assert!(error.to_string().contains("system"));
                assert!(!output.path().join("index.json").exists());
                let blobs = fs::read_dir(output.path().join("blobs/sha256")).unwrap();
                assert_eq!(blobs.count(), 0);
            }
        }
    }
}

#[test]
fn tags_are_what_registries_take() {
    for good in ["1", "latest", "_a", "2026.11.1-rc_1", &"x".repeat(128)] {
        assert!(is_tag(good), "{good}");
    }
    for bad in ["", ".a", "-a", "a:b", "a/b", "a b", "ä", &"x".repeat(129)] {
        assert!(!is_tag(bad), "{bad}");
    }
}
