// SPDX-License-Identifier: MIT OR Apache-2.0

//! `flipside disk`: disks made from OS images.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;

use super::location::parse_image;
use super::signals::stop_on_signals;
use super::{Failure, Global, print, print_json, progress};
use crate::codes;
use flipside_core::settings::SlotLabels;
use flipside_image::Architecture;
use flipside_publish::disk::{self, Built, Mapping, Plan, SectorSize, Size, parse_size};
use flipside_source::Location;

/// Make bootable disks from OS images.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a bootable disk with an image in slot A.
    ///
    /// The disk gets a GPT with an EFI system partition, a partition for each slot, and one for
    /// data, which is not formatted. The EFI system partition is FAT32, or FAT16 or FAT12 if it is
    /// too small for that. Sizes are in bytes, or end in KiB, MiB, GiB or TiB. They are rounded up
    /// to 1 MiB.
    Build(Box<Build>),
}

#[derive(Debug, clap::Args)]
struct Build {
    /// The image, in an OCI layout.
    #[arg(long, value_name = "[oci:]DIR[:TAG]", value_parser = parse_image)]
    image: Location,
    /// The disk to make, a new file or a block device.
    #[arg(short, long, value_name = "PATH")]
    output: PathBuf,
    /// Size of the EFI system partition [default: 512MiB, or what two boot files need].
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    esp_size: Option<u64>,
    /// Size of each slot's partition [default: the payload and a quarter, in steps of 64MiB].
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    slot_size: Option<u64>,
    /// Size of the data partition, 0 for none [default: 1GiB in a file, the rest of a device].
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    data_size: Option<u64>,
    /// Size of the disk's logical sectors, 512 or 4096 [default: 512, or the device's own].
    #[arg(long, value_name = "BYTES", value_parser = parse_sector_size)]
    sector_size: Option<SectorSize>,
    /// Derive the GUIDs from N instead of drawing them at random, so that the same image gives the
    /// same disk.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// The boot loader to put on the EFI system partition [default: systemd-boot].
    #[arg(long, value_name = "FILE")]
    loader: Option<PathBuf>,
    /// Give another payload a partition in each slot; may be repeated.
    #[arg(long, value_name = "NAME=LABEL_A,LABEL_B[,SIZE]", value_parser = parse_mapping)]
    map: Vec<Mapping>,
    /// Select the image for this machine type, if there are several: x86_64 or aarch64.
    #[arg(long, value_name = "NAME", value_parser = parse_architecture)]
    arch: Option<Architecture>,
    /// Record this repository, without a tag, as the source of slot A.
    #[arg(long, value_name = "REPOSITORY")]
    repository: Option<String>,
    /// Read everything back and compare it with the image's hashes.
    #[arg(long)]
    verify: bool,
    /// Replace an existing file, or overwrite a device that is not empty.
    #[arg(long)]
    force: bool,
}

fn parse_sector_size(text: &str) -> Result<SectorSize, String> {
    let size = text.parse().ok().and_then(SectorSize::from_bytes);
    size.ok_or_else(|| "sectors have 512 or 4096 bytes".to_owned())
}

fn parse_architecture(text: &str) -> Result<Architecture, String> {
    Architecture::from_name(text).ok_or_else(|| "it is x86_64 or aarch64".to_owned())
}

fn parse_mapping(text: &str) -> Result<Mapping, String> {
    let expected = || "it has the form NAME=LABEL_A,LABEL_B or NAME=LABEL_A,LABEL_B,SIZE";
    let (payload, labels) = text.split_once('=').ok_or_else(expected)?;
    let parts: Vec<_> = labels.split(',').collect();
    let (a, b, size) = match parts.as_slice() {
        [a, b] => (a, b, None),
        [a, b, size] => (a, b, Some(parse_size(size).map_err(|error| error.to_string())?)),
        _ => return Err(expected().to_owned()),
    };
    if [payload, a, b].contains(&"") {
        return Err(expected().to_owned());
    }
    let labels = SlotLabels { a: (*a).to_owned(), b: (*b).to_owned() };
    Ok(Mapping { payload: payload.to_owned(), labels, size })
}

/// Runs it.
///
/// # Errors
/// Whatever stopped it.
pub fn run(args: Args, global: &Global) -> super::Result {
    match args.command {
        Command::Build(build) => run_build(*build, global),
    }
}

fn run_build(build: Build, global: &Global) -> super::Result {
    let Location::Layout { directory, tag } = build.image else {
        let message = format!(
            "{} is not on this machine: `flipside image pull` it to a layout first",
            build.image
        );
        return Err(Failure::error(codes::REFERENCE_INVALID, message));
    };
    let stop = stop_on_signals()?;
    let plan = Plan {
        image: directory,
        tag,
        architecture: build.arch,
        esp_size: build.esp_size,
        least_esp_size: None,
        slot_size: build.slot_size,
        data_size: build.data_size,
        sector_size: build.sector_size,
        seed: build.seed,
        loader: build.loader,
        slots: None,
        payloads: build.map,
        repository: build.repository,
        force: build.force,
        verify: build.verify,
        stop,
    };
    let built = disk::build_with(&plan, &build.output, progress::of(global).as_ref())?;
    for warning in &built.warnings {
        tracing::warn!("{warning}");
    }
    if global.json {
        print_json(&built)?;
    } else {
        print(text(&built).trim_end())?;
    }
    Ok(ExitCode::SUCCESS)
}

fn text(built: &Built) -> String {
    let mut text = format!(
        "image {} {}\ndisk  {}, sectors of {} bytes\n",
        built.version,
        built.digest,
        Size(built.size),
        built.sector_size
    );
    for partition in &built.partitions {
        let holds: Vec<_> = built
            .payloads
            .iter()
            .filter(|placed| placed.label == partition.label)
            .map(|placed| {
                let how = match (placed.shared, placed.verified) {
                    (true, true) => "shared with the image, verified",
                    (true, false) => "shared with the image, not verified: --verify does",
                    (false, _) => "verified",
                };
                format!("{} of {}, {how}", placed.payload, Size(placed.size))
            })
            .collect();
        let holds = if holds.is_empty() { "empty".to_owned() } else { holds.join("; ") };
        text.push_str(&format!(
            "{:>4}  {:<12} {:>10}  {holds}\n",
            partition.number,
            partition.label,
            Size(partition.size).to_string()
        ));
    }
    for payload in &built.skipped {
        text.push_str(&format!("payload {payload} has no partition: --map gives it one\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mappings_are_read() {
        let read = parse_mapping("verity=v-a,v-b,8MiB").unwrap();
        assert_eq!(
            (read.payload.as_str(), read.labels.of(flipside_core::host::Slot::B)),
            ("verity", "v-b")
        );
        assert_eq!(read.size, Some(8 << 20));
        assert_eq!(parse_mapping("x=a,b").unwrap().size, None);
        for bad in ["", "x", "x=", "x=a", "x=a,", "=a,b", "x=a,b,", "x=a,b,1MB", "x=a,b,1,2"] {
            assert!(parse_mapping(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn other_sector_sizes_are_refused() {
        assert_eq!(parse_sector_size("4096"), Ok(SectorSize::Bytes4096));
        for bad in ["", "0", "520", "4Ki", "99999999999"] {
            assert!(parse_sector_size(bad).is_err(), "{bad}");
        }
    }
}
