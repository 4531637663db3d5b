// SPDX-License-Identifier: MIT OR Apache-2.0

//! Updates that take from the running slot what it has: copied, or made by a delta. Whatever a
//! delta or the slot is worth, the host ends with the image, byte for byte.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flipside::config::Initiative;
use flipside::run::{self, Outcome, Run};
use flipside_core::cancel::Cancel;
use flipside_core::host::Slot;
use flipside_core::install::SlotContents;
use flipside_core::progress::{Event, Progress};
use flipside_image::delta::Download;
use flipside_image::{CONFIG_TYPE, Compression, Descriptor, Digest};
use flipside_publish::delta::MadeDelta;

use crate::support::deltas::write_blob;
use crate::support::host::{TestHost, update_and_finish};
use crate::support::images::{ImageBuilder, OsImage, content, kernel};

const CHUNK: usize = 16 << 10;
const SYSTEM: usize = 40 * CHUNK;

/// Of many work items.
const LARGE: usize = 36 << 20;

/// Version 1, whose content everything else is made from.
fn one() -> ImageBuilder {
    one_of(SYSTEM)
}

fn one_of(size: usize) -> ImageBuilder {
    version("1", content(7, size))
}

/// The same with a few bytes changed in each chunk, and the kernel with one.
fn two() -> ImageBuilder {
    two_of(SYSTEM)
}

fn two_of(size: usize) -> ImageBuilder {
    let mut system = content(7, size);
    for (nth, chunk) in system.chunks_mut(CHUNK).enumerate() {
        chunk[5000..7000].copy_from_slice(&content(1000 + nth as u64, 2000));
    }
    version("2", system)
}

fn version(name: &str, system: Vec<u8>) -> ImageBuilder {
    let mut boot = kernel(flipside_image::Architecture::X86_64, 5, 60_000);
    boot[50_000] ^= name.as_bytes()[0];
    ImageBuilder::new(name)
        .chunk_size(CHUNK as u64)
        .payload("system", system)
        .payload("kernel.efi", boot)
}

/// Counts what an update fetches, and asks it to stop after some of it.
#[derive(Default)]
struct Fetched {
    bytes: AtomicU64,
    written: AtomicU64,
    /// Stops the run that has written so many bytes.
    last: Option<(u64, Cancel)>,
}

impl Progress for Fetched {
    fn event(&self, event: Event) {
        match event {
            Event::Fetched(bytes) => _ = self.bytes.fetch_add(bytes, Ordering::SeqCst),
            Event::Written(bytes) => {
                let written = self.written.fetch_add(bytes, Ordering::SeqCst) + bytes;
                if let Some((last, stop)) = &self.last
                    && written >= *last
                {
                    stop.request();
                }
            }
            _ => {}
        }
    }
}

/// Updates the host; returns what it came to, and how many bytes were fetched.
fn update(host: &TestHost) -> (String, u64) {
    update_by(host.run())
}

fn update_by(mut run: Run) -> (String, u64) {
    let fetched = Arc::new(Fetched::default());
    run.progress = fetched.clone();
    let outcome = match update_and_finish(&run) {
        Ok(Outcome::Armed { slot, version, .. }) => format!("{slot} {version}"),
        other => format!("{other:?}"),
    };
    (outcome, fetched.bytes.load(Ordering::SeqCst))
}

/// What the update on offer costs.
fn download(host: &TestHost) -> Download {
    let checked = run::check(&host.run(), Initiative::Manual, run::Depth::Check);
    checked.unwrap().unwrap().download.unwrap()
}

fn is_whole(host: &TestHost, slot: Slot) {
    let found = run::verify(&host.run(), &[slot]).unwrap();
    assert_eq!(found, [(slot, SlotContents::Whole)]);
}

/// All layers of an image, in bytes.
fn full(image: &OsImage) -> u64 {
    image.image.layers().map(|layer| layer.descriptor.size).sum()
}

/// Publishes `image` once more, with `system` as one plain zstd stream.
fn publish_as_stream(host: &TestHost, image: &OsImage) {
    let stream = zstd::stream::encode_all(image.payload("system"), 1).unwrap();
    let (mut config, mut manifest) = (image.image.config.clone(), image.image.manifest.clone());
    let nth = config.payloads.iter().position(|payload| payload.name.as_str() == "system").unwrap();
    config.payloads[nth].frames = None;
    manifest.layers[nth] = Descriptor::of(Compression::Zstd.media_type(), &stream);
    let config = config.to_bytes().unwrap();
    manifest.config = Descriptor::of(CONFIG_TYPE, &config);
    let manifest = manifest.to_bytes().unwrap();
    for bytes in [&stream, &config, &manifest] {
        write_blob(&host.track, bytes);
    }
    let path = host.track.join("index.json");
    let mut index: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    for entry in index["manifests"].as_array_mut().unwrap() {
        if entry["digest"] == image.digest.to_string() {
            entry["digest"] = Digest::of(&manifest).to_string().into();
            entry["size"] = manifest.len().into();
        }
    }
    std::fs::write(path, index.to_string()).unwrap();
}

