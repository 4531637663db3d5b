// SPDX-License-Identifier: MIT OR Apache-2.0

//! The policy document of the tag that is followed: fetched, verified, held against the last
//! one that this host saw, and remembered.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::freshness;
use crate::config::DocumentMode;
use crate::host::Root;
use crate::host::durable::Durable;
use crate::image::Digest;
use crate::image::document::{Document, document_tag};
use crate::image::signature::Verifier;
use crate::printable;
use crate::refusal::{Refusal, Severity};
use crate::rules::signature::{SignatureSearch, search};
use crate::rules::{Error, Means, Verdict};
use crate::source::signatures::SIGNATURE_ANNOTATION;
use crate::source::{
    self, FetchedDocument, Location, Options, Signature, Source, SourceError, fetch_document,
    is_absent,
};
use crate::update::journal::STATE_DIRECTORY;

/// More than the file of one has, in bytes: a document of the largest size, as text in JSON.
const LIMIT: u64 = 4 << 20;

/// What came of asking for a document.
#[derive(Debug)]
pub(super) struct Consulted {
    /// What there is.
    pub saw: String,
    /// Whether that is enough.
    pub decision: Verdict,
    /// What to go by; `None` where the tag alone decides, and where the decision refuses.
    pub document: Option<Document>,
    /// What to remember of it.
    news: Option<(Memory, Seen)>,
}

/// A document that this host saw, as it is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    /// 1.
    format: u32,
    /// The tag that is followed, with its repository.
    tag: String,
    /// The digest at the document's tag.
    digest: Digest,
    /// Its manifest, which is hashed against the digest.
    manifest: String,
    /// The document, which is hashed against the manifest.
    document: String,
    /// Its signature, which is verified anew each time; `None` where nobody asked.
    #[serde(default)]
    signature: Option<Kept>,
}

/// A signature by simple signing, as it came: its two parts as text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    payload: String,
    signature: String,
}

/// Where it is remembered.
#[derive(Debug, Clone)]
struct Memory {
    path: std::path::PathBuf,
    tag: String,
}

/// Asks for the document of the tag that `source` is, to learn about the release `goal`. One
/// request where nothing has changed. `now` is `None` where the clock is not synchronised; there is
/// no document to go by then.
///
/// A mirror that is late or lies must not keep hosts from what the registry itself has: that is
/// asked before a document is refused.
///
/// # Errors
/// [`Error::Source`]: nobody knows whether there is one, or it cannot be had whole.
pub(super) fn consult(
    means: &Means<'_>,
    source: &dyn Source,
    verifier: &Verifier,
    goal: &Digest,
    now: Option<Timestamp>,
) -> Result<Consulted, Error> {
    let consulted = ask(means, source, verifier, now);
    means.stop.check()?;
    // Without the time no document is any better.
    if now.is_none() || consulted.as_ref().is_ok_and(|consulted| consulted.speaks_of(goal)) {
        return consulted;
    }
    let Some(registry) = without_mirrors(means)? else { return consulted };
    let from_registry = ask(means, registry.as_ref(), verifier, now);
    means.stop.check()?;
    // One that cannot be reached says nothing else.
    from_registry.or(consulted)
}

