// SPDX-License-Identifier: MIT OR Apache-2.0

//! `flipside image build` of a container image or a root file system.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::super::Failure;
use super::connection::Connection;
use crate::codes;
use flipside_core::cancel::Cancel;
use flipside_image::{
    Architecture, BOOT_FILE_PAYLOAD, PayloadName, ProductInfo, SYSTEM_PAYLOAD, VERSION_ANNOTATION,
};
use flipside_publish::build::CREATED_ANNOTATION;
use flipside_publish::container::{Container, find_container};
use flipside_publish::os_release::{OsRelease, parse_os_release};
use flipside_publish::tree::Tree;
use flipside_publish::tree::build::{Made, Options, build, os_release, scratch};
use flipside_publish::tree::directory::read_directory;
use flipside_publish::tree::layers::read_layers;
use flipside_source::Location;

/// What an image was made from (OCI image spec, "Annotations").
const BASE_DIGEST: &str = "org.opencontainers.image.base.digest";
const BASE_NAME: &str = "org.opencontainers.image.base.name";
/// Labels of a container image that say something to hosts.
const OWN_LABELS: &str = "org.flipside.";
/// A container image in podman's own storage.
const CONTAINERS_STORAGE: &str = "containers-storage:";

/// Options that only a root file system has.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Root file systems")]
pub(super) struct TreeArgs {
    /// Make the payloads `system` and `kernel.efi` of this container image: a registry reference,
    /// `oci:DIR[:TAG]`, `oci-archive:FILE[:TAG]` or `containers-storage:NAME`.
    #[arg(long, value_name = "REF", value_parser = parse_container)]
    container: Option<ContainerRef>,
    /// Make them of the root file system in this directory.
    #[arg(long, value_name = "DIR", conflicts_with = "container")]
    tree: Option<PathBuf>,
    /// Use this kernel version, if there are several.
    #[arg(long, value_name = "VERSION")]
    kernel: Option<String>,
    /// Use this stub of systemd instead of the system's own.
    #[arg(long, value_name = "FILE")]
    stub: Option<PathBuf>,
    /// Boot with this command line [default: the system's /etc/kernel/cmdline or
    /// /usr/lib/kernel/cmdline, or `root=/dev/flipside/system ro quiet panic=5`].
    #[arg(long, value_name = "LINE")]
    cmdline: Option<String>,
    /// Compress the file system with this algorithm of mkfs.erofs, such as lz4hc. Deltas of
    /// uncompressed ones are smaller.
    #[arg(long, value_name = "NAME")]
    compress: Option<String>,
    /// Keep this file or directory, which would be left out; may be repeated.
    #[arg(long, value_name = "PATH")]
    keep: Vec<String>,
    /// Leave /var as it is. Otherwise systemd-tmpfiles fills it at the first boot.
    #[arg(long)]
    leave_var: bool,
    /// Make no mount points and no fstab.
    #[arg(long)]
    leave_root: bool,
}

/// A container image on the command line.
#[derive(Debug, Clone)]
pub(super) enum ContainerRef {
    At(Location),
    /// In podman's storage, by this name.
    Podman(String),
}

fn parse_container(text: &str) -> Result<ContainerRef, String> {
    match text.strip_prefix(CONTAINERS_STORAGE) {
        Some("") => Err("it has no name".to_owned()),
        Some(name) => Ok(ContainerRef::Podman(name.to_owned())),
        None => {
            let location = super::super::location::parse_image(text);
            location.map(ContainerRef::At).map_err(|error| error.to_string())
        }
    }
}

/// What an image is made of.
pub(super) struct Material {
    pub(super) info: ProductInfo,
    pub(super) payloads: Vec<(PayloadName, PathBuf)>,
    pub(super) annotations: BTreeMap<String, String>,
    /// The files that were made for it, as long as this lives.
    pub(super) made: Option<Made>,
}

