// SPDX-License-Identifier: MIT OR Apache-2.0

//! Mirrors without the delta, or with a wrong one, and registries that fail while its frames are
//! fetched: the image arrives all the same, from whoever has it.

use flipside_image::Digest;

use crate::support::delta_stage::status;
use crate::support::hostile_delta::DeltaStage;
use crate::support::program_host::ProgramHost;
use crate::support::proxy::{Fault, Proxy};

/// A repository with a right delta; also the digest of its frames.
fn stage(name: &'static str) -> (DeltaStage, Digest) {
    let stage = DeltaStage::new(name);
    let (entry, layer) = stage.put(stage.parts());
    stage.list(&[entry]);
    (stage, layer)
}

/// Requests for a blob.
fn asked(proxy: &Proxy, blob: Digest) -> usize {
    proxy.count(&format!("blobs/{blob}"))
}

#[test]
fn a_mirror_with_the_image_alone_gives_that_and_the_registry_the_delta() {
    let (stage, layer) = stage("hosts/without");
    stage.at_mirror();
    let cost = stage.updates("mirror without delta", &stage.mirrored_host());
    assert!(cost.bytes < stage.full.bytes / 2, "{cost:?}");
    assert!(asked(&stage.proxy, layer) > 0);
    // One chunk of the kernel is in no delta.
    let kernel = stage.digest_of("kernel.efi");
    assert_eq!(asked(&stage.proxy, kernel), 0);
    assert!(asked(&stage.mirror, kernel) > 0);
}

#[test]
fn p3_a_mirror_with_wrong_frames_still_gives_the_image() {
    let (stage, layer) = stage("hosts/wrong");
    stage.at_mirror();
    let size = stage.parts().frames.concat().len();
    let (system, blob) = (stage.digest_of("system"), format!("blobs/{layer}"));
    let wrong = |body: String| Fault::Status(200, vec![], body);
    for (case, fault) in [
        ("wrong", wrong("x".repeat(size))),
        ("longer", wrong("x".repeat(2 * size))),
        (
            "a web page",
            Fault::Status(200, vec![("content-type", "text/html".into())], "x".repeat(size)),
        ),
    ] {
        stage.mirror.calm();
        stage.mirror.fault(&blob, usize::MAX, fault);
        stage.updates(case, &stage.mirrored_host());
        assert!(asked(&stage.mirror, system) > 0, "{case}");
        assert_eq!(asked(&stage.proxy, system), 0, "{case}");
    }
    // Where the image's own bytes are wrong as well, the registry gives them.
    let full = stage.new.image.layer("system").unwrap().descriptor.size as usize;
    stage.mirror.fault(&format!("blobs/{system}"), usize::MAX, wrong("x".repeat(full)));
    stage.updates("all wrong", &stage.mirrored_host());
    assert!(asked(&stage.proxy, system) > 0);
}

#[test]
fn a_registry_that_comes_back_goes_on_with_the_frames() {
    let (stage, layer) = stage("hosts/back");
    let again = |seconds: u32| {
        Fault::Status(429, vec![("retry-after", seconds.to_string())], String::new())
    };
    for (case, times, fault) in [
        ("breaks off", 3, Fault::Cut(1000)),
        ("ends early", 1, Fault::ShortBody(2000)),
        ("gone and back", 2, Fault::LostAnswer),
        ("in trouble", 2, status(503)),
        ("asked for patience", 1, again(1)),
        ("no ranges", usize::MAX, Fault::IgnoreRange),
    ] {
        stage.proxy.calm();
        stage.proxy.fault(&format!("blobs/{layer}"), times, fault);
        let cost = stage.updates(case, &stage.host());
        assert!(cost.bytes < stage.full.bytes * 2 / 3, "{case}: {cost:?}");
        assert_eq!(asked(&stage.proxy, stage.digest_of("system")), 0, "{case}");
    }
}

/// The frames do not come, the image does.
fn has_the_image(stage: &DeltaStage, case: &str, host: &ProgramHost) {
    let cost = stage.updates(case, host);
    assert!(asked(&stage.proxy, stage.digest_of("system")) > 0, "{case}");
    assert!(cost.bytes < stage.full.bytes * 3 / 2, "{case}: {cost:?}");
}

#[test]
fn frames_that_never_come_end_the_delta_alone() {
    let (stage, layer) = stage("hosts/never");
    let later = Fault::Status(429, vec![("retry-after", "100000".into())], String::new());
    for (case, fault) in [
        ("asked for a day", later.clone()),
        ("forbidden", status(403)),
        ("unauthorized", status(401)),
        ("gone", Fault::LostAnswer),
        ("in trouble", status(503)),
    ] {
        for with_mirror in [false, true] {
            // The mirror has nothing of this image.
            stage.mirror.calm();
            stage.proxy.calm();
            stage.proxy.fault(&format!("blobs/{layer}"), usize::MAX, fault.clone());
            let host = if with_mirror { stage.mirrored_host() } else { stage.host() };
            has_the_image(&stage, &format!("{case}, {with_mirror}"), &host);
        }
    }
    // A mirror that has the image and is out of patience with the frames.
    stage.at_mirror();
    stage.proxy.calm();
    stage.proxy.fault(&format!("blobs/{layer}"), usize::MAX, status(404));
    stage.mirror.fault(&format!("blobs/{layer}"), usize::MAX, later);
    stage.updates("mirror", &stage.mirrored_host());
}
