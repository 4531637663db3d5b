// SPDX-License-Identifier: MIT OR Apache-2.0

//! Certificates of our own: good ones, expired ones, for others, for clients.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use tokio_rustls::rustls::{RootCertStore, ServerConfig, server::WebPkiClientVerifier};

/// An authority that signs for whom it is told.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, in PEM.
pub struct Certificate {
    pub chain: String,
    pub key: String,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// The authority's own certificate, as `track.ca` takes it.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// The same in DER.
    pub fn der(&self) -> Vec<u8> {
        self.0.der().to_vec()
    }

    /// The authority in the place of a server.
    pub fn as_server(&self) -> Certificate {
        Certificate { chain: self.pem(), key: self.0.key().serialize_pem() }
    }

    /// For `name`, good from the first day of one year to that of another.
    pub fn certificate(&self, name: &str, from: i32, until: i32) -> Certificate {
        self.certificate_of(vec![name.to_owned()], from, until)
    }

    /// The same with a common name alone, as of old.
    pub fn certificate_without_names(&self) -> Certificate {
        self.certificate_of(vec![], 2020, 2100)
    }

    fn certificate_of(&self, names: Vec<String>, from: i32, until: i32) -> Certificate {
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = date_time_ymd(from, 1, 1);
        params.not_after = date_time_ymd(until, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Certificate { chain: certificate.pem(), key: key.serialize_pem() }
    }
}

impl Certificate {
    /// A server's side; `clients` have to show a certificate of that authority.
    pub fn server(&self, clients: Option<&Authority>) -> ServerConfig {
        self.serving(clients, true)
    }

    /// The same for a server that asks for a certificate and is content without one.
    pub fn server_that_asks(&self, clients: &Authority) -> ServerConfig {
        self.serving(Some(clients), false)
    }

    fn serving(&self, clients: Option<&Authority>, is_required: bool) -> ServerConfig {
        use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
        let chain = CertificateDer::pem_slice_iter(self.chain.as_bytes()).map(Result::unwrap);
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap();
        let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                roots.add(authority.0.der().clone()).unwrap();
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                let verifier =
                    if is_required { verifier } else { verifier.allow_unauthenticated() };
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        builder.with_single_cert(chain.collect(), key).unwrap()
    }
}
