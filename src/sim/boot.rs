// SPDX-License-Identifier: MIT OR Apache-2.0

//! A power-on, played to its end: the firmware, the kernel, and the OS up to boot success.

use std::path::{Path, PathBuf};
use std::process::Command;

use flipside_image::Digest;
use serde::Serialize;

use super::error::At as _;
use super::images::{self, Location, SYSTEM};
use super::judge::{Booted, Power, Verdict, all_quirks, firmware_variables, judged};
use super::machine::{DISK, ESP, Machine, VARIABLES};
use super::nvram::Variables;
use super::state::{Ending, Last, State};
use super::{Quirk, SimError, Slot, firmware, gpt, os_files, var_file};

/// How to boot.
#[derive(Debug, Clone, Default)]
pub struct BootOptions<'a> {
    /// The OS comes up but never gets to boot success: nothing is promoted.
    pub fail: bool,
    /// The firmware's circumstances.
    pub power: Power,
    /// Further images that the machine may hold by now: `oci:DIR`.
    pub images: Vec<String>,
    /// The OCI layout that the machine follows. One that cannot be read teaches nothing.
    pub followed: Option<PathBuf>,
    /// What boot success starts.
    pub promote: Promote<'a>,
}

/// What boot success starts.
#[derive(Clone, Copy, Default)]
pub enum Promote<'a> {
    /// Nothing, as on a host where the unit is masked.
    #[default]
    Skip,
    /// `flipside promote --root DIR` of this program.
    Child(&'a Path),
    /// A call in this process, for tests that boot by the thousand.
    Call(&'a dyn Fn(&Path) -> Result<(), String>),
}

impl std::fmt::Debug for Promote<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Skip => f.write_str("Skip"),
            Self::Child(program) => f.debug_tuple("Child").field(program).finish(),
            Self::Call(_) => f.write_str("Call"),
        }
    }
}

/// How `flipside promote` went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Promotion {
    /// It was not started.
    NotStarted,
    /// It succeeded.
    Done,
    /// It did not.
    Failed(String),
}

/// How a boot ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The OS that came up and what its slot is now; or why the machine is dead.
    pub booted: Result<(Booted, Ending), String>,
    /// How the promotion went.
    pub promotion: Promotion,
    /// What it said, stdout before stderr.
    pub promotion_output: String,
    /// What the firmware tried, in order.
    pub notes: Vec<String>,
}

/// Plays a power-on of the machine in `directory`, with all that it changes.
///
/// # Errors
/// [`SimError`], where it cannot be played; that nothing boots is an [`Outcome`].
pub fn boot(directory: &Path, options: &BootOptions<'_>) -> Result<Outcome, SimError> {
    let mut state = State::load(directory)?;
    learn_images(&mut state, options)?;
    // Whatever comes of it: what was in memory is gone.
    os_files::empty_run(directory)?;
    let machine = match Machine::open(directory, &state) {
        Ok(machine) => machine,
        Err(reason) => {
            let notes = vec![reason.clone()];
            return Ok(Outcome {
                booted: Err(reason),
                promotion: Promotion::NotStarted,
                promotion_output: String::new(),
                notes,
            });
        }
    };
    let quirks = all_quirks(&state, &options.power);
    let Start { tried, verdict, variables } = start(directory, &machine, &state, &quirks)?;
    drop(machine);
    hand_over(directory, &mut state, &variables, &quirks)?;
    // Kept before the OS runs, so that a promotion that is cut off has been a boot as well.
    let before = state.last;
    state.last = tried.map(|slot| Last { slot, ending: Ending::Trial });
    state.save(directory)?;

    let (mut promotion, mut promotion_output) = (Promotion::NotStarted, String::new());
    let booted = match verdict.booted {
        Err(reason) => Err(reason),
        Ok(booted) => {
            if !options.fail {
                (promotion, promotion_output) = promote(directory, options.promote);
            }
            let ending = ending(directory, &booted, verdict.asked, before);
            state.last = Some(Last { slot: booted.slot, ending });
            state.save(directory)?;
            Ok((booted, ending))
        }
    };
    Ok(Outcome { booted, promotion, promotion_output, notes: verdict.notes })
}

/// Learns the images of the machine's layouts, and of further ones.
fn learn_images(state: &mut State, options: &BootOptions<'_>) -> Result<(), SimError> {
    for image in &options.images {
        let layout = Location::parse(image)?.layout;
        if !state.layouts.contains(&layout) {
            state.layouts.push(layout);
        }
    }
    state.learn()?;
    if let Some(layout) = &options.followed {
        let architecture = state.architecture();
        let _ = images::learn(&mut state.images, layout, architecture);
    }
    Ok(())
}

