// SPDX-License-Identifier: MIT OR Apache-2.0

//! What networks and servers do wrong, and what a transfer makes of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use flipside_core::blob_source::FetchError;
use flipside_image::code::Coded;
use flipside_image::{Architecture, Descriptor, Digest, Image};
use flipside_source::{Location, Options, Source, Timing, Worth, fetch_image, is_absent, open};

use crate::support::proxy::{Fault, Proxy};
use crate::support::registry::{Registry, fixture, options};

/// A registry with one uncompressed image, and a proxy in front of it.
struct Stage {
    registry: Arc<Registry>,
    proxy: Proxy,
    options: Options,
    _directory: tempfile::TempDir,
}

impl Stage {
    fn new() -> Self {
        let registry = Registry::shared();
        let directory = tempfile::tempdir().unwrap();
        registry.push(&fixture("reference-image-uncompressed"), "a:1");
        let proxy = Proxy::start(registry.address());
        let options = options(directory.path());
        Self { registry, proxy, options, _directory: directory }
    }

    fn source(&self) -> Box<dyn Source> {
        let location: Location = format!("{}/a:1", self.proxy.address()).parse().unwrap();
        open(&location, &self.options).unwrap()
    }

    /// The largest payload's blob and its bytes, fetched past the proxy.
    fn blob(&self) -> (Descriptor, Vec<u8>) {
        let source = self.registry.source("a:1");
        let image = image(&*source);
        let blob = image.layer("system").unwrap().descriptor.clone();
        let bytes = source.blob("payload", &blob, u64::MAX).unwrap();
        (blob, bytes)
    }

    /// Streams a range through the proxy and compares it.
    fn check(&self, start: u64, back: u64) -> Result<(), FetchError> {
        let (blob, whole) = self.blob();
        let end = blob.size - back;
        let mut bytes = Vec::new();
        let result = self.source().stream(&blob, start..end, &mut |piece| {
            assert!(!piece.is_empty());
            bytes.extend_from_slice(piece);
            Ok(())
        });
        let expected = &whole[start as usize..end as usize];
        assert!(expected.starts_with(&bytes), "every byte once and in order");
        result?;
        assert_eq!(bytes.len(), expected.len());
        Ok(())
    }
}

fn image(source: &dyn Source) -> Image {
    fetch_image(source, &source.resolve().unwrap(), Architecture::X86_64).unwrap()
}

#[test]
fn a_check_for_updates_is_one_request() {
    let stage = Stage::new();
    stage.source().resolve().unwrap();
    let seen = stage.proxy.seen();
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert_eq!((seen[0].method.as_str(), seen[0].path.as_str()), ("HEAD", "/v2/a/manifests/1"));
    let agent = format!("flipside/{}", env!("CARGO_PKG_VERSION"));
    assert_eq!(seen[0].user_agent.as_deref(), Some(&agent[..]));
}

#[test]
fn a_registry_that_does_not_answer_the_head_is_asked_for_the_manifest() {
    let stage = Stage::new();
    let digest = stage.registry.source("a:1").resolve().unwrap();
    let stage = Stage::new();
    for fault in [
        Fault::Without("docker-content-digest"),
        Fault::Status(400, vec![], String::new()),
        Fault::Status(403, vec![], String::new()),
        Fault::Status(404, vec![], String::new()),
        Fault::Status(405, vec![], String::new()),
        Fault::Status(412, vec![], String::new()),
        Fault::Status(500, vec![], String::new()),
        Fault::Status(501, vec![], String::new()),
        Fault::Status(200, vec![("docker-content-digest", "sha512:00".into())], String::new()),
    ] {
        stage.proxy.forget();
        stage.proxy.fault("manifests", 1, fault);
        assert_eq!(stage.source().resolve().unwrap(), digest);
        let methods: Vec<_> = stage.proxy.seen().into_iter().map(|s| s.method).collect();
        assert_eq!(methods, ["HEAD", "GET"]);
    }
}

