// SPDX-License-Identifier: MIT OR Apache-2.0

//! Blobs and manifests on their way into a registry.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use flipside_image::reference::is_loopback;
use flipside_image::{Descriptor, Digest, ImageError, MANIFEST_TYPE, Manifest, ManifestOrIndex};
use flipside_source::proxy::Proxies;
use flipside_source::retry::{Failure, Tries};
use flipside_source::{
    HostCertificates, LayoutSource, LocalError, Options, Reference, Shown, Source, SourceError,
    USER_AGENT, log_in_to_push, requested,
};
use futures_util::Stream;
use oci_client::client::{Certificate, CertificateEncoding, Client, ClientConfig, ClientProtocol};
use oci_client::errors::OciDistributionError;
use oci_client::secrets::RegistryAuth;
use oci_client::{Reference as OciReference, RegistryOperation};
use reqwest::Url;

use super::push_error::{Known, failure_of, is_too_large};

/// How many bytes are read from a blob's file at a time.
const PIECE: usize = 1 << 20;
/// The same where something in front of the registry limits the size of bodies, each in a request of
/// its own. nginx takes 1 MiB where it is not told otherwise (`client_max_body_size`).
const SMALL_PIECE: usize = 512 << 10;
/// When a token is replaced. It is good for 60 seconds at least (distribution, "Token
/// Authentication Specification", `expires_in`).
const TOKEN_AGE: Duration = Duration::from_secs(50);

/// Puts the blobs of what `top` names in `layout`, and the manifests that an index lists; not the
/// manifest or index itself. Blobs that the registry has are not sent again.
///
/// # Errors
/// [`SourceError`]: the layout is damaged, or the registry refuses.
pub(super) fn put_images(
    reference: &Reference,
    options: &Options,
    layout: &LayoutSource,
    top: Digest,
) -> Result<(), SourceError> {
    let target = Target::new(reference, options)?;
    until_stopped(options, target.images(layout, top))
}

/// Puts small blobs, and a manifest of them under a tag or a digest.
pub(super) fn put(
    reference: &Reference,
    options: &Options,
    name: &str,
    manifest: &[u8],
    media_type: &'static str,
    blobs: &[&[u8]],
) -> Result<(), SourceError> {
    let target = Target::new(reference, options)?;
    until_stopped(options, async {
        target.authenticate().await?;
        for blob in blobs {
            target.repeat(async || target.bytes(blob).await).await?;
        }
        target.manifest(name, manifest.to_owned(), media_type).await
    })
}

/// A file in pieces of at most `length` bytes.
fn pieces<B: From<Vec<u8>>>(
    file: File,
    length: usize,
) -> impl Stream<Item = Result<B, OciDistributionError>> {
    futures_util::stream::unfold((file, length), async |(mut file, length)| {
        let mut piece = Vec::with_capacity(length);
        match (&mut file).take(length as u64).read_to_end(&mut piece) {
            Ok(0) => None,
            Ok(_) => Some((Ok(piece.into()), (file, length))),
            Err(error) => Some((Err(error.into()), (file, length))),
        }
    })
}

/// Runs `work` until it is done or the stop is requested.
fn until_stopped<T>(
    options: &Options,
    work: impl Future<Output = Result<T, SourceError>>,
) -> Result<T, SourceError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .map_err(SourceError::Runtime)?;
    let result = runtime.block_on(async {
        tokio::select! {
            biased;
            stopped = requested(&options.stop) => Err(stopped.into()),
            result = work => result,
        }
    });
    runtime.shutdown_background();
    result
}

/// A repository to push to.
struct Target<'a> {
    reference: &'a Reference,
    options: &'a Options,
    client: Client,
    repository: OciReference,
    /// When the token was given that is used now; `None` where there is none.
    token_since: Mutex<Option<Instant>>,
    known: Mutex<Known>,
    /// Whether a body was too large.
    needs_pieces: AtomicBool,
}

impl<'a> Target<'a> {
    fn new(reference: &'a Reference, options: &'a Options) -> Result<Self, SourceError> {
        let failed = |e| SourceError::Tls {
            host: reference.host().to_owned(),
            reason: failure_of(e, reference, &Known::default()).error.to_string(),
        };
        let proxy = proxy_for(reference, options);
        let config = client_config(reference, options, proxy.as_ref())?;
        let client = Client::try_from(config).map_err(failed)?;
        let repository = OciReference::with_tag(
            reference.host().to_owned(),
            reference.repository().to_owned(),
            reference.tag().to_owned(),
        );
        let (token_since, known) =
            (Mutex::new(None), Mutex::new(Known { proxy, ..Known::default() }));
        let needs_pieces = AtomicBool::new(false);
        Ok(Self { reference, options, client, repository, token_since, known, needs_pieces })
    }

