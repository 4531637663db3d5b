// SPDX-License-Identifier: MIT OR Apache-2.0

//! Nobody who hands something to a host decides how much memory that takes: the real program's
//! peak, with documents that take as much as they can.

use std::fmt::Write as _;
use std::sync::Arc;

use flipside_image::{
    ARTIFACT_TYPE, CONFIG_TYPE, Digest, INDEX_TYPE, MANIFEST_LIMIT, MANIFEST_TYPE,
};
use flipside_source::signatures::{BUNDLE_TYPE, SIMPLE_TYPE};
use serde_json::json;

use crate::support::graph_server::{Answer, GraphServer};
use crate::support::images::ImageBuilder;
use crate::support::keys::{install, new_key};
use crate::support::memory::{run, run_if_asked};
use crate::support::program_host::ProgramHost;
use crate::support::proxy::{Fault, Proxy};
use crate::support::put::{Repository, oci_manifest};
use crate::support::registry::Registry;
use crate::support::tokens::Tokens;

pub const LIMIT_KIB: u64 = 48 << 10;
const NAME: &str = "acme/memory";

#[test]
fn the_process_that_is_measured() {
    run_if_asked();
}

/// The program refuses with `code`, within its memory.
fn within(host: &ProgramHost, case: &str, arguments: &[&str], code: &str) {
    let run = run(host, "memory::the_process_that_is_measured", arguments);
    println!("{case}: {} KiB, [{}]", run.peak_kib, run.code);
    assert_eq!(run.code, code, "{case}: {}", run.text);
    assert!(run.peak_kib <= LIMIT_KIB, "{case}: {} KiB", run.peak_kib);
}

/// A host that follows a tag at a proxy. The registry is the same for all who have it.
fn host() -> (ProgramHost, Proxy, Arc<Registry>) {
    let registry = Registry::shared();
    let (host, proxy) = (ProgramHost::new(), Proxy::start(registry.address()));
    host.follow(&format!("{}/{NAME}:stable", proxy.address()), "");
    (host, proxy, registry)
}

fn ok(kind: &str, body: String) -> Fault {
    Fault::Status(200, vec![("content-type", kind.to_owned())], body)
}

fn absent() -> Fault {
    Fault::Status(404, vec![], String::new())
}

/// Pushes version 2 under `tag`.
fn push(tag: &str) {
    let layout = tempfile::tempdir().unwrap();
    ImageBuilder::new("2").write(layout.path());
    Registry::shared().push(layout.path(), &format!("{NAME}:{tag}"));
}

/// `HEAD ENTRY,ENTRY,... TAIL`, with as many entries as fit into `limit` bytes.
fn filled(head: &str, entry: impl Fn(usize) -> String, tail: &str, limit: u64) -> String {
    let mut text = head.to_owned();
    for nth in 0.. {
        let entry = entry(nth);
        if text.len() + entry.len() + 1 + tail.len() > limit as usize {
            break;
        }
        if nth > 0 {
            text.push(',');
        }
        text.push_str(&entry);
    }
    text.push_str(tail);
    text
}

/// Members of an object that takes many times the memory of its text.
fn unlike(nth: usize) -> String {
    format!("\"{nth:x}\":\"\"")
}

/// Ends of a document, of each kind that takes much memory in some reader.
fn lists(head: &str, name: &str, tail: &str, limit: u64) -> Vec<(&'static str, String)> {
    let list = format!("{head}\"{name}\":[");
    let tail = format!("]{tail}");
    let of = |entry: &str| filled(&list, |_| entry.to_owned(), &tail, limit);
    vec![
        ("numbers", of("0")),
        ("lists", of("[]")),
        ("objects", of("{}")),
        ("texts", of("\"a\"")),
        ("deep", format!("{head}\"{name}\":{}", "[".repeat(limit as usize - head.len() - 30))),
    ]
}

