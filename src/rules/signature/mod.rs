// SPDX-License-Identifier: MIT OR Apache-2.0

//! [`Rule::Signature`]: the image is signed by a key of this host, whether it is on offer or installed
//! already.
//!
//! - `verifier`, `keys`: what signatures are held against
//! - `search`: fetches them, and what that came to

use super::evaluation::Evaluation;
use super::{Candidate, Error, Rule, Verdict};
use flipside_image::signature::{Form, Signed};
use flipside_image::{Digest, Image};
use flipside_source::{Source, fetch_image};

mod keys;
mod search;
mod verifier;

use search::check_product;
pub(super) use search::{SignatureSearch, search, verify};
pub use verifier::open;

/// Where keys are, below `/etc` and `/usr/lib`.
const DIRECTORY: &str = "flipside/keys";

/// Asks who signed any of `digests`; `false` where that is nobody, and nothing more may be fetched.
pub(super) fn ask(
    evaluation: &mut Evaluation<'_>,
    source: &dyn Source,
    digests: &[Digest],
) -> Result<bool, Error> {
    let found = verify(evaluation.candidate.verifier, source, digests)?;
    let image = digests.last().map(Digest::short).unwrap_or_default();
    let (observed, verdict) = found.result(&format!("the image {image}"));
    let is_allowed = verdict.is_allow();
    evaluation.put(Rule::Signature, &observed, verdict);
    if let SignatureSearch::Signed(signed) = found {
        evaluation.signed = Some(signed);
    }
    Ok(is_allowed)
}

/// The same of what the target holds: keys may have gone since it was written.
pub(super) fn ask_of_installed(evaluation: &mut Evaluation<'_>) -> Result<(), Error> {
    let Candidate { means, host_state, source, .. } = evaluation.candidate;
    let target = host_state.target_slot();
    let Some(digest) = target.digest() else { return Ok(()) };
    let digests: Vec<_> = target.digests().collect();
    let is_allowed = ask(evaluation, *source, &digests)?;
    if is_allowed && is_signed_by_bundle(evaluation) {
        let image = fetch_image(*source, &digest, means.architecture)?;
        ask_of_product(evaluation, *source, &digests, &image)?;
    }
    Ok(())
}

fn is_signed_by_bundle(evaluation: &Evaluation<'_>) -> bool {
    evaluation.signed.as_ref().is_some_and(|signed| signed.form == Form::Bundle)
}

/// What a bundle leaves open, and only the config tells. One of another product neither helps nor
/// harms: the search goes on for a signature that names the repository.
pub(super) fn ask_of_product(
    evaluation: &mut Evaluation<'_>,
    source: &dyn Source,
    digests: &[Digest],
    image: &Image,
) -> Result<(), Error> {
    if !is_signed_by_bundle(evaluation) {
        return Ok(());
    }
    let Candidate { verifier, product, .. } = evaluation.candidate;
    let id = &image.config.product_info.id;
    let verdict = check_product(*product, id);
    if !verdict.is_allow()
        && let SignatureSearch::Signed(signed) = verify(&verifier.bound(), source, digests)?
    {
        evaluation.put(Rule::Signature, &signed.to_string(), Verdict::Allow);
        evaluation.signed = Some(signed);
        return Ok(());
    }
    let signed = evaluation.signed.as_ref().map(Signed::to_string).unwrap_or_default();
    evaluation.put(Rule::Signature, &format!("{signed}, product {id:?}"), verdict);
    Ok(())
}