#[test]
fn a_body_that_breaks_off_continues_behind_the_last_good_byte() {
    let stage = Stage::new();
    stage.proxy.fault("blobs", 1, Fault::Cut(100_000)).fault("blobs", 1, Fault::Cut(1));
    stage.check(0, 0).unwrap();
    let (blob, _) = stage.blob();
    let ranges: Vec<_> =
        stage.proxy.seen().into_iter().filter(|s| s.path.contains("blobs")).collect();
    assert_eq!(ranges.len(), 3);
    assert_eq!(ranges[0].range, None);
    let last = blob.size - 1;
    assert_eq!(ranges[1].range, Some(format!("bytes=100000-{last}")));
    assert_eq!(ranges[2].range, Some(format!("bytes=100001-{last}")));
}

#[test]
fn progress_starts_the_tries_again() {
    let stage = Stage::new();
    // Many more breaks than tries.
    stage.proxy.fault("blobs", 40, Fault::Cut(20_000));
    stage.check(7, 5).unwrap();
    assert_eq!(stage.proxy.count("blobs"), 41);
}

#[test]
fn a_body_that_never_gets_further_ends_as_truncated() {
    let stage = Stage::new();
    stage.proxy.fault("blobs", 100, Fault::Cut(0));
    let error = stage.check(0, 0).unwrap_err();
    assert!(
        matches!(error.code().name(), "transfer-truncated" | "registry-unreachable"),
        "{error}"
    );
    assert_eq!(stage.proxy.count("blobs"), 4);
}

#[test]
fn a_body_that_ends_early_but_properly_is_truncated_too() {
    let stage = Stage::new();
    stage.proxy.fault("blobs", 1, Fault::ShortBody(5_000));
    stage.check(0, 0).unwrap();
    stage.proxy.fault("blobs", 100, Fault::ShortBody(0));
    let error = stage.check(0, 0).unwrap_err();
    assert_eq!(error.code().name(), "transfer-truncated", "{error}");
}

#[test]
fn a_stalled_body_is_given_up_and_continued() {
    let mut stage = Stage::new();
    // Long enough for a busy machine to answer in.
    stage.options.timing.stall = Duration::from_millis(600);
    stage.proxy.fault("blobs", 1, Fault::Stall(1_000)).fault("blobs", 1, Fault::Silence);
    stage.check(3, 0).unwrap();
    stage.proxy.fault("blobs", 100, Fault::Silence);
    let error = stage.check(0, 0).unwrap_err();
    assert_eq!(error.code().name(), "registry-unreachable", "{error}");
}

#[test]
fn a_registry_without_ranges_still_works() {
    let stage = Stage::new();
    stage.proxy.fault("blobs", 100, Fault::IgnoreRange);
    stage.check(0, 0).unwrap();
    stage.check(12_345, 0).unwrap();
    stage.check(12_345, 54_321).unwrap();
}

#[test]
fn a_registry_without_ranges_that_breaks_off_still_works() {
    let stage = Stage::new();
    stage.proxy.fault("blobs", 1, Fault::Cut(50_000)).fault("blobs", 100, Fault::IgnoreRange);
    stage.check(0, 0).unwrap();
}

#[test]
fn wrong_ranges_are_never_believed() {
    let stage = Stage::new();
    for fault in
        [Fault::WrongContentRange, Fault::NoContentRange, Fault::Status(416, vec![], String::new())]
    {
        stage.proxy.calm();
        stage.proxy.fault("blobs", 1, fault.clone());
        stage.check(1_000, 1_000).unwrap_or_else(|e| panic!("{fault:?}: {e}"));
        let last = stage.proxy.seen().pop().unwrap();
        assert_eq!(last.range, None, "{fault:?}: asked again without a range");
    }
}

#[test]
fn a_short_206_is_fetched_again() {
    let stage = Stage::new();
    stage.proxy.fault("blobs", 3, Fault::ShortRange(10_000));
    stage.check(5, 0).unwrap();
    assert_eq!(stage.proxy.count("blobs"), 4);
}

