// SPDX-License-Identifier: MIT OR Apache-2.0

//! Policy documents, from the side of who writes them.

use std::collections::BTreeMap;

use flipside_image::document::{
    Document, DocumentManifest, Draft, DraftRelease, EMPTY_CONFIG, MEDIA_TYPE, Reason, TAG_SUFFIX,
    document_tag,
};
use flipside_image::{Descriptor, Digest, MANIFEST_TYPE};
use flipside_image::{printable, version};
use flipside_source::{Location, Options, Reference, SourceError, fetch_document, is_absent, open};
use jiff::{SignedDuration, Timestamp};

use super::PublishError;
use super::layout::LayoutWriter;
use super::push::push_artifact;

/// The mark that a release gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// Every host passes through it.
    Barrier,
    /// No host leaves it.
    DeadEnd,
    /// No host takes it any more.
    Withdrawn,
}

/// What becomes of a document.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// When the new document is made.
    pub issued: Timestamp,
    /// How long it is good for.
    pub life: SignedDuration,
    /// Releases that are added, or whose digest or rollout changes.
    pub releases: Vec<DraftRelease>,
    /// Releases that are marked: version, and why.
    pub marks: Vec<(Mark, String, String)>,
    /// Versions that are not listed any more.
    pub forgotten: Vec<String>,
}

impl Change {
    /// What `old` becomes; a rollout that is over by then is left out.
    ///
    /// # Errors
    /// [`PublishError::PolicyInvalid`]: a version that is not listed, dates beyond all.
    pub fn apply(self, old: Option<Draft>) -> Result<Draft, PublishError> {
        let invalid = |what: String| PublishError::PolicyInvalid { what };
        let expires = self.issued.checked_add(self.life);
        let mut draft =
            Draft::new(self.issued, expires.map_err(|error| invalid(error.to_string()))?);
        draft.releases = old.map(|old| old.releases).unwrap_or_default();
        for release in &mut draft.releases {
            release.rollout.take_if(|rollout| rollout.is_over(self.issued));
        }
        for version in &self.forgotten {
            let at = find(&draft.releases, version)?;
            draft.releases.remove(at);
        }
        for release in self.releases {
            let at = find(&draft.releases, &release.version).ok();
            match at.and_then(|at| draft.releases.get_mut(at)) {
                // Pushed again: whatever was said of the old image says nothing of this one.
                Some(before) if before.digest != release.digest => *before = release,
                Some(before) => before.rollout = release.rollout,
                None => draft.releases.push(release),
            }
        }
        for (mark, version, reason) in self.marks {
            let at = find(&draft.releases, &version)?;
            let Some(release) = draft.releases.get_mut(at) else { continue };
            let field = match mark {
                Mark::Barrier => &mut release.barrier,
                Mark::DeadEnd => &mut release.dead_end,
                Mark::Withdrawn => &mut release.withdrawn,
            };
            *field = Some(Reason::new(reason));
        }
        draft.releases.sort_by(|a, b| version::compare(&a.version, &b.version));
        Ok(draft)
    }
}

fn find(releases: &[DraftRelease], version: &str) -> Result<usize, PublishError> {
    let is_same = |release: &DraftRelease| version::compare(&release.version, version).is_eq();
    releases.iter().position(is_same).ok_or_else(|| PublishError::PolicyInvalid {
        what: format!("it lists no release {version:?}"),
    })
}

/// Publishes `document` beside the tag `target`, in a registry or in an OCI layout. Returns the
/// digest of its manifest, which is to be signed.
///
/// # Errors
/// [`PublishError::Policy`] for a document that no host would go by;
/// [`PublishError::PolicyInvalid`] where hosts have seen a later one, which they do not go back
/// from; what keeps it from being written.
pub fn push(document: &[u8], target: &Location, options: &Options) -> Result<Digest, PublishError> {
    let checked = Document::parse(document)?;
    let (tag, beside) = beside(target)?;
    check_is_later(&checked, document, &beside, options)?;
    let manifest = DocumentManifest::new(document, tag).to_bytes()?;
    match &beside {
        Location::Registry(reference) => {
            Ok(push_artifact(&manifest, &[EMPTY_CONFIG, document], reference, options)?)
        }
        Location::Layout { directory, tag } => {
            let layout = LayoutWriter::open(directory)?;
            for blob in [EMPTY_CONFIG, document, &manifest] {
                layout.write_blob(blob)?;
            }
            let digest = Digest::of(&manifest);
            let entry = Descriptor {
                media_type: MANIFEST_TYPE.to_owned(),
                digest,
                size: manifest.len() as u64,
                artifact_type: Some(MEDIA_TYPE.to_owned()),
                platform: None,
                annotations: BTreeMap::new(),
            };
            layout.list(&entry, tag.as_deref())?;
            Ok(digest)
        }
        Location::Archive { .. } => Err(no_place("an archive cannot be added to")),
    }
}

