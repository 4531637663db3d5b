// SPDX-License-Identifier: MIT OR Apache-2.0

//! The search for a delta: which artifacts may be it, and why one of them is passed over.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use flipside_image::delta::{
    DELTA_CANDIDATES, DELTA_CONFIG_LIMIT, DELTA_CONFIG_TYPE, DELTA_TYPE, Delta, DeltaFlaw,
    DeltaManifest, FROM_ANNOTATION,
};
use flipside_image::{Descriptor, Digest, Image};

use super::SourceError;
use super::signatures::is_of_one_artifact;

/// The delta that is searched for.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a> {
    /// The image that it makes.
    pub image: &'a Image,
    /// The digest of the config of the image that it is made from.
    pub from: &'a Digest,
}

/// The most bytes of configs that are fetched from one host in search for a delta.
const CONFIGS_LIMIT: u64 = 2 * DELTA_CONFIG_LIMIT;

/// How many bytes of configs may still be fetched.
pub(super) struct Configs(u64);

impl Configs {
    /// As many as there may be.
    pub fn new() -> Self {
        Self(CONFIGS_LIMIT)
    }

    /// Takes away those of `config`.
    ///
    /// # Errors
    /// [`Miss::Flaw`] where there are fewer.
    pub fn take(&mut self, config: &Descriptor) -> Result<(), Miss> {
        let flaw = || DeltaFlaw("too much was fetched for others that cannot".to_owned());
        self.0 = self.0.checked_sub(config.size).ok_or_else(flaw)?;
        Ok(())
    }
}

/// Why a candidate is not the delta that is searched for.
pub(super) enum Miss {
    /// It is an artifact of another kind, or a delta between other images.
    Unrelated,
    /// It is a delta that cannot be used.
    Flaw(DeltaFlaw),
    /// It cannot be had.
    Source(SourceError),
}

impl From<DeltaFlaw> for Miss {
    fn from(flaw: DeltaFlaw) -> Self {
        Self::Flaw(flaw)
    }
}

impl From<SourceError> for Miss {
    fn from(error: SourceError) -> Self {
        Self::Source(error)
    }
}

impl<'a> Wanted<'a> {
    /// No candidates yet.
    pub fn candidates(self) -> Candidates<'a> {
        Candidates { from: self.from, entries: Vec::new() }
    }

    /// Reads the manifest of the candidate `entry`.
    ///
    /// # Errors
    /// [`Miss::Unrelated`] and [`Miss::Flaw`].
    pub fn manifest(self, entry: &Descriptor, bytes: &[u8]) -> Result<DeltaManifest, Miss> {
        let manifest = match DeltaManifest::parse(bytes) {
            Ok(manifest) => manifest,
            // Lists name many artifacts without their type.
            Err(_) if clarity(entry) == Clarity::Silent => return Err(Miss::Unrelated),
            Err(flaw) => return Err(flaw.into()),
        };
        if manifest.subject.digest != self.image.digest || manifest.from != *self.from {
            return Err(Miss::Unrelated);
        }
        Ok(manifest)
    }

    /// Reads the config that comes with `manifest`.
    ///
    /// # Errors
    /// [`Miss::Flaw`].
    pub fn delta(self, manifest: &DeltaManifest, config: &[u8]) -> Result<Delta, Miss> {
        Ok(Delta::parse(config, manifest, self.image)?)
    }
}

/// Goes on to the next candidate after `entry` at `place`, and tells why.
///
/// # Errors
/// The [`SourceError`] that says something about the other candidates too.
pub(super) fn pass_over(place: &str, entry: &Descriptor, miss: Miss) -> Result<(), SourceError> {
    let name = entry.digest.short();
    match miss {
        Miss::Unrelated => tracing::debug!("artifact {name} at {place} is not the delta"),
        Miss::Flaw(flaw) => tracing::warn!("delta {name} at {place} is passed over: {flaw}"),
        // A blob that is shorter than its descriptor says breaks off each time.
        Miss::Source(error)
            if is_of_one_artifact(&error) || matches!(error, SourceError::Truncated { .. }) =>
        {
            tracing::warn!("delta {name} at {place} is passed over: {error}");
        }
        Miss::Source(error) => return Err(error),
    }
    Ok(())
}

/// How clearly an entry of a list says that it is a delta, the clearest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Clarity {
    /// It says what the delta is from.
    From,
    /// It has the type of a delta.
    Type,
    /// It says nothing.
    Silent,
}

fn clarity(entry: &Descriptor) -> Clarity {
    if entry.annotations.contains_key(FROM_ANNOTATION) {
        return Clarity::From;
    }
    match entry.artifact_type.as_deref() {
        Some(DELTA_TYPE | DELTA_CONFIG_TYPE) => Clarity::Type,
        _ => Clarity::Silent,
    }
}

