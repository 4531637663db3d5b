// SPDX-License-Identifier: MIT OR Apache-2.0

//! `flipside image build`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::super::location::{one_tag, parse_layout};
use super::super::signals::stop_on_signals;
use super::super::{Failure, Global, print, print_json, progress};
use super::connection::{Connection, parse_architecture};
use super::from_tree::{Material, TreeArgs};
use crate::codes;
use flipside_core::cancel::Cancel;
use flipside_image::{
    Architecture, ChunkSize, HOOK_LIMIT, HOOK_PAYLOAD, ImageError, PartitionIdentity, PayloadName,
    ProductInfo,
};
use flipside_publish::build::{
    CREATED_ANNOTATION, DEFAULT_LEVEL, LayerEncoding, PayloadFile, Plan, build,
};
use flipside_publish::disk::parse_size;
use flipside_publish::inspect::inspect;
use flipside_publish::os_release::{OsRelease, read_os_release, read_product_info};
use flipside_publish::tree::build::Made;

/// Make an OS image from a container image, a directory, or files.
///
/// The same input and options give the same image, byte for byte.
#[derive(Debug, clap::Args)]
#[command(
    disable_version_flag = true,
    override_usage = concat!(
        "flipside image build [OPTIONS] <--container <REF>|--tree <DIR>>\n",
        "       --output <[oci:]DIR[:TAG]>\n",
        "   or: flipside image build [OPTIONS] --payload <NAME=FILE>\n",
        "       <--os-release <FILE>|--product-info <FILE>> --output <[oci:]DIR[:TAG]>"
    ),
    group = clap::ArgGroup::new("product")
        .args(["os_release", "product_info", "container", "tree"])
        .required(true)
)]
pub struct Args {
    /// Add the payload NAME with the content of FILE, a file or block device; may be repeated.
    /// Hosts need the payloads `system` and `kernel.efi`.
    #[arg(
        long = "payload", value_name = "NAME=FILE", value_parser = parse_payload,
        required_unless_present_any = ["container", "tree"]
    )]
    payloads: Vec<(PayloadName, PathBuf)>,
    /// Add this program as the payload `pre-upgrade`, at most 16MiB. Hosts ask it before they
    /// install the image.
    #[arg(long, value_name = "FILE")]
    pre_upgrade: Option<PathBuf>,
    /// Take id, name, version and variant from this os-release file.
    #[arg(long, value_name = "FILE")]
    os_release: Option<PathBuf>,
    /// Take them from this JSON file, with the fields of `product_info`.
    #[arg(long, value_name = "FILE")]
    product_info: Option<PathBuf>,
    /// Set the version, instead of the one in the file.
    #[arg(long, value_name = "V")]
    version: Option<String>,
    /// Set the machine type, x86_64 or aarch64, instead of the one in the file.
    #[arg(long, value_name = "ARCH", value_parser = parse_architecture)]
    architecture: Option<Architecture>,
    /// Record the commit that the OS was built from.
    #[arg(long, value_name = "HASH")]
    revision: Option<String>,
    /// Compress at this zstd level, 1 to 22. Hosts fetch less with a higher one, and building takes
    /// longer.
    #[arg(
        long, value_name = "N", default_value_t = DEFAULT_LEVEL,
        value_parser = clap::value_parser!(i32).range(1..=22)
    )]
    level: i32,
    /// Store payloads uncompressed. They share extents with the files if the file system can do
    /// that.
    #[arg(long, conflicts_with = "level")]
    uncompressed: bool,
    /// Hash payloads in chunks of this size, at most 16MiB.
    #[arg(long, value_name = "SIZE", default_value = "1MiB", value_parser = parse_chunk_size)]
    chunk_size: ChunkSize,
    /// Tag the image in the layout.
    #[arg(long)]
    tag: Option<String>,
    /// Add an annotation to the manifest; may be repeated.
    #[arg(long = "annotation", value_name = "KEY=VALUE", value_parser = parse_pair)]
    annotations: Vec<(String, String)>,
    /// Give these GUIDs and attribute flags to the partition that receives payload NAME; may be
    /// repeated.
    #[arg(
        long = "partition", value_name = "NAME=uuid=..,type=..,flags=..",
        value_parser = parse_partition
    )]
    partitions: Vec<(PayloadName, PartitionIdentity)>,
    /// Record when the image was made (RFC 3339) [default: SOURCE_DATE_EPOCH, or no time].
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    created: Option<jiff::Timestamp>,
    /// Compress with N threads; the image is the same for any N [default: one for each core].
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroUsize>,
    /// Build the image even if no host could boot it. This is for tests.
    #[arg(long)]
    allow_unbootable: bool,
    /// Write the image to this OCI layout directory; it is made, or the image is added to it.
    #[arg(short, long, value_name = "[oci:]DIR[:TAG]", value_parser = parse_layout)]
    output: (PathBuf, Option<String>),
    #[command(flatten)]
    tree: TreeArgs,
    #[command(flatten)]
    connection: Connection,
}