/// The digests of the images that the machine in `directory` knows.
///
/// # Errors
/// [`SimError`]: there is no machine.
pub fn known_images(directory: &Path) -> Result<Vec<Digest>, SimError> {
    Ok(State::load(directory)?.images.iter().map(|image| image.digest).collect())
}

/// A power-on up to the OS.
struct Start {
    /// The slot whose boot file was started.
    tried: Option<Slot>,
    verdict: Verdict,
    variables: Variables,
}

/// Plays the firmware, the loader and the kernel, with what they change on the disk.
fn start(
    directory: &Path,
    machine: &Machine<'_>,
    state: &State,
    quirks: &[Quirk],
) -> Result<Start, SimError> {
    let remembered = state.remembered();
    let path = directory.join(VARIABLES);
    let mut variables = firmware_variables(directory, state, &remembered).at("read", &path)?;
    let power_on = firmware::power_on(&mut variables, &remembered, machine, quirks);
    for rename in &power_on.renames {
        rename.apply(&machine.esp, quirks).at("rename", &machine.esp.join(&rename.from))?;
    }
    let stored = var_file::stored_at_boot(&variables, power_on.consumed_next, &machine.esp, quirks);
    if let Some(bytes) = stored {
        let path = machine.esp.join(var_file::FILE);
        std::fs::write(&path, bytes).at("write", &path)?;
    }
    let tried = power_on.started.as_ref().map(|started| started.slot);
    let (verdict, image) = judged(machine, power_on, quirks);
    if let (Ok(booted), Some(image)) = (&verdict.booted, image) {
        let label = format!("{SYSTEM}-{}", booted.slot.letter());
        let root = machine.disk.by_label(&label).ok().map(|partition| partition.guid);
        os_files::write(directory, image, booted.slot, root)?;
    }
    if !machine.disk.from_primary && !quirks.contains(&Quirk::NoTableRepair) {
        let path = directory.join(DISK);
        gpt::restore_primary(&path, &machine.disk).at("repair the partition table of", &path)?;
    }
    Ok(Start { tried, verdict, variables })
}

/// Lets the OS see the firmware's variables, where the firmware has them at run time.
fn hand_over(
    directory: &Path,
    state: &mut State,
    variables: &Variables,
    quirks: &[Quirk],
) -> Result<(), SimError> {
    let path = directory.join(VARIABLES);
    state.remember(variables);
    state.hidden = quirks.contains(&Quirk::NoRuntimeVariables);
    if state.hidden {
        let firmware = path.parent().unwrap_or(&path);
        remove_directory(&path).and_then(|()| remove_directory(firmware)).at("remove", &path)
    } else {
        variables.store(&path).at("write", &path)
    }
}

fn ending(directory: &Path, booted: &Booted, asked: Option<Slot>, before: Option<Last>) -> Ending {
    let wanted = asked.or(match before {
        Some(Last { slot, ending: Ending::Trial }) => Some(slot),
        _ => None,
    });
    if wanted.is_some_and(|slot| slot != booted.slot) {
        return Ending::FellBack;
    }
    let proof = format!("{ESP}/EFI/flipside/slot-{}.proven", booted.slot.letter());
    match std::fs::metadata(directory.join(proof)) {
        Ok(metadata) if metadata.len() > 0 => Ending::Promoted,
        _ => Ending::Trial,
    }
}

fn promote(directory: &Path, promote: Promote<'_>) -> (Promotion, String) {
    let mut output = String::new();
    let result = match promote {
        Promote::Skip => return (Promotion::NotStarted, output),
        Promote::Call(call) => call(directory),
        Promote::Child(program) => run(program, directory, &mut output),
    };
    let promotion = match result {
        Ok(()) => Promotion::Done,
        Err(reason) => Promotion::Failed(reason),
    };
    (promotion, output)
}

fn run(program: &Path, directory: &Path, output: &mut String) -> Result<(), String> {
    match Command::new(program).arg("promote").arg("--root").arg(directory).output() {
        Ok(done) => {
            for stream in [&done.stdout, &done.stderr] {
                output.push_str(&String::from_utf8_lossy(stream));
            }
            if done.status.success() { Ok(()) } else { Err(done.status.to_string()) }
        }
        Err(error) => Err(format!("{}: {error}", program.display())),
    }
}

fn remove_directory(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
