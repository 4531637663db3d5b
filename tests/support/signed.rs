// SPDX-License-Identifier: MIT OR Apache-2.0

//! A host that follows a real registry, through a proxy that sees what it asks for, and has
//! keys.

use std::sync::Arc;

use base64::Engine as _;
use flipside_core::progress::Silent;
use flipside_image::Digest;
use flipside_publish::push::push;
use flipside_publish::sign::{PrivateKey, bundle, simple};
use flipside_source::Signature;
use flipside_source::signatures::SIGNATURE_ANNOTATION;

use super::images::{ImageBuilder, OsImage};
use super::keys::install;
use super::program_host::ProgramHost;
use super::proxy::Proxy;
use super::put::Repository;
use super::registry::Registry;

/// The host runs 1; `stable` is 2, which nobody has signed.
pub struct SignedHost {
    pub host: ProgramHost,
    pub registry: Arc<Registry>,
    pub proxy: Proxy,
    pub name: &'static str,
    /// What the tag points to.
    pub image: OsImage,
}

impl SignedHost {
    pub fn new(name: &'static str) -> Self {
        let host = ProgramHost::new();
        let registry = Registry::shared();
        let proxy = Proxy::start(registry.address());
        let image = host.0.publish(&ImageBuilder::new("2"));
        let stage = Self { host, registry, proxy, name, image };
        stage.push();
        stage.set("");
        stage
    }

    /// What a simple signature has to name.
    pub fn identity(&self) -> String {
        format!("{}/{}", self.proxy.address(), self.name)
    }

    /// Follows the tag, with further lines of settings.
    pub fn set(&self, more: &str) {
        self.host.follow(&format!("{}:stable", self.identity()), more);
    }

    /// Lets the tag point to `image`.
    pub fn publish(&mut self, image: &ImageBuilder) {
        self.image = self.host.0.publish(image);
        self.push();
    }

    fn push(&self) {
        let reference = self.registry.reference(&format!("{}:stable", self.name));
        push(&self.host.0.track, Some("stable"), &reference, &self.registry.options(), &Silent)
            .unwrap();
    }

    pub fn repository(&self) -> Repository {
        Repository::at(self.registry.address(), self.name)
    }

    /// Puts a public key among the host's, `etc/NAME.pub` or `usr/lib/NAME.pub`.
    pub fn trust(&self, place: &str, key: &PrivateKey) {
        install(&self.host.0.path(), place, key.public().to_pem());
    }

    /// Signs what the tag points to by simple signing.
    pub fn sign(&self, key: &PrivateKey) {
        self.put_simple(&self.image.digest, &[simple(key, &self.image.digest, &self.identity())]);
    }

    /// Signs `subject` with a bundle.
    pub fn sign_by_bundle(&self, key: &PrivateKey, subject: &Digest) {
        let Signature::Bundle { bundle, .. } = bundle(key, subject).unwrap() else { panic!() };
        let repository = self.repository();
        let listed = repository.bundle(subject, &bundle);
        repository.referrers(subject, &[listed]);
    }

    /// Puts these as the simple signatures of `subject`.
    pub fn put_simple(&self, subject: &Digest, signatures: &[Result<Signature, String>]) {
        let parts: Vec<_> = signatures
            .iter()
            .map(|signature| match signature.as_ref().unwrap() {
                Signature::Simple { payload, annotations } => {
                    (&payload[..], annotations[SIGNATURE_ANNOTATION].as_str())
                }
                _ => panic!("not simple"),
            })
            .collect();
        self.repository().simple(subject, &parts);
    }

    /// `update` is refused like this, and nothing but manifests and signatures was fetched (P3).
    pub fn refuses(&self, status: i32, code: &str) -> String {
        self.proxy.forget();
        let sentence = self.host.refuses(status, code);
        let image = &self.image.image;
        let mut blobs = vec![image.manifest.config.digest];
        blobs.extend(image.manifest.layers.iter().map(|layer| layer.digest));
        for blob in blobs {
            assert_eq!(self.proxy.count(&blob.to_string()), 0, "{code}: {:?}", self.proxy.seen());
        }
        sentence
    }
}

/// A signature over `payload`, whatever it says.
pub fn signed(key: &PrivateKey, payload: &[u8]) -> Result<Signature, String> {
    let signature = base64::engine::general_purpose::STANDARD.encode(key.sign(payload)?);
    let annotations = [(SIGNATURE_ANNOTATION.to_owned(), signature)].into();
    Ok(Signature::Simple { payload: payload.to_vec(), annotations })
}