/// Builds an image.
///
/// # Errors
/// Those of [`build`].
pub fn run(mut args: Args, global: &Global) -> super::super::Result {
    let layout = args.output.0.display().to_string();
    args.tag = one_tag(args.tag, args.output.1.take())?;
    let tag = args.tag.clone();
    let stop = stop_on_signals()?;
    // With this, the files that were made of a root file system are gone.
    let (plan, _made) = args.plan(&stop)?;
    let built = build(&plan, progress::of(global).as_ref(), &stop)?;
    let inspection = inspect(&built.image);
    if global.json {
        print_json(&inspection)?;
    } else {
        let tag = tag.map(|tag| format!(":{tag}")).unwrap_or_default();
        print(format!("built oci:{layout}{tag}\n{inspection}"))?;
    }
    Ok(ExitCode::SUCCESS)
}

impl Args {
    fn plan(mut self, stop: &Cancel) -> Result<(Plan, Option<Made>), Failure> {
        let created = match self.created {
            Some(created) => Some(created),
            None => source_date_epoch(std::env::var_os("SOURCE_DATE_EPOCH"))?,
        };
        let Material { mut info, mut payloads, mut annotations, made } =
            self.material(created, stop)?;
        if let Some(version) = self.version {
            info.version = version;
        }
        if let Some(architecture) = self.architecture {
            info.set_architecture(architecture);
        }
        if let Some(revision) = self.revision {
            info.commit_hash = revision;
        }
        let mut partitions: BTreeMap<_, _> = self.partitions.into_iter().collect();
        payloads.extend(self.payloads);
        if let Some(file) = self.pre_upgrade {
            if std::fs::metadata(&file).is_ok_and(|file| file.len() > HOOK_LIMIT) {
                return Err(usage(format!("{} is larger than 16MiB", file.display())));
            }
            let name = HOOK_PAYLOAD.parse();
            let name = name.map_err(|error: ImageError| usage(error.to_string()))?;
            payloads.push((name, file));
        }
        let payloads = payloads.into_iter().map(|(name, file)| {
            let partition = partitions.remove(&name);
            PayloadFile { name, file, partition }
        });
        let mut plan = Plan::new(info, payloads.collect(), self.output.0);
        if let Some(name) = partitions.keys().next() {
            return Err(usage(format!("--partition names {name}, which is no payload")));
        }
        plan.encoding = if self.uncompressed {
            LayerEncoding::Uncompressed
        } else {
            LayerEncoding::Zstd(self.level)
        };
        plan.chunk_size = self.chunk_size;
        plan.tag = self.tag;
        plan.allow_unbootable = self.allow_unbootable;
        plan.workers = self.jobs;
        annotations.extend(self.annotations);
        plan.annotations = annotations;
        if let Some(created) = created {
            plan.annotations.insert(CREATED_ANNOTATION.to_owned(), created.to_string());
        }
        Ok((plan, made))
    }

    /// What the image is made of, as far as it is not named payload by payload.
    fn material(
        &mut self,
        created: Option<jiff::Timestamp>,
        stop: &Cancel,
    ) -> Result<Material, Failure> {
        let version = self.version.as_deref();
        let info = match (&self.product_info, &self.os_release) {
            (Some(file), _) => read_product_info(file)?,
            (None, Some(file)) => of_os_release(file, version)?,
            (None, None) => {
                let tree = std::mem::take(&mut self.tree);
                let connection = std::mem::take(&mut self.connection);
                let created = created.map(jiff::Timestamp::as_second);
                return tree.make((version, self.architecture), created, connection, stop);
            }
        };
        Ok(Material { info, payloads: Vec::new(), annotations: BTreeMap::new(), made: None })
    }
}

/// What an os-release file says, with a warning where it has no version for each build.
fn of_os_release(file: &Path, version: Option<&str>) -> Result<ProductInfo, Failure> {
    let OsRelease { info, is_of_distribution } = read_os_release(file, version)?;
    if is_of_distribution {
        tracing::warn!(
            "every build from this {} has the version {}: give each its own with --version",
            file.display(),
            info.version
        );
    }
    Ok(info)
}

