// SPDX-License-Identifier: MIT OR Apache-2.0

//! A new machine: a directory that is a whole host, around a disk that the caller makes.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use flipside_image::{Architecture, Digest};
use uuid::Uuid;

use super::boot::{self, BootOptions};
use super::error::At as _;
use super::gpt::{Disk, Partition};
use super::images::{self, KnownImage, Location};
use super::machine::{DISK, ESP, Machine, VARIABLES};
use super::nvram::Variables;
use super::state::State;
use super::{Quirk, SimError, Slot, esp, machine, os_files, tidy};

/// How the host boots its slots: its `boot.backend`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Backend {
    /// UEFI boot entries
    #[default]
    Uefi,
    /// systemd-boot's entries; NVRAM knows no slots
    SystemdBoot,
}

/// What machine to make. Only `images` has no default.
#[derive(Debug, Clone, Default)]
pub struct NewOptions {
    /// `oci:DIR` or `oci:DIR:TAG`: the first is installed in slot A, whatever else the layouts
    /// hold is what slots may hold later.
    pub images: Vec<String>,
    /// How the host boots its slots.
    pub backend: Backend,
    /// `track.image` of the host; by default the last of `images`.
    pub track: Option<String>,
    /// Payloads besides `system` that get partitions, `NAME-a` and `NAME-b`.
    pub payloads: Vec<String>,
    /// The machine's architecture; this one's by default.
    pub architecture: Option<Architecture>,
    /// Faults that the firmware has from the first [`boot`](fn@super::boot) on.
    pub quirks: Vec<Quirk>,
}

/// The disk that a new machine needs: a GPT with an ESP that holds a loader for removable media
/// and slot A's boot file, and two partitions for each payload, slot A's filled.
#[derive(Debug, Clone)]
pub struct DiskRequest<'a> {
    /// Where the disk belongs: a file that does not exist yet.
    pub path: PathBuf,
    /// The OCI layout with the image for slot A.
    pub layout: &'a Path,
    /// The image's tag; `None` where the layout has but one image.
    pub tag: Option<&'a str>,
    /// The machine's architecture.
    pub architecture: Architecture,
    /// Payloads besides `system`, and the labels of their partitions.
    pub payloads: Vec<PayloadLabels<'a>>,
}

/// A payload, and the labels of its partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayloadLabels<'a> {
    /// The payload.
    pub payload: &'a str,
    /// The partition of slot A.
    pub a: String,
    /// The partition of slot B.
    pub b: String,
}

impl NewOptions {
    fn labels(&self) -> impl Iterator<Item = PayloadLabels<'_>> {
        self.payloads.iter().map(|payload| PayloadLabels {
            payload,
            a: format!("{payload}-{}", Slot::A.letter()),
            b: format!("{payload}-{}", Slot::B.letter()),
        })
    }
}

/// Makes a machine in `directory`, which must not exist or be empty, and returns the version that
/// it runs. `make_disk` makes the disk and returns the digest of the image in slot A. The machine
/// stands as its first boot, of slot A, left it before any promotion.
///
/// # Errors
/// [`SimError`], or that of `make_disk`. What was made so far is left for a look at it.
pub fn create<E: From<SimError>>(
    directory: &Path,
    options: &NewOptions,
    make_disk: impl FnOnce(&DiskRequest<'_>) -> Result<Digest, E>,
) -> Result<String, E> {
    let locations = prepare(directory, options)?;
    let nothing = || SimError::Location { text: "nothing".to_owned() };
    let first = locations.first().ok_or_else(nothing)?;
    let this = Architecture::of_this_build().unwrap_or(Architecture::X86_64);
    let architecture = options.architecture.unwrap_or(this);
    let installed = make_disk(&DiskRequest {
        path: directory.join(DISK),
        layout: &first.layout,
        tag: first.tag.as_deref(),
        architecture,
        payloads: options.labels().collect(),
    })?;
    Ok(furnish(directory, options, &locations, architecture, installed)?)
}

/// Makes the directory, and finds the layouts of the images.
fn prepare(directory: &Path, options: &NewOptions) -> Result<Vec<Location>, SimError> {
    std::fs::create_dir_all(directory).at("make", directory)?;
    let mut files = std::fs::read_dir(directory).at("read", directory)?;
    if files.next().is_some() {
        return Err(SimError::NotEmpty { path: directory.to_owned() });
    }
    options.images.iter().map(|text| Location::parse(text)).collect()
}

/// Makes a host of the directory, around its disk.
fn furnish(
    directory: &Path,
    options: &NewOptions,
    locations: &[Location],
    architecture: Architecture,
    digest: Digest,
) -> Result<String, SimError> {
    let id = unpack_esp(directory)?;
    os_files::put(directory, "etc/machine-id", &format!("{}\n", id.simple()))?;
    let mut state = first_state(directory, locations, architecture)?;
    let installed = installed(directory, &state, digest)?.clone();
    write_files(directory, options, locations)?;
    let variables = first_variables(directory, &state, &installed, options.backend)?;
    let efivars = directory.join(VARIABLES);
    variables.store(&efivars).at("write", &efivars)?;
    state.remember(&variables);
    state.save(directory)?;

    // The machine has been booted by whoever looks at it; quirks begin with the next boot.
    boot::boot(directory, &BootOptions { fail: true, ..BootOptions::default() })?;
    let mut state = State::load(directory)?;
    state.quirks.clone_from(&options.quirks);
    state.last = None;
    state.save(directory)?;
    Ok(installed.version)
}

fn no_machine(directory: &Path, reason: &str) -> SimError {
    SimError::NoMachine { path: directory.to_owned(), reason: reason.to_owned() }
}

/// Copies the content of the disk's ESP to its directory, and returns the partition's GUID.
fn unpack_esp(directory: &Path) -> Result<Uuid, SimError> {
    let path = directory.join(DISK);
    let disk = Disk::open(&path).at("read", &path)?;
    let partition = disk.esp().ok_or_else(|| no_machine(directory, "its disk has no ESP"))?;
    copy_esp(&disk, partition, &directory.join(ESP)).at("copy the ESP of", &path)?;
    Ok(partition.guid)
}

/// What the simulator knows of the machine: its loader, its layouts, the images in them.
fn first_state(
    directory: &Path,
    locations: &[Location],
    architecture: Architecture,
) -> Result<State, SimError> {
    let removable = format!("\\EFI\\BOOT\\{}", architecture.removable_media_file());
    let loader = esp::find(&directory.join(ESP), &removable)
        .ok_or_else(|| no_machine(directory, "its disk has no loader for removable media"))?;
    let mut state = State::new(architecture, machine::hash_file(&loader).at("read", &loader)?);
    for location in locations {
        if !state.layouts.contains(&location.layout) {
            state.layouts.push(location.layout.clone());
        }
    }
    for layout in &state.layouts {
        images::learn(&mut state.images, layout, architecture)?;
    }
    Ok(state)
}

fn installed<'a>(
    directory: &Path,
    state: &'a State,
    digest: Digest,
) -> Result<&'a KnownImage, SimError> {
    let found = state.images.iter().find(|image| image.digest == digest);
    found.ok_or_else(|| no_machine(directory, "the image on its disk is not in the layout"))
}

