// SPDX-License-Identifier: MIT OR Apache-2.0

//! A referrers API (OCI distribution spec v1.1, "Listing referrers"), for registries that
//! have none: remembers what manifests name as their subject.

use flipside_image::Digest;
use hyper::Response;
use hyper::body::Bytes;
use serde_json::{Value, json};

use super::script::Script;

/// What refers to what.
#[derive(Clone, Debug, Default)]
pub struct Referrers {
    pub listed: Vec<(String, Value)>,
    /// How many a page lists; 0 is all.
    pub page: usize,
}

impl Referrers {
    /// Takes note of a manifest that was put, and gives its subject.
    pub fn note(&mut self, body: &[u8]) -> Option<String> {
        let manifest = serde_json::from_slice::<Value>(body).ok()?;
        let subject = manifest["subject"]["digest"].as_str()?;
        let digest = Digest::of(body).to_string();
        let kind = manifest.get("artifactType").unwrap_or(&manifest["config"]["mediaType"]);
        let entry = json!({
            "mediaType": manifest["mediaType"],
            "digest": digest,
            "size": body.len(),
            "artifactType": kind,
            "annotations": manifest.get("annotations").unwrap_or(&json!({})),
        });
        self.listed.retain(|(_, entry)| entry["digest"] != digest);
        self.listed.push((subject.to_owned(), entry));
        Some(subject.to_owned())
    }

    /// The answer to a request for referrers.
    pub fn answer(&self, path: &str) -> Option<Response<Script>> {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let (_, subject) = path.split_once("/referrers/")?;
        let of = |(of, entry): &(String, Value)| (of == subject).then(|| entry.clone());
        let mut entries: Vec<_> = self.listed.iter().filter_map(of).collect();
        let last = query.split('&').find_map(|pair| pair.strip_prefix("last="));
        entries.drain(..last.map_or(0, |last| last.parse().unwrap()));
        let start = self.listed.iter().filter(|(of, _)| of == subject).count() - entries.len();
        let more = self.page > 0 && entries.len() > self.page;
        entries.truncate(if self.page > 0 { self.page } else { usize::MAX });
        let kind = "application/vnd.oci.image.index.v1+json";
        let index = json!({"schemaVersion": 2, "mediaType": kind, "manifests": entries});
        let mut answer = Response::builder().header("content-type", kind);
        if more {
            let next = format!("<{path}?last={}>; rel=\"next\"", start + self.page);
            answer = answer.header("link", next);
        }
        Some(answer.body(Script::whole(Bytes::from(index.to_string()))).unwrap())
    }
}