/// What a document says, for people: a line for each release.
pub fn text(draft: &Draft) -> String {
    let mut text = format!("issued {}, valid until {}", draft.issued, draft.expires);
    let version = |release: &DraftRelease| printable::line(&release.version, 40);
    let width = draft.releases.iter().map(|release| version(release).chars().count()).max();
    let width = width.unwrap_or(0);
    for release in &draft.releases {
        let version = version(release);
        text.push_str(&format!("\n{version:<width$}  {}", release.digest.short()));
        if let Some(rollout) = &release.rollout {
            // 0.07 is 7% and not 7.000000000000001%.
            let (share, start) = ((rollout.start_percentage * 1e6).round() / 1e4, rollout.start);
            let length = printable::line(&rollout.duration, 40);
            text.push_str(&format!("  rollout over {length} from {start}, at first {share}%"));
        }
        for (mark, reason) in [
            ("barrier", &release.barrier),
            ("dead end", &release.dead_end),
            ("withdrawn", &release.withdrawn),
        ] {
            let reason = reason.iter().map(|given| printable::line(&given.reason, 200));
            text.extend(reason.map(|reason| format!("  {mark}: {reason}")));
        }
    }
    text
}

fn no_place(what: &str) -> PublishError {
    PublishError::PolicyInvalid { what: format!("it has no place there: {what}") }
}

/// Where the document belongs that is about the tag `target`.
///
/// # Errors
/// [`PublishError::PolicyInvalid`] for what is no tag.
pub fn place(target: &Location) -> Result<Location, PublishError> {
    Ok(beside(target)?.1)
}

/// The bytes of the document that is published beside the tag `target`.
///
/// # Errors
/// Those of [`place`] and of the source; [`PublishError::Policy`] for what is no document.
pub fn fetch(target: &Location, options: &Options) -> Result<Vec<u8>, PublishError> {
    let source = open(&place(target)?, options)?;
    Ok(fetch_document(source.as_ref(), &source.resolve()?)??.document)
}

/// The tag that a document is about, and where the document belongs. The document's own tag names
/// the same.
fn beside(target: &Location) -> Result<(&str, Location), PublishError> {
    let named = |tag: &str| document_tag(tag).ok_or_else(|| no_place("the tag is too long"));
    match target {
        Location::Registry(reference) if reference.digest().is_some() => {
            Err(no_place("a digest is no tag"))
        }
        Location::Registry(reference) => {
            let tag = about(reference.tag());
            let text = format!("{}:{}", reference.full_repository(), named(tag)?);
            Ok((tag, Location::Registry(text.parse::<Reference>().map_err(SourceError::from)?)))
        }
        Location::Layout { directory, tag: Some(tag) } if tag.parse::<Digest>().is_err() => {
            let tag = about(tag);
            let place = Location::Layout { directory: directory.clone(), tag: Some(named(tag)?) };
            Ok((tag, place))
        }
        Location::Layout { .. } => Err(no_place("name a tag")),
        Location::Archive { .. } => Err(no_place("an archive cannot be added to")),
    }
}

/// The tag that the document with the tag `tag` is about, or `tag` itself.
fn about(tag: &str) -> &str {
    tag.strip_suffix(TAG_SUFFIX).filter(|about| !about.is_empty()).unwrap_or(tag)
}