#[test]
fn passing_failures_are_tried_again_and_lasting_ones_told() {
    let stage = Stage::new();
    for (status, code, tries) in [
        (500, "registry-error", 4),
        (502, "registry-error", 4),
        (503, "registry-error", 4),
        (429, "registry-rate-limited", 4),
        (501, "registry-error", 1),
        (400, "registry-error", 1),
        (403, "registry-forbidden", 1),
        (418, "registry-error", 1),
    ] {
        stage.proxy.calm();
        let words = r#"{"errors":[{"code":"SOME_CODE","message":"some words"}]}"#;
        let fault = Fault::Status(status, vec![], words.to_owned());
        stage.proxy.fault("blobs", tries, fault.clone());
        let error = stage.check(0, 0).unwrap_err();
        assert_eq!(error.code().name(), code, "{status}");
        if code != "registry-rate-limited" {
            assert!(error.to_string().contains("SOME_CODE: some words"), "{error}");
        }
        assert_eq!(stage.proxy.count("blobs"), tries, "{status}");
        if tries > 1 {
            stage.proxy.fault("blobs", tries - 1, fault);
            stage.check(0, 0).unwrap();
        }
    }
}

#[test]
fn statuses_of_proxies_in_trouble_are_tried_again_and_told_by_number() {
    let stage = Stage::new();
    let cloudflare = [520, 521, 522, 523, 524, 525, 526, 527, 530];
    for status in [408, 425, 499, 504, 507, 529, 598].iter().chain(&cloudflare) {
        stage.proxy.calm();
        stage.proxy.fault("manifests", 1, Fault::Status(*status, vec![], String::new()));
        stage.source().resolve().unwrap_or_else(|error| panic!("{status}: {error}"));
        assert_eq!(stage.proxy.count("manifests"), 2, "{status}");
    }
    for status in [501, 505, 511] {
        stage.proxy.calm();
        stage.proxy.fault("blobs", 1, Fault::Status(status, vec![], String::new()));
        assert_eq!(stage.check(0, 0).unwrap_err().code().name(), "registry-error", "{status}");
    }
    stage.proxy.calm();
    stage.proxy.fault("manifests", 100, Fault::Status(520, vec![], String::new()));
    let error = stage.source().resolve().unwrap_err();
    let expected = format!("{} answered 520", stage.proxy.address());
    assert_eq!((error.to_string(), error.code().name()), (expected, "registry-error"));
}

/// zot fetches what it lacks from another registry before it answers at all.
#[test]
fn a_registry_that_fetches_on_demand_is_waited_for() {
    let mut stage = Stage::new();
    let patient = Timing { stall: Duration::from_secs(1), ..stage.options.timing };
    stage.options.timing = Timing { answer: Duration::from_secs(60), ..patient };
    // Every answer comes later than `stall` allows: only patience gets any.
    let late = Fault::Late(1_500);
    stage.proxy.fault("manifests", 100, late.clone()).fault("referrers", 100, late.clone());
    let source = stage.source();
    let digest = source.resolve().unwrap();
    source.manifest(&digest).unwrap();
    source.signatures(&digest, &mut |_| std::ops::ControlFlow::Continue(Worth::Nothing)).unwrap();
    assert!(stage.proxy.count("referrers") > 0);
    // Blobs are there or not.
    stage.proxy.calm();
    stage.proxy.fault("blobs", 1, late);
    stage.check(0, 0).unwrap();
    assert!(stage.proxy.count("blobs") > 1);
}

#[test]
fn who_never_answers_about_a_manifest_is_asked_once() {
    let mut stage = Stage::new();
    stage.options.timing.answer = Duration::from_millis(300);
    stage.proxy.fault("manifests", 100, Fault::Silence);
    let error = stage.source().resolve().unwrap_err();
    assert_eq!(error.code().name(), "registry-unreachable", "{error}");
    assert!(error.transient().is_some());
    assert_eq!(stage.proxy.count("manifests"), 1);
}

#[test]
fn failures_that_time_may_mend_say_so() {
    let stage = Stage::new();
    let minute: Vec<(&str, String)> = vec![("retry-after", "60".to_owned())];
    for (status, headers, retry_after) in [
        (503, minute.clone(), Some(Some(60))),
        (522, vec![], Some(None)),
        (429, minute.clone(), Some(Some(60))),
        (404, minute.clone(), None),
        (403, vec![], None),
        (511, minute, None),
    ] {
        stage.proxy.calm();
        stage.proxy.fault("blobs", 100, Fault::Status(status, headers, String::new()));
        let found = stage.check(0, 0).unwrap_err().transient();
        let found = found.map(|transient| transient.retry_after.map(|wait| wait.as_secs()));
        assert_eq!(found, retry_after, "{status}");
    }
    stage.proxy.calm();
    stage.proxy.fault("blobs", 100, Fault::ShortBody(0));
    assert!(stage.check(0, 0).unwrap_err().transient().is_some());
    let nowhere: Location = "127.0.0.1:9/a:1".parse().unwrap();
    let error = open(&nowhere, &stage.options).unwrap().resolve().unwrap_err();
    assert!(error.transient().is_some(), "{error}");
}