/// The blob of the patches of `system`.
fn patches(host: &TestHost, made: &MadeDelta) -> std::path::PathBuf {
    let blob = |digest: &str| {
        host.track.join("blobs/sha256").join(digest.strip_prefix("sha256:").unwrap())
    };
    let manifest = std::fs::read(blob(&made.manifest.digest.to_string())).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    blob(manifest["layers"][1]["digest"].as_str().unwrap())
}

/// Changes bytes of the running slot's `system`, which is slot A's, behind the host's back.
fn overwrite_base(host: &TestHost, image: &OsImage, change: impl FnOnce(&mut [u8])) {
    let path = host.file("disk.img");
    let mut disk = std::fs::read(&path).unwrap();
    let system = image.payload("system");
    let is_there = |at: &usize| disk.get(*at..*at + system.len()) == Some(system);
    let at = (0..disk.len()).step_by(4096).find(is_there).unwrap();
    change(&mut disk[at..at + system.len()]);
    std::fs::write(&path, disk).unwrap();
}

#[test]
fn an_update_by_delta_fetches_what_the_delta_has() {
    let host = TestHost::running(&one());
    let image = host.publish(&two());
    let made = host.publish_delta("1", "2");
    let full = full(&image);
    assert!(made.fetch * 3 < full, "{} of {full}", made.fetch);
    // It is said before it is done.
    let expected = Download { bytes: made.fetch, full, delta_from: Some("1".to_owned()) };
    assert_eq!(download(&host), expected);
    assert_eq!(host.status().available.unwrap().download, Some(expected));
    let (outcome, fetched) = update(&host);
    assert_eq!((outcome.as_str(), fetched), ("B 2", made.fetch));
    assert_eq!(host.boot(), "B 2 promoted");
    is_whole(&host, Slot::B);
    // A fall-back, and from the older slot again.
    let mut three = content(7, SYSTEM);
    three.chunks_mut(CHUNK).for_each(|chunk| chunk[9000..9100].fill(3));
    let image = host.publish(&version("3", three));
    let made = host.publish_delta("2", "3");
    assert_eq!(update(&host), ("A 3".to_owned(), made.fetch));
    host.boot_and_fail();
    assert_eq!(host.boot(), "B 2 fell back");
    assert!(made.fetch * 3 < self::full(&image));
    // What stands in the slot is armed again, without a byte.
    assert_eq!(update(&host), ("A 3".to_owned(), 0));
    assert_eq!(host.boot(), "A 3 promoted");
    is_whole(&host, Slot::A);
}

#[test]
fn without_a_delta_what_is_the_same_is_copied() {
    let host = TestHost::running(&one());
    // Another kernel, and the same system but for one chunk, two of which changed places.
    let mut system = content(7, SYSTEM);
    system[3 * CHUNK..4 * CHUNK].copy_from_slice(&content(9, CHUNK));
    let (start, end) = system.split_at_mut(20 * CHUNK);
    start[..CHUNK].swap_with_slice(&mut end[..CHUNK]);
    let image = host.publish(&version("2", system));
    let frame = |name: &str, index: u32| {
        let layer = image.image.layer(name).unwrap();
        let range = layer.frames.unwrap().range(flipside_image::ChunkIndex(index)).unwrap();
        range.end - range.start
    };
    let expected = frame("system", 3) + frame("kernel.efi", 3);
    let download = download(&host);
    assert_eq!((download.bytes, download.delta_from), (expected, None));
    assert_eq!(update(&host), ("B 2".to_owned(), expected));
    assert_eq!(host.boot(), "B 2 promoted");
    is_whole(&host, Slot::B);
}

#[test]
fn a_plain_stream_is_decoded_past_what_is_copied() {
    let host = TestHost::running(&one());
    let mut system = content(7, SYSTEM);
    system[3 * CHUNK..4 * CHUNK].copy_from_slice(&content(9, CHUNK));
    system[30 * CHUNK..31 * CHUNK].copy_from_slice(&content(10, CHUNK));
    let image = host.publish(&version("2", system));
    publish_as_stream(&host, &image);
    let most = download(&host).bytes;
    let (outcome, fetched) = update(&host);
    assert_eq!(outcome, "B 2");
    assert!(fetched <= most, "{fetched} of {most}");
    assert_eq!(host.boot(), "B 2 promoted");
    is_whole(&host, Slot::B);
}

#[test]
fn a_host_that_takes_no_deltas_fetches_all() {
    let host = TestHost::running(&one());
    let image = host.publish(&two());
    host.publish_delta("1", "2");
    let run = host.run_with(flipside_core::host::durable::Durable::new(), |config| {
        config.update.deltas = flipside::config::Deltas::Off;
    });
    assert_eq!(update_by(run), ("B 2".to_owned(), full(&image)));
}

