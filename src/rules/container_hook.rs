// SPDX-License-Identifier: MIT OR Apache-2.0

//! [`Rule::ContainerHook`]: the program in a container image of its own allows it. Which image
//! that is, who signed it, and what it says.

use super::evaluation::Evaluation;
use super::{Candidate, Error, Rule, Verdict, signature};
use crate::codes;
use crate::hooks::{Answer, Asking, Container};
use flipside_image::reference::is_loopback;
use flipside_source::proxy::Proxies;
use flipside_source::{
    self as source, Location, Options, ReferenceError, SourceError, credentials, is_absent,
};

/// Asks it. `None` where there is none, or none that may be run.
pub(super) fn ask(
    evaluation: &mut Evaluation<'_>,
    asking: &Asking<'_>,
) -> Result<Option<Answer>, Error> {
    let means = &evaluation.candidate.means;
    let settings = &means.config.policy.hooks.container;
    let Some(image) = settings.image.as_deref() else {
        evaluation.put(Rule::ContainerHook, "none is set", Verdict::Allow);
        return Ok(None);
    };
    let container = match find(evaluation.candidate, image, settings.network)? {
        Ok(container) => container,
        Err(verdict) => {
            evaluation.put(Rule::ContainerHook, image, verdict);
            return Ok(None);
        }
    };
    let answer = asking.container(image, &container);
    means.stop.check()?;
    evaluation.put_answers(Rule::ContainerHook, &container.image, std::slice::from_ref(&answer));
    Ok(Some(answer))
}

/// From the tag to a digest that one of this host's keys has signed, where they are to.
fn find(
    candidate: &Candidate<'_>,
    image: &str,
    network: bool,
) -> Result<Result<Container, Verdict>, Error> {
    let Location::Registry(reference) = image.parse()? else {
        let reason = "a container hook comes from a registry";
        return Err(SourceError::from(ReferenceError::new(image, reason)).into());
    };
    // They are the tracked repository's, and so is the client certificate.
    let mut options = Options { mirrors: Vec::new(), ..candidate.means.options.clone() };
    if !is_tracked_registry(candidate, &reference) {
        options.client_cert = None;
        options.client_key = None;
    }
    let source = source::open(&Location::Registry(reference.clone()), &options)?;
    let digest = match source.resolve() {
        Ok(digest) => digest,
        Err(SourceError::Stopped(stopped)) => return Err(stopped.into()),
        Err(error) => return Ok(Err(unavailable(image, &error))),
    };
    let mut verifier = candidate.verifier.of_repository(&reference);
    if reference.digest().is_none() {
        verifier = verifier.bound();
    }
    let verdict = signature::verify(&verifier, source.as_ref(), &[digest])?;
    let (_, verdict) = verdict.result(&format!("the container hook {}", digest.short()));
    if !verdict.is_allow() {
        return Ok(Err(verdict));
    }
    let image = format!("{}@{digest}", reference.full_repository());
    let host = reference.host();
    let plain_http = options.lists_plain_http(host) || is_loopback(host);
    let environment = |name: &str| std::env::var_os(name);
    let auth_file = credentials::file(&options, &environment, host, reference.repository());
    let proxies = Proxies::new(&options, &environment).variables();
    Ok(Ok(Container { image, network, plain_http, auth_file, proxies }))
}

/// Whether it comes from the registry that this host follows.
fn is_tracked_registry(candidate: &Candidate<'_>, hook: &source::Reference) -> bool {
    let image = candidate.means.config.track.image.as_deref().map(str::parse);
    matches!(image, Some(Ok(Location::Registry(tracked))) if tracked.host() == hook.host())
}

fn unavailable(image: &str, error: &SourceError) -> Verdict {
    let reason = format!("the container hook {image} cannot be found: {error}");
    match is_absent(error) || matches!(error, SourceError::ManifestNotFound { .. }) {
        true => Verdict::block(codes::CONTAINER_HOOK_MISSING, reason),
        false => Verdict::defer(codes::CONTAINER_HOOK_UNAVAILABLE, reason),
    }
}