#[test]
fn retry_after_is_obeyed() {
    let stage = Stage::new();
    let headers = vec![("retry-after", "1".to_owned())];
    stage.proxy.fault("manifests", 1, Fault::Status(429, headers, String::new()));
    let start = Instant::now();
    stage.source().resolve().unwrap();
    assert!(start.elapsed() >= Duration::from_secs(1));
    // Longer than anybody waits: told at once, and not asked again.
    stage.proxy.forget();
    let headers = vec![("retry-after", "3600".to_owned())];
    stage.proxy.fault("manifests", 1, Fault::Status(429, headers, String::new()));
    let error = stage.source().resolve().unwrap_err();
    assert_eq!(error.code().name(), "registry-rate-limited");
    assert!(error.to_string().contains("3600 s"), "{error}");
    assert_eq!(stage.proxy.seen().len(), 1);
}

#[test]
fn bytes_that_do_not_hash_are_refused() {
    let stage = Stage::new();
    let digest = stage.source().resolve().unwrap();
    stage.proxy.fault("manifests", 1, Fault::Corrupt(3));
    assert_eq!(stage.source().manifest(&digest).unwrap_err().code().name(), "digest-mismatch");
    let config = image(&*stage.source()).manifest.config;
    stage.proxy.fault("blobs", 1, Fault::Corrupt(3));
    let error = stage.source().blob("config", &config, u64::MAX).unwrap_err();
    assert_eq!(error.code().name(), "digest-mismatch");
}

#[test]
fn a_manifest_without_an_end_is_cut_at_the_limit() {
    let stage = Stage::new();
    let digest = Digest::of(b"");
    stage.proxy.fault("manifests", 1, Fault::Flood(5 << 20));
    let error = stage.source().manifest(&digest).unwrap_err();
    assert_eq!(error.code().name(), "image-over-limit", "{error}");
    let length = vec![("x-other", String::new())];
    stage.proxy.fault("manifests", 1, Fault::Status(200, length, " ".repeat(5 << 20)));
    let error = stage.source().manifest(&digest).unwrap_err();
    assert_eq!(error.code().name(), "image-over-limit", "{error}");
}

#[test]
fn a_rate_is_kept() {
    let mut stage = Stage::new();
    let (blob, _) = stage.blob();
    stage.options.max_rate = Some(blob.size * 2);
    let start = Instant::now();
    stage.check(0, 0).unwrap();
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(450), "{took:?}");
}

#[test]
fn what_has_a_digest_comes_from_mirrors_first_and_the_tag_from_the_registry() {
    let stage = Stage::new();
    let mirror = Proxy::start(stage.registry.address());
    let mut options = stage.options.clone();
    options.mirrors = vec!["127.0.0.1:9".into(), mirror.address().to_owned()];
    let location: Location = format!("{}/a:1", stage.proxy.address()).parse().unwrap();
    let source = open(&location, &options).unwrap();
    let image = image(&*source);
    let asked: Vec<_> = stage.proxy.seen().into_iter().map(|seen| seen.path).collect();
    assert_eq!(asked, ["/v2/a/manifests/1"], "the tag, and nothing else");
    assert_eq!(mirror.count("manifests/1"), 0);
    stage.proxy.forget();
    let namespace = format!("?ns={}", stage.proxy.address().replace(':', "%3A"));
    assert!(mirror.seen().iter().all(|s| s.path.ends_with(&namespace)), "{:?}", mirror.seen());
    // A mirror that breaks for good in the middle: the registry continues behind it.
    mirror.fault("blobs", 1, Fault::Cut(1_000)).fault("blobs", 100, Fault::Cut(0));
    let blob = image.layer("system").unwrap().descriptor;
    let mut bytes = Vec::new();
    let mut sink = |piece: &[u8]| {
        bytes.extend_from_slice(piece);
        Ok(())
    };
    source.stream(blob, 0..blob.size, &mut sink).unwrap();
    assert_eq!(Digest::of(&bytes), blob.digest);
    assert_eq!(stage.proxy.seen()[0].range, Some(format!("bytes=1000-{}", blob.size - 1)));
    // A mirror that lies is found out.
    mirror.fault("manifests", 1, Fault::Corrupt(0));
    assert!(source.manifest(&image.digest).is_ok());
}