fn ask(
    means: &Means<'_>,
    source: &dyn Source,
    verifier: &Verifier,
    now: Option<Timestamp>,
) -> Result<Consulted, Error> {
    let mode = means.config.policy.document;
    if mode == DocumentMode::Off {
        return Ok(Consulted::without("policy.document is off"));
    }
    let tag = tracked_tag(means)?;
    let Some((tag, name)) = tag.and_then(|tag| document_tag(&tag).map(|name| (tag, name))) else {
        let saw = "what is followed has no tag, beside which one could stand";
        return Ok(match mode {
            DocumentMode::Require => Consulted::missing(saw),
            _ => Consulted::without(saw),
        });
    };
    let memory = Memory::of(means.root, source, &tag);
    let last = memory.recall();
    let beside = source.sibling(&name)?;
    let digest = match beside.resolve() {
        Ok(digest) => digest,
        Err(error) if is_absent(&error) => {
            return Ok(match (last, mode) {
                (Some(_), _) => {
                    Consulted::missing(&format!("there is no {name}, and this host has seen one"))
                }
                (None, DocumentMode::Require) => Consulted::missing(&format!("there is no {name}")),
                (None, _) => Consulted::without(&format!("there is no {name}, and never was")),
            });
        }
        Err(error) => return Err(error.into()),
    };
    let known = last.as_ref().filter(|last| last.digest == digest);
    let mut signature = known.and_then(|known| known.signature.clone());
    let verifier = verifier.bound();
    // What is remembered is a record and no authority (P8): who can write it has signed nothing.
    let still = signature.as_ref().and_then(|kept| verifier.check(&digest, &kept.as_found()).ok());
    let mut by = still.map(|signed| signed.key).unwrap_or_default();
    if verifier.is_required() && by.is_empty() {
        let (searched, found) = search(&verifier, source, &[digest])?;
        let (saw, verdict) = searched.ruling("the policy document");
        match (searched, verdict) {
            (SignatureSearch::Signed(signed), _) => {
                by = signed.key;
                signature = found.and_then(Kept::of);
            }
            // Nobody answers: that is said as it is of an image.
            (_, verdict @ Verdict::No(Refusal { severity: Severity::Defer, .. })) => {
                return Ok(Consulted::refused(saw, verdict));
            }
            (_, Verdict::No(refusal)) => {
                let verdict = Verdict::defer("policy-document-unsigned", refusal.message);
                return Ok(Consulted::refused(saw, verdict));
            }
            (_, Verdict::Allow) => {}
        }
    }
    let fetched = match known.and_then(Seen::as_fetched) {
        Some(fetched) => fetched,
        None => match fetch_document(beside.as_ref(), &digest)? {
            Ok(fetched) => fetched,
            Err(error) => return Ok(Consulted::invalid(&name, &error)),
        },
    };
    // A document without a word about its tag could have been shown anywhere.
    let is_of_this_tag = match &fetched.tag {
        Some(of) => *of == tag,
        None => !verifier.is_required(),
    };
    if !is_of_this_tag {
        let of = fetched.tag.as_deref().map_or("which it does not name", |of| of);
        let of = printable::line(of, 80);
        let why = format!("the policy document at {name} is about the tag {of}, not {tag}");
        let decision = Verdict::defer("policy-document-foreign", why);
        return Ok(Consulted::refused(format!("{name} is about {of}"), decision));
    }
    let document = match Document::parse(&fetched.document) {
        Ok(document) => document,
        Err(error) => return Ok(Consulted::invalid(&name, &error)),
    };
    let before = last.as_ref().and_then(Seen::issued);
    let freshness = freshness::judge(&document, before, now);
    let signed = if by.is_empty() { String::new() } else { format!(", signed by {by}") };
    let saw = format!("{name}, issued {}{signed}", freshness::day(document.issued));
    let seen = Seen::new(&memory, digest, &fetched, signature).filter(|seen| {
        let is_news = last.as_ref() != Some(seen);
        is_news && freshness.counts_as_seen()
    });
    let news = seen.map(|seen| (memory, seen));
    let decision = freshness.verdict();
    let document = decision.is_allow().then_some(document);
    Ok(Consulted { saw, decision, document, news })
}

/// What is followed, without its mirrors; `None` where there are none.
fn without_mirrors(means: &Means<'_>) -> Result<Option<Box<dyn Source>>, SourceError> {
    let Some(image) = &means.config.track.image else { return Ok(None) };
    if means.options.mirrors.is_empty() {
        return Ok(None);
    }
    let options = Options { mirrors: Vec::new(), ..means.options.clone() };
    source::open(&image.parse()?, &options).map(Some)
}

/// The tag that is followed; `None` where that is a digest, or the only image of a layout.
fn tracked_tag(means: &Means<'_>) -> Result<Option<String>, SourceError> {
    let Some(image) = means.config.track.image.as_deref() else { return Ok(None) };
    Ok(match image.parse()? {
        Location::Registry(reference) if reference.digest().is_some() => None,
        Location::Registry(reference) => Some(reference.tag().to_owned()),
        Location::Layout { tag, .. } | Location::Archive { tag, .. } => {
            tag.filter(|tag| !tag.contains(':'))
        }
    })
}

impl Consulted {
    /// Whether it leaves no doubt that another answer would take away.
    fn speaks_of(&self, goal: &Digest) -> bool {
        let lists = |document: &Document| document.release(goal).is_some();
        self.decision.is_allow() && self.document.as_ref().is_none_or(lists)
    }

