// SPDX-License-Identifier: MIT OR Apache-2.0

//! A second reading of what is pushed, by `oci-client`: a name or a manifest that it reads in another
//! way than flipside, other tools may read in another way, too.

use flipside_image::reference::ReferenceError;
use flipside_image::{Descriptor, ImageError, ManifestOrIndex};
use flipside_source::{Reference, SourceError};
use oci_client::manifest::OciManifest;

/// Refuses a name that the two do not read alike.
///
/// # Errors
/// [`ReferenceError`].
pub(super) fn check_name(reference: &Reference) -> Result<(), ReferenceError> {
    // It reads no address in brackets, as IPv6 has them. Those are flipside's alone.
    if reference.host().starts_with('[') {
        return Ok(());
    }
    let text = reference.to_string();
    let is_alike = text.parse::<oci_client::Reference>().is_ok_and(|other| {
        let digest = reference.digest().map(|digest| digest.to_string());
        let tag = Some(reference.tag()).filter(|_| digest.is_none());
        other.registry() == reference.host()
            && other.repository() == reference.repository()
            && (other.tag(), other.digest()) == (tag, digest.as_deref())
    });
    match is_alike {
        true => Ok(()),
        false => Err(ReferenceError::new(&text, "other tools would not read it as it is meant")),
    }
}

/// Reads a manifest or an index, and refuses one that the two do not read alike.
///
/// # Errors
/// [`ImageError`], as [`SourceError`].
pub(super) fn read(bytes: &[u8]) -> Result<ManifestOrIndex, SourceError> {
    let read = ManifestOrIndex::parse(bytes)?;
    let is_alike = match (&read, serde_json::from_slice(bytes)) {
        (ManifestOrIndex::Manifest(ours), Ok(OciManifest::Image(others))) => {
            let ours = std::iter::once(&ours.config).chain(&ours.layers);
            let others = std::iter::once(&others.config).chain(&others.layers);
            ours.map(described).eq(others.map(|o| (&*o.media_type, o.digest.clone(), o.size)))
        }
        (ManifestOrIndex::Index(ours), Ok(OciManifest::ImageIndex(others))) => {
            // Flipside leaves out entries with other hashes.
            let others = others.manifests.iter().filter(|o| o.digest.starts_with("sha256:"));
            let ours = ours.manifests.iter().map(described);
            ours.eq(others.map(|o| (&*o.media_type, o.digest.clone(), o.size)))
        }
        _ => false,
    };
    match is_alike {
        true => Ok(read),
        false => {
            let what = "other tools would read another manifest in these bytes".to_owned();
            Err(ImageError::Inconsistent { what }.into())
        }
    }
}

fn described(blob: &Descriptor) -> (&str, String, i64) {
    (&blob.media_type, blob.digest.to_string(), i64::try_from(blob.size).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use flipside_image::Digest;
    use flipside_image::code::Coded as _;

    #[test]
    fn names_that_other_tools_do_not_read_alike_are_refused() {
        let pinned = format!("r.example/a@{}", Digest::of(b""));
        for (text, is_alike) in [
            ("r.example:5000/acme/edge:1.0", true),
            ("localhost/edge:stable", true),
            ("Registry.Example.COM/a:1", true),
            ("docker.io/debian:12", true),
            ("[::1]:5000/a:1", true),
            (pinned.as_str(), true),
            ("my_registry:5000/edge:1", false),
            ("my_registry.lan/edge:1", true),
        ] {
            let reference: Reference = text.parse().unwrap();
            let code = check_name(&reference).map_err(|error| error.code().name());
            assert_eq!(code, if is_alike { Ok(()) } else { Err("reference-invalid") }, "{text}");
        }
    }

    #[test]
    fn manifests_that_other_tools_do_not_read_alike_are_refused() {
        let digest = Digest::of(b"");
        let blob = |media_type: &str| {
            format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":1}}"#)
        };
        let entry = blob(flipside_image::MANIFEST_TYPE);
        let index = |more: &str| {
            format!(
                r#"{{"schemaVersion":2,"mediaType":"{}","manifests":[{entry}{more}]}}"#,
                flipside_image::INDEX_TYPE
            )
        };
        let other_hash =
            format!(r#",{{"mediaType":"x/y","digest":"sha512:{0}{0}","size":1}}"#, "0".repeat(64));
        let number = entry.replacen('}', r#","annotations":{"a":1}}"#, 1);
        for (bytes, is_alike) in
            [(index(""), true), (index(&other_hash), true), (index(&format!(",{number}")), false)]
        {
            let code = read(bytes.as_bytes()).map(drop).map_err(|error| error.code().name());
            assert_eq!(code.is_ok(), is_alike, "{bytes}: {code:?}");
        }
    }
}