/// A registry, and a mirror of it that gives about 1 MB/s. Ranges of its answers to the mirror's and
/// to its own requests are told.
fn with_slow_mirror(stage: &Stage, least: u64) -> (Box<dyn Source>, Proxy, Descriptor) {
    let mirror = Proxy::start(stage.registry.address());
    mirror.fault("blobs", 1_000, Fault::Trickle(10_000, 10));
    let mut options = stage.options.clone();
    options.mirrors = vec![mirror.address().to_owned()];
    options.min_rate = Some(least);
    options.timing.rate_window = Duration::from_millis(100);
    let location: Location = format!("{}/a:1", stage.proxy.address()).parse().unwrap();
    let (blob, _) = stage.blob();
    (open(&location, &options).unwrap(), mirror, blob)
}

fn bytes_of(source: &dyn Source, blob: &Descriptor) -> Result<Vec<u8>, FetchError> {
    let mut bytes = Vec::new();
    let mut sink = |piece: &[u8]| {
        bytes.extend_from_slice(piece);
        Ok(())
    };
    source.stream(blob, 0..blob.size, &mut sink)?;
    Ok(bytes)
}

#[test]
fn a_mirror_that_is_too_slow_is_left_for_the_next_source() {
    let stage = Stage::new();
    let (source, mirror, blob) = with_slow_mirror(&stage, 1 << 30);
    assert_eq!(Digest::of(&bytes_of(&*source, &blob).unwrap()), blob.digest);
    let range = stage.proxy.seen().remove(0).range.unwrap();
    let first = range.strip_prefix("bytes=").unwrap().split('-').next().unwrap();
    let first: u64 = first.parse().unwrap();
    assert!(first > 0 && first < blob.size, "the mirror's bytes are kept: {range}");
    // It is not asked again in this run.
    assert_eq!(mirror.count("blobs"), 1);
    assert_eq!(Digest::of(&bytes_of(&*source, &blob).unwrap()), blob.digest);
    assert_eq!(mirror.count("blobs"), 1);
}

#[test]
fn a_mirror_that_is_fast_enough_is_kept() {
    let stage = Stage::new();
    let (source, mirror, blob) = with_slow_mirror(&stage, 1);
    assert_eq!(Digest::of(&bytes_of(&*source, &blob).unwrap()), blob.digest);
    assert_eq!((mirror.count("blobs"), stage.proxy.count("blobs")), (1, 0));
}

#[test]
fn the_last_source_is_never_left_for_its_rate() {
    // The registry itself.
    let stage = Stage::new();
    let (source, mirror, blob) = with_slow_mirror(&stage, 1 << 30);
    stage.proxy.fault("blobs", 1_000, Fault::Trickle(10_000, 10));
    assert_eq!(Digest::of(&bytes_of(&*source, &blob).unwrap()), blob.digest);
    assert_eq!((mirror.count("blobs"), stage.proxy.count("blobs")), (1, 1));
    // The mirror, where the registry does not have it.
    let stage = Stage::new();
    let (source, mirror, blob) = with_slow_mirror(&stage, 1 << 30);
    stage.proxy.fault("blobs", 1_000, Fault::Status(404, vec![], String::new()));
    assert_eq!(Digest::of(&bytes_of(&*source, &blob).unwrap()), blob.digest);
    assert_eq!(mirror.count("blobs"), 2);
    // One whose bytes were wrong is not asked even then.
    assert!(source.leave_out_mirrors());
    assert_eq!(bytes_of(&*source, &blob).unwrap_err().code().name(), "blob-not-found");
    assert_eq!(mirror.count("blobs"), 2);
}

