// SPDX-License-Identifier: MIT OR Apache-2.0

//! Names of images in registries: `host[:port]/repository[:tag][@digest]`
//! (OCI distribution spec v1.1, "Pulling manifests").

use std::fmt;
use std::str::FromStr;

use crate::Digest;
use crate::code::{Code, Coded};
use crate::codes;
use crate::redact::{has_user, redact_reference};

/// Why a reference with a user is refused: references are shown to everybody.
pub const USER: &str = "a user and a password belong in an auth file that only its owner can \
                        read (track.auth_file or --auth-file)";

/// The tag that a reference without one means, as everywhere.
const DEFAULT_TAG: &str = "latest";

/// Text that names no image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} does not name an image: {reason}")]
pub struct ReferenceError {
    /// The text, shortened.
    pub text: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl ReferenceError {
    /// Of this text, which is shortened and shown without secrets.
    pub fn new(text: &str, reason: &'static str) -> Self {
        Self { text: redact_reference(text).chars().take(200).collect(), reason }
    }
}

impl Coded for ReferenceError {
    fn code(&self) -> Code {
        codes::REFERENCE_INVALID
    }
}

/// An image in a registry. The host is always written out: an appliance must
/// not depend on a default registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    host: String,
    repository: String,
    tag: String,
    digest: Option<Digest>,
}

impl Reference {
    /// `host` or `host:port`, lower case.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The repository within the registry, such as `acme/edge`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag; `latest` where none was given.
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// The digest, where one was given: then the tag is only a comment.
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// Another tag or digest (`sha256:...`) of the same repository.
    ///
    /// # Errors
    /// [`ReferenceError`] for what is neither.
    pub fn sibling(&self, name: &str) -> Result<Self, ReferenceError> {
        let (host, repository) = (self.host.clone(), self.repository.clone());
        if let Ok(digest) = name.parse() {
            return Ok(Self {
                host,
                repository,
                tag: DEFAULT_TAG.to_owned(),
                digest: Some(digest),
            });
        }
        check_tag(name)?;
        Ok(Self { host, repository, tag: name.to_owned(), digest: None })
    }

    /// Host and repository, without tag or digest.
    pub fn full_repository(&self) -> String {
        format!("{}/{}", self.host, self.repository)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.digest {
            Some(digest) => write!(f, "{}/{}@{digest}", self.host, self.repository),
            None => write!(f, "{}/{}:{}", self.host, self.repository, self.tag),
        }
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let invalid = |reason| ReferenceError::new(text, reason);
        if has_user(text) {
            return Err(invalid(USER));
        }
        if text.contains("://") {
            return Err(invalid("write it without a scheme, as host/repository:tag"));
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => {
                let digest = digest.parse().map_err(|_| {
                    invalid("what follows @ is not a digest sha256:<64 hex digits>")
                })?;
                (rest, Some(digest))
            }
            None => (text, None),
        };
        let (host, path) =
            rest.split_once('/').ok_or_else(|| invalid("write it as host/repository:tag"))?;
        let (repository, tag) = match path.split_once(':') {
            Some((repository, tag)) => (repository, tag),
            None => (path, DEFAULT_TAG),
        };
        let host = host.to_ascii_lowercase();
        if !is_host(&host) {
            return Err(invalid(
                "it has to begin with a registry's host name, host/repository:tag",
            ));
        }
        if !is_repository(repository) {
            return Err(invalid(
                "a repository has lower-case letters, digits and single . _ - between them",
            ));
        }
        if !is_tag(tag) {
            return Err(invalid("a tag has up to 128 letters, digits and . _ -"));
        }
        let (host, repository) = docker_hub(host, repository);
        Ok(Self { host, repository, tag: tag.to_owned(), digest })
    }
}

/// Docker Hub goes by several names and has official images below `library/`.
fn docker_hub(host: String, repository: &str) -> (String, String) {
    if !matches!(host.as_str(), "docker.io" | "index.docker.io" | "registry-1.docker.io") {
        return (host, repository.to_owned());
    }
    let prefix = if repository.contains('/') { "" } else { "library/" };
    ("docker.io".to_owned(), format!("{prefix}{repository}"))
}

