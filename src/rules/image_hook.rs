// SPDX-License-Identifier: MIT OR Apache-2.0

//! Programs that are asked about an update: the one that the new image brings, and this host's.

use super::evaluation::{Asked, hook_context};
use super::upgrade_path::Stop;
use super::{Error, Offer, Rule, Verdict};
use crate::hooks::{self, Answer, Asking, Blank, Executable, RanAs};
use crate::image::{HOOK_LIMIT, HOOK_PAYLOAD, Layer};
use crate::install::{self, InstallError};
use crate::progress::{Event, Phase, Silent};
use crate::source::{self, Source};

impl Asked<'_> {
    /// Up to the first that does not allow.
    pub(super) fn hooks(&mut self, stop: &Stop) -> Result<Vec<Answer>, Error> {
        let Offer { means, initiative, situation, .. } = self.offer;
        means.progress.event(Event::Phase(Phase::Hooks));
        let context = hook_context(means.config, *initiative, situation, stop.image.as_ref());
        if let Some(answer) = hooks::nested() {
            self.put(Rule::HostHooks, &answer.hook, answer.decision.clone());
            return Ok(vec![answer]);
        }
        let asking = Asking::new(means.root, &means.config.policy.hooks, &context, means.stop);
        let mut answers = Vec::new();
        answers.extend(self.image_hook(&asking, stop)?);
        if self.explanation.first_refusal().is_none() {
            let host = asking.host();
            means.stop.check()?;
            self.put(Rule::HostHooks, &saw(&names(&host), &host), hooks::decide(&host));
            answers.extend(host);
        }
        if self.explanation.first_refusal().is_none() {
            answers.extend(self.container_hook(&asking)?);
        }
        Ok(answers)
    }

    fn image_hook(&mut self, asking: &Asking<'_>, stop: &Stop) -> Result<Option<Answer>, Error> {
        let source = stop.source(self.offer.source);
        let installed = match &stop.image {
            Some(_) => None,
            // It is to be armed, and its hook may have changed its mind since.
            None => Some(source::fetch_image(source, &stop.named, self.offer.means.architecture)?),
        };
        let Some(image) = stop.image.as_ref().or(installed.as_ref()) else { return Ok(None) };
        let Some(layer) = image.layer(HOOK_PAYLOAD) else {
            self.put(Rule::ImageHook, "the image brings none", Verdict::Allow);
            return Ok(None);
        };
        let size = layer.payload.size;
        let saw = format!("{HOOK_PAYLOAD}, {size} bytes");
        if size > HOOK_LIMIT {
            let reason = format!("the image's hook has {size} bytes, more than {HOOK_LIMIT}");
            self.put(Rule::ImageHook, &saw, Verdict::block("image-hook-too-large", reason));
            return Ok(None);
        }
        let answer = match self.fetch(source, &layer)? {
            Ok(program) => asking.image(HOOK_PAYLOAD, &program),
            Err(error) => {
                let reason = format!("the image's hook cannot be run from memory: {error}");
                self.put(Rule::ImageHook, &saw, Verdict::block("hook-failed", reason));
                return Ok(None);
            }
        };
        self.offer.means.stop.check()?;
        let saw = self::saw(&saw, std::slice::from_ref(&answer));
        self.put(Rule::ImageHook, &saw, answer.decision.clone());
        Ok(Some(answer))
    }

    /// Each chunk is held against its hash (P3). The inner error is that of keeping the program.
    fn fetch(
        &self,
        source: &dyn Source,
        layer: &Layer<'_>,
    ) -> Result<std::io::Result<Executable>, InstallError> {
        let blank = match Blank::new(HOOK_PAYLOAD, layer.payload.size) {
            Ok(blank) => blank,
            Err(error) => return Ok(Err(error)),
        };
        let options = install::Options { read_back: false, ..install::Options::default() };
        let stop = self.offer.means.stop;
        install::write_payload(source, layer, &blank, &options, &Silent, stop)?;
        Ok(blank.seal())
    }
}

/// What a rule went by, and that less kept the hooks in check, where that was so.
pub(super) fn saw(what: &str, answers: &[Answer]) -> String {
    let is_group = |answer: &Answer| answer.ran_as == Some(RanAs::ProcessGroup);
    match answers.iter().any(is_group) {
        true => format!("as a process group, without the sandbox and limits of a unit: {what}"),
        false => what.to_owned(),
    }
}

fn names(answers: &[Answer]) -> String {
    let names: Vec<&str> = answers.iter().map(|answer| answer.hook.as_str()).collect();
    match names.is_empty() {
        true => "this host has none".to_owned(),
        false => names.join(", "),
    }
}
