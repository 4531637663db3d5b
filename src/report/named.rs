// SPDX-License-Identifier: MIT OR Apache-2.0

//! How people name an image that this host knows: as the status shows it.

use super::{ReportError, Status};
use flipside_image::{Digest, printable};

/// The fewest digits of a digest that name an image: as many as people are shown.
const DIGITS: usize = 8;

/// Whether `name` is this version, this digest, or the beginning of the digest, with or without
/// `sha256:`.
pub fn is_named(name: &str, version: Option<&str>, digest: &Digest) -> bool {
    let hex = name.strip_prefix("sha256:").unwrap_or(name).to_ascii_lowercase();
    version == Some(name) || hex.len() >= DIGITS && digest.hex().starts_with(&hex)
}

/// The digest of the one image in `status` that `name` names.
///
/// # Errors
/// [`ReportError::ImageUnknown`] where there is none, or several.
pub fn find(name: &str, status: &Status) -> Result<Digest, ReportError> {
    let slots = status.slots.iter().filter_map(|slot| Some((slot.version.as_ref(), slot.digest?)));
    let failed = status.failed.iter().map(|failed| (failed.version.as_ref(), failed.digest));
    let available = status.available.iter().map(|image| (image.version.as_ref(), image.digest));
    let left = status.left_by_rollback.iter().map(|digest| (None, *digest));
    let known = slots.chain(failed).chain(available).chain(left);
    let is_it =
        |known: &(Option<&String>, Digest)| is_named(name, known.0.map(String::as_str), &known.1);
    one(name, known.filter(is_it).map(|(_, digest)| digest).collect())
}

/// The only one of `digests`, which `name` names.
///
/// # Errors
/// As [`find`].
pub(super) fn one(name: &str, mut digests: Vec<Digest>) -> Result<Digest, ReportError> {
    digests.sort();
    digests.dedup();
    let what = printable::line(name, 100);
    match digests.as_slice() {
        [digest] => Ok(*digest),
        [] => Err(ReportError::ImageUnknown { what }),
        _ => Err(ReportError::ImageAmbiguous { what }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::status::Failed;

    #[test]
    fn a_name_is_a_version_or_enough_of_one_digest() {
        let digest = |end: &str| format!("sha256:{end:a>64}").parse::<Digest>().unwrap();
        let failed = |version: &str, digest| Failed {
            digest,
            version: Some(version.to_owned()),
            reason: String::new(),
            attempts: 1,
        };
        let mut status = Status::unknown(jiff::Timestamp::UNIX_EPOCH);
        status.failed = vec![failed("1", digest("1")), failed("2", digest("2"))];
        status.left_by_rollback = Some(digest("2"));
        assert_eq!(find("1", &status).unwrap(), digest("1"));
        assert_eq!(find(&digest("2").hex(), &status).unwrap(), digest("2"));
        for (name, said) in
            [("aaaaaaaa", "several"), ("sha256:AAAAAAAA", "several"), ("3", "no image")]
        {
            let error = find(name, &status).unwrap_err().to_string();
            assert!(error.contains(said), "{name}: {error}");
        }
    }
}
