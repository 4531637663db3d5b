// SPDX-License-Identifier: MIT OR Apache-2.0

//! A host that follows a tag of a real registry, through a proxy, with policy documents beside it
//! that are written past flipside.

use flipside_image::Digest;
use flipside_publish::sign::{PrivateKey, simple};
use flipside_source::Signature;
use flipside_source::signatures::SIGNATURE_ANNOTATION;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::images::ImageBuilder;
use super::keys::install;
use super::program_host::ProgramHost;
use super::proxy::Proxy;
use super::put::Repository;
use super::registry_host::RegistryHost;

/// Runs version 1 from slot A; the tag has 1 as well.
pub struct PolicyHost {
    pub at: RegistryHost,
    pub proxy: Proxy,
    /// The digest of version 1.
    pub one: Digest,
}

/// So many days from now, as documents have it.
pub fn days(days: i64) -> String {
    let time = Timestamp::now() + SignedDuration::from_hours(24 * days);
    Timestamp::from_second(time.as_second()).unwrap().to_string()
}

/// A release of a document, with further fields.
pub fn release(version: &str, digest: &Digest, more: Value) -> Value {
    let mut release = json!({"version": version, "digest": digest});
    release.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
    release
}

/// A document that was issued so many hours ago.
pub fn document(hours: i64, releases: &[Value]) -> Value {
    let issued = Timestamp::now() - SignedDuration::from_hours(hours);
    let issued = Timestamp::from_second(issued.as_second()).unwrap().to_string();
    let version = "1";
    json!({"format_version": version, "issued": issued, "expires": days(30), "releases": releases})
}

impl PolicyHost {
    pub fn new() -> Self {
        let at = RegistryHost::new();
        let proxy = Proxy::start(at.registry.address());
        let one = at.publish(&ImageBuilder::new("1")).digest;
        let this = Self { at, proxy, one };
        this.host().follow(&format!("{}:stable", this.identity()), "");
        this
    }

    pub fn host(&self) -> &ProgramHost {
        &self.at.host
    }

    /// The repository, as the host calls it.
    pub fn identity(&self) -> String {
        format!("{}/os", self.proxy.address())
    }

    pub fn repository(&self) -> Repository {
        Repository::at(self.at.registry.address(), "os")
    }

    /// Lets the tag point to this version.
    pub fn publish(&self, version: &str) -> Digest {
        self.at.publish(&ImageBuilder::new(version)).digest
    }

    /// Pushes this version under a tag of its own.
    pub fn publish_aside(&self, version: &str) -> Digest {
        self.at.publish_as(version, &ImageBuilder::new(version)).digest
    }

    /// Puts a document beside the tag that the host follows.
    pub fn put(&self, document: &Value) -> Digest {
        self.put_as("stable.policy", document, Some("stable"))
    }

    /// Puts a document at the tag `name`, saying that it is about the tag `of`.
    pub fn put_as(&self, name: &str, document: &Value, of: Option<&str>) -> Digest {
        self.repository().document(name, document, of)
    }

    /// Puts a public key among the host's.
    pub fn trust(&self, place: &str, key: &PrivateKey) {
        install(&self.host().0.path(), place, key.public().to_pem());
    }

    /// Signs a manifest of the repository.
    pub fn sign(&self, key: &PrivateKey, subject: &Digest) {
        let Ok(Signature::Simple { payload, annotations }) = simple(key, subject, &self.identity())
        else {
            panic!("not simple");
        };
        self.repository().simple(subject, &[(&payload, &annotations[SIGNATURE_ANNOTATION])]);
    }

    /// `update` is refused like this, and leaves the host as it was, but for the document that it
    /// remembers.
    pub fn refuses(&self, status: i32, code: &str) -> String {
        let first = self.host().program(["update"]);
        assert_eq!(first.status.code(), Some(status), "{code}: {first:?}");
        self.host().refuses(status, code)
    }

    /// What the rule saw and said at a check, `allow`, a code or `not-asked`.
    pub fn explains(&self, rule: &str) -> (String, String) {
        let text = self.at.says(&["check", "--explain", "--json"]);
        let found: Value = serde_json::from_str(&text).unwrap();
        let rules = found["rules"].as_array().unwrap();
        let result = rules.iter().find(|result| result["rule"] == rule).unwrap();
        let said = if result["code"].is_null() { &result["decision"] } else { &result["code"] };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (text(&result["observed"]), text(said))
    }
}