/// The directories of a host, and its configuration.
fn write_files(
    directory: &Path,
    options: &NewOptions,
    locations: &[Location],
) -> Result<(), SimError> {
    let state = directory.join("var/lib/flipside");
    std::fs::create_dir_all(&state).at("make", &state)?;
    let track = options.track.clone().unwrap_or_else(|| match locations.last() {
        Some(Location { layout, tag: Some(tag) }) => format!("oci:{}:{tag}", layout.display()),
        Some(Location { layout, tag: None }) => format!("oci:{}", layout.display()),
        None => String::new(),
    });
    let mut config = toml::Table::new();
    let table = |pairs: Vec<(String, toml::Value)>| toml::Value::Table(pairs.into_iter().collect());
    config.insert("track".into(), table(vec![("image".into(), track.into())]));
    if options.backend == Backend::SystemdBoot {
        config.insert("boot".into(), table(vec![("backend".into(), "systemd-boot".into())]));
    }
    if !options.payloads.is_empty() {
        let labels = options.labels().map(|PayloadLabels { payload, a, b }| {
            let pairs = vec![("a".into(), a.into()), ("b".into(), b.into())];
            (payload.to_owned(), table(pairs))
        });
        let payloads = table(labels.collect());
        config.insert("host".into(), table(vec![("payloads".into(), payloads)]));
    }
    os_files::put(directory, "etc/flipside/flipside.toml", &config.to_string())
}

/// NVRAM of a machine that was installed: slot A, the firmware's own entry for the disk, and one
/// that is nobody's business here.
fn first_variables(
    directory: &Path,
    state: &State,
    image: &KnownImage,
    backend: Backend,
) -> Result<Variables, SimError> {
    let machine =
        Machine::open(directory, state).map_err(|reason| no_machine(directory, &reason))?;
    let mut variables = Variables::default();
    let description = format!("{} {}", image.name, Slot::A);
    let ours = match backend {
        Backend::Uefi => tidy::file_entry(&machine, &description, &Slot::A.boot_file()),
        Backend::SystemdBoot => None,
    };
    let entries = [ours, Some(tidy::disk_entry()), Some(tidy::network_entry())];
    let mut order = Vec::new();
    for (number, entry) in (0..).zip(entries.into_iter().flatten()) {
        variables.set_entry(number, &entry);
        order.push(number);
    }
    variables.set_order(&order);
    Ok(variables)
}

/// Copies what the FAT on `partition` holds, as it would be seen mounted.
fn copy_esp(disk: &Disk, partition: &Partition, to: &Path) -> io::Result<()> {
    let window = Window { disk, start: partition.start, size: partition.size, at: 0 };
    let volume = fatfs::FileSystem::new(window, fatfs::FsOptions::new())?;
    copy_directory(&volume.root_dir(), to)
}

fn copy_directory(from: &fatfs::Dir<'_, Window<'_>>, to: &Path) -> io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in from.iter() {
        let entry = entry?;
        let name = entry.file_name();
        if name == "." || name == ".." {
            continue;
        }
        let path = to.join(&name);
        if entry.is_dir() {
            copy_directory(&entry.to_dir(), &path)?;
        } else {
            io::copy(&mut entry.to_file(), &mut std::fs::File::create(&path)?)?;
        }
    }
    Ok(())
}

/// A partition as the FAT library wants it. What it writes (the volume's dirty flag) is dropped.
struct Window<'a> {
    disk: &'a Disk,
    start: u64,
    size: u64,
    at: u64,
}

impl Read for Window<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.size.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let count = buffer.len().min(left);
        let part = buffer.get_mut(..count).unwrap_or_default();
        let read = self.disk.file.read_at(part, self.start.saturating_add(self.at))?;
        self.at = self.at.saturating_add(read as u64);
        Ok(read)
    }
}

impl Write for Window<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Window<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.size.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}