    /// To be called first.
    async fn authenticate(&self) -> Result<(), SourceError> {
        self.repeat(async || self.log_in().await).await
    }

    /// Logs in and hands the client what came of it: by itself, the client would send a password to
    /// any token service that it is told of.
    async fn log_in(&self) -> Result<(), Failure> {
        let (auth, is_token) = match log_in_to_push(self.reference, self.options).await? {
            None => return Ok(()),
            Some((Shown::Password { username, password }, refusal)) => {
                self.note_shown(&password, refusal);
                (RegistryAuth::Basic(username, password), false)
            }
            Some((Shown::Token(token), refusal)) => {
                self.note_shown(&token, refusal);
                (RegistryAuth::Bearer(token), true)
            }
        };
        for operation in [RegistryOperation::Push, RegistryOperation::Pull] {
            let logged_in = self.client.auth(&self.repository, &auth, operation).await;
            logged_in.map_err(|e| self.failure(e))?;
        }
        self.note_token(is_token.then(Instant::now));
        Ok(())
    }

    fn note_shown(&self, secret: &str, refusal: String) {
        let mut known = self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        known.secrets.push(secret.to_owned());
        known.refusal = refusal;
    }

    fn failure(&self, error: OciDistributionError) -> Failure {
        let known = self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        failure_of(error, self.reference, &known)
    }

    fn note_token(&self, since: Option<Instant>) {
        *self.token_since.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = since;
    }

    /// Whether a step of more than a moment could outlast the token.
    fn is_token_old(&self) -> bool {
        let since = *self.token_since.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        since.is_some_and(|since| since.elapsed() > TOKEN_AGE)
    }

    /// Everything but the tag.
    async fn images(&self, layout: &LayoutSource, top: Digest) -> Result<(), SourceError> {
        self.authenticate().await?;
        let bytes = layout.manifest(&top)?;
        match ManifestOrIndex::parse(&bytes)? {
            ManifestOrIndex::Manifest(manifest) => self.blobs(layout, &manifest).await,
            ManifestOrIndex::Index(index) => {
                for entry in &index.manifests {
                    let bytes = layout.manifest(&entry.digest)?;
                    self.blobs(layout, &Manifest::parse(&bytes)?).await?;
                    self.manifest(&entry.digest.to_string(), bytes, MANIFEST_TYPE).await?;
                }
                Ok(())
            }
        }
    }

    async fn blobs(&self, layout: &LayoutSource, manifest: &Manifest) -> Result<(), SourceError> {
        let mut sent = BTreeSet::new();
        for blob in std::iter::once(&manifest.config).chain(&manifest.layers) {
            if sent.insert(blob.digest) {
                let path = layout.directory().join("blobs/sha256").join(blob.digest.hex());
                self.repeat(async || self.blob(&path, blob).await).await?;
            }
        }
        Ok(())
    }

    async fn blob(&self, path: &Path, blob: &Descriptor) -> Result<(), Failure> {
        let failed = |e| self.failure(e);
        let digest = blob.digest.to_string();
        if self.client.blob_exists(&self.repository, &digest).await.map_err(failed)? {
            return Ok(());
        }
        let unreadable = |source| LocalError::File { path: path.to_owned(), source };
        let file = File::open(path).map_err(unreadable).map_err(SourceError::from)?;
        let size = file.metadata().map_err(unreadable).map_err(SourceError::from)?.len();
        if size != blob.size {
            let what = format!("{} has {size} bytes, not {}", path.display(), blob.size);
            return Err(SourceError::from(ImageError::Inconsistent { what }).into());
        }
        if size <= SMALL_PIECE as u64 || !self.needs_pieces.load(Ordering::Relaxed) {
            // The registry hashes what it receives and refuses anything else.
            let whole = pieces(file, PIECE);
            let sent = self.client.push_blob_stream(&self.repository, whole, &digest, Some(size));
            match sent.await {
                Err(error) if is_too_large(&error) => {
                    self.needs_pieces.store(true, Ordering::Relaxed);
                }
                sent => return sent.map(|_| ()).map_err(failed),
            }
        }
        let file = File::open(path).map_err(unreadable).map_err(SourceError::from)?;
        let sent = self
            .client
            .push_blob_stream_chunked(&self.repository, pieces(file, SMALL_PIECE))
            .await
            .map_err(failed)?;
        match sent.blob_digest == digest {
            true => Ok(()),
            false => {
                let what = format!("{} was changed while it was sent", path.display());
                Err(SourceError::from(ImageError::Inconsistent { what }).into())
            }
        }
    }

