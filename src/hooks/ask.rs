// SPDX-License-Identifier: MIT OR Apache-2.0

//! One questioning: about one update, by the same settings, in the same way.

use std::cell::OnceCell;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::context::Context;
use super::discover::{DIRECTORY, Hook, discover};
use super::executable::Executable;
use super::podman::{Container, Podman};
use super::program::{Limits, Program, Sandbox};
use super::runner::Runner;
use super::{Answer, Kind, Planned};
use crate::codes;
use crate::config;
use crate::config::overlay::Unusable;
use flipside_core::cancel::Cancel;
use flipside_core::host::Root;
use flipside_core::refusal::Verdict;
use flipside_image::code::sentence;

/// Asks the hooks of this host in lexical order until one does not allow. What
/// keeps a hook from answering is an answer too: nothing goes on in doubt.
/// Blocks for up to the time-out per hook.
pub fn ask(root: &Root, hooks: &config::Hooks, context: &Context, stop: &Cancel) -> Vec<Answer> {
    Asking::new(root, hooks, context, stop).host()
}

/// The answer that ends it where flipside was started by a hook. One that starts an update of its
/// own would be asked about that one too, and start another.
pub fn nested() -> Option<Answer> {
    std::env::var_os("FLIPSIDE_HOOK")?;
    let reason = "hooks are not asked by what a hook started".to_owned();
    Some(unasked(None, Verdict::defer(codes::HOOK_NESTED, reason)))
}

/// An answer of nobody, in place of the host's hooks.
fn unasked(path: Option<PathBuf>, verdict: Verdict) -> Answer {
    Answer {
        hook: DIRECTORY.to_owned(),
        kind: Kind::Host,
        path,
        verdict,
        said: String::new(),
        ran_as: None,
        took: Duration::ZERO,
    }
}

/// The answer of a hook that cannot be asked: it may have been there to block this update.
fn faulty(hook: &Hook, why: &str) -> Answer {
    let reason = format!("hook {} cannot be asked: {why}", hook.name);
    let verdict = Verdict::block(codes::HOOK_FAILED, reason);
    Answer { hook: hook.name.clone(), ..unasked(Some(hook.path.clone()), verdict) }
}

/// Asks hooks about one update.
pub struct Asking<'a> {
    root: &'a Root,
    settings: &'a config::Hooks,
    context: &'a Context,
    stop: &'a Cancel,
    /// Made for the first hook.
    runner: OnceCell<Runner>,
}

impl<'a> Asking<'a> {
    /// About the update of `context`.
    pub fn new(
        root: &'a Root,
        settings: &'a config::Hooks,
        context: &'a Context,
        stop: &'a Cancel,
    ) -> Self {
        Self { root, settings, context, stop, runner: OnceCell::new() }
    }

    fn runner(&self) -> &Runner {
        self.runner.get_or_init(|| Runner::of(self.root))
    }

    /// Asks the hook that the new image brings as its payload `name`.
    pub fn image(&self, name: &str, program: &Executable) -> Answer {
        let path = PathBuf::from(format!("/proc/self/fd/{}", program.number()));
        let answer = self.one(name, "the image's hook", &path, Some(program));
        Answer { kind: Kind::Image, path: None, ..answer }
    }

    /// Asks the hook that is a container; `name` is what people call its image.
    pub fn container(&self, name: &str, container: &Container) -> Answer {
        let begun = Instant::now();
        let podman = Podman {
            root: self.root,
            runner: self.runner(),
            context: self.context,
            settings: self.settings,
            stop: self.stop,
        };
        let (verdict, said, ran_as) = podman.ask(container);
        let hook = name.to_owned();
        let took = begun.elapsed();
        Answer { hook, kind: Kind::Container, path: None, verdict, said, ran_as, took }
    }

    /// Asks the hooks of this host in lexical order until one does not allow.
    pub fn host(&self) -> Vec<Answer> {
        if let Some(answer) = nested() {
            return vec![answer];
        }
        let found = match discover(self.root) {
            Ok(found) => found,
            Err(error) => {
                let verdict = Verdict::block(codes::HOOK_FAILED, sentence(&error));
                return vec![unasked(Some(error.path().to_owned()), verdict)];
            }
        };
        let mut answers = Vec::new();
        for hook in found {
            if let Some(why) = hook.ignored {
                tracing::debug!("hook {} is not asked: {why}", hook.path.display());
                continue;
            }
            tracing::debug!("asking hook {}", hook.path.display());
            let subject = format!("hook {}", hook.name);
            let answer = match &hook.fault {
                Some(why) => faulty(&hook, why),
                None => self.one(&hook.name, &subject, &hook.path, None),
            };
            let goes_on = answer.verdict.is_allow();
            answers.push(answer);
            if !goes_on {
                break;
            }
        }
        answers
    }

    /// `subject` is what a sentence about it begins with.
    fn one(&self, name: &str, subject: &str, path: &Path, body: Option<&Executable>) -> Answer {
        let begun = Instant::now();
        let program = Program {
            kind: "hook",
            name,
            path,
            arguments: Vec::new(),
            directory: self.root.directory(),
            environment: &self.context.environment(self.root),
            input: &self.context.document(),
            sandbox: Sandbox::Closed,
            body: body.map(|body| body.as_fd()),
        };
        let limits = Limits { timeout: *self.settings.timeout, memory: *self.settings.memory };
        let (ended, said, ran_as) = self.runner().run(&program, &limits, self.stop);
        Answer {
            hook: name.to_owned(),
            kind: Kind::Host,
            path: Some(path.to_owned()),
            verdict: ended.verdict(subject, &said, self.settings),
            said,
            ran_as: Some(ran_as),
            took: begun.elapsed(),
        }
    }

    /// A hook that stands in no file of the host's, if it would be asked.
    pub fn plan(&self, kind: Kind, name: &str) -> Planned {
        let runs_as = self.runner().runs_as();
        let hook = name.to_owned();
        Planned { hook, kind, path: None, ignored: None, fault: None, runs_as }
    }

    /// The hooks of this host that would be asked, in order, if each allowed. Runs nothing.
    ///
    /// # Errors
    /// As [`discover`].
    pub fn plan_host(&self) -> Result<Vec<Planned>, Unusable> {
        let planned = |hook: Hook| Planned {
            hook: hook.name,
            kind: Kind::Host,
            path: Some(hook.path),
            ignored: hook.ignored,
            fault: hook.fault,
            runs_as: self.runner().runs_as(),
        };
        Ok(discover(self.root)?.into_iter().map(planned).collect())
    }
}
