// SPDX-License-Identifier: MIT OR Apache-2.0

//! The policy document of the tag that is followed: fetched, verified, held against the last
//! one that this host saw, and remembered.

use jiff::Timestamp;

use super::freshness;
use super::memory::{Kept, Memory, Seen};
use crate::codes;
use crate::config::{Config, DocumentMode};
use crate::rules::signature::{SignatureSearch, search};
use crate::rules::{Error, Means, Verdict};
use flipside_core::host::Files;
use flipside_core::refusal::{Refusal, Severity};
use flipside_image::Digest;
use flipside_image::document::{Document, document_tag};
use flipside_image::printable;
use flipside_image::reference::tag_of;
use flipside_image::signature::Verifier;
use flipside_source::{
    FetchedDocument, Location, Source, SourceError, Tagged, fetch_document, is_absent,
};

/// What came of asking for a document.
#[derive(Debug)]
pub(super) struct Consulted {
    /// What there is.
    pub observed: String,
    /// Whether that is enough.
    pub verdict: Verdict,
    /// What to go by; `None` where the tag alone decides, and where the verdict refuses.
    pub document: Option<Document>,
    /// Whether more than a mirror's word stands behind the document.
    pub is_vouched: bool,
    /// What to remember of it.
    news: Option<(Memory, Seen)>,
}

/// A document that is nothing to go by: what was seen of it, and what that says.
struct Refused {
    observed: String,
    verdict: Verdict,
}

impl Refused {
    fn invalid(name: &str, error: &dyn std::error::Error) -> Self {
        let why = printable::line(&flipside_image::code::sentence(error), 300);
        let verdict = Verdict::defer(codes::POLICY_DOCUMENT_INVALID, why);
        Self { observed: format!("{name} is nothing to go by"), verdict }
    }
}

impl From<Refused> for Consulted {
    fn from(Refused { observed, verdict }: Refused) -> Self {
        Self { observed, verdict, document: None, is_vouched: false, news: None }
    }
}

/// Asks for the document of the tag that `source` is. One request where nothing has changed. `now`
/// is `None` where the clock is not synchronised; there is no document to go by then.
///
/// The registry decides. Where it cannot be reached, a document at a mirror counts if it is not
/// older than the last one that this host saw; that one holds where mirrors have none.
///
/// # Errors
/// [`Error::Source`]: nobody knows whether there is one, or it cannot be had whole.
pub(super) fn consult(
    means: &Means<'_>,
    source: &dyn Source,
    verifier: &Verifier,
    now: Option<Timestamp>,
) -> Result<Consulted, Error> {
    let mode = means.config.policy.document;
    if mode == DocumentMode::Off {
        return Ok(Consulted::without("policy.document is off"));
    }
    let tag = tracked_tag(means.config)?;
    let Some((tag, name)) = tag.and_then(|tag| document_tag(&tag).map(|name| (tag, name))) else {
        let observed = "what is followed has no tag, beside which one could stand";
        return Ok(match mode {
            DocumentMode::Require => Consulted::missing(observed),
            _ => Consulted::without(observed),
        });
    };
    let memory = Memory::of(means.root, source, &tag);
    let last = memory.recall();
    let beside = source.sibling(&name)?;
    let asked = if last.is_some() { beside.tagged() } else { beside.tagged_if_any() };
    let (digest, at_mirror) = match (asked, &last) {
        (Ok(Tagged { digest, mirror }), _) => (digest, mirror),
        (Err(SourceError::NotAtMirrors(_)), Some(last)) => (last.digest, None),
        (Err(error), last) if is_absent(&error) => {
            return Ok(Consulted::absent(&name, last.is_some(), mode));
        }
        (Err(error), _) => return Err(error.into()),
    };
    let known = last.as_ref().filter(|last| last.digest == digest);
    let verifier = verifier.bound();
    let signed = match who_signed(source, &verifier, &digest, known)? {
        Ok(signed) => signed,
        Err(refused) => return Ok(refused.into()),
    };
    let fetched = match known.and_then(Seen::as_fetched) {
        Some(fetched) => fetched,
        None => match fetch_document(beside.as_ref(), &digest)? {
            Ok(fetched) => fetched,
            Err(error) => return Ok(Refused::invalid(&name, &error).into()),
        },
    };
    let document = match read(&fetched, &tag, &name, verifier.is_required()) {
        Ok(document) => document,
        Err(refused) => return Ok(refused.into()),
    };
    let before = last.as_ref().and_then(Seen::issued);
    let freshness = freshness::judge(&document, before, now);
    let by =
        if signed.by.is_empty() { String::new() } else { format!(", signed by {}", signed.by) };
    // Nobody but a mirror knows an unsigned document that this host has not seen: that is not
    // remembered, or the registry's own could never replace it.
    let is_vouched = at_mirror.is_none() || verifier.is_required() || known.is_some();
    let at = at_mirror.map(|mirror| format!(" at mirror {mirror}")).unwrap_or_default();
    let observed = format!("{name}{at}, issued {}{by}", freshness::day(document.issued));
    let seen = Seen::new(&memory, digest, &fetched, signed.signature).filter(|seen| {
        let is_news = last.as_ref() != Some(seen);
        is_news && is_vouched && freshness.counts_as_seen()
    });
    let news = seen.map(|seen| (memory, seen));
    let verdict = freshness.verdict();
    let document = verdict.is_allow().then_some(document);
    Ok(Consulted { observed, verdict, document, is_vouched, news })
}

