// SPDX-License-Identifier: MIT OR Apache-2.0

//! Why an image could not be had.
//!
//! No variant holds a URL: queries of signed URLs, user names in URLs and
//! tokens must never reach a log. Hosts are `host` or `host:port`.

use std::path::PathBuf;
use std::time::Duration;

use flipside_core::blob_source::FetchError;
use flipside_core::cancel::Stopped;
use flipside_image::code::{Code, Coded, Transient};
use flipside_image::{Digest, ImageError};

use super::{LocalError, ReferenceError};
use crate::codes;

/// Why a source did not give what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// What came is not what was asked for, or no OS image.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The run was asked to stop.
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// Text that names no image.
    #[error(transparent)]
    ReferenceInvalid(#[from] ReferenceError),
    /// A tag that the registry does not have.
    #[error("registry {host} has no tag {tag} in {repository}{reason}")]
    TagNotFound {
        /// The registry.
        host: String,
        /// The repository there.
        repository: String,
        /// The tag.
        tag: String,
        /// In brackets, the registry's words, where they say more.
        reason: String,
    },
    /// A tag that no mirror has, of a registry that cannot be reached: why it cannot.
    #[error("{0}, and none of its mirrors has the tag")]
    NotAtMirrors(Box<SourceError>),
    /// A manifest that the registry does not have.
    #[error("registry {host} has no manifest {digest} in {repository}")]
    ManifestNotFound {
        /// The registry.
        host: String,
        /// The repository there.
        repository: String,
        /// The manifest.
        digest: Digest,
    },
    /// A blob that the registry does not have.
    #[error("registry {host} has no blob {digest} in {repository}")]
    BlobNotFound {
        /// The registry.
        host: String,
        /// The repository there.
        repository: String,
        /// The blob.
        digest: Digest,
    },
    /// More signatures than anybody needs.
    #[error("{place} has more signatures for {} than flipside looks at", subject.short())]
    TooManySignatures {
        /// The repository.
        place: String,
        /// What they are for.
        subject: Digest,
    },
    /// A host name without an address.
    #[error("cannot find the address of {host}: {reason}")]
    UnknownHost {
        /// The host.
        host: String,
        /// The resolver's words.
        reason: String,
    },
    /// Nobody answers, or somebody stopped answering.
    #[error("cannot reach {host}: {reason}")]
    Unreachable {
        /// The host.
        host: String,
        /// Refused, timed out, reset.
        reason: String,
    },
    /// A certificate after its time.
    #[error("the TLS certificate of {host} has expired{when}: renew it, or set this host's clock")]
    CertificateExpired {
        /// The host.
        host: String,
        /// In brackets, when that was, and what the clock says.
        when: String,
    },
    /// A certificate before its time: mostly a host without a clock.
    #[error("the TLS certificate of {host} is not valid yet{when}: set this host's clock, or wait")]
    CertificateNotYetValid {
        /// The host.
        host: String,
        /// In brackets, when it will be, and what the clock says.
        when: String,
    },
    /// A certificate of an authority that this host does not trust.
    #[error("the TLS certificate of {host} cannot be trusted: {reason}")]
    CertificateUntrusted {
        /// The host.
        host: String,
        /// The verifier's words.
        reason: String,
    },
    /// A certificate for somebody else.
    #[error("the TLS certificate of {host} is {names}")]
    CertificateName {
        /// The host.
        host: String,
        /// For whom it is, or why it is for nobody, and what to do.
        names: String,
    },
    /// Any other failure of TLS.
    #[error("cannot speak TLS with {host}: {reason}")]
    Tls {
        /// The host.
        host: String,
        /// The library's words.
        reason: String,
    },
    /// No authority to check certificates by.
    #[error(
        "cannot check the TLS certificate of {host}: this host has no CA certificates \
         (install ca-certificates or name a file with track.ca)"
    )]
    NoAuthorities {
        /// The host.
        host: String,
    },
    /// A PEM file that cannot be used.
    #[error("cannot use {setting} {path}: {reason}", path = path.display())]
    TlsFile {
        /// The setting that names it.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// Credentials are missing or were refused.
    #[error("{host} asks for other credentials: {reason}")]
    Unauthorized {
        /// The registry or its token service.
        host: String,
        /// What was tried.
        reason: String,
    },
    /// A token service that has nothing to do with the registry wants its credentials.
    #[error(
        "{host} names the token service {realm}, which may not have the credentials from {origin}; \
         if it is to have them, list it in track.token_realms"
    )]
    TokenRealmRefused {
        /// The registry.
        host: String,
        /// The token service, `host[:port]`.
        realm: String,
        /// Where the credentials are from.
        origin: String,
    },
    /// The credentials do not reach this far.
    #[error("{host} denies access to {object}: {reason}")]
    Forbidden {
        /// The registry or its token service.
        host: String,
        /// What was asked for.
        object: String,
        /// Its words, or whose credentials were used.
        reason: String,
    },
    /// Too many requests, also after waiting.
    #[error("{host} limits the rate of requests{}", again(.seconds))]
    RateLimited {
        /// The registry or its token service.
        host: String,
        /// After how many seconds it wants to be asked again.
        seconds: Option<u64>,
    },
    /// An answer that makes no sense or that reports a failure.
    #[error("{host} answered {answer}")]
    Registry {
        /// The registry or its token service.
        host: String,
        /// The status and the words with it.
        answer: String,
    },
    /// An answer of somebody else, such as the page of a network that wants a person to log in.
    #[error(
        "{host} answered {answer} where a registry was expected: log in to this network, or check \
         the proxy and the registry's name"
    )]
    NotARegistry {
        /// Who answered.
        host: String,
        /// The status, and what came with it.
        answer: String,
    },
    /// A server in trouble, also after several tries.
    #[error("{host} answered {answer}")]
    Unavailable {
        /// The registry or its token service.
        host: String,
        /// The status and the words with it.
        answer: String,
        /// How long it wants to be left alone.
        wait: Option<Duration>,
    },
    /// Redirects without an end.
    #[error("{host} redirects without an end")]
    RedirectLoop {
        /// The host that was asked first.
        host: String,
    },
    /// A redirect that cannot be followed.
    #[error("{host} redirects to a place that cannot be followed: {reason}")]
    RedirectInvalid {
        /// The host that was asked first.
        host: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Plain HTTP where nothing allows it.
    #[error("{host} requires plain HTTP, which track.plain_http has to allow")]
    PlainHttpRefused {
        /// The host that would be spoken to in the clear.
        host: String,
    },
    /// A redirect to plain HTTP where nothing allows that.
    #[error(
        "{from} redirects to {host} in plain HTTP: log in to this network if that is its login \
         page, or list {host} in track.plain_http"
    )]
    RedirectToPlainHttp {
        /// The host that was asked.
        from: String,
        /// The host that would be spoken to in the clear.
        host: String,
    },
    /// An update graph server that is down.
    #[error("cannot ask the update graph server {host}: {reason}")]
    GraphUnreachable {
        /// The server.
        host: String,
        /// How it does not answer.
        reason: String,
        /// How long it wants to be left alone.
        wait: Option<Duration>,
    },
    /// An update graph that its server does not give.
    #[error("the update graph server {host} answered {answer}")]
    GraphRefused {
        /// The server.
        host: String,
        /// The status, and the kind and value of the error.
        answer: String,
    },
    /// An answer that is no update graph.
    #[error("the answer of {host} is no update graph: {what}")]
    GraphMalformed {
        /// The server.
        host: String,
        /// What is wrong with it.
        what: String,
    },
    /// A body that kept breaking off.
    #[error("{host} broke off {what}")]
    Truncated {
        /// The host.
        host: String,
        /// What was fetched, how much of it came, and how it broke off.
        what: String,
    },
    /// The payloads of an image took too long.
    #[error(
        "{host} and its mirrors have not given all of the image in {limit:?} (track.time_limit); \
         the next run goes on from here"
    )]
    TimeLimit {
        /// The registry.
        host: String,
        /// How long they may take.
        limit: Duration,
    },
    /// Credentials that stand somewhere but cannot be read.
    #[error("cannot read credentials from {path}: {reason}", path = path.display())]
    CredentialsUnreadable {
        /// The file.
        path: PathBuf,
        /// Why not; never its content.
        reason: String,
    },
    /// A credential helper that did not do its work.
    #[error("credential helper {helper} failed: {reason}")]
    HelperFailed {
        /// The program.
        helper: String,
        /// How, with what it wrote to stderr; never its answer.
        reason: String,
    },
    /// No thread or no event queue to be had.
    #[error("cannot start the network threads: {0}")]
    Runtime(std::io::Error),
    /// A layout directory or an archive that did not give what it was asked for.
    #[error(transparent)]
    Local(#[from] LocalError),
}

