// SPDX-License-Identifier: MIT OR Apache-2.0

//! One program: fed, listened to, waited for, and ended if it takes too long. One loop over its
//! pipes, no threads.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use super::GRACE;
use super::dialogue::{Dialogue, Pipes};
use super::ended::Ended;
use super::interpreter;
use super::program::Program;
use flipside_core::cancel::Cancel;

/// A program that was started.
pub(super) trait Running {
    /// Readable once its first process ended; `None` where the tick has to do.
    fn process(&self) -> Option<BorrowedFd<'_>>;

    /// Whether it has ended.
    fn has_ended(&mut self) -> bool;

    /// How it ended by itself.
    fn outcome(&mut self) -> io::Result<Ended>;

    /// Asks it, and all that it started, to end.
    fn end(&mut self);

    /// Ends it, and all that it started, and waits for that.
    fn kill(&mut self);
}

/// Runs `program` as `start` starts it, for up to `timeout`. Returns how it ended, and its
/// reason: the last line of stdout. Where it failed without one, the last line of stderr is what
/// tells most.
pub(super) fn converse<'a>(
    program: &Program<'_>,
    timeout: Duration,
    stop: &Cancel,
    start: impl FnOnce(Pipes) -> io::Result<Box<dyn Running + 'a>>,
) -> (Ended, String) {
    let held = Dialogue::new(program.kind, program.name, program.input)
        .and_then(|(dialogue, pipes)| hold(dialogue, start(pipes)?, timeout, stop));
    let (ended, said) = match held {
        Ok((ended, stdout, stderr)) => {
            let has_failed = matches!(ended, Ended::Itself(status) if !status.success());
            let is_silent = stdout.is_empty();
            (ended, if has_failed && is_silent { stderr } else { stdout })
        }
        Err(error) => (Ended::NotRun(error.to_string()), String::new()),
    };
    // With 2 a shell refuses an option, with the others it, or env, does not find what it is to run.
    let has_not_run = match &ended {
        Ended::NotRun(_) => true,
        Ended::Itself(status) => matches!(status.code(), Some(2 | 126 | 127)),
        _ => false,
    };
    let why = has_not_run.then(|| interpreter::problem(program.path)).flatten();
    match why {
        Some(why) => (Ended::NotRun(why), String::new()),
        None => (ended, said),
    }
}

fn hold(
    mut dialogue: Dialogue<'_>,
    mut running: Box<dyn Running + '_>,
    timeout: Duration,
    stop: &Cancel,
) -> io::Result<(Ended, String, String)> {
    let begun = Instant::now();
    // Set once we ended it: why, and when.
    let mut ended_by_us: Option<(Ended, Instant)> = None;
    loop {
        dialogue.wait_for_news(running.process());
        dialogue.go_on();
        if running.has_ended() {
            break;
        }
        match &ended_by_us {
            None if stop.is_requested() => ended_by_us = Some((Ended::Stopped, Instant::now())),
            None if begun.elapsed() >= timeout => {
                ended_by_us = Some((Ended::TimedOut, Instant::now()));
            }
            Some((_, when)) if when.elapsed() >= GRACE => break,
            _ => continue,
        }
        running.end();
    }
    let ended = match ended_by_us {
        Some((why, _)) => {
            running.kill();
            why
        }
        None => running.outcome()?,
    };
    let (stdout, stderr) = dialogue.finish();
    Ok((ended, stdout, stderr))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hooks::program::Sandbox;
    use std::cell::Cell;
    use std::path::Path;
    use std::rc::Rc;

    /// Ends as soon as it is asked to, and counts who looks after that.
    struct Obedient {
        is_asked: bool,
        looks: Rc<Cell<u32>>,
        _pipes: Pipes,
    }

    impl Running for Obedient {
        fn process(&self) -> Option<BorrowedFd<'_>> {
            None
        }

        fn has_ended(&mut self) -> bool {
            self.looks.set(self.looks.get() + u32::from(self.is_asked));
            self.is_asked
        }

        fn outcome(&mut self) -> io::Result<Ended> {
            unreachable!("it did not end by itself")
        }

        fn end(&mut self) {
            self.is_asked = true;
        }

        fn kill(&mut self) {}
    }

    #[test]
    fn one_that_ends_when_it_is_asked_to_is_not_waited_for_longer() {
        let program = Program {
            kind: "hook",
            name: "h",
            path: Path::new("/h"),
            arguments: Vec::new(),
            directory: Path::new("/"),
            environment: &[],
            input: b"",
            sandbox: Sandbox::Closed,
            body: None,
        };
        let looks = Rc::new(Cell::new(0));
        let seen = looks.clone();
        let start = move |pipes| {
            let running = Obedient { is_asked: false, looks: seen, _pipes: pipes };
            Ok(Box::new(running) as Box<dyn Running>)
        };
        let (ended, _) = converse(&program, Duration::ZERO, &Cancel::new(), start);
        assert!(matches!(ended, Ended::TimedOut));
        assert_eq!(looks.get(), 1);
    }
}