/// Whether `text` is a tag (OCI distribution spec, "Pulling manifests").
pub fn is_tag(text: &str) -> bool {
    let mut bytes = text.bytes();
    let first = bytes.next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_');
    first
        && text.len() <= 128
        && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

/// Refuses what is no tag.
///
/// # Errors
/// [`ReferenceError`].
pub fn check_tag(text: &str) -> Result<(), ReferenceError> {
    if is_tag(text) {
        return Ok(());
    }
    Err(ReferenceError::new(text, "a tag has up to 128 letters, digits and . _ -"))
}

/// Whether `text` may be the name of an image in an OCI layout (OCI image spec, "Annotations",
/// `org.opencontainers.image.ref.name`): a tag, or a full name with one.
pub fn is_ref_name(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric();
    let component = |part: &str| {
        let ends = part.bytes().next().is_some_and(plain) && part.bytes().last().is_some_and(plain);
        ends && part
            .bytes()
            .all(|b| plain(b) || matches!(b, b'-' | b'.' | b'_' | b':' | b'@' | b'+'))
    };
    is_tag(text) || text.len() <= 512 && text.split('/').all(component)
}

/// The tag in such a name, or all of it where it has none.
pub fn tag_of(name: &str) -> &str {
    name.rsplit_once(':').map(|(_, tag)| tag).filter(|tag| is_tag(tag)).unwrap_or(name)
}

/// Whether `text` is a repository name (same section): components of
/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*` joined by `/`.
pub fn is_repository(text: &str) -> bool {
    let component = |part: &str| {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let ends = part.bytes().next().is_some_and(plain) && part.bytes().last().is_some_and(plain);
        ends && part
            .split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            .all(|s| matches!(s, "" | "." | "_" | "__") || s.bytes().all(|b| b == b'-'))
    };
    text.len() <= 255 && text.split('/').all(component)
}

/// Whether `text` is a host that cannot be taken for the first part of a
/// repository: it has a dot, a port or brackets, or is `localhost`.
pub fn is_host(text: &str) -> bool {
    let (name, port) = split_port(text);
    if port.is_some_and(|port| port.parse::<u16>().is_err()) {
        return false;
    }
    if let Some(address) = name.strip_prefix('[').and_then(|n| n.strip_suffix(']')) {
        return address.parse::<core::net::Ipv6Addr>().is_ok();
    }
    let label = |l: &str| {
        !l.is_empty()
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !l.starts_with('-')
            && !l.ends_with('-')
    };
    let distinct = name.contains('.') || port.is_some() || name == "localhost";
    distinct && name.len() <= 253 && name.split('.').all(label)
}

/// Splits `host:port`; the brackets of an IPv6 address stay.
pub fn split_port(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        _ => (text, None),
    }
}

/// Whether `host` (with or without a port) is this machine itself.
pub fn is_loopback(host: &str) -> bool {
    let (name, _) = split_port(host);
    let bare = name.strip_prefix('[').and_then(|n| n.strip_suffix(']')).unwrap_or(name);
    bare.eq_ignore_ascii_case("localhost")
        || bare.parse::<core::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn references_are_read_as_people_write_them() {
        let digest = Digest::of(b"x");
        for (text, host, repository, tag) in [
            (
                "registry.example.com/acme/edge:stable",
                "registry.example.com",
                "acme/edge",
                "stable",
            ),
            ("localhost/a", "localhost", "a", "latest"),
            ("localhost:5000/a:1", "localhost:5000", "a", "1"),
            ("127.0.0.1:5000/a/b/c:V_1.0-x", "127.0.0.1:5000", "a/b/c", "V_1.0-x"),
            ("[::1]:5000/a:1", "[::1]:5000", "a", "1"),
            ("Registry.Example.COM/a__b/c--d.e:x", "registry.example.com", "a__b/c--d.e", "x"),
            ("docker.io/debian:12", "docker.io", "library/debian", "12"),
            ("registry-1.docker.io/acme/edge", "docker.io", "acme/edge", "latest"),
        ] {
            let reference: Reference = text.parse().unwrap();
            assert_eq!(
                (reference.host(), reference.repository(), reference.tag()),
                (host, repository, tag)
            );
            let again: Reference = reference.to_string().parse().unwrap();
            assert_eq!(again, reference);
        }
        let pinned: Reference = format!("r.example/a:1@{digest}").parse().unwrap();
        assert_eq!(pinned.digest(), Some(digest));
        assert_eq!(pinned.to_string(), format!("r.example/a@{digest}"));
        assert_eq!(pinned.full_repository(), "r.example/a");
    }

    #[test]
    fn a_sibling_is_another_tag_or_digest_of_the_same_repository() {
        let digest = Digest::of(b"x");
        let tagged: Reference = "r.example:1/a/b:stable".parse().unwrap();
        let pinned: Reference = format!("r.example:1/a/b@{digest}").parse().unwrap();
        for reference in [&tagged, &pinned] {
            assert_eq!(reference.sibling("x.sig").unwrap().to_string(), "r.example:1/a/b:x.sig");
            assert_eq!(
                reference.sibling(&digest.to_string()).unwrap(),
                pinned.sibling(&digest.to_string()).unwrap()
            );
            for bad in ["", "a/b", "../x", ".x", "a b", "a?x", "sha256:00", &"x".repeat(129)] {
                assert_eq!(reference.sibling(bad).unwrap_err().code().name(), "reference-invalid");
            }
        }
    }

    #[test]
    fn what_is_no_reference_is_refused() {
        for text in [
            "",
            "edge",
            "edge:stable",
            "acme/edge:stable",
            "https://r.example/a:1",
            "r.example/",
            "r.example/A:1",
            "r.example/a//b",
            "r.example/a..b:1",
            "r.example/a_-b:1",
            "r.example/-a:1",
            "r.example/a:",
            "r.example/a:-1",
            "r.example/a:1:2",
            "r.example/a@sha512:00",
            "r.example:port/a:1",
            "r.example:70000/a:1",
            "r..example/a:1",
            "user:secret@r.example/a:1",
            "[::g]/a:1",
            "r.example/a b:1",
        ] {
            let error = text.parse::<Reference>().unwrap_err();
            assert_eq!(error.code().name(), "reference-invalid", "{text}");
        }
        assert!(format!("r.example/a:{}", "x".repeat(129)).parse::<Reference>().is_err());
    }

    #[test]
    fn only_this_machine_is_loopback() {
        for host in ["localhost", "localhost:5000", "127.0.0.1:1", "127.9.9.9", "[::1]:80", "[::1]"]
        {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["localhost.example.com", "10.0.0.1:80", "[fe80::1]", "127.0.0.1.example.com"] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[a-zA-Z0-9.:/@\\[\\]_-]{0,60}|\\PC{0,60}") {
            if let Ok(reference) = text.parse::<Reference>() {
                let again: Reference = reference.to_string().parse().unwrap();
                prop_assert_eq!(again.host(), reference.host());
            }
        }
    }
}