/// The entries of lists that may be the delta, each once: as many as are looked at.
pub(super) struct Candidates<'a> {
    from: &'a Digest,
    /// The clearest first.
    pub entries: Vec<Descriptor>,
}

impl Candidates<'_> {
    /// Adds those of one more list. Says whether another list could still change anything.
    pub fn add(&mut self, listed: Vec<Descriptor>) -> ControlFlow<()> {
        self.entries.extend(listed.into_iter().filter(|e| DeltaManifest::may_be(e, self.from)));
        self.entries.sort_by_key(clarity);
        let mut seen = BTreeSet::new();
        self.entries.retain(|entry| seen.insert(entry.digest));
        self.entries.truncate(DELTA_CANDIDATES);
        match self.entries.get(DELTA_CANDIDATES - 1).map(clarity) {
            Some(Clarity::From) => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use flipside_image::{EMPTY_TYPE, MANIFEST_TYPE};

    use super::*;

    fn entry(nth: u64, kind: Option<&str>, from: Option<&str>) -> Descriptor {
        let mut entry = Descriptor::new(MANIFEST_TYPE, Digest::of(&nth.to_le_bytes()), 500);
        entry.artifact_type = kind.map(str::to_owned);
        entry.annotations.extend(from.map(|from| (FROM_ANNOTATION.to_owned(), from.to_owned())));
        entry
    }

    /// The numbers of the entries that are looked at, and whether there are enough of them.
    fn kept(lists: &[Vec<Descriptor>]) -> (Vec<u64>, bool) {
        let from = Digest::of(b"old");
        let mut candidates = Candidates { from: &from, entries: Vec::new() };
        let mut is_enough = false;
        for list in lists {
            is_enough = candidates.add(list.clone()).is_break();
        }
        let number = |entry: &Descriptor| {
            (0..3000_u64).find(|nth| Digest::of(&nth.to_le_bytes()) == entry.digest).unwrap()
        };
        (candidates.entries.iter().map(number).collect(), is_enough)
    }

    #[test]
    fn the_clearest_candidates_come_first_and_each_comes_once() {
        let from = Digest::of(b"old").to_string();
        let other = Digest::of(b"other").to_string();
        let first = vec![
            entry(0, None, None),
            entry(1, Some(EMPTY_TYPE), None),
            entry(2, Some(DELTA_CONFIG_TYPE), None),
            entry(3, Some("application/x"), Some(&from)),
            entry(4, Some(DELTA_TYPE), Some(&other)),
        ];
        let second = vec![
            entry(5, Some(DELTA_TYPE), None),
            entry(6, None, Some(&from)),
            // The same one, once more clearly.
            entry(1, Some(DELTA_TYPE), Some(&from)),
        ];
        assert_eq!(kept(&[first, second]), (vec![6, 1, 2, 5, 0], false));
    }

    #[test]
    fn no_number_of_unclear_entries_hides_a_clear_one_on_a_later_page() {
        let from = Digest::of(b"old").to_string();
        let page = |start: u64| (start..start + 1000).map(|nth| entry(nth, None, None)).collect();
        let clear = vec![entry(2500, Some(DELTA_TYPE), Some(&from))];
        let (numbers, is_enough) = kept(&[page(0), page(1000), clear]);
        assert_eq!((numbers.len(), numbers[0], is_enough), (DELTA_CANDIDATES, 2500, false));
        assert_eq!(numbers[1..], (0..31).collect::<Vec<u64>>());
        let full = (0..40).map(|nth| entry(nth, None, Some(&from))).collect();
        let (numbers, is_enough) = kept(&[full]);
        assert_eq!((numbers, is_enough), ((0..32).collect(), true));
    }

    #[test]
    fn only_what_says_something_of_one_artifact_is_passed_over() {
        let (host, repository) = ("r".to_owned(), "os".to_owned());
        let digest = Digest::of(b"x");
        let missing = SourceError::BlobNotFound { host: host.clone(), repository, digest };
        let short = SourceError::Truncated { host: host.clone(), what: String::new() };
        let gone = SourceError::Unreachable { host, reason: String::new() };
        let entry = entry(0, None, None);
        for (miss, is_passed_over) in [
            (Miss::Unrelated, true),
            (DeltaFlaw(String::new()).into(), true),
            (missing.into(), true),
            (short.into(), true),
            (gone.into(), false),
            (SourceError::Stopped(flipside_core::cancel::Stopped).into(), false),
        ] {
            assert_eq!(pass_over("r", &entry, miss).is_ok(), is_passed_over);
        }
    }
}
