// SPDX-License-Identifier: MIT OR Apache-2.0

//! What follows a cut: a boot, and the next runs, until the host runs what the tag names.

use std::path::Path;

use flipside::run::Outcome;
use flipside_core::host::durable::Durable;
use flipside_image::code::Coded as _;
use flipside_sim::{Backend, Power, Quirk};

use crate::host::{boot, run_on, update_and_finish};
use crate::model::{Coin, Every, Model, Tree};
use crate::rules;
use crate::scenario::{Action, Scenario, is_volatile, record_run};

/// How the firmware behaves at the first boot after the cut.
#[derive(Debug, Clone)]
pub struct Circumstances {
    pub power: Power,
    /// Whether the next runs must get to the goal; a fault may also end in a refusal.
    pub must_arrive: bool,
}

/// Faults that a machine survives with one working way to boot.
const FAULTS: [Quirk; 14] = [
    Quirk::DropUnlisted,
    Quirk::OverwriteUnlisted,
    Quirk::DropDuplicates,
    Quirk::DropInvalidPaths,
    Quirk::FirmwareEntry,
    Quirk::OddBootOrder,
    Quirk::DanglingBootOrder,
    Quirk::DropEqualDescriptions,
    Quirk::StaleEntry,
    Quirk::OtherLoaderFirst,
    Quirk::DeleteFailedEntry,
    Quirk::NoBootCurrent,
    Quirk::OldStub,
    Quirk::CutDescriptions,
];

/// Faults that a machine survives whose loader counts the tries.
const LOADER_FAULTS: [Quirk; 9] = [
    Quirk::RenameLost,
    Quirk::RenameTorn,
    Quirk::RenameDoubled,
    Quirk::NewLoader,
    Quirk::NoRuntimeVariables,
    Quirk::IgnoreBootNext,
    Quirk::FirmwareEntry,
    Quirk::MissingBootOrder,
    Quirk::OldStub,
];

/// Kept NVRAM, wiped NVRAM, and each fault, in turn.
pub fn circumstances(backend: Backend, number: usize) -> Circumstances {
    let faults = match backend {
        Backend::Uefi => FAULTS.as_slice(),
        Backend::SystemdBoot => &LOADER_FAULTS,
    };
    let power = match number % 4 {
        0 | 1 => Power::default(),
        2 => Power { wipe_nvram: true, quirks: Vec::new() },
        _ => Power { wipe_nvram: false, quirks: vec![faults[number / 4 % faults.len()]] },
    };
    let must_arrive = power.quirks.is_empty();
    Circumstances { power, must_arrive }
}

/// Boots `tree` and updates until it runs the goal.
pub fn recover(
    scenario: &Scenario,
    tree: &Tree,
    place: &Path,
    circumstances: Circumstances,
) -> Result<(), String> {
    tree.write(place);
    let Circumstances { mut power, must_arrive } = circumstances;
    if rules::loader_is_replaced(scenario, tree)? {
        // Two at once, which `docs/reliability.md` names: what boots without the host's own entry cannot,
        // and that entry is taken away.
        power.wipe_nvram = false;
        power.quirks.retain(|quirk| *quirk != Quirk::OtherLoaderFirst);
    }
    let quirks = power.quirks.clone();
    // A host that was cut twice may have lost an armed trial with NVRAM before. The second loss is
    // `trial.attempts`, and what `nvram-not-kept` is for.
    let loses_nvram_again = power.wipe_nvram && rules::has_forgotten_trial(tree);
    let forgets_trial = power.wipe_nvram && scenario.has_uncounted_trial;
    let first = boot(place, false, power);
    let version = first.split(' ').nth(1).unwrap_or_default();
    if first.starts_with("dead") || !scenario.may_boot.contains(&version) {
        return Err(format!("P9: with {quirks:?}: {first}"));
    }
    let mut last = first;
    let mut said = String::new();
    for _ in 0..3 {
        match update_and_finish(&run_on(place, Durable::new(), |_| {})) {
            Ok(Outcome::UpToDate { .. }) => break,
            Ok(outcome) => said = format!("{outcome:?}"),
            // A rollback, or one of the faults, may end in a refusal: the host stays whole.
            Err(error) if error.code().name() == "digest-rolled-back" => return Ok(()),
            Err(error) if loses_nvram_again && error.code().name() == "nvram-not-kept" => {
                return Ok(());
            }
            Err(error) if error.code().name() == "digest-failed" => {
                said = error.to_string();
                break;
            }
            Err(error) if !must_arrive => said = error.to_string(),
            Err(error) => return Err(format!("the next run fails after {last}: {error}")),
        }
        last = boot(place, false, Power { wipe_nvram: false, quirks: quirks.clone() });
        if last.starts_with("dead") {
            return Err(format!("P9: after the next run, with {quirks:?}: {last}"));
        }
    }
    let version = last.split(' ').nth(1);
    // Whether that trial was started nobody knows any more: it is made again, and comes up this time.
    let is_there = version == Some(scenario.goal) || (forgets_trial && version == Some("2"));
    let arrived = is_there && (last.ends_with("promoted") || last.ends_with("fell back"));
    // A trial whose failure was not recorded yet is made once more, and comes up this time.
    let is_certain = !matches!(scenario.action, Action::Rollback | Action::Fail);
    if must_arrive && is_certain && !arrived {
        return Err(format!("recovery ends with {last}, not {}; {said}", scenario.goal));
    }
    Ok(())
}

/// The recovery run of some crash states is recorded and cut as well.
pub fn again(scenarios: &[Scenario]) -> Result<String, String> {
    let directory = crate::scratch();
    let place = directory.path().join("host");
    let mut tried = 0;
    let mut coin = Coin(0x5eed);
    for scenario in scenarios.iter().filter(|s| s.action == Action::Update) {
        let times = if scenario.backend == Backend::Uefi { 6 } else { 3 };
        for _ in 0..times {
            let ops = coin.next() as usize % scenario.model.len();
            let tree = scenario.model.cut(ops, &mut coin);
            tree.write(&place);
            let booted = boot(&place, false, Power::default());
            if !booted.ends_with("promoted") && !booted.ends_with("fell back") {
                return Err(format!("{}: behind step {ops}: {booted}", scenario.name));
            }
            let base = Tree::read(&place);
            let (log, end) = record_run(&place, Action::Update);
            let model = Model::new(base, &log);
            let replayed = model.cut(model.len(), &mut Every(true));
            if replayed.flat(is_volatile) != end.flat(is_volatile) {
                return Err(format!("{}: the recovery's log is incomplete", scenario.name));
            }
            for _ in 0..12 {
                let ops = coin.next() as usize % (model.len() + 1);
                let tree = model.cut(ops, &mut coin);
                recover(scenario, &tree, &place, circumstances(scenario.backend, tried))
                    .map_err(|why| format!("{}: cut twice: {why}", scenario.name))?;
                tried += 1;
            }
        }
    }
    Ok(format!("{tried} states"))
}