#[test]
fn of_a_hostile_index() {
    let (host, proxy, _registry) = host();
    let head = format!("{{\"schemaVersion\":2,\"mediaType\":\"{INDEX_TYPE}\",");
    for (case, body) in lists(&head, "manifests", "}", MANIFEST_LIMIT) {
        proxy.calm();
        proxy.fault(".policy", usize::MAX, absent());
        proxy.fault("manifests", usize::MAX, ok(INDEX_TYPE, body));
        within(&host, case, &["update"], "image-malformed");
    }
    // Whatever an index may have: a thousand entries, full of annotations.
    let digest = Digest::of(b"");
    let annotations = (0..100).fold(String::new(), |mut text, nth| {
        write!(text, "{}\"{nth:x}\":\"x\"", if nth > 0 { "," } else { "" }).unwrap();
        text
    });
    let entry = |_| {
        format!(
            "{{\"mediaType\":\"{MANIFEST_TYPE}\",\"digest\":\"{digest}\",\"size\":1,\
             \"platform\":{{\"architecture\":\"arm64\",\"os\":\"linux\"}},\
             \"annotations\":{{{annotations}}}}}"
        )
    };
    let full =
        format!("{head}\"manifests\":[{}", (0..1000).map(entry).collect::<Vec<_>>().join(","));
    let annotated = format!("{head}\"manifests\":[],\"annotations\":{{");
    for (case, body, code) in [
        ("full", format!("{full}]}}"), "architecture-missing"),
        ("annotations", filled(&annotated, unlike, "}}", MANIFEST_LIMIT), "image-malformed"),
        (
            "unknown",
            filled(&format!("{head}\"x\":{{"), unlike, "},\"manifests\":[]}", MANIFEST_LIMIT),
            "architecture-missing",
        ),
    ] {
        proxy.calm();
        proxy.fault(".policy", usize::MAX, absent());
        proxy.fault("manifests", usize::MAX, ok(INDEX_TYPE, body));
        within(&host, case, &["update"], code);
    }
}

#[test]
fn of_a_hostile_manifest() {
    let (host, proxy, _registry) = host();
    let digest = Digest::of(b"");
    let head = format!(
        "{{\"schemaVersion\":2,\"mediaType\":\"{MANIFEST_TYPE}\",\"artifactType\":\"{ARTIFACT_TYPE}\",\
         \"config\":{{\"mediaType\":\"{CONFIG_TYPE}\",\"digest\":\"{digest}\",\"size\":1}},"
    );
    let layer =
        format!("{{\"mediaType\":\"application/zstd\",\"digest\":\"{digest}\",\"size\":1}}");
    let mut bodies = lists(&head, "layers", "}", MANIFEST_LIMIT);
    let list = format!("{head}\"layers\":[");
    bodies.push(("layers", filled(&list, |_| layer.clone(), "]}", MANIFEST_LIMIT)));
    let annotated = format!("{head}\"layers\":[],\"annotations\":{{");
    bodies.push(("annotations", filled(&annotated, unlike, "}}", MANIFEST_LIMIT)));
    for (case, body) in bodies {
        proxy.calm();
        proxy.fault(".policy", usize::MAX, absent());
        proxy.fault("manifests", usize::MAX, ok(MANIFEST_TYPE, body));
        within(&host, case, &["update"], "image-malformed");
    }
    proxy.calm();
    proxy.fault(".policy", usize::MAX, absent());
    proxy.fault("manifests", usize::MAX, Fault::Flood(300 << 20));
    within(&host, "endless", &["update"], "image-over-limit");
}

/// Puts an image with this config, whatever it is.
fn put_image(config: &[u8]) {
    let repository = Repository::at(Registry::shared().address(), NAME);
    let config = repository.blob(CONFIG_TYPE, config);
    let layer = repository.blob("application/zstd", b"x");
    let mut manifest = oci_manifest(config, vec![layer]);
    manifest["artifactType"] = json!(ARTIFACT_TYPE);
    repository.manifest(Some("stable"), &manifest);
}

#[test]
fn of_a_hostile_config() {
    let (host, _proxy, _registry) = host();
    let head = "{\"format_version\":\"1\",\"product_info\":{\"id\":\"a\",\"name\":\"a\",\
        \"version\":\"2\",\"variant\":\"x86_64\"},\"payloads\":[";
    let limit = 16 << 20;
    let hash = format!("\"{}\"", "A".repeat(43));
    let system = |size: u64, chunk: u64| {
        format!("{{\"name\":\"system\",\"size\":{size},\"hash_chunk_size\":{chunk},")
    };
    let hashes = format!("{head}{}\"chunk_hashes_sha256\":[", system(1 << 40, 1 << 20));
    let frames =
        format!("{head}{}\"chunk_hashes_sha256\":null,\"frame_sizes\":[", system(1 << 40, 1 << 20));
    // Many payloads with as many frames as one may have.
    let many = format!(
        "{}\"chunk_hashes_sha256\":null,\"frame_sizes\":[{}0]}}",
        system(1, 1),
        "0,".repeat(500_000)
    );
    let components = head.replace("\"x86_64\"}", "\"x86_64\",\"components\":[");
    let components = components.trim_end_matches(",\"payloads\":[");
    let part = "{\"id\":\"\",\"version\":\"\"}";
    let mut bodies = lists(&head[..head.len() - "\"payloads\":[".len()], "payloads", "}", limit);
    bodies.extend([
        ("hashes", filled(&hashes, |_| hash.clone(), "]}]}", limit)),
        ("frames", filled(&frames, |_| "0".to_owned(), "]}]}", limit)),
        ("many frames", filled(head, |_| many.clone(), "]}", limit)),
        ("components", filled(components, |_| part.to_owned(), "]},\"payloads\":[]}", limit)),
    ]);
    for (case, body) in bodies {
        put_image(body.as_bytes());
        within(&host, case, &["update"], "image-malformed");
    }
    // The largest that is right. It is refused once it is known not to fit.
    let number = 200_000;
    let (hashes, sizes) = (vec![hash; number].join(","), vec!["9"; number].join(","));
    let size = number << 20;
    let right = format!(
        "{head}{}\"chunk_hashes_sha256\":[{hashes}],\"frame_sizes\":[{sizes}]}}]}}",
        system(size as u64, 1 << 20)
    );
    put_image(right.as_bytes());
    within(&host, "right", &["update"], "image-malformed");
    put_image(&vec![b' '; limit as usize + 1]);
    within(&host, "too large", &["update"], "image-over-limit");
}

