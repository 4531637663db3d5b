// SPDX-License-Identifier: MIT OR Apache-2.0

//! What networks and registries do to blobs on their way up, and what a push makes of it.

use std::sync::Arc;

use flipside_core::progress::Silent;
use flipside_image::code::Coded;
use flipside_image::{Architecture, Digest};
use flipside_publish::PublishError;
use flipside_publish::push::push;
use flipside_source::{Options, fetch_image};

use crate::support::proxy::{Fault, Proxy, Seen};
use crate::support::registry::{Registry, fixture};
use crate::support::tokens::Tokens;

/// A request to the place of an upload that has begun.
const SESSION: &str = "_state=";
const PIECE: usize = 512 << 10;

/// A registry, and a proxy in front of it that limits the size of requests.
struct Stage {
    registry: Arc<Registry>,
    proxy: Proxy,
    options: Options,
    repository: String,
}

impl Stage {
    fn new(repository: &str) -> Self {
        let registry = Registry::shared();
        let (proxy, options) = (Proxy::start(registry.address()), registry.options());
        Self { registry, proxy, options, repository: repository.to_owned() }
    }

    fn in_pieces(repository: &str) -> Self {
        let stage = Self::new(repository);
        stage.proxy.limit_bodies(1 << 20);
        stage
    }

    fn push(&self) -> Result<Digest, PublishError> {
        let reference = format!("{}/{}:1", self.proxy.address(), self.repository);
        let layout = fixture("reference-image-uncompressed");
        push(&layout, None, &reference.parse().unwrap(), &self.options, &Silent)
    }

    /// Pushes, and looks whether every byte has arrived.
    fn pushes(&self) {
        let digest = self.push().unwrap();
        let source = self.registry.source(&format!("{}:1", self.repository));
        let image = fetch_image(&*source, &digest, Architecture::X86_64).unwrap();
        for layer in image.layers() {
            source.blob("payload", layer.descriptor, u64::MAX).unwrap();
        }
    }

    /// The first bytes of the pieces that were sent, by the upload's own path, in order.
    fn pieces(&self) -> Vec<(String, usize)> {
        let seen = self.proxy.seen();
        let patches = seen.iter().filter(|seen| seen.method == "PATCH");
        let piece = |seen: &Seen| {
            let range = seen.content_range.as_deref().unwrap();
            let (first, last) = range.split_once('-').unwrap();
            let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
            assert!(last - first < PIECE && seen.length <= last - first + 1, "{range}");
            (seen.path.split('?').next().unwrap().to_owned(), first)
        };
        patches.map(piece).collect()
    }
}

#[test]
fn an_upload_that_breaks_off_goes_on_behind_the_bytes_that_have_arrived() {
    for (repository, fault) in [
        ("resumed/cut", Fault::CutRequest(100_000)),
        ("resumed/bad-gateway", Fault::Status(502, vec![], String::new())),
        ("resumed/out-of-order", Fault::Status(416, vec![], String::new())),
    ] {
        let stage = Stage::in_pieces(repository);
        stage.proxy.fault("PATCH", 2, Fault::Late(0)).fault("PATCH", 1, fault);
        stage.pushes();
        let pieces = stage.pieces();
        let times = |piece: &(String, usize)| pieces.iter().filter(|p| *p == piece).count();
        // The third piece was sent twice, and nothing before it.
        let again: Vec<_> = pieces.iter().filter(|piece| times(piece) > 1).collect();
        assert_eq!((again[0], again.len()), (&pieces[2], 2), "{repository}: {pieces:?}");
        assert_eq!(again[0].1, 2 * PIECE, "{repository}");
        let asked = stage.proxy.seen().into_iter().filter(|seen| seen.path.contains(SESSION));
        assert_eq!(asked.filter(|seen| seen.method == "GET").count(), 1, "{repository}");
    }
}

#[test]
fn more_breaks_than_tries_are_survived_while_there_is_progress() {
    let mut stage = Stage::in_pieces("resumed/often");
    stage.options.timing.tries = 2;
    for _ in 0..3 {
        stage.proxy.fault("PATCH", 1, Fault::CutRequest(7)).fault("PATCH", 1, Fault::Late(0));
    }
    stage.pushes();
    stage = Stage::in_pieces("resumed/never");
    stage.proxy.fault("PATCH", usize::MAX, Fault::CutRequest(7));
    assert_eq!(stage.push().unwrap_err().code().name(), "registry-unreachable");
    assert_eq!(stage.pieces().len(), 4);
}

#[test]
fn an_upload_that_is_gone_is_begun_anew() {
    let unknown = r#"{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN"}]}"#;
    let has = |range: &str| Fault::Status(204, vec![("range", range.to_owned())], String::new());
    for (repository, told) in [
        ("anew/gone", Fault::Status(404, vec![], unknown.into())),
        ("anew/unclear", has("0-0")),
        ("anew/too-much", has("0-99999999999")),
        ("anew/no-range", Fault::Status(204, vec![], String::new())),
    ] {
        let stage = Stage::in_pieces(repository);
        stage.proxy.fault("PATCH", 2, Fault::Late(0)).fault("PATCH", 1, Fault::CutRequest(7));
        stage.proxy.fault("GET /v2/anew", 1, told);
        stage.pushes();
        let pieces = stage.pieces();
        let starts: Vec<usize> = pieces[..5].iter().map(|piece| piece.1).collect();
        assert_eq!(starts, [0, PIECE, 2 * PIECE, 0, PIECE], "{repository}: {pieces:?}");
        assert_ne!(pieces[0].0, pieces[3].0, "{repository}: another upload");
    }
}

