// SPDX-License-Identifier: MIT OR Apache-2.0

//! Whom to trust, and how to identify this host.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use super::{Options, SourceError};

/// A configuration that trusts nobody, for a client that speaks plain HTTP:
/// reading the system's authorities costs more than a whole check for updates.
pub(super) fn none() -> Result<ClientConfig, rustls::Error> {
    Ok(builder()?.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

/// The configuration that the options ask for; with this host's certificate where it is to be
/// `identified`. `host` is for errors only.
///
/// # Errors
/// [`SourceError::NoAuthorities`], [`SourceError::TlsFile`].
pub(super) fn configured(
    options: &Options,
    host: &str,
    identified: bool,
) -> Result<ClientConfig, SourceError> {
    let mut roots = RootCertStore::empty();
    // What the system has but cannot be read is left out, as OpenSSL does it.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    for path in &options.ca {
        let path = options.root.path(path);
        let unusable = |reason: String| file_error("track.ca", &path, reason);
        let certificates = certificates(&path).map_err(unusable)?;
        for certificate in certificates {
            roots.add(certificate).map_err(|e| unusable(e.to_string()))?;
        }
    }
    if roots.is_empty() {
        return Err(SourceError::NoAuthorities { host: host.to_owned() });
    }
    let failed =
        |e: rustls::Error| SourceError::Tls { host: host.to_owned(), reason: e.to_string() };
    let config = builder().map_err(failed)?.with_root_certificates(roots);
    let Some(path) = options.client_cert.as_ref().filter(|_| identified) else {
        return Ok(config.with_no_client_auth());
    };
    let path = options.root.path(path);
    let chain = certificates(&path).map_err(|e| file_error("track.client_cert", &path, e))?;
    // One file may hold both.
    let key_path =
        options.client_key.as_ref().map_or_else(|| path.clone(), |p| options.root.path(p));
    let unusable = |reason: String| file_error("track.client_key", &key_path, reason);
    let key = PrivateKeyDer::from_pem_file(&key_path).map_err(|e| unusable(words(&e)))?;
    config.with_client_auth_cert(chain, key).map_err(|e| unusable(e.to_string()))
}

fn builder() -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|e| words(&e))?;
    if certificates.is_empty() {
        return Err("it holds no certificate".to_owned());
    }
    Ok(certificates)
}

/// The parser's words without what it read.
fn words(error: &rustls::pki_types::pem::Error) -> String {
    use rustls::pki_types::pem::Error;
    match error {
        Error::Io(error) => error.to_string(),
        Error::NoItemsFound => "it holds nothing in PEM form that is of use".to_owned(),
        _ => "it is not PEM".to_owned(),
    }
}

fn file_error(setting: &'static str, path: &Path, reason: String) -> SourceError {
    SourceError::TlsFile { setting, path: path.to_owned(), reason }
}