#[test]
fn of_hostile_signatures() {
    let (host, proxy, _registry) = host();
    push("signed");
    host.follow(&format!("{}/{NAME}:signed", proxy.address()), "");
    install(&host.0.path(), "etc/release.pub", new_key().public().to_pem());
    let head = format!("{{\"schemaVersion\":2,\"mediaType\":\"{INDEX_TYPE}\",");
    let digest = Digest::of(b"");
    let entry = |nth: usize| {
        format!(
            "{{\"mediaType\":\"{MANIFEST_TYPE}\",\"artifactType\":\"{BUNDLE_TYPE}\",\
             \"digest\":\"{}\",\"size\":1}}",
            Digest::of(&nth.to_le_bytes())
        )
    };
    let listed = format!("{head}\"manifests\":[");
    let mut bodies = lists(&head, "manifests", "}", MANIFEST_LIMIT);
    bodies.push(("entries", filled(&listed, entry, "]}", MANIFEST_LIMIT)));
    for (case, body) in bodies {
        proxy.calm();
        proxy.fault("/referrers/", usize::MAX, ok(INDEX_TYPE, body));
        within(&host, case, &["update"], "signature-unavailable");
    }
    // Page after page of them, none of which is there.
    let page = (0..500).map(entry).collect::<Vec<_>>().join(",");
    let headers = vec![
        ("content-type", INDEX_TYPE.to_owned()),
        ("link", "</x?last=1>; rel=\"next\"".to_owned()),
    ];
    proxy.calm();
    proxy.fault(
        "/referrers/",
        usize::MAX,
        Fault::Status(200, headers, format!("{listed}{page}]}}")),
    );
    within(&host, "pages", &["update"], "signature-unavailable");

    let layer = format!("{{\"mediaType\":\"{SIMPLE_TYPE}\",\"digest\":\"{digest}\",\"size\":1}}");
    let mut bodies = lists("{", "layers", "}", MANIFEST_LIMIT);
    bodies.push(("layers", filled("{\"layers\":[", |_| layer.clone(), "]}", MANIFEST_LIMIT)));
    bodies.push(("annotations", filled("{\"annotations\":{", unlike, "}}", MANIFEST_LIMIT)));
    for (case, body) in bodies {
        proxy.calm();
        proxy.fault(".sig", usize::MAX, ok(MANIFEST_TYPE, body));
        within(&host, case, &["update"], "signature-invalid");
    }
}

#[test]
fn of_a_hostile_token_answer() {
    let (host, proxy, _registry) = host();
    let mut bodies = lists("{\"token\":\"\",", "x", "}", 256 << 10);
    bodies.push(("long", format!("{{\"token\":\"{}\"}}", "a".repeat(250 << 10))));
    for (case, body) in bodies {
        proxy.calm();
        proxy.want_tokens(Tokens::default());
        proxy.fault("/token", usize::MAX, ok("application/json", body));
        let code = if case == "long" { "registry-unreachable" } else { "registry-error" };
        let run = run(&host, "memory::the_process_that_is_measured", &["update"]);
        println!("{case}: {} KiB, {}", run.peak_kib, run.text);
        // What a server makes of a header of this length is its own matter.
        assert!(case == "long" || run.code == code, "{case}: {}", run.text);
        assert!(run.peak_kib <= LIMIT_KIB, "{case}: {} KiB", run.peak_kib);
    }
    proxy.calm();
    proxy.want_tokens(Tokens::default());
    proxy.fault("/token", usize::MAX, Fault::Flood(300 << 20));
    within(&host, "endless", &["update"], "image-over-limit");
}