#[test]
fn a_fetch_ends_at_its_time_limit() {
    let mut stage = Stage::new();
    stage.options.time_limit = Some(Duration::from_millis(300));
    stage.options.timing.stall = Duration::from_secs(60);
    stage.proxy.fault("blobs", 100, Fault::Stall(1_000));
    let error = stage.check(0, 0).unwrap_err();
    assert_eq!(error.code().name(), "fetch-time-limit", "{error}");
    assert!(error.transient().is_some() && error.to_string().contains("300ms"), "{error}");
}

#[test]
fn a_registry_that_cannot_be_reached_is_asked_once_and_then_its_mirrors() {
    let stage = Stage::new();
    let (absent, late) = (Registry::start(), Proxy::start(stage.registry.address()));
    let mut options = stage.options.clone();
    let down = "127.0.0.1:9".to_owned();
    options.mirrors = vec![down, absent.address().to_owned(), late.address().to_owned()];
    // It closes each connection without a word.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let registry = listener.local_addr().unwrap().to_string();
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            counted.fetch_add(1, Ordering::SeqCst);
            drop(stream);
        }
    });
    let location: Location = format!("{registry}/a:1").parse().unwrap();
    let source = open(&location, &options).unwrap();
    let tagged = source.tagged().unwrap();
    let digest = stage.registry.source("a:1").resolve().unwrap();
    assert_eq!((tagged.digest, tagged.mirror.as_deref()), (digest, Some(late.address())));
    let once = connections.load(Ordering::SeqCst);
    assert!(once > 0);
    // Also for another tag, and for what the mirrors lack.
    let error = source.sibling("none").unwrap().tagged().unwrap_err();
    assert_eq!(error.code().name(), "registry-unreachable");
    assert!(error.to_string().contains(&registry), "{error}");
    assert!(is_absent(&error), "no mirror has it");
    let error = source.manifest(&Digest::of(b"none")).unwrap_err();
    assert_eq!(error.code().name(), "registry-unreachable");
    assert_eq!(connections.load(Ordering::SeqCst), once);
    // The next run asks again.
    open(&location, &options).unwrap().tagged().unwrap();
    assert!(connections.load(Ordering::SeqCst) > once);
}

#[test]
fn a_registry_that_answers_decides_whatever_it_says() {
    for (status, code) in [
        (404, "tag-not-found"),
        (403, "registry-forbidden"),
        (500, "registry-error"),
        (503, "registry-error"),
    ] {
        let stage = Stage::new();
        let mirror = Proxy::start(stage.registry.address());
        stage.proxy.fault("manifests", 100, Fault::Status(status, vec![], String::new()));
        let options = Options { mirrors: vec![mirror.address().into()], ..stage.options.clone() };
        let location: Location = format!("{}/a:1", stage.proxy.address()).parse().unwrap();
        let error = open(&location, &options).unwrap().tagged().unwrap_err();
        assert_eq!(error.code().name(), code, "{error}");
        assert!(mirror.seen().is_empty(), "{:?}", mirror.seen());
    }
}

#[test]
fn a_sink_that_stops_ends_the_transfer() {
    let stage = Stage::new();
    let (blob, _) = stage.blob();
    let error = stage
        .source()
        .stream(&blob, 0..blob.size, &mut |_| Err(flipside_core::cancel::Stopped))
        .unwrap_err();
    assert_eq!(error.code().name(), "stopped");
    assert_eq!(stage.proxy.count("blobs"), 1);
}

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn a_stop_ends_a_back_off_and_a_stall() {
    for fault in
        [Fault::Stall(10), Fault::Status(503, vec![("retry-after", "3600".into())], String::new())]
    {
        let mut stage = Stage::new();
        // Who does not listen waits for an hour.
        stage.options.timing.stall = HOUR;
        stage.options.timing.retry_after = HOUR;
        stage.options.timing.total = HOUR;
        stage.proxy.fault("blobs", 100, fault);
        let stop = stage.options.stop.clone();
        let (blob, _) = stage.blob();
        let source = stage.source();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(150));
                stop.request();
            });
            let error = source.stream(&blob, 0..blob.size, &mut |_| Ok(())).unwrap_err();
            assert_eq!(error.code().name(), "stopped");
        });
    }
}
