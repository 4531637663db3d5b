// SPDX-License-Identifier: MIT OR Apache-2.0

//! `flipside sim`: a machine in a directory, its firmware played.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;
use serde_json::json;

use super::location::parse_image;
use super::{Failure, Global, exit, print, print_json, sim_source};
use flipside_core::settings::SlotLabels;
use flipside_publish::disk::{self, Mapping, Plan, SectorSize, parse_size};
use flipside_sim::{
    self as sim, BootOptions, DiskRequest, NewOptions, Power, Promote, Promotion, Quirk, SimError,
};
use flipside_source::Location;

/// Of the ESP, in bytes, where nothing else is asked for. Its files are a directory besides.
const LEAST_ESP_SIZE: u64 = 64 << 20;
/// Of the data partition, in bytes: a machine in a directory has its data in directories.
const DEFAULT_DATA_SIZE: u64 = 0;

/// Simulate a machine in a directory: its firmware and its kernel.
#[derive(Debug, Subcommand)]
pub enum Args {
    /// Make a machine in a directory, with an OS image in slot A.
    ///
    /// Makes a complete host in DIR: a disk image, the content of its EFI system partition
    /// (`efi/`), firmware variables, `etc`, `var`, `run` and `proc`. They are as the first boot of
    /// slot A leaves them, before it is promoted. Every flipside command works on it with `--root
    /// DIR`.
    New(New),
    /// Simulate a boot of a machine.
    ///
    /// Simulates the firmware (BootNext, BootOrder, the removable-media loader) and the kernel. If
    /// the system comes up, the real `flipside promote --root DIR` runs. The last line says how it
    /// ended:
    ///
    ///   booted slot B: 2.0 (promoted)    the slot has its proof
    ///   booted slot B: 2.0 (trial)       the slot has no proof
    ///   booted slot A: 1.0 (fell back)   another slot was to be booted: BootNext or an entry
    ///                                    with tries left named it and it could not be
    ///                                    started, or the boot before this one was its trial
    ///                                    and left it without a proof
    ///   nothing boots: REASON            exit status 1
    ///
    /// A kernel comes up only if its slot holds the same image as its boot file, and all of it.
    /// This is decided by comparing bytes with the images that the machine knows, never by
    /// flipside's own records. A machine on which nothing booted can be booted again. BootNext is
    /// then gone, as on a real machine.
    #[command(verbatim_doc_comment)]
    Boot(Boot),
}

/// `flipside sim new`.
#[derive(Debug, clap::Args)]
pub struct New {
    /// Where to make it. The directory must be empty or not exist.
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// An OCI layout with OS images. The first is installed in slot A. `sim boot` accepts a slot
    /// that holds an image from any of them.
    #[arg(
        long, value_name = "[oci:]DIR[:TAG]", required = true, num_args = 1..,
        value_parser = parse_image
    )]
    image: Vec<Location>,
    /// Set `track.image`, what the host follows [default: the last --image].
    #[arg(long, value_name = "REF", value_parser = parse_image)]
    track: Option<Location>,
    /// Set `boot.backend`, how the host boots its slots.
    #[arg(long, value_name = "BACKEND", value_enum, default_value = "uefi")]
    backend: Backend,
    /// Give the payload NAME the partitions NAME-a and NAME-b; may be repeated.
    #[arg(long, value_name = "NAME")]
    payload: Vec<String>,
    /// Size of the disk's logical sectors, 512 or 4096.
    #[arg(long, value_name = "BYTES", default_value = "512", value_parser = sector_size)]
    sector_size: SectorSize,
    /// Size of the EFI system partition [default: 64MiB, or what two boot files need].
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    esp_size: Option<u64>,
    /// Size of each slot [default: the payload's and a quarter].
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    slot_size: Option<u64>,
    /// Size of a data partition [default: none, data is in DIR/var].
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    data_size: Option<u64>,
    /// Derive the disk's GUIDs from this number instead of drawing them at random.
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// Give the firmware a fault, for every boot; `--quirk help` lists the faults.
    #[arg(long, value_name = "NAME", hide_possible_values = true)]
    quirk: Vec<QuirkOrHelp>,
}

/// [`sim::Backend`] as a value of the command line.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Backend {
    /// UEFI boot entries
    Uefi,
    /// systemd-boot's entries; NVRAM knows no slots
    SystemdBoot,
}

impl From<Backend> for sim::Backend {
    fn from(backend: Backend) -> Self {
        match backend {
            Backend::Uefi => Self::Uefi,
            Backend::SystemdBoot => Self::SystemdBoot,
        }
    }
}

/// `flipside sim boot`.
#[derive(Debug, clap::Args)]
pub struct Boot {
    /// The directory of the machine.
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// Boot without getting to boot success, so that nothing is promoted.
    #[arg(long)]
    fail: bool,
    /// Give the firmware a fault for this boot; `--quirk help` lists them.
    #[arg(long, value_name = "NAME", hide_possible_values = true)]
    quirk: Vec<QuirkOrHelp>,
    /// Empty NVRAM first.
    #[arg(long)]
    wipe_nvram: bool,
    /// Remember a further OCI layout whose images slots may hold by now; may be repeated. The
    /// machine knows the layout that it follows, and fetches from a registry on this computer.
    #[arg(long, value_name = "[oci:]DIR", value_parser = parse_image)]
    image: Vec<Location>,
}

/// A quirk, or the wish to see them all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum QuirkOrHelp {
    Quirk(Quirk),
    Help,
}