fn usage(message: impl Into<String>) -> Failure {
    Failure::error(codes::ARGUMENT_INVALID, message)
}

/// <https://reproducible-builds.org/specs/source-date-epoch/>: "If the value is malformed,
/// the build process SHOULD exit with a non-zero error code."
fn source_date_epoch(value: Option<OsString>) -> Result<Option<jiff::Timestamp>, Failure> {
    let Some(value) = value else { return Ok(None) };
    let seconds = value.to_str().and_then(|text| text.parse().ok());
    match seconds.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok()) {
        Some(time) => Ok(Some(time)),
        None => Err(usage(format!("SOURCE_DATE_EPOCH {value:?} is no number of seconds"))),
    }
}

fn parse_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("it has to be KEY=VALUE".to_owned()),
    }
}

fn parse_payload(text: &str) -> Result<(PayloadName, PathBuf), String> {
    let (name, file) = parse_pair(text).map_err(|_| "it has to be NAME=FILE".to_owned())?;
    let name = name.parse().map_err(|error: flipside_image::ImageError| error.to_string())?;
    Ok((name, PathBuf::from(file)))
}

fn parse_chunk_size(text: &str) -> Result<ChunkSize, String> {
    let bytes = parse_size(text).map_err(|error| error.to_string())?;
    ChunkSize::new(bytes).map_err(|error| error.to_string())
}

fn parse_time(text: &str) -> Result<jiff::Timestamp, jiff::Error> {
    text.parse()
}

fn parse_partition(text: &str) -> Result<(PayloadName, PartitionIdentity), String> {
    let (name, list) = parse_pair(text)?;
    let name = name.parse().map_err(|error: flipside_image::ImageError| error.to_string())?;
    let mut identity = PartitionIdentity { uuid: None, type_uuid: None, flags: None };
    for item in list.split(',') {
        let (key, value) = parse_pair(item)?;
        let guid = || value.parse().map_err(|_| format!("{value:?} is no GUID"));
        match key.as_str() {
            "uuid" => identity.uuid = Some(guid()?),
            "type" => identity.type_uuid = Some(guid()?),
            "flags" => identity.flags = Some(parse_flags(&value)?),
            other => return Err(format!("{other:?} is none of uuid, type, flags")),
        }
    }
    Ok((name, identity))
}

fn parse_flags(text: &str) -> Result<u64, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => text.parse(),
    };
    parsed.map_err(|_| format!("{text:?} is no number"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use flipside_image::DEFAULT_CHUNK_SIZE;

    #[test]
    fn a_source_date_epoch_that_is_no_number_is_an_error() {
        let time = |text: &str| source_date_epoch(Some(text.into()));
        let known = time("1700000000").unwrap().unwrap().to_string();
        assert_eq!(known, "2023-11-14T22:13:20Z");
        for bad in ["", "x", "1.5", "99999999999999999999"] {
            assert_eq!(time(bad).unwrap_err().code, codes::ARGUMENT_INVALID);
        }
    }

    #[test]
    fn partitions_are_read_key_by_key() {
        let guid = "0f0e0d0c-0b0a-0908-0706-050403020100";
        let (name, identity) =
            parse_partition(&format!("system=uuid={guid},flags=0x1000000000000000")).unwrap();
        assert_eq!(name.as_str(), "system");
        assert_eq!(identity.uuid, Some(guid.parse().unwrap()));
        assert_eq!((identity.type_uuid, identity.flags), (None, Some(1 << 60)));
        for bad in [
            "system",
            "system=",
            "system=uuid",
            "system=uuid=x",
            "a/b=flags=1",
            "a=flag=1",
            "a=flags=-1",
        ] {
            assert!(parse_partition(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn payloads_may_have_an_equals_sign_in_their_file() {
        let (name, file) = parse_payload("system=a=b.img").unwrap();
        assert_eq!((name.as_str(), file), ("system", PathBuf::from("a=b.img")));
        for bad in ["system", "=file", "a b=file"] {
            assert!(parse_payload(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_default_chunk_size_is_the_libraries() {
        assert_eq!(parse_chunk_size("1MiB").unwrap(), DEFAULT_CHUNK_SIZE);
        for bad in ["0", "17MiB", "x", ""] {
            assert!(parse_chunk_size(bad).is_err(), "{bad}");
        }
    }
}
