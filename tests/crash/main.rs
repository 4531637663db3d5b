// SPDX-License-Identifier: MIT OR Apache-2.0

//! The crash test: every durable step of whole runs is recorded, the host is built as a power
//! cut behind each step may leave it, and each such host has to boot the old OS or the new
//! one, whole, and to complete the next run (P1, P2, P4, P5, P9). `docs/reliability.md` says
//! what the model is and what it cannot see.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing, clippy::too_many_lines)]

mod deltas;
#[path = "../support/host.rs"]
mod host;
#[path = "../support/images.rs"]
mod images;
mod loader_rules;
mod model;
mod mutate;
mod recorder;
mod recover;
mod rules;
mod scenario;
mod traced;
mod unarmed;
mod variable_file;

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use flipside_sim::Backend;
use model::{Coin, Every, Fate};
use scenario::Scenario;

/// Says what it did, or what went wrong.
type Test = fn(&[Scenario]) -> Result<String, String>;

/// Fewer states than this would be no test.
const ENOUGH: usize = 10_000;
/// Random fates per prefix, besides "all pending is lost" and "all of it is there". What the
/// backends share is tried with the first.
const fn fates(backend: Backend) -> u64 {
    match backend {
        Backend::Uefi => 24,
        Backend::SystemdBoot => 8,
    }
}
/// Of the states, one in so many is recovered; each is judged.
const RECOVERED: usize = 6;
/// The runs that matter most: each of their states is tried.
const MAIN: [&str; 7] = [
    "update from A",
    "update from B",
    "update superseding",
    "promote",
    "rollback",
    "fail a trial",
    "variables in a file: update from A",
];
/// Of the states of the other runs, one in so many is tried, unless `--all` is given.
const STRIDE: usize = 3;

fn main() {
    // `traced` starts this program again, under strace.
    if let Some(path) = std::env::var_os(traced::CHILD) {
        return traced::child(&PathBuf::from(path));
    }
    let begun = Instant::now();
    let scenarios = scenario::all();
    println!("crash: {} runs recorded", scenarios.len());
    let tests: [(&str, Test); 7] = [
        ("replaying each whole log gives the real directory", replay),
        ("every step is durable before the next begins (P4)", durable),
        ("removing any one sync turns it red", mutate::syncs),
        ("swapping any two steps turns it red", mutate::swaps),
        ("every crash state boots whole and recovers (P1 P2 P5 P9)", crash),
        ("a recovery that is cut again recovers", recover::again),
        ("strace sees no write outside the log", |_| traced::test()),
    ];
    // A part of a name chooses tests, as with other test programs.
    let wanted: Vec<_> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|part| name.contains(part));
    let chosen: Vec<_> = tests.iter().filter(|(name, _)| is_wanted(name)).collect();
    let mut failed = 0;
    for (name, test) in &chosen {
        match test(&scenarios) {
            Ok(said) => println!("test {name} ... ok ({said})"),
            Err(why) => {
                println!("test {name} ... FAILED\n{why}");
                failed += 1;
            }
        }
    }
    println!("crash: {:.0} s", begun.elapsed().as_secs_f64());
    println!("test result: {} passed; {failed} failed", chosen.len() - failed);
    drop(scenarios);
    std::process::exit(i32::from(failed > 0));
}

/// A directory in memory where the machine has one: a cut is simulated, so nothing has to
/// reach a disk.
pub fn scratch() -> tempfile::TempDir {
    let memory = std::path::Path::new("/dev/shm");
    if memory.is_dir() {
        tempfile::tempdir_in(memory).unwrap()
    } else {
        tempfile::tempdir().unwrap()
    }
}

fn replay(scenarios: &[Scenario]) -> Result<String, String> {
    for scenario in scenarios {
        let replayed = scenario.model.cut(scenario.model.len(), &mut Every(true));
        let ignored = scenario::is_volatile;
        if replayed.flat(ignored) != scenario.end.flat(ignored) {
            return Err(format!("{}: the log is not the whole truth", scenario.name));
        }
        let durable = scenario.model.cut(scenario.model.len(), &mut Every(false));
        let ignored = |path: &std::path::Path| ignored(path) || rules::path_may_be_lost(path);
        if durable.flat(ignored) != scenario.end.flat(ignored) {
            return Err(format!("{}: not all is durable at the end", scenario.name));
        }
    }
    Ok(format!("{} logs", scenarios.len()))
}

fn durable(scenarios: &[Scenario]) -> Result<String, String> {
    for scenario in scenarios {
        rules::steps_are_durable(&scenario.log, &scenario.model)
            .map_err(|why| format!("{}: {why}", scenario.name))?;
    }
    Ok("each phase of each log".into())
}

fn crash(scenarios: &[Scenario]) -> Result<String, String> {
    let mut cuts = Vec::new();
    for (index, scenario) in scenarios.iter().enumerate() {
        for ops in 0..=scenario.model.len() {
            cuts.extend((0..fates(scenario.backend) + 2).map(|fate| (index, ops, fate)));
        }
    }
    let all = cuts.len();
    if !std::env::args().any(|argument| argument == "--all") {
        let mut nth = 0;
        cuts.retain(|(index, ..)| {
            nth += 1;
            MAIN.contains(&scenarios[*index].name.as_str()) || nth % STRIDE == 0
        });
    }
    let (next, judged, recovered) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    let worker = || -> Result<(), String> {
        let directory = scratch();
        let place = directory.path().join("host");
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some((index, ops, fate)) = cuts.get(at).copied() else { return Ok(()) };
            let scenario = &scenarios[index];
            let tree = scenario.model.cut(ops, fate_of(fate, at as u64).as_mut());
            let shown = |why: String| {
                let step = ops.checked_sub(1).map(|at| rules::shown(&scenario.log[at]));
                format!("{}: behind step {ops} {step:?}, fate {fate}: {why}", scenario.name)
            };
            rules::check(scenario, &tree, ops, &place).map_err(shown)?;
            judged.fetch_add(1, Ordering::Relaxed);
            if at % RECOVERED == 0 {
                let circumstances = recover::circumstances(scenario.backend, at / RECOVERED);
                recover::recover(scenario, &tree, &place, circumstances).map_err(shown)?;
                recovered.fetch_add(1, Ordering::Relaxed);
            }
        }
    };
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().unwrap())
    })?;
    let (judged, recovered) = (judged.into_inner(), recovered.into_inner());
    if judged < ENOUGH {
        return Err(format!("only {judged} crash states were tried"));
    }
    let left_out = match all - judged {
        0 => String::new(),
        _ => format!(" of {all}, one in {STRIDE} of the runs that matter less; --all takes all"),
    };
    Ok(format!(
        "{judged} crash states tried{left_out}; with NVRAM kept and wiped; {recovered} recovered"
    ))
}

fn fate_of(fate: u64, seed: u64) -> Box<dyn Fate> {
    match fate {
        0 => Box::new(Every(false)),
        1 => Box::new(Every(true)),
        _ => Box::new(Coin((seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)),
    }
}
