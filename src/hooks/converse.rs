// SPDX-License-Identifier: MIT OR Apache-2.0

//! One program: fed, listened to, waited for, and ended if it takes too long. One loop over its
//! pipes, no threads.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use super::GRACE;
use super::dialogue::{Dialogue, Pipes};
use super::ended::Ended;
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
    match held {
        Ok((ended, stdout, stderr)) => {
            let has_failed = matches!(ended, Ended::Itself(status) if !status.success());
            let is_silent = stdout.is_empty();
            (ended, if has_failed && is_silent { stderr } else { stdout })
        }
        Err(error) => (Ended::NotRun(error.to_string()), String::new()),
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