#[test]
fn a_blob_whose_last_answer_was_lost_is_not_sent_again() {
    let stage = Stage::new("lost/answer");
    stage.proxy.fault("PUT", 1, Fault::LostAnswer);
    stage.pushes();
    let seen = stage.proxy.seen();
    let ends = seen.iter().filter_map(|seen| seen.path.split_once("digest=")).map(|(_, d)| d);
    let mut digests: Vec<&str> = ends.collect();
    let all = digests.len();
    digests.sort_unstable();
    digests.dedup();
    assert_eq!(digests.len(), all);
}

#[test]
fn pieces_are_as_large_as_the_registry_wants_them() {
    let stage = Stage::in_pieces("least/piece");
    let least = Fault::With("oci-chunk-min-length", "700000");
    stage.proxy.fault("POST", usize::MAX, least);
    stage.pushes();
    let seen = stage.proxy.seen();
    let ranges: Vec<&str> = seen.iter().filter_map(|s| s.content_range.as_deref()).collect();
    assert_eq!(ranges[..2], ["0-699999", "700000-1399999"]);
}

#[test]
fn a_registry_that_names_its_time_is_obeyed() {
    for status in [429, 503] {
        let later = |seconds: &str| {
            Fault::Status(status, vec![("retry-after", seconds.to_owned())], String::new())
        };
        let stage = Stage::new(&format!("later/{status}"));
        for path in ["uploads", "manifests"] {
            stage.proxy.calm();
            // Longer than a push waits: nobody is asked twice.
            stage.proxy.fault(path, usize::MAX, later("7"));
            let error = stage.push().unwrap_err();
            let PublishError::Source(source) = &error else { panic!("{error}") };
            let told = source.transient().and_then(|transient| transient.retry_after);
            assert_eq!(told.map(|told| told.as_secs()), Some(7), "{path}: {error}");
            assert_eq!(stage.proxy.count(path), 1, "{path}");
            let expected = "limits the rate of requests and asks to come again in 7 s";
            assert_eq!(error.to_string().ends_with(expected), status == 429, "{error}");
        }
        stage.proxy.calm();
        stage.proxy.fault("uploads", 1, later("0")).fault("manifests", 1, later("0"));
        stage.pushes();
    }
}

#[test]
fn credentials_do_not_go_where_an_upload_goes_on_elsewhere() {
    let stage = Stage::new("else/where");
    let other = Proxy::start(stage.registry.address());
    stage.proxy.want_tokens(Tokens::default());
    let elsewhere = Fault::Elsewhere(other.address().to_owned());
    stage.proxy.fault("POST", usize::MAX, elsewhere);
    stage.pushes();
    assert!(stage.proxy.seen().iter().any(|seen| seen.authorization.is_some()));
    let seen = other.seen();
    assert!(seen.iter().any(|seen| seen.method == "PUT"));
    assert!(seen.iter().all(|seen| seen.authorization.is_none()), "{seen:?}");
    // Nor do they come back with an upload that is led back.
    let stage = Stage::in_pieces("else/and-back");
    other.calm();
    other.limit_bodies(1 << 20);
    other.fault("PATCH", 1, Fault::Elsewhere(stage.proxy.address().to_owned()));
    stage.proxy.want_tokens(Tokens::default());
    stage.proxy.fault("POST", usize::MAX, Fault::Elsewhere(other.address().to_owned()));
    stage.pushes();
    let back: Vec<_> =
        stage.proxy.seen().into_iter().filter(|s| s.path.contains(SESSION)).collect();
    assert!(!back.is_empty() && back.iter().all(|s| s.authorization.is_none()), "{back:?}");
}

#[test]
fn a_token_that_expires_during_a_push_is_renewed() {
    let stage = Stage::in_pieces("tokens/short");
    stage.proxy.want_tokens(Tokens { uses: Some(2), ..Tokens::default() });
    stage.pushes();
    assert!(stage.proxy.count("/token") > 5);
}

#[test]
fn an_upload_without_a_place_or_in_the_clear_far_away_is_refused() {
    let place = |place: &str| vec![("location", place.to_owned())];
    for (headers, code) in [
        (vec![], "registry-error"),
        (place("http://far.invalid/v2/x?_state=secret"), "plain-http-refused"),
        (place("ftp://far.invalid/v2/x?_state=secret"), "redirect-invalid"),
    ] {
        let stage = Stage::new("refused/place");
        stage.proxy.fault("uploads", usize::MAX, Fault::Status(202, headers, String::new()));
        let error = stage.push().unwrap_err();
        assert_eq!(error.code().name(), code, "{error}");
        assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
    }
}

#[test]
fn a_success_by_any_name_is_one() {
    let stage = Stage::new("any/success");
    for status in [200, 204] {
        stage.proxy.fault("manifests", 1, Fault::Status(status, vec![], String::new()));
        stage.proxy.fault(SESSION, usize::MAX, Fault::Status(status, vec![], String::new()));
        stage.push().unwrap();
        stage.proxy.calm();
    }
}