fn again(seconds: &Option<u64>) -> String {
    seconds.map(|s| format!(" and asks to come again in {s} s")).unwrap_or_default()
}

impl From<SourceError> for FetchError {
    fn from(error: SourceError) -> Self {
        match error {
            SourceError::Stopped(stopped) => Self::Stopped(stopped),
            error => Self::failed(error),
        }
    }
}

impl SourceError {
    /// Whether only a wish to stop ended it.
    pub fn is_stopped(&self) -> bool {
        matches!(self, Self::Stopped(_))
    }

    /// Whether an update waits for it and nothing is wrong: a graph server that is down.
    pub fn is_deferral(&self) -> bool {
        matches!(self, Self::Stopped(_) | Self::GraphUnreachable { .. })
    }
}

impl Coded for SourceError {
    fn code(&self) -> Code {
        match self {
            Self::Image(error) => error.code(),
            Self::Stopped(_) => codes::STOPPED,
            Self::ReferenceInvalid(error) => error.code(),
            Self::TagNotFound { .. } => codes::TAG_NOT_FOUND,
            Self::NotAtMirrors(error) => error.code(),
            Self::ManifestNotFound { .. } | Self::BlobNotFound { .. } => codes::BLOB_NOT_FOUND,
            Self::TooManySignatures { .. } => codes::SIGNATURES_OVER_LIMIT,
            Self::UnknownHost { .. } => codes::REGISTRY_UNKNOWN_HOST,
            Self::Unreachable { .. } => codes::REGISTRY_UNREACHABLE,
            Self::CertificateExpired { .. } => codes::TLS_CERTIFICATE_EXPIRED,
            Self::CertificateNotYetValid { .. } => codes::TLS_CERTIFICATE_NOT_YET_VALID,
            Self::CertificateUntrusted { .. } => codes::TLS_UNTRUSTED,
            Self::CertificateName { .. } => codes::TLS_WRONG_NAME,
            Self::Tls { .. } => codes::TLS_FAILED,
            Self::NoAuthorities { .. } => codes::TLS_NO_AUTHORITIES,
            Self::TlsFile { .. } => codes::TLS_FILE_UNUSABLE,
            Self::Unauthorized { .. } => codes::REGISTRY_UNAUTHORIZED,
            Self::TokenRealmRefused { .. } => codes::TOKEN_REALM_REFUSED,
            Self::Forbidden { .. } => codes::REGISTRY_FORBIDDEN,
            Self::RateLimited { .. } => codes::REGISTRY_RATE_LIMITED,
            Self::Registry { .. } | Self::NotARegistry { .. } | Self::Unavailable { .. } => {
                codes::REGISTRY_ERROR
            }
            Self::RedirectLoop { .. } | Self::RedirectInvalid { .. } => codes::REDIRECT_INVALID,
            Self::PlainHttpRefused { .. } | Self::RedirectToPlainHttp { .. } => {
                codes::PLAIN_HTTP_REFUSED
            }
            Self::GraphUnreachable { .. } => codes::GRAPH_UNREACHABLE,
            Self::GraphRefused { .. } => codes::GRAPH_REFUSED,
            Self::GraphMalformed { .. } => codes::GRAPH_MALFORMED,
            Self::Truncated { .. } => codes::TRANSFER_TRUNCATED,
            Self::TimeLimit { .. } => codes::FETCH_TIME_LIMIT,
            Self::CredentialsUnreadable { .. } => codes::CREDENTIALS_UNREADABLE,
            Self::HelperFailed { .. } => codes::CREDENTIAL_HELPER_FAILED,
            Self::Runtime(_) => codes::RESOURCES_EXHAUSTED,
            Self::Local(error) => error.code(),
        }
    }

    fn transient(&self) -> Option<Transient> {
        let retry_after = match self {
            Self::UnknownHost { .. }
            | Self::Unreachable { .. }
            | Self::NotARegistry { .. }
            | Self::Truncated { .. }
            | Self::TimeLimit { .. } => None,
            Self::NotAtMirrors(error) => return error.transient(),
            Self::RateLimited { seconds, .. } => seconds.map(Duration::from_secs),
            Self::Unavailable { wait, .. } | Self::GraphUnreachable { wait, .. } => *wait,
            _ => return None,
        };
        Some(Transient { retry_after })
    }
}
