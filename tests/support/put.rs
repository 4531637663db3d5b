// SPDX-License-Identifier: MIT OR Apache-2.0

//! Blobs and manifests of any kind into a registry, past flipside (OCI distribution spec v1.1,
//! "Push").

use flipside_image::document::{MEDIA_TYPE, TAG_ANNOTATION};
use flipside_image::{Descriptor, Digest};
use flipside_source::signatures::{
    BUNDLE_TYPE, EMPTY_TYPE, SIGNATURE_ANNOTATION, SIMPLE_TYPE, referrers_tag, signature_tag,
};
use serde_json::{Value, json};

// One for each test: to make one takes longer than to use it.
thread_local! {
    static CONNECTION: (tokio::runtime::Runtime, reqwest::Client) = (
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap(),
        // A connection that was left alone may be closed by now.
        reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).build().unwrap(),
    );
}

/// A repository that is filled by hand.
pub struct Repository {
    /// `http://host:port/v2/name`.
    url: String,
}

impl Repository {
    /// The repository `name` at `address`.
    pub fn at(address: &str, name: &str) -> Self {
        Self { url: format!("http://{address}/v2/{name}") }
    }

    fn send(
        &self,
        method: reqwest::Method,
        url: String,
        kind: &str,
        body: &[u8],
    ) -> Option<String> {
        let answer = CONNECTION.with(|(runtime, client)| {
            let request = client.request(method, &url).header("content-type", kind);
            runtime.block_on(request.body(body.to_vec()).send()).unwrap()
        });
        assert!(answer.status().is_success(), "{url}: {}", answer.status());
        let location = answer.headers().get("location")?.to_str().unwrap().to_owned();
        Some(answer.url().join(&location).unwrap().to_string())
    }

    /// Puts a blob, and describes it.
    pub fn blob(&self, kind: &str, bytes: &[u8]) -> Value {
        let digest = Digest::of(bytes);
        let begin = format!("{}/blobs/uploads/", self.url);
        let place =
            self.send(reqwest::Method::POST, begin, "application/octet-stream", b"").unwrap();
        let sign = if place.contains('?') { '&' } else { '?' };
        let end = format!("{place}{sign}digest={digest}");
        self.send(reqwest::Method::PUT, end, "application/octet-stream", bytes);
        json!({"mediaType": kind, "digest": digest, "size": bytes.len()})
    }

    /// Puts a manifest under a tag, or under its digest.
    pub fn manifest(&self, tag: Option<&str>, manifest: &Value) -> Descriptor {
        let bytes = serde_json::to_vec(manifest).unwrap();
        let digest = Digest::of(&bytes);
        let name = tag.map_or_else(|| digest.to_string(), str::to_owned);
        let kind = manifest["mediaType"].as_str().unwrap();
        self.send(reqwest::Method::PUT, format!("{}/manifests/{name}", self.url), kind, &bytes);
        let size = bytes.len();
        serde_json::from_value(json!({"mediaType": kind, "digest": digest, "size": size})).unwrap()
    }

    /// Puts simple signatures, payload and signature, in the place of those that are there.
    pub fn simple(&self, subject: &Digest, signatures: &[(&[u8], &str)]) {
        let layers: Vec<_> = signatures
            .iter()
            .map(|(payload, signature)| {
                let mut layer = self.blob(SIMPLE_TYPE, payload);
                layer["annotations"] = json!({SIGNATURE_ANNOTATION: signature});
                layer
            })
            .collect();
        let config = self.blob("application/vnd.oci.image.config.v1+json", b"{}");
        self.manifest(Some(&signature_tag(subject)), &oci_manifest(config, layers));
    }

    /// Puts a bundle, in a manifest that names its subject.
    pub fn bundle(&self, subject: &Digest, bundle: &[u8]) -> Descriptor {
        let layer = self.blob(BUNDLE_TYPE, bundle);
        let mut manifest = oci_manifest(self.blob(EMPTY_TYPE, b"{}"), vec![layer]);
        manifest["artifactType"] = json!(BUNDLE_TYPE);
        let kind = "application/vnd.oci.image.manifest.v1+json";
        manifest["subject"] = json!({"mediaType": kind, "digest": subject, "size": 7});
        self.manifest(None, &manifest)
    }

    /// Puts the index that stands for the referrers API.
    pub fn referrers(&self, subject: &Digest, entries: &[Descriptor]) {
        let index = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": entries,
        });
        self.manifest(Some(&referrers_tag(subject)), &index);
    }

    /// Puts a policy document at the tag `name`, saying that it is about the tag `of`.
    pub fn document(&self, name: &str, document: &Value, of: Option<&str>) -> Digest {
        let layer = self.blob(MEDIA_TYPE, &serde_json::to_vec(document).unwrap());
        let mut manifest = oci_manifest(self.blob(EMPTY_TYPE, b"{}"), vec![layer]);
        manifest["artifactType"] = json!(MEDIA_TYPE);
        if let Some(of) = of {
            manifest["annotations"] = json!({TAG_ANNOTATION: of});
        }
        self.manifest(Some(name), &manifest).digest
    }
}

/// A manifest of these parts.
pub fn oci_manifest(config: Value, layers: Vec<Value>) -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config,
        "layers": layers,
    })
}
