// SPDX-License-Identifier: MIT OR Apache-2.0

//! The hook that is a container image of its own: which image, who signed it, and what it says.

use super::evaluation::Asked;
use super::image_hook::saw;
use super::{Error, Rule, Verdict, signature};
use crate::hooks::{Answer, Asking, Container};
use crate::image::reference::is_loopback;
use crate::source::{self, Location, Options, ReferenceError, SourceError, credentials, is_absent};

impl Asked<'_> {
    /// `None` where it is not asked.
    pub(super) fn container_hook(&mut self, asking: &Asking<'_>) -> Result<Option<Answer>, Error> {
        let means = &self.offer.means;
        let Some(settings) = &means.config.policy.hooks.container else {
            self.put(Rule::ContainerHook, "none is set", Verdict::Allow);
            return Ok(None);
        };
        let container = match self.find(&settings.image, settings.network)? {
            Ok(container) => container,
            Err(decision) => {
                self.put(Rule::ContainerHook, &settings.image, decision);
                return Ok(None);
            }
        };
        let answer = asking.container(&settings.image, &container);
        means.stop.check()?;
        let saw = saw(&container.image, std::slice::from_ref(&answer));
        self.put(Rule::ContainerHook, &saw, answer.decision.clone());
        Ok(Some(answer))
    }

    /// From the tag to a digest that one of this host's keys has signed, where they are to.
    fn find(&self, image: &str, network: bool) -> Result<Result<Container, Verdict>, Error> {
        let Location::Registry(reference) = image.parse()? else {
            let reason = "a container hook comes from a registry";
            return Err(SourceError::from(ReferenceError::new(image, reason)).into());
        };
        // They are the tracked repository's.
        let options = Options { mirrors: Vec::new(), ..self.offer.means.options.clone() };
        let source = source::open(&Location::Registry(reference.clone()), &options)?;
        let digest = match source.resolve() {
            Ok(digest) => digest,
            Err(SourceError::Stopped(stopped)) => return Err(stopped.into()),
            Err(error) => return Ok(Err(unavailable(image, &error))),
        };
        let mut verifier = self.offer.verifier.of_repository(&reference);
        if reference.digest().is_none() {
            verifier = verifier.bound();
        }
        let verdict = signature::verify(&verifier, source.as_ref(), &[digest])?;
        let (_, decision) = verdict.ruling(&format!("the container hook {}", digest.short()));
        if !decision.is_allow() {
            return Ok(Err(decision));
        }
        let image = format!("{}@{digest}", reference.full_repository());
        let host = reference.host();
        let plain_http = options.lists_plain_http(host) || is_loopback(host);
        let environment = |name: &str| std::env::var_os(name);
        let auth_file = credentials::file(&options, &environment, host, reference.repository());
        Ok(Ok(Container { image, network, plain_http, auth_file }))
    }
}

fn unavailable(image: &str, error: &SourceError) -> Verdict {
    let reason = format!("the container hook {image} cannot be found: {error}");
    match is_absent(error) || matches!(error, SourceError::ManifestNotFound { .. }) {
        true => Verdict::block("container-hook-missing", reason),
        false => Verdict::defer("container-hook-unavailable", reason),
    }
}