impl TreeArgs {
    /// Makes the payloads of the root file system.
    pub(super) fn make(
        self,
        (version, architecture): (Option<&str>, Option<Architecture>),
        created: Option<i64>,
        connection: Connection,
        stop: &Cancel,
    ) -> Result<Material, Failure> {
        let scratch = scratch()?;
        let mut annotations = BTreeMap::new();
        let mut of_container = None;
        let tree = match (&self.container, &self.tree) {
            (Some(container), _) => {
                let location = located(container, scratch.path())?;
                let source = connection.open(&location, stop)?;
                let found = find_container(source.as_ref(), architecture)?;
                annotations.insert(BASE_DIGEST.to_owned(), found.digest.to_string());
                annotations.insert(BASE_NAME.to_owned(), name_of(container, &location));
                let own = found.labels.iter().filter(|(name, _)| name.starts_with(OWN_LABELS));
                annotations.extend(own.map(|(name, value)| (name.clone(), value.clone())));
                let tree = read_layers(source.as_ref(), &found, scratch.path())?;
                of_container = Some(found);
                tree
            }
            (None, Some(directory)) => read_directory(directory)?,
            (None, None) => {
                let what = "it is made of --container, --tree, or --payload and --os-release";
                return Err(Failure::error(codes::ARGUMENT_INVALID, what));
            }
        };
        let info = info(&tree, of_container.as_ref(), version, architecture)?;
        let architecture = info.architecture().unwrap_or(Architecture::X86_64);
        let created = created.or_else(|| {
            let made = of_container.as_ref().and_then(|container| container.created)?;
            annotations.insert(CREATED_ANNOTATION.to_owned(), made.to_string());
            Some(made.as_second())
        });
        let created = created.unwrap_or_else(|| tree.newest());
        let options = Options {
            keep: self.keep,
            leave_var: self.leave_var,
            leave_root: self.leave_root,
            kernel: self.kernel,
            stub: self.stub,
            command_line: self.cmdline,
            compression: self.compress,
            created,
        };
        let made = build(tree, (&info.id, architecture), &options, scratch)?;
        made.told.iter().for_each(|line| tracing::info!("{line}"));
        let payloads = [(SYSTEM_PAYLOAD, &made.system), (BOOT_FILE_PAYLOAD, &made.boot_file)];
        let parsed = payloads.into_iter().map(|(name, file)| Ok((name.parse()?, file.clone())));
        let payloads = parsed.collect::<Result<_, flipside_image::ImageError>>()?;
        Ok(Material { info, payloads, annotations, made: Some(made) })
    }
}

/// What the OS is: what its os-release says, with the container's version where that has none of its
/// own, and for the container's machine.
fn info(
    tree: &Tree,
    container: Option<&Container>,
    version: Option<&str>,
    architecture: Option<Architecture>,
) -> Result<ProductInfo, Failure> {
    let file = Path::new("/usr/lib/os-release");
    let bytes = os_release(tree)?;
    let mut found = parse_os_release(file, bytes, version)?;
    let label = container.and_then(|container| container.labels.get(VERSION_ANNOTATION));
    if let (true, Some(label)) = (found.is_of_distribution, label) {
        found.info.version.clone_from(label);
        found.is_of_distribution = false;
    }
    let OsRelease { mut info, is_of_distribution } = found;
    if is_of_distribution {
        tracing::warn!(
            "every build of this system has the version {}: give each its own with --version",
            info.version
        );
    }
    if let Some(architecture) = architecture.or(container.map(|container| container.architecture)) {
        info.set_architecture(architecture);
    }
    Ok(info)
}

/// Where the container image is, taken out of podman's storage if it is there.
fn located(container: &ContainerRef, scratch: &Path) -> Result<Location, Failure> {
    let name = match container {
        ContainerRef::At(location) => return Ok(location.clone()),
        ContainerRef::Podman(name) => name,
    };
    let file = scratch.join("container.tar");
    let failed = |what: String| Failure::error(codes::TOOL_FAILED, what);
    let mut podman = Command::new("podman");
    podman.args(["save", "--quiet", "--format", "oci-archive", "--output"]).arg(&file);
    let ended = podman.args(["--", name]).output().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => failed("podman is not installed here".to_owned()),
        _ => failed(format!("podman cannot be run: {error}")),
    })?;
    if !ended.status.success() {
        let said = String::from_utf8_lossy(&ended.stderr);
        let last = said.lines().last().unwrap_or_default().to_owned();
        return Err(failed(format!("podman cannot save {name}: {last}")));
    }
    Ok(Location::Archive { file, tag: None })
}

/// What people call the container image.
fn name_of(container: &ContainerRef, location: &Location) -> String {
    match container {
        ContainerRef::At(_) => location.to_string(),
        ContainerRef::Podman(name) => name.clone(),
    }
}
