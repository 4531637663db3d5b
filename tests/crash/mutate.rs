// SPDX-License-Identifier: MIT OR Apache-2.0

//! Whether the test can fail: logs of a flipside that forgets a sync, or does two steps in
//! the wrong order, have to be found out.

use std::collections::BTreeSet;
use std::path::Path;

use flipside_sim::Backend;

use crate::model::{Coin, Every, Model};
use crate::recorder::Op;
use crate::scenario::{Action, Scenario};
use crate::{rules, variable_file};

/// Each sync of each log that makes something durable is left out once. What P4 does not
/// find, since a later sync of the same step covers it, a cut between the two has to. Files that
/// are not written at all have to be missed as well.
pub fn syncs(scenarios: &[Scenario]) -> Result<String, String> {
    let directory = crate::scratch();
    let place = directory.path().join("host");
    let (mut tried, mut idle, mut undetected) = (0, 0, BTreeSet::new());
    for scenario in scenarios {
        for (at, op) in scenario.log.iter().enumerate().filter(|(_, op)| op.is_sync()) {
            if scenario.model.pending(at).eq(scenario.model.pending(at + 1)) {
                // It makes sure of what an earlier, killed run may have left.
                idle += 1;
                continue;
            }
            let mut log = scenario.log.clone();
            log.remove(at);
            let model = Model::new(scenario.base.clone(), &log);
            tried += 1;
            if rules::steps_are_durable(&log, &model).is_ok()
                && !boots_wrong(scenario, &log, &model, at, &place)
            {
                let phase = phase_at(&scenario.log, at);
                undetected.insert(format!("{}: in {phase}: {}", scenario.name, rules::shown(op)));
            }
        }
    }
    let omitted = files(scenarios, &place)?;
    if undetected.is_empty() {
        return Ok(format!(
            "{tried} syncs removed, {idle} that had nothing to do passed over; {omitted} files \
             left out"
        ));
    }
    let list: Vec<_> = undetected.into_iter().collect();
    Err(format!("of {tried} syncs these are not missed:\n{}", list.join("\n")))
}

/// A whole file is left out: what an update disarmed is written nowhere, or the file in which the
/// firmware has its variables kept is not written in one of the phases.
fn files(scenarios: &[Scenario], place: &Path) -> Result<usize, String> {
    let mut tried = 0;
    for scenario in scenarios {
        let unarmed = scenario.unarms.then_some("efi/EFI/flipside/failed.json");
        for name in unarmed.into_iter().chain([variable_file::FILE]) {
            let writes_in = |(at, op): (usize, &Op)| {
                (op.file() == Some(Path::new(name))).then(|| phase_at(&scenario.log, at))
            };
            let phases: BTreeSet<_> =
                scenario.log.iter().enumerate().filter_map(writes_in).collect();
            for phase in phases {
                let kept =
                    scenario.log.iter().enumerate().filter(|op| writes_in(*op) != Some(phase));
                let log: Vec<_> = kept.map(|(_, op)| op.clone()).collect();
                let model = Model::new(scenario.base.clone(), &log);
                let is_wrong =
                    |ops| wrong(scenario, &log, &model.cut(ops, &mut Every(true)), ops, place);
                tried += 1;
                if rules::steps_are_durable(&log, &model).is_ok() && !(0..=log.len()).any(is_wrong)
                {
                    return Err(format!("{}: in {phase}: {name} is not missed", scenario.name));
                }
            }
        }
    }
    Ok(tried)
}

/// Whether a cut soon after the missing sync leaves a state that breaks a rule.
fn boots_wrong(scenario: &Scenario, log: &[Op], model: &Model, from: usize, place: &Path) -> bool {
    (from..log.len().min(from + 8)).any(|ops| {
        (1..=60_u64).any(|seed| {
            let tree = model.cut(ops, &mut Coin(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1));
            wrong(scenario, log, &tree, ops, place)
        })
    })
}

fn phase_at(log: &[Op], at: usize) -> &'static str {
    log[..at]
        .iter()
        .rev()
        .find_map(|op| match op {
            Op::Phase(name) => Some(*name),
            _ => None,
        })
        .unwrap_or("the beginning")
}

/// The steps of an install that change something, in their order (P4).
const STEPS: [&str; 6] = ["secure", "disarm", "write", "boot-file", "list", "arm"];

/// Each two steps of an install change places; some run of each backend has to turn red.
pub fn swaps(scenarios: &[Scenario]) -> Result<String, String> {
    let uefi = swaps_by(scenarios, Backend::Uefi, &STEPS)?;
    // There the entry that step 6 made is the one that step 7 looks for: it changes nothing.
    let steps: Vec<_> = STEPS.into_iter().filter(|step| *step != "list").collect();
    let loader = swaps_by(scenarios, Backend::SystemdBoot, &steps)?;
    Ok(format!("{uefi} pairs, {loader} with systemd-boot"))
}

fn swaps_by(scenarios: &[Scenario], backend: Backend, steps: &[&str]) -> Result<usize, String> {
    let directory = crate::scratch();
    let place = directory.path().join("host");
    let installs: Vec<_> = scenarios
        .iter()
        .filter(|s| s.backend == backend && s.action == Action::Update)
        .filter(|s| s.log.contains(&Op::Phase("boot-file")))
        .collect();
    let (mut tried, mut undetected) = (0, Vec::new());
    for (first, one) in steps.iter().enumerate() {
        for other in &steps[first + 1..] {
            tried += 1;
            let is_red = |scenario: &&Scenario| {
                let log = swapped(&scenario.log, one, other);
                let model = Model::new(scenario.base.clone(), &log);
                (0..=log.len()).any(|ops| {
                    [true, false].into_iter().any(|fate| {
                        let tree = model.cut(ops, &mut Every(fate));
                        wrong(scenario, &log, &tree, ops, &place)
                    })
                })
            };
            if !installs.iter().any(is_red) {
                undetected.push(format!("{one} and {other}"));
            }
        }
    }
    if undetected.is_empty() {
        return Ok(tried);
    }
    Err(format!("of {tried} pairs these are not missed: {}", undetected.join(", ")))
}

fn wrong(
    scenario: &Scenario,
    log: &[Op],
    tree: &crate::model::Tree,
    ops: usize,
    place: &Path,
) -> bool {
    // The rules look into the log for what has begun.
    let begun = |name| log.iter().take(ops).any(|op| *op == Op::Phase(name));
    rules::check_with(scenario, tree, begun("disarm"), begun("list"), place).is_err()
}

/// The log with two phases exchanged.
fn swapped(log: &[Op], one: &str, other: &str) -> Vec<Op> {
    let mut parts: Vec<Vec<Op>> = vec![Vec::new()];
    for op in log {
        if matches!(op, Op::Phase(_)) {
            parts.push(Vec::new());
        }
        parts.last_mut().unwrap().push(op.clone());
    }
    let place = |name: &str| {
        parts.iter().position(|part| matches!(part.first(), Some(Op::Phase(n)) if *n == name))
    };
    if let (Some(one), Some(other)) = (place(one), place(other)) {
        parts.swap(one, other);
    }
    parts.concat()
}
