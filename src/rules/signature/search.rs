// SPDX-License-Identifier: MIT OR Apache-2.0

//! Who signed what is on offer: the search that goes with [`Verifier`]'s verdicts.

use std::ops::ControlFlow;

use crate::codes;
use flipside_core::refusal::{Refusal, Verdict};
use flipside_image::Digest;
use flipside_image::code::{Coded as _, sentence};
use flipside_image::printable;
use flipside_image::signature::{Flaw, Signed, Verifier};
use flipside_source::signatures::Worth;
use flipside_source::{Signature, Source, SourceError};

/// The most flaws that a sentence tells.
const TOLD: usize = 3;

/// What a search came to.
#[derive(Debug)]
pub(in crate::rules) enum SignatureSearch {
    /// Nobody searched: this host requires no signature.
    NotRequired,
    /// It is signed.
    Signed(Signed),
    /// Everybody who may have a signature says that there is none.
    Missing,
    /// There are some, and none of them is valid.
    Invalid(Vec<Flaw>),
    /// Not everybody who may have one answered.
    Unanswered(SourceError),
}

/// Searches for one valid signature of any of `digests`: an image's, and those of indexes that
/// list it, whose signatures cover it. They are asked for in this order.
///
/// # Errors
/// Only a wish to stop; a source that does not answer is [`SignatureSearch::Unanswered`].
pub(in crate::rules) fn verify(
    verifier: &Verifier,
    source: &dyn Source,
    digests: &[Digest],
) -> Result<SignatureSearch, SourceError> {
    search(verifier, source, digests).map(|(verdict, _)| verdict)
}

/// The same, with the valid signature itself.
///
/// # Errors
/// As [`verify`].
pub(in crate::rules) fn search(
    verifier: &Verifier,
    source: &dyn Source,
    digests: &[Digest],
) -> Result<(SignatureSearch, Option<Signature>), SourceError> {
    if !verifier.is_required() {
        return Ok((SignatureSearch::NotRequired, None));
    }
    let (mut signed, mut flaws, mut unanswered) = (None, Vec::new(), None);
    for digest in digests {
        let searched = source.signatures(digest, &mut |signature| {
            let flaw = match verifier.check(digest, &signature) {
                Ok(valid) => {
                    signed = Some((valid, signature));
                    return ControlFlow::Break(());
                }
                Err(flaw) => flaw,
            };
            tracing::debug!(digest = digest.short(), "a signature {flaw}");
            let is_plausible = flaw.is_plausible();
            if !flaws.contains(&flaw) {
                flaws.push(flaw);
            }
            ControlFlow::Continue(if is_plausible { Worth::Plausible } else { Worth::Nothing })
        });
        match searched {
            Err(SourceError::Stopped(stopped)) => return Err(stopped.into()),
            Err(error) => unanswered = Some(error),
            Ok(()) => {}
        }
        if let Some((signed, signature)) = signed {
            return Ok((SignatureSearch::Signed(signed), Some(signature)));
        }
    }
    let verdict = match (unanswered, flaws.is_empty()) {
        (Some(error), _) => SignatureSearch::Unanswered(error),
        (None, true) => SignatureSearch::Missing,
        (None, false) => SignatureSearch::Invalid(flaws),
    };
    Ok((verdict, None))
}

impl SignatureSearch {
    /// What the rule saw, and what it says. `what` names the thing that is to be signed.
    pub fn result(&self, what: &str) -> (String, Verdict) {
        match self {
            Self::NotRequired => ("none is required of this host".to_owned(), Verdict::Allow),
            Self::Signed(signed) => (signed.to_string(), Verdict::Allow),
            Self::Missing => (
                "none".to_owned(),
                Verdict::block(codes::SIGNATURE_MISSING, format!("nobody has signed {what}")),
            ),
            Self::Invalid(flaws) => {
                let told = told(flaws);
                let reason = format!("{what} has no valid signature, but {told}");
                (told, Verdict::block(codes::SIGNATURE_INVALID, reason))
            }
            Self::Unanswered(error) => {
                let reason = format!("cannot learn who signed {what}: {}", sentence(error));
                let refusal = Refusal::defer(codes::SIGNATURE_UNAVAILABLE, reason);
                let refusal = refusal.passing(error.transient().unwrap_or_default());
                ("no answer".to_owned(), Verdict::No(refusal))
            }
        }
    }
}

/// Flaws in words, each once.
fn told(flaws: &[Flaw]) -> String {
    let mut words: Vec<String> = Vec::new();
    for flaw in flaws {
        let word = format!("one {}", printable::line(&flaw.to_string(), 160));
        if !words.contains(&word) {
            words.push(word);
        }
    }
    let more = words.len().saturating_sub(TOLD);
    words.truncate(TOLD);
    if more > 0 {
        words.push(format!("{more} more"));
    }
    words.join(", ")
}

/// A bundle names no repository: it approves of the image for whoever runs this product. `host`
/// is what this host calls its own (`policy.signature.product`, or `ID` in os-release).
pub(super) fn check_product(host: Option<&str>, image: &str) -> Verdict {
    let image = printable::line(image, 80);
    match host {
        Some(host) if host == image => Verdict::Allow,
        Some(host) => Verdict::block(
            codes::SIGNATURE_PRODUCT,
            format!(
                "a bundle signs the image, which names no repository, and the image is of the \
                 product {image:?}, not of {host:?}"
            ),
        ),
        None => Verdict::block(
            codes::SIGNATURE_PRODUCT,
            format!(
                "a bundle signs the image of the product {image:?}, and this host does not say \
                 what it is: os-release has no ID; set policy.signature.product"
            ),
        ),
    }
}