/// Hosts go by no document that is older than one that they have seen.
fn check_is_later(
    new: &Document,
    bytes: &[u8],
    beside: &Location,
    options: &Options,
) -> Result<(), PublishError> {
    if let Location::Layout { directory, .. } = beside
        && !directory.join("index.json").exists()
    {
        return Ok(());
    }
    let there = open(beside, options)?;
    let digest = match there.resolve() {
        Ok(digest) => digest,
        Err(error) if is_absent(&error) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let fetched = match fetch_document(there.as_ref(), &digest) {
        Ok(Ok(fetched)) => fetched,
        // What hosts cannot read they have not seen.
        Ok(Err(_)) | Err(SourceError::Image(_)) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    match Document::parse(&fetched.document) {
        Ok(old) if old.issued >= new.issued && fetched.document != bytes => {
            Err(PublishError::PolicyInvalid {
                what: format!(
                    "the one that is there was issued at {}, and hosts take only a later one; \
                     `flipside policy build --from FILE` makes it",
                    old.issued
                ),
            })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flipside_image::document::DraftRollout;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn change() -> Change {
        Change {
            issued: at("2026-11-10T00:00:00Z"),
            life: SignedDuration::from_hours(720),
            releases: Vec::new(),
            marks: Vec::new(),
            forgotten: Vec::new(),
        }
    }

    fn digest(name: &str) -> Digest {
        Digest::of(name.as_bytes())
    }

    #[test]
    fn a_document_grows_from_the_one_before() {
        let start = at("2026-11-10T00:00:00Z");
        let rolled = |version, name| DraftRelease {
            rollout: Some(DraftRollout::new(start, 0.0, "48h")),
            ..DraftRelease::new(version, digest(name))
        };
        let first = Change {
            releases: [("1.10", "b"), ("1.9", "a")]
                .map(|(version, name)| rolled(version, name))
                .into(),
            ..change()
        };
        let first = first.apply(None).unwrap();
        let versions: Vec<&str> = first.releases.iter().map(|r| r.version.as_str()).collect();
        assert_eq!(versions, ["1.9", "1.10"]);
        let second = Change {
            issued: at("2026-11-11T00:00:00Z"),
            releases: vec![DraftRelease::new("1.10", digest("c"))],
            marks: vec![(Mark::Withdrawn, "1.9".into(), "eats data".into())],
            ..change()
        };
        let second = second.apply(Some(first)).unwrap();
        assert_eq!(second.expires, at("2026-12-11T00:00:00Z"));
        let [old, new] = &second.releases[..] else { panic!("{second:?}") };
        assert!(old.rollout.is_some(), "it still goes on");
        assert_eq!(old.withdrawn, Some(Reason::new("eats data")));
        assert_eq!((new.digest, &new.rollout), (digest("c"), &None));
        let third = Change {
            issued: at("2026-11-12T00:00:00Z"),
            forgotten: vec!["1.10".into()],
            ..change()
        };
        let third = third.apply(Some(second)).unwrap();
        assert_eq!(third.releases.len(), 1);
        assert_eq!(third.releases[0].rollout, None, "it is over");
    }

    #[test]
    fn the_document_of_a_document_is_itself() {
        for (target, expected) in [
            ("r.example/a:stable", "r.example/a:stable.policy"),
            ("r.example/a:stable.policy", "r.example/a:stable.policy"),
            ("oci:/a:stable.policy", "oci:/a:stable.policy"),
        ] {
            let target = target.parse().unwrap();
            assert_eq!(place(&target).unwrap().to_string(), expected);
            assert_eq!(beside(&target).unwrap().0, "stable");
        }
    }

    #[test]
    fn a_long_version_is_cut_and_moves_no_other_column_further_than_that() {
        let long = "1".repeat(120);
        let releases = [long.as_str(), "2"].map(|v| DraftRelease::new(v, digest(v))).into();
        let text = text(&Change { releases, ..change() }.apply(None).unwrap());
        let lines: Vec<usize> = text.lines().skip(1).map(|line| line.chars().count()).collect();
        assert_eq!(lines, [40 + 2 + 15; 2], "{text}");
    }

    #[test]
    fn what_is_not_listed_cannot_be_marked() {
        for change in [
            Change { marks: vec![(Mark::Barrier, "9".into(), "x".into())], ..change() },
            Change { forgotten: vec!["9".into()], ..change() },
        ] {
            let error = change.apply(None).unwrap_err().to_string();
            assert!(error.contains("no release \"9\""), "{error}");
        }
    }
}
