// SPDX-License-Identifier: MIT OR Apache-2.0

//! A new machine: a disk with an OS image in slot A, and a directory that is a whole host.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::boot::{self, BootOptions};
use super::error::At as _;
use super::gpt::{Disk, Partition};
use super::images::{self, KnownImage, Location};
use super::machine::{DISK, ESP, Machine, VARIABLES};
use super::nvram::Variables;
use super::state::State;
use super::{Quirk, SimError, Slot, esp, machine, os_files, tidy};
use crate::image::{Architecture, Digest};
use crate::publish::disk::{self, Mapping, Plan, SectorSize};
use crate::settings::SlotLabels;

/// Of the ESP, in bytes, where nothing else is asked for. Its files are a directory besides.
const DEFAULT_ESP_SIZE: u64 = 64 << 20;
/// Of the data partition, in bytes: a machine in a directory has its data in directories.
const DEFAULT_DATA_SIZE: u64 = 0;

/// How the host boots its slots: its `boot.backend`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
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
    /// The disk's sectors; 512 bytes by default.
    pub sector_size: Option<SectorSize>,
    /// In bytes; 64 MiB by default.
    pub esp_size: Option<u64>,
    /// Of each `system` partition, in bytes; the payload's size and a quarter by default.
    pub slot_size: Option<u64>,
    /// In bytes; none by default.
    pub data_size: Option<u64>,
    /// Makes the disk's GUIDs from this, not at random.
    pub seed: Option<u64>,
    /// The loader for removable media; systemd-boot where Debian has it by default.
    pub loader: Option<PathBuf>,
    /// The machine's architecture; this one's by default.
    pub architecture: Option<Architecture>,
    /// Faults that the firmware has from the first [`boot`](fn@super::boot) on.
    pub quirks: Vec<Quirk>,
}

/// Makes a machine in `directory`, which must not exist or be empty, and returns the version that
/// it runs. The machine stands as its first boot, of slot A, left it before any promotion.
///
/// # Errors
/// [`SimError`]. What was made so far is left for a look at it.
pub fn create(directory: &Path, options: &NewOptions) -> Result<String, SimError> {
    std::fs::create_dir_all(directory).at("make", directory)?;
    let mut files = std::fs::read_dir(directory).at("read", directory)?;
    if files.next().is_some() {
        return Err(SimError::NotEmpty { path: directory.to_owned() });
    }
    let locations: Vec<_> =
        options.images.iter().map(|text| Location::parse(text)).collect::<Result<_, _>>()?;
    let Some(first) = locations.first() else {
        return Err(SimError::Location { text: "nothing".to_owned() });
    };
    let this = Architecture::of_this_build().unwrap_or(Architecture::X86_64);
    let architecture = options.architecture.unwrap_or(this);

    let path = directory.join(DISK);
    let built = disk::build(&plan(first, architecture, options), &path)?;
    let disk = Disk::open(&path).at("read", &path)?;
    let partition = disk.esp().ok_or_else(|| no_machine(directory, "its disk has no ESP"))?;
    copy_esp(&disk, partition, &directory.join(ESP)).at("copy the ESP of", &path)?;

    let removable = format!("\\EFI\\BOOT\\{}", architecture.removable_media_file());
    let loader = esp::find(&directory.join(ESP), &removable)
        .ok_or_else(|| no_machine(directory, "its disk has no loader for removable media"))?;
    let mut state = State::new(architecture, machine::hash_file(&loader).at("read", &loader)?);
    for location in &locations {
        if !state.layouts.contains(&location.layout) {
            state.layouts.push(location.layout.clone());
        }
    }
    for layout in &state.layouts {
        images::learn(&mut state.images, layout, architecture)?;
    }
    let installed = installed(directory, &state, built.digest)?.clone();
    write_files(directory, options, &locations)?;
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

fn plan(image: &Location, architecture: Architecture, options: &NewOptions) -> Plan {
    let mut plan = Plan {
        image: image.layout.clone(),
        tag: image.tag.clone(),
        architecture: Some(architecture),
        esp_size: Some(options.esp_size.unwrap_or(DEFAULT_ESP_SIZE)),
        slot_size: options.slot_size,
        data_size: Some(options.data_size.unwrap_or(DEFAULT_DATA_SIZE)),
        sector_size: options.sector_size,
        seed: options.seed,
        loader: options.loader.clone(),
        ..Plan::default()
    };
    for payload in &options.payloads {
        let labels = SlotLabels { a: format!("{payload}-a"), b: format!("{payload}-b") };
        plan.payloads.push(Mapping { payload: payload.clone(), labels, size: None });
    }
    plan
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
        let labels = options.payloads.iter().map(|payload| {
            let label = |letter| (letter, format!("{payload}-{letter}").into());
            let pairs = [label('a'), label('b')].map(|(letter, value)| (letter.to_string(), value));
            (payload.clone(), table(pairs.into()))
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