    fn without(saw: &str) -> Self {
        Self { saw: saw.to_owned(), decision: Verdict::Allow, document: None, news: None }
    }

    fn refused(saw: String, decision: Verdict) -> Self {
        Self { saw, decision, document: None, news: None }
    }

    fn missing(saw: &str) -> Self {
        let why = format!("the policy document is missing: {saw}");
        Self::refused(saw.to_owned(), Verdict::defer("policy-document-missing", why))
    }

    fn invalid(name: &str, error: &dyn std::error::Error) -> Self {
        let why = printable::line(&crate::code::sentence(error), 300);
        let decision = Verdict::defer("policy-document-invalid", why);
        Self::refused(format!("{name} is nothing to go by"), decision)
    }

    /// Remembers what is new, so that nobody can pass off an older document as this one. A state
    /// directory that takes nothing weakens that, and stops no update by itself.
    pub fn remember(&self, durable: &Durable) {
        let Some((memory, seen)) = &self.news else { return };
        if let Err(error) = memory.write(durable, seen) {
            let path = memory.path.display();
            tracing::warn!("cannot remember the policy document in {path}: {error}");
        }
    }
}

impl Seen {
    /// `None` for bytes that are no text, which no document is made of.
    fn new(
        memory: &Memory,
        digest: Digest,
        fetched: &FetchedDocument,
        signature: Option<Kept>,
    ) -> Option<Self> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_owned()).ok();
        Some(Self {
            format: 1,
            tag: memory.tag.clone(),
            digest,
            manifest: text(&fetched.manifest)?,
            document: text(&fetched.document)?,
            signature,
        })
    }

    /// As it came, where every byte of it still is what it was.
    fn as_fetched(&self) -> Option<FetchedDocument> {
        let manifest = crate::image::document::DocumentManifest::parse(self.manifest.as_bytes());
        let manifest =
            manifest.ok().filter(|_| Digest::of(self.manifest.as_bytes()) == self.digest)?;
        let layer = manifest.layer()?;
        (layer.digest == Digest::of(self.document.as_bytes())).then(|| FetchedDocument {
            manifest: self.manifest.clone().into_bytes(),
            tag: manifest.tag().map(str::to_owned),
            document: self.document.clone().into_bytes(),
        })
    }

    fn issued(&self) -> Option<Timestamp> {
        Document::parse(self.document.as_bytes()).ok().map(|document| document.issued)
    }
}

impl Kept {
    /// One that was verified: it is small. `None` of a bundle, which is not accepted here.
    fn of(signature: Signature) -> Option<Self> {
        let Signature::Simple { payload, mut annotations } = signature else { return None };
        let payload = String::from_utf8(payload).ok()?;
        Some(Self { payload, signature: annotations.remove(SIGNATURE_ANNOTATION)? })
    }

    fn as_found(&self) -> Signature {
        let annotations = [(SIGNATURE_ANNOTATION.to_owned(), self.signature.clone())].into();
        Signature::Simple { payload: self.payload.clone().into_bytes(), annotations }
    }
}

impl Memory {
    fn of(root: &Root, source: &dyn Source, tag: &str) -> Self {
        let tag = format!("{}:{tag}", source.repository());
        let name: String = Digest::of(tag.as_bytes()).hex().chars().take(16).collect();
        let directory = root.path(STATE_DIRECTORY).join("policy");
        Self { path: directory.join(format!("{name}.json")), tag }
    }

    /// What was seen last at this tag. What cannot be understood is nothing (P8).
    fn recall(&self) -> Option<Seen> {
        let size = std::fs::metadata(&self.path).ok()?.len();
        let read = || -> Option<Seen> {
            if size > LIMIT {
                return None;
            }
            serde_json::from_slice(&std::fs::read(&self.path).ok()?).ok()
        };
        let seen = read()
            .filter(|seen| seen.format == 1 && seen.tag == self.tag && seen.as_fetched().is_some());
        if seen.is_none() {
            let path = self.path.display();
            tracing::warn!("{path} says nothing: an older policy document would not be noticed");
        }
        seen
    }

    fn write(&self, durable: &Durable, seen: &Seen) -> std::io::Result<()> {
        let Some(directory) = self.path.parent() else { return Ok(()) };
        durable.make_directory(directory)?;
        durable.replace(&self.path, &serde_json::to_vec(seen)?)
    }
}