impl std::str::FromStr for QuirkOrHelp {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "help" {
            return Ok(Self::Help);
        }
        text.parse()
            .map(Self::Quirk)
            .map_err(|_| "no such quirk; `--quirk help` lists them".to_owned())
    }
}

fn sector_size(text: &str) -> Result<SectorSize, String> {
    let size = text.parse().ok().and_then(SectorSize::from_bytes);
    size.ok_or_else(|| "512 or 4096".to_owned())
}

/// Makes or boots a machine.
///
/// # Errors
/// [`SimError`]. A machine that does not boot is no error but exit status 1.
pub fn run(args: Args, global: &Global) -> super::Result {
    match args {
        Args::New(args) => new(args, global),
        Args::Boot(args) => boot(args, global),
    }
}

/// The quirks asked for; `None` where the list of them was, which is printed.
fn quirks(asked: &[QuirkOrHelp]) -> Result<Option<Vec<Quirk>>, Failure> {
    let quirks = asked.iter().map(|asked| match asked {
        QuirkOrHelp::Quirk(quirk) => Some(*quirk),
        QuirkOrHelp::Help => None,
    });
    let quirks: Option<Vec<_>> = quirks.collect();
    if quirks.is_none() {
        for quirk in Quirk::all() {
            print(format_args!("{:<24} {}", quirk.name(), quirk.description()))?;
        }
    }
    Ok(quirks)
}

fn new(args: New, global: &Global) -> super::Result {
    let Some(quirks) = quirks(&args.quirk)? else { return Ok(ExitCode::SUCCESS) };
    let options = NewOptions {
        images: args.image.iter().map(ToString::to_string).collect(),
        track: args.track.map(|image| image.absolute().to_string()),
        backend: args.backend.into(),
        payloads: args.payload,
        quirks,
        ..NewOptions::default()
    };
    let disk = Plan {
        sector_size: Some(args.sector_size),
        esp_size: args.esp_size,
        slot_size: args.slot_size,
        data_size: args.data_size,
        seed: args.seed,
        ..Plan::default()
    };
    let version = new_machine(&args.directory, &options, &disk)?;
    let directory = args.directory.display();
    if global.json {
        print_json(&json!({"directory": args.directory, "slot": "a", "version": version}))?;
    } else {
        print(format_args!("made a machine in {directory}: slot A holds {version}"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes a machine in `directory`, on a disk as `disk` has it where the machine does not decide, and
/// returns the version in slot A. By default the ESP has 64 MiB, and there is no data partition.
///
/// # Errors
/// Those of [`sim::create`] and [`disk::build`].
pub fn new_machine(directory: &Path, options: &NewOptions, disk: &Plan) -> super::Result<String> {
    sim::create(directory, options, |request| {
        Ok(disk::build(&plan(request, disk), &request.path)?.digest)
    })
}

fn plan(request: &DiskRequest<'_>, disk: &Plan) -> Plan {
    let mappings = request.payloads.iter().map(|labels| Mapping {
        payload: labels.payload.to_owned(),
        labels: SlotLabels { a: labels.a.clone(), b: labels.b.clone() },
        size: None,
    });
    Plan {
        image: request.layout.to_owned(),
        tag: request.tag.map(str::to_owned),
        architecture: Some(request.architecture),
        payloads: mappings.collect(),
        least_esp_size: Some(LEAST_ESP_SIZE),
        data_size: disk.data_size.or(Some(DEFAULT_DATA_SIZE)),
        ..disk.clone()
    }
}

fn boot(args: Boot, global: &Global) -> super::Result {
    let Some(quirks) = quirks(&args.quirk)? else { return Ok(ExitCode::SUCCESS) };
    let program = std::env::current_exe().map_err(|source| SimError::Io {
        operation: "find",
        path: PathBuf::from("flipside"),
        source,
    })?;
    let options = BootOptions {
        fail: args.fail,
        power: Power { wipe_nvram: args.wipe_nvram, quirks },
        images: args.image.iter().map(ToString::to_string).collect(),
        followed: sim_source::followed(&args.directory),
        promote: Promote::Child(&program),
    };
    let outcome = sim::boot(&args.directory, &options)?;
    let failed = match &outcome.promotion {
        Promotion::Failed(reason) => Some(reason),
        Promotion::NotStarted | Promotion::Done => None,
    };
    let notes = outcome.notes.iter().map(String::as_str);
    let lines = notes.chain(outcome.promotion_output.lines());
    match &outcome.booted {
        _ if global.json => {
            let (booted, ending) = outcome.booted.as_ref().ok().cloned().unzip();
            print_json(&json!({
                "booted": booted,
                "ending": ending,
                "dead": outcome.booted.as_ref().err(),
                "promotion": outcome.promotion,
                "promotion_output": outcome.promotion_output,
                "notes": outcome.notes,
            }))?;
        }
        booted => {
            for line in lines {
                print(format_args!("  {line}"))?;
            }
            if let Some(reason) = failed {
                print(format_args!("  flipside promote did not succeed: {reason}"))?;
            }
            match booted {
                Ok((booted, ending)) => {
                    let sim::Booted { slot, version, .. } = booted;
                    print(format_args!("booted slot {slot}: {version} ({ending})"))?;
                }
                Err(reason) => print(format_args!("nothing boots: {reason}"))?,
            }
        }
    }
    let done = outcome.booted.is_ok() && failed.is_none();
    Ok(ExitCode::from(if done { exit::DONE } else { exit::FAILED }))
}
