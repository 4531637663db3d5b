// SPDX-License-Identifier: MIT OR Apache-2.0

//! Where an image is, as people write it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use flipside_image::Digest;
use flipside_image::reference::{is_ref_name, is_tag};

use super::{Reference, ReferenceError, SourceError};

/// A registry reference, `oci:DIR[:TAG]` or `oci-archive:FILE[:TAG]`, the
/// notation of containers-transports(5); also `oci:DIR@sha256:…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// In a registry.
    Registry(Reference),
    /// In an OCI layout directory.
    Layout {
        /// The directory.
        directory: PathBuf,
        /// The name (`org.opencontainers.image.ref.name`), its tag or the digest; without one the
        /// layout has to hold a single image.
        tag: Option<String>,
    },
    /// In a tar file of an OCI layout.
    Archive {
        /// The file.
        file: PathBuf,
        /// As for a layout.
        tag: Option<String>,
    },
}

impl FromStr for Location {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Self, SourceError> {
        if let Some(rest) = text.strip_prefix("oci-archive:") {
            let (file, tag) = path_and_tag(text, rest)?;
            return Ok(Self::Archive { file, tag });
        }
        // A registry called `oci` would be written `oci:5000/…`; such a host is
        // reached by its full name.
        if let Some(rest) = text.strip_prefix("oci:") {
            let (directory, tag) = path_and_tag(text, rest)?;
            return Ok(Self::Layout { directory, tag });
        }
        Ok(Self::Registry(text.parse()?))
    }
}

/// Splits `PATH[:NAME]` at the first colon, as skopeo does, or `PATH@DIGEST`.
fn path_and_tag(text: &str, rest: &str) -> Result<(PathBuf, Option<String>), SourceError> {
    let invalid = |reason| ReferenceError::new(text, reason);
    let (path, tag) = match rest.rsplit_once('@') {
        Some((path, digest)) if digest.parse::<Digest>().is_ok() => (path, Some(digest)),
        _ => rest.split_once(':').map_or((rest, None), |(path, name)| (path, Some(name))),
    };
    let tag = tag.map(str::to_owned);
    if path.is_empty() {
        return Err(invalid("a path has to follow the first colon").into());
    }
    if path.contains(':')
        || tag.iter().any(|name| name.parse::<Digest>().is_err() && !is_ref_name(name))
    {
        return Err(
            invalid("a tag or a name has to follow the second colon; a path has none").into()
        );
    }
    Ok((PathBuf::from(path), tag))
}

impl Location {
    /// The same from any working directory.
    #[must_use]
    pub fn absolute(self) -> Self {
        let path = |path: PathBuf| std::path::absolute(&path).unwrap_or(path);
        match self {
            Self::Registry(_) => self,
            Self::Layout { directory, tag } => Self::Layout { directory: path(directory), tag },
            Self::Archive { file, tag } => Self::Archive { file: path(file), tag },
        }
    }

    /// What `text` names for who follows this: another location, or a tag or digest alone, which
    /// is another one of the same place.
    ///
    /// # Errors
    /// [`SourceError::ReferenceInvalid`].
    pub fn with_name(&self, text: &str) -> Result<Self, SourceError> {
        if !is_tag(text) && text.parse::<Digest>().is_err() {
            return text.parse();
        }
        let tag = Some(text.to_owned());
        Ok(match self {
            Self::Registry(reference) => Self::Registry(reference.sibling(text)?),
            Self::Layout { directory, .. } => Self::Layout { directory: directory.clone(), tag },
            Self::Archive { file, .. } => Self::Archive { file: file.clone(), tag },
        })
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, path, tag) = match self {
            Self::Registry(reference) => return reference.fmt(f),
            Self::Layout { directory, tag } => ("oci", directory, tag),
            Self::Archive { file, tag } => ("oci-archive", file, tag),
        };
        write!(f, "{kind}:{}", path.display())?;
        tag.iter().try_for_each(|tag| {
            let sign = if tag.parse::<Digest>().is_ok() { '@' } else { ':' };
            write!(f, "{sign}{tag}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_alone_is_another_one_of_the_same_place() {
        let digest = Digest::of(b"x").to_string();
        let pinned = format!("r.example/a/b@{digest}");
        for (followed, text, expected) in [
            ("r.example/a/b:x", "y", "r.example/a/b:y"),
            ("r.example/a/b:x", &digest, &pinned),
            ("r.example/a/b:x", "s.example/c:y", "s.example/c:y"),
            ("oci:/srv/a:x", "y", "oci:/srv/a:y"),
            ("oci-archive:/srv/a.tar", "y", "oci-archive:/srv/a.tar:y"),
            ("oci:/srv/a:x", "oci:/srv/b:x", "oci:/srv/b:x"),
        ] {
            let location: Location = followed.parse().unwrap();
            assert_eq!(location.with_name(text).unwrap().to_string(), expected, "{text}");
        }
        let location: Location = "r.example/a/b:x".parse().unwrap();
        assert!(location.with_name("https://r.example/a").is_err());
        assert!(location.with_name("").is_err());
    }

    #[test]
    fn locations_are_read_and_written_alike() {
        for (text, kind) in [
            ("oci:/srv/image", "layout"),
            ("oci:image:1.0", "layout"),
            ("oci:/srv/image:registry.example.com:5000/acme/edge:1.0", "layout"),
            ("oci:/srv/image:acme/edge", "layout"),
            ("oci-archive:image.tar:x", "archive"),
            ("oci-archive:./image.tar", "archive"),
            ("r.example/a/b:x", "registry"),
        ] {
            let location: Location = text.parse().unwrap();
            assert_eq!(location.to_string(), text);
            let is = match location {
                Location::Registry(_) => "registry",
                Location::Layout { .. } => "layout",
                Location::Archive { .. } => "archive",
            };
            assert_eq!(is, kind, "{text}");
        }
        let Location::Layout { directory, tag } = "oci:/a:b/c:d".parse().unwrap() else { panic!() };
        assert_eq!((directory, tag.as_deref()), (PathBuf::from("/a"), Some("b/c:d")));
        let pinned = format!("oci:/a/c@{}", Digest::of(b""));
        let location: Location = pinned.parse().unwrap();
        assert_eq!(location.to_string(), pinned);
        let Location::Layout { directory, .. } = location else { panic!() };
        assert_eq!(directory, PathBuf::from("/a/c"));
        for text in ["oci:", "oci::x", "oci-archive:", "oci:a:", "oci:a:b c", "oci:a:/b", "edge"] {
            assert!(text.parse::<Location>().is_err(), "{text}");
        }
    }
}