#[test]
fn p3_a_slot_with_other_bytes_costs_the_chunks_that_are_made_from_them() {
    let host = TestHost::running(&one());
    let old = one().write(host.directory.path().join("old"));
    let image = host.publish(&two());
    let made = host.publish_delta("1", "2");
    overwrite_base(&host, &old, |system| system[10 * CHUNK + 7] ^= 1);
    let (outcome, fetched) = update(&host);
    assert_eq!(outcome, "B 2");
    assert!(fetched > made.fetch, "{fetched}");
    // Patches reach over their neighbours' content, and no further.
    assert!(fetched < full(&image), "{fetched}");
    assert_eq!(host.boot(), "B 2 promoted");
    is_whole(&host, Slot::B);
}

#[test]
fn p3_a_slot_of_other_content_is_left_and_all_is_fetched() {
    let host = TestHost::running(&one());
    let old = one().write(host.directory.path().join("old"));
    let image = host.publish(&two());
    let made = host.publish_delta("1", "2");
    overwrite_base(&host, &old, |system| system.reverse());
    let (outcome, fetched) = update(&host);
    assert_eq!(outcome, "B 2");
    assert!(fetched >= full(&image) - made.full / 10, "{fetched}");
    assert!(fetched <= full(&image) + made.fetch, "{fetched}");
    assert_eq!(host.boot(), "B 2 promoted");
    is_whole(&host, Slot::B);
}

#[test]
fn p3_patches_that_lie_are_found_out() {
    for damage in ["flipped", "cut", "gone", "zeroes", "swapped"] {
        let host = TestHost::running(&one());
        let image = host.publish(&two());
        let made = host.publish_delta("1", "2");
        let path = patches(&host, &made);
        let good = std::fs::read(&path).unwrap();
        let mut bad = good.clone();
        match damage {
            "flipped" => bad.iter_mut().step_by(500).for_each(|byte| *byte ^= 0x40),
            "cut" => bad.truncate(good.len() / 2),
            "zeroes" => bad.fill(0),
            "swapped" => bad.rotate_left(good.len() / 3),
            _ => {}
        }
        std::fs::remove_file(&path).unwrap();
        if damage != "gone" {
            std::fs::write(&path, bad).unwrap();
        }
        let (outcome, fetched) = update(&host);
        assert_eq!(outcome, "B 2", "{damage}");
        assert!(fetched <= full(&image) + good.len() as u64, "{damage}: {fetched}");
        assert_eq!(host.boot(), "B 2 promoted", "{damage}");
        is_whole(&host, Slot::B);
    }
}

#[test]
fn what_was_written_by_a_delta_is_not_fetched_again() {
    let host = TestHost::running_in(40 << 20, &one_of(LARGE));
    host.publish(&two_of(LARGE));
    let made = host.publish_delta("1", "2");
    let mut run = host.run();
    let last = Some(((LARGE / 2) as u64, run.stop.clone()));
    let first = Arc::new(Fetched { last, ..Fetched::default() });
    run.progress = first.clone();
    let error = update_and_finish(&run).unwrap_err();
    assert_eq!(flipside_image::code::Coded::code(&error).name(), "stopped");
    let (outcome, second) = update(&host);
    assert_eq!(outcome, "B 2");
    // What was on its way is lost: eight work items of 36.
    let total = first.bytes.load(Ordering::SeqCst) + second;
    assert!(total * 10 <= made.fetch * 13, "{total} of {}", made.fetch);
    assert_eq!(host.boot(), "B 2 promoted");
    is_whole(&host, Slot::B);
}

#[test]
fn a_delta_from_another_image_or_from_lost_chunk_hashes_is_none() {
    let host = TestHost::running(&one());
    host.publish(&version("0", content(3, SYSTEM)));
    let image = host.publish(&two());
    // From an image that has much in common with 2, and is not what runs.
    host.publish(&version("1.5", content(7, SYSTEM)));
    host.publish_delta("1.5", "2");
    two().tag("stable").write(&host.track);
    let copied = update(&host);
    assert_eq!(copied.0, "B 2");
    assert!(copied.1 > full(&image) / 2, "{copied:?}");
    assert_eq!(host.boot(), "B 2 promoted");
    is_whole(&host, Slot::B);
}

#[test]
fn p8_chunk_hashes_that_are_lost_are_fetched_for_a_delta() {
    let host = TestHost::running(&one());
    let image = host.publish(&two());
    let made = host.publish_delta("1", "2");
    let kept = host.file("var/lib/flipside/configs");
    if kept.exists() {
        std::fs::remove_dir_all(&kept).unwrap();
    }
    assert_eq!(update(&host), ("B 2".to_owned(), made.fetch));
    // They are gone at the source as well.
    let host = TestHost::running(&one());
    let two = host.publish(&two());
    host.publish_delta("1", "2");
    let record = std::fs::read_to_string(host.file("efi/EFI/flipside/slot-a.json")).unwrap();
    let record: serde_json::Value = serde_json::from_str(&record).unwrap();
    let config: Digest = record["config_digest"].as_str().unwrap().parse().unwrap();
    std::fs::remove_file(two.blob(&config)).unwrap();
    let kept = host.file("var/lib/flipside/configs");
    if kept.exists() {
        std::fs::remove_dir_all(&kept).unwrap();
    }
    assert_eq!(update(&host), ("B 2".to_owned(), full(&image)));
}