#[test]
fn of_a_hostile_graph() {
    let (host, _proxy, _registry) = host();
    let server = GraphServer::start();
    host.set(&format!("track.graph = {:?}\n", server.url()));
    let node = "{\"version\":\"\",\"payload\":\"\"}";
    let metadata = "{\"nodes\":[{\"version\":\"\",\"payload\":\"\",\"metadata\":{";
    let mut bodies = lists("{", "nodes", "}", MANIFEST_LIMIT);
    bodies.extend([
        ("nodes", filled("{\"nodes\":[", |_| node.to_owned(), "]}", MANIFEST_LIMIT)),
        (
            "edges",
            filled("{\"nodes\":[],\"edges\":[", |_| "[0,0]".to_owned(), "]}", MANIFEST_LIMIT),
        ),
    ]);
    for (case, body) in bodies {
        server.says(Answer::Body(200, body));
        within(&host, case, &["update"], "graph-malformed");
    }
    server.says(Answer::Body(200, filled(metadata, unlike, "}}]}", MANIFEST_LIMIT)));
    within(&host, "metadata", &["update"], "graph-node-unknown");
    server.says(Answer::Endless);
    within(&host, "endless", &["update"], "image-over-limit");
}

#[test]
fn of_a_hostile_policy_document() {
    let (host, proxy, _registry) = host();
    push("document");
    host.follow(&format!("{}/{NAME}:document", proxy.address()), "");
    let repository = Repository::at(Registry::shared().address(), NAME);
    let limit = 1 << 20;
    let head = "{\"format_version\":\"1\",\"issued\":\"2026-01-01T00:00:00Z\",\
        \"expires\":\"2099-01-01T00:00:00Z\",";
    let release = |nth: usize| {
        format!("{{\"version\":\"{nth}\",\"digest\":\"{}\"}}", Digest::of(&nth.to_le_bytes()))
    };
    let mut bodies = lists(head, "releases", "}", limit);
    bodies.extend([
        ("releases", filled(&format!("{head}\"releases\":["), release, "]}", limit)),
        ("unknown", filled(&format!("{head}\"releases\":[],\"y\":{{"), unlike, "}}", limit)),
    ]);
    for (case, body) in bodies {
        use flipside_image::EMPTY_TYPE;
        use flipside_image::document::MEDIA_TYPE;
        let layer = repository.blob(MEDIA_TYPE, body.as_bytes());
        let mut manifest = oci_manifest(repository.blob(EMPTY_TYPE, b"{}"), vec![layer]);
        manifest["artifactType"] = json!(MEDIA_TYPE);
        repository.manifest(Some("document.policy"), &manifest);
        within(&host, case, &["update"], "policy-document-invalid");
    }
}

/// A header with a right sum (POSIX pax, "ustar Interchange Format").
fn tar_header(name: &str, kind: u8, size: &[u8]) -> Vec<u8> {
    let mut header = vec![0; 512];
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[124..124 + size.len()].copy_from_slice(size);
    header[148..156].fill(b' ');
    header[156] = kind;
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

#[test]
fn of_a_hostile_tar_header() {
    let (host, _proxy, _registry) = host();
    let huge = [&[0x80, 0, 0, 0][..], &[0xff; 8]].concat();
    let long = |kind| {
        let member = [tar_header("x", kind, b"00000200000\0"), vec![b'a'; 64 << 10]].concat();
        member.repeat(300)
    };
    let members = |name: &dyn Fn(usize) -> String| {
        (0..(1 << 16) + 1).flat_map(|n| tar_header(&name(n), b'0', b"00000000000\0")).collect()
    };
    let blobs = |nth: usize| format!("blobs/sha256/{}", Digest::of(&nth.to_le_bytes()).hex());
    let index = |nth: usize| format!("{nth}");
    let cases: [(&str, Vec<u8>); 6] = [
        ("a huge file", tar_header("index.json", b'0', &huge)),
        ("a huge name", tar_header("x", b'L', &huge)),
        ("long names", long(b'L')),
        ("long headers", long(b'x')),
        ("blobs", members(&blobs)),
        ("members", members(&index)),
    ];
    for (case, bytes) in cases {
        host.write("image.tar", &bytes);
        host.follow(&format!("oci-archive:{}", host.file("image.tar").display()), "");
        within(&host, case, &["update"], "layout-invalid");
    }
}

#[test]
fn of_a_hostile_auth_file() {
    let (host, proxy, _registry) = host();
    proxy.want_tokens(Tokens { basic: Some("nobody".to_owned()), ..Tokens::default() });
    let limit = 1 << 20;
    let mut bodies = lists("{", "x", "}", limit);
    for (case, head, member) in
        [("auths", "{\"auths\":{", "{}"), ("helpers", "{\"credHelpers\":{", "\"\"")]
    {
        let body = filled(head, |nth| format!("\"{nth:x}\":{member}"), "}}", limit);
        bodies.push((case, body));
    }
    for (case, body) in bodies {
        host.write("etc/flipside/auth.json", body);
        let refused = ["auths", "helpers", "deep"].contains(&case);
        let code = if refused { "credentials-unreadable" } else { "registry-unauthorized" };
        within(&host, case, &["update"], code);
    }
}