    /// A small blob.
    async fn bytes(&self, bytes: &[u8]) -> Result<(), Failure> {
        let failed = |e| self.failure(e);
        let digest = Digest::of(bytes).to_string();
        if self.client.blob_exists(&self.repository, &digest).await.map_err(failed)? {
            return Ok(());
        }
        let piece = futures_util::stream::iter([Ok(bytes.to_owned().into())]);
        let size = Some(bytes.len() as u64);
        let sent = self.client.push_blob_stream(&self.repository, piece, &digest, size);
        sent.await.map(|_| ()).map_err(failed)
    }

    /// Puts a manifest under a tag or a digest.
    async fn manifest(
        &self,
        name: &str,
        bytes: Vec<u8>,
        media_type: &'static str,
    ) -> Result<(), SourceError> {
        // A digest goes in as a tag as well: the client ends the process where a
        // registry answers the PUT of a reference with a digest without a Location.
        let reference = OciReference::with_tag(
            self.reference.host().to_owned(),
            self.reference.repository().to_owned(),
            name.to_owned(),
        );
        self.repeat(async || {
            let media_type = reqwest::header::HeaderValue::from_static(media_type);
            self.client
                .push_manifest_raw(&reference, bytes.clone(), media_type)
                .await
                .map(|_| ())
                .map_err(|e| self.failure(e))
        })
        .await
    }

    async fn repeat(
        &self,
        mut step: impl AsyncFnMut() -> Result<(), Failure>,
    ) -> Result<(), SourceError> {
        let mut tries = Tries::new(self.options.timing);
        loop {
            let done = match self.is_token_old() {
                true => self.log_in().await,
                false => Ok(()),
            };
            let done = match done {
                Ok(()) => step().await,
                failed => failed,
            };
            match done {
                Ok(()) => return Ok(()),
                Err(failure) => tokio::time::sleep(tries.next(failure)?).await,
            }
        }
    }
}

/// Whether a registry is spoken to without TLS.
fn is_plain(reference: &Reference, options: &Options) -> bool {
    options.lists_plain_http(reference.host()) || is_loopback(reference.host())
}

fn proxy_for(reference: &Reference, options: &Options) -> Option<Url> {
    let scheme = if is_plain(reference, options) { "http" } else { "https" };
    let url = Url::parse(&format!("{scheme}://{}/", reference.host())).ok()?;
    Proxies::new(options, &|name| std::env::var_os(name)).find(&url).cloned()
}

fn client_config(
    reference: &Reference,
    options: &Options,
    proxy: Option<&Url>,
) -> Result<ClientConfig, SourceError> {
    let host = reference.host();
    let protocol =
        if is_plain(reference, options) { ClientProtocol::Http } else { ClientProtocol::Https };
    let mut authorities = Vec::new();
    let of_host = HostCertificates::find(&options.root, host)?.unwrap_or_default();
    let listed = options.ca.iter().map(|path| options.root.path(path));
    for path in listed.chain(of_host.authorities) {
        let failed = |e: std::io::Error| SourceError::TlsFile {
            setting: "track.ca",
            path: path.clone(),
            reason: e.to_string(),
        };
        let data = std::fs::read(&path).map_err(failed)?;
        authorities.push(Certificate { encoding: CertificateEncoding::Pem, data });
    }
    // The proxies of the environment are taken by themselves. To keep away from them there
    // has to be another proxy, and an exception from it for all names and addresses.
    let (proxy, except) = match proxy {
        Some(proxy) => (proxy.to_string(), None),
        None => ("http://127.0.0.1:9".to_owned(), Some("*,0.0.0.0/0,::/0".to_owned())),
    };
    Ok(ClientConfig {
        protocol,
        use_monolithic_push: true,
        extra_root_certificates: authorities,
        read_timeout: Some(options.timing.stall),
        connect_timeout: Some(options.timing.connect),
        user_agent: USER_AGENT,
        http_proxy: Some(proxy.clone()),
        https_proxy: Some(proxy),
        no_proxy: except,
        ..ClientConfig::default()
    })
}
