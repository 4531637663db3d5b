// SPDX-License-Identifier: MIT OR Apache-2.0

//! Whom to trust, and how to identify this host.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use super::certs_d::HostCertificates;
use super::{Options, SourceError};

/// How much of a file is looked at that is of no use, in bytes.
const HEAD: u64 = 64 << 10;

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
    let of_host = HostCertificates::find(&options.root, host)?.unwrap_or_default();
    let listed = options.ca.iter().map(|path| ("track.ca", options.root.path(path)));
    let authorities = of_host.authorities.into_iter().map(|path| ("the certificate", path));
    for (setting, path) in listed.chain(authorities) {
        let unusable = |reason: String| file_error(setting, &path, reason);
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
    let at = |path: &PathBuf| options.root.path(path);
    // One file may hold both.
    let own = options
        .client_cert
        .as_ref()
        .map(|path| (at(path), at(options.client_key.as_ref().unwrap_or(path))));
    let is_set = own.is_some();
    let Some((path, key_path)) = own.or(of_host.client).filter(|_| identified) else {
        return Ok(config.with_no_client_auth());
    };
    let (certificate, key) = match is_set {
        true => ("track.client_cert", "track.client_key"),
        false => ("the certificate", "the key"),
    };
    let chain = certificates(&path).map_err(|e| file_error(certificate, &path, e))?;
    let unusable = |reason: String| file_error(key, &key_path, reason);
    let key =
        PrivateKeyDer::from_pem_file(&key_path).map_err(|e| unusable(words(&e, &key_path)))?;
    config.with_client_auth_cert(chain, key).map_err(|e| unusable(e.to_string()))
}

fn builder() -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|e| words(&e, path))?;
    if certificates.is_empty() {
        return Err(words(&rustls::pki_types::pem::Error::NoItemsFound, path));
    }
    Ok(certificates)
}

/// Why a file is of no use, and what makes it so; never what is in it.
fn words(error: &rustls::pki_types::pem::Error, path: &Path) -> String {
    let mut head = Vec::new();
    if let Ok(file) = std::fs::File::open(path) {
        let _ = file.take(HEAD).read_to_end(&mut head);
    }
    let has = |text: &str| head.windows(text.len()).any(|window| window == text.as_bytes());
    let words = match error {
        rustls::pki_types::pem::Error::Io(error) => return error.to_string(),
        // The tag of a sequence with a long length (X.690, section 8.9).
        _ if head.starts_with(&[0x30, 0x82]) || head.starts_with(&[0x30, 0x81]) => {
            "it is DER; make PEM of it with `openssl x509 -inform der` or `openssl pkey -inform der`"
        }
        _ if has("BEGIN TRUSTED CERTIFICATE") => {
            "it is a TRUSTED CERTIFICATE, which only OpenSSL reads; make a plain one of it with \
             `openssl x509`"
        }
        _ if has("ENCRYPTED") => {
            "the key has a password, which nobody could type; take it off with `openssl pkey`"
        }
        rustls::pki_types::pem::Error::NoItemsFound => {
            "it holds nothing in PEM form that is of use"
        }
        _ => "it is not PEM",
    };
    words.to_owned()
}

fn file_error(setting: &'static str, path: &Path, reason: String) -> SourceError {
    SourceError::TlsFile { setting, path: path.to_owned(), reason }
}