/// Whose signature a document has, and the signature itself; nothing of both where none is
/// required.
struct SignedBy {
    by: String,
    signature: Option<Kept>,
}

/// Who signed the document called `digest`: by the signature that is `known` already, or by one
/// that is searched for.
fn who_signed(
    source: &dyn Source,
    verifier: &Verifier,
    digest: &Digest,
    known: Option<&Seen>,
) -> Result<Result<SignedBy, Refused>, SourceError> {
    let signature = known.and_then(|known| known.signature.clone());
    // What is remembered is a record and no authority (P8): who can write it has signed nothing.
    let still = signature.as_ref().and_then(|kept| verifier.check(digest, &kept.as_found()).ok());
    let by = still.map(|signed| signed.key).unwrap_or_default();
    if !verifier.is_required() || !by.is_empty() {
        return Ok(Ok(SignedBy { by, signature }));
    }
    let (searched, found) = search(verifier, source, &[*digest])?;
    let (observed, verdict) = searched.result("the policy document");
    Ok(match (searched, verdict) {
        (SignatureSearch::Signed(signed), _) => {
            Ok(SignedBy { by: signed.key, signature: found.and_then(Kept::of) })
        }
        // Nobody answers: that is said as it is of an image.
        (_, verdict @ Verdict::No(Refusal { severity: Severity::Defer, .. })) => {
            Err(Refused { observed, verdict })
        }
        (_, Verdict::No(refusal)) => {
            let verdict = Verdict::defer(codes::POLICY_DOCUMENT_UNSIGNED, refusal.message);
            Err(Refused { observed, verdict })
        }
        (_, Verdict::Allow) => Ok(SignedBy { by, signature }),
    })
}

/// Reads what was fetched from `name`, which is to be about `tag`.
fn read(
    fetched: &FetchedDocument,
    tag: &str,
    name: &str,
    is_signed: bool,
) -> Result<Document, Refused> {
    // A document without a word about its tag could have been shown anywhere.
    let tag = tag_of(tag);
    let is_of_this_tag = match &fetched.tag {
        Some(of) => *of == tag,
        None => !is_signed,
    };
    if !is_of_this_tag {
        let of = fetched.tag.as_deref().map_or("which it does not name", |of| of);
        let of = printable::line(of, 80);
        let why = format!("the policy document at {name} is about the tag {of}, not {tag}");
        let verdict = Verdict::defer(codes::POLICY_DOCUMENT_FOREIGN, why);
        return Err(Refused { observed: format!("{name} is about {of}"), verdict });
    }
    Document::parse(&fetched.document).map_err(|error| Refused::invalid(name, &error))
}

/// The tag that is followed; `None` where that is a digest, or the only image of a layout.
pub(super) fn tracked_tag(config: &Config) -> Result<Option<String>, SourceError> {
    let Some(image) = config.track.image.as_deref() else { return Ok(None) };
    Ok(match image.parse()? {
        Location::Registry(reference) if reference.digest().is_some() => None,
        Location::Registry(reference) => Some(reference.tag().to_owned()),
        Location::Layout { tag, .. } | Location::Archive { tag, .. } => {
            tag.filter(|tag| tag.parse::<Digest>().is_err())
        }
    })
}

impl Consulted {
    fn without(observed: &str) -> Self {
        Refused { observed: observed.to_owned(), verdict: Verdict::Allow }.into()
    }

    fn missing(observed: &str) -> Self {
        let why = format!("the policy document is missing: {observed}");
        let verdict = Verdict::defer(codes::POLICY_DOCUMENT_MISSING, why);
        Refused { observed: observed.to_owned(), verdict }.into()
    }

    /// There is none at `name`.
    fn absent(name: &str, was_seen: bool, mode: DocumentMode) -> Self {
        match (was_seen, mode) {
            (true, _) => Self::missing(&format!("there is no {name}, and this host has seen one")),
            (false, DocumentMode::Require) => Self::missing(&format!("there is no {name}")),
            (false, _) => Self::without(&format!("there is no {name}, and never was")),
        }
    }

    /// Remembers what is new, so that nobody can pass off an older document as this one. A state
    /// directory that takes nothing weakens that, and stops no update by itself.
    pub fn remember(&self, files: &Files) {
        let Some((memory, seen)) = &self.news else { return };
        if let Err(error) = memory.write(files, seen) {
            let path = memory.path.display();
            tracing::warn!("cannot remember the policy document in {path}: {error}");
        }
    }
}
