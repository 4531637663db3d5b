// SPDX-License-Identifier: MIT OR Apache-2.0

//! Runs the cases, two at once, and says of each what came of it as it ends.

use std::collections::VecDeque;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::cases::{Case, SMALL};
use crate::lab::Lab;

/// Virtual machines that run at the same time. Each has one emulated processor, and the
/// machines that run this have two.
const AT_ONCE: usize = 2;

/// What all of them may take on two cores.
const LONGEST: Duration = Duration::from_secs(3600);

struct Wanted {
    names: Vec<String>,
    small: bool,
    at_once: usize,
    keep: bool,
}

/// Runs those of `cases` that the arguments ask for.
///
/// # Errors
/// What keeps all of them from running.
pub fn run(cases: &'static [Case], arguments: Vec<String>) -> Result<ExitCode> {
    let mut wanted = Wanted { names: Vec::new(), small: false, at_once: AT_ONCE, keep: false };
    let mut rest = arguments.into_iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--list" => {
                for case in cases {
                    println!("{:<28} {}", case.name, case.shows);
                }
                return Ok(ExitCode::SUCCESS);
            }
            "--small" => wanted.small = true,
            "--keep" => wanted.keep = true,
            "--at-once" => {
                wanted.at_once = rest.next().and_then(|n| n.parse().ok()).unwrap_or(AT_ONCE);
            }
            // What `cargo test` may add for its own harness.
            "--nocapture" | "--quiet" | "-q" => {}
            option if option.starts_with('-') => {
                bail!("unknown option {option}: there are --list, --small, --keep and --at-once N")
            }
            name => wanted.names.push(name.to_owned()),
        }
    }
    let chosen: VecDeque<&Case> = cases.iter().filter(|case| wanted.takes(case)).collect();
    if chosen.is_empty() {
        bail!("no case is called {}; --list names them", wanted.names.join(" or "));
    }
    let begun = Instant::now();
    let lab = Lab::open(wanted.keep)?;
    let number = chosen.len();
    println!(
        "vm: {number} cases, {} at once; each keeps its logs in {}",
        wanted.at_once,
        lab.runs().display()
    );
    let failed = AtomicUsize::new(0);
    let queue = Mutex::new(chosen);
    std::thread::scope(|scope| {
        for _ in 0..wanted.at_once.min(number) {
            scope.spawn(|| {
                while let Some(case) = next(&queue) {
                    if !perform(&lab, case) {
                        failed.fetch_add(1, Ordering::SeqCst);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner();
    let took = begun.elapsed();
    println!("vm: {:.0} s", took.as_secs_f64());
    if took > LONGEST {
        println!("vm: this is more than an hour, which is what it should take at the most");
    }
    println!("test result: {} passed; {failed} failed", number - failed);
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Wanted {
    fn takes(&self, case: &Case) -> bool {
        if self.names.is_empty() {
            // The few cuts are part of the many.
            return if self.small {
                SMALL.contains(&case.name)
            } else {
                case.name != "power-cuts-few"
            };
        }
        self.names.iter().any(|name| case.name.contains(name))
    }
}

fn next(queue: &Mutex<VecDeque<&'static Case>>) -> Option<&'static Case> {
    queue.lock().ok()?.pop_front()
}

fn perform(lab: &Lab, case: &Case) -> bool {
    let begun = Instant::now();
    let bench = lab.bench(case.name);
    let outcome = bench.and_then(|bench| {
        let outcome = (case.run)(&bench);
        bench.finish(outcome.is_ok());
        outcome
    });
    let seconds = begun.elapsed().as_secs_f64();
    match &outcome {
        Ok(()) => println!("test {} ... ok ({seconds:.0} s)", case.name),
        Err(error) => println!(
            "test {} ... FAILED ({seconds:.0} s): {error:#}\n    logs: {}",
            case.name,
            lab.runs().join(case.name).display()
        ),
    }
    outcome.is_ok()
}
