// SPDX-License-Identifier: MIT OR Apache-2.0

//! A bootable disk made from an OS image: protective MBR and GPT, the ESP with the loader
//! and slot A's boot file, slot A's partitions filled, slot B's empty, and a partition for
//! data. Everything happens in user space: nothing is mounted, no loop device, no root.

use std::fs::File;
use std::path::{Path, PathBuf};

use flipside_core::cancel::Cancel;
use flipside_core::host::Slot;
use flipside_core::progress::{Progress, Silent};
use flipside_core::settings::{HostConfig, SlotLabels};
use flipside_image::{Architecture, Digest, HOOK_PAYLOAD, Layer, PartitionIdentity, Payload};
use serde::Serialize;

mod error;
mod esp;
mod fat;
mod gpt;
mod identifiers;
mod image;
mod layout;
mod memory_disk;
mod parse_size;
mod payload;
mod reflink;
mod size;
mod target;

pub use error::DiskBuildError;
pub use esp::EspFile;
pub use gpt::{Partition, SectorSize};
pub use parse_size::parse_size;
pub use size::Size;

use fat::FileSystem;
use identifiers::Identifiers;
use image::Opened;
use layout::{ESP_TYPE, LINUX_TYPE, Layout, NO_AUTO, Wanted};
use payload::Region;
use target::Target;

/// The payload of the slots' main partitions.
const SYSTEM_PAYLOAD: &str = "system";
const ESP_LABEL: &str = "esp";
const DATA_LABEL: &str = "data";
const DEFAULT_DATA_SIZE: u64 = 1 << 30;
/// What the default size of `system`'s partitions is rounded up to, in bytes.
const SLOT_STEP: u64 = 64 << 20;

/// What to build. Only `image` has no default that works.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// An OCI layout directory.
    pub image: PathBuf,
    /// Which of its tags; `None` where it has but one image.
    pub tag: Option<String>,
    /// Which of an index's images; `None` takes the one for this machine.
    pub architecture: Option<Architecture>,
    /// In bytes; `None` is what the boot file needs, at least `least_esp_size`.
    pub esp_size: Option<u64>,
    /// In bytes; `None` is 512 MiB.
    pub least_esp_size: Option<u64>,
    /// Of each partition for `system`, in bytes; `None` is the payload's size and a
    /// quarter, rounded up to 64 MiB.
    pub slot_size: Option<u64>,
    /// In bytes, 0 for no data partition; `None` is 1 GiB in a file, and the rest of a
    /// device.
    pub data_size: Option<u64>,
    /// `None` is 512 bytes in a file, and a device's own.
    pub sector_size: Option<SectorSize>,
    /// Makes GUIDs and the FAT volume ID from this rather than at random: the same image
    /// and plan then give the same bytes.
    pub seed: Option<u64>,
    /// The boot loader for the ESP; `None` is systemd-boot where Debian has it.
    pub loader: Option<PathBuf>,
    /// Labels of the partitions for `system`; `None` is `system-a` and `system-b`.
    pub slots: Option<SlotLabels>,
    /// Further payloads with partitions of their own.
    pub payloads: Vec<Mapping>,
    /// The repository, without tag, that slot A's record names as its origin.
    pub repository: Option<String>,
    /// Replace an existing file; overwrite a device that is not empty.
    pub force: bool,
    /// Read everything back and compare it with the image's hashes.
    pub verify: bool,
    /// Ends the build early.
    pub stop: Cancel,
}

/// A payload besides `system` that has a partition in each slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// The payload.
    pub payload: String,
    /// Its partitions.
    pub labels: SlotLabels,
    /// The size of each, in bytes; `None` is the payload's and a quarter, rounded up to
    /// 1 MiB.
    pub size: Option<u64>,
}

impl Plan {
    /// Every payload with a partition, `system` first.
    fn mappings(&self) -> Vec<Mapping> {
        let system = Mapping {
            payload: SYSTEM_PAYLOAD.to_owned(),
            labels: self.slots.clone().unwrap_or_else(|| HostConfig::default().slots),
            size: self.slot_size,
        };
        std::iter::once(system).chain(self.payloads.iter().cloned()).collect()
    }

    /// Whether `payload` has a place on the disk: a partition, or as the boot file.
    fn takes(&self, payload: &str) -> bool {
        payload == esp::BOOT_PAYLOAD
            || self.mappings().iter().any(|mapping| mapping.payload == payload)
    }
}

/// A disk that was built.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Built {
    /// The image in slot A.
    pub digest: Digest,
    /// Its version.
    pub version: String,
    /// The disk's GUID.
    pub disk_uuid: uuid::Uuid,
    /// The disk's size in bytes.
    pub size: u64,
    /// Its logical sectors, in bytes.
    pub sector_size: u32,
    /// The partitions, in their order on the disk; the first is the ESP.
    pub partitions: Vec<Partition>,
    /// How each payload came to its place.
    pub payloads: Vec<Placed>,
    /// Payloads of the image that have no place on this disk.
    pub skipped: Vec<String>,
    /// What is odd but not wrong, a sentence each.
    pub warnings: Vec<String>,
}

/// A payload on the disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Placed {
    /// Its name.
    pub payload: String,
    /// The label of the partition that it went to.
    pub label: String,
    /// Its size in bytes.
    pub size: u64,
    /// Whether its blocks are shared with the image rather than copied.
    pub shared: bool,
    /// Whether its bytes were compared with the image's hashes: always where they were
    /// copied, with [`Plan::verify`] where they are shared.
    pub verified: bool,
}

/// Builds the disk that `plan` describes: a new file, or onto the block device, at
/// `output`.
///
/// # Errors
/// [`DiskBuildError`]. No file is left behind then; a block device whose contents were
/// touched has no partition table.
pub fn build(plan: &Plan, output: &Path) -> Result<Built, DiskBuildError> {
    build_with(plan, output, &Silent)
}

/// As [`build`], followed by `progress` where payloads are copied or read back.
///
/// # Errors
/// As [`build`].
pub fn build_with(
    plan: &Plan,
    output: &Path,
    progress: &dyn Progress,
) -> Result<Built, DiskBuildError> {
    let opened = Opened::new(plan)?;
    let identifiers = Identifiers::new(plan.seed);
    let files = esp::files(&opened, plan)?;
    let mut wanted = wanted(&opened, plan, esp::size(plan, &files), &identifiers)?;
    let target = Target::open(output, plan.sector_size, plan.force)?;
    wanted.extend(data_partition(plan, &target, &identifiers));
    layout::check(&wanted)?;
    let layout =
        layout::lay_out(&wanted, target.sector_size, target.capacity).map_err(|needed| {
            let size = target.capacity.unwrap_or(i64::MAX.unsigned_abs());
            DiskBuildError::DiskTooSmall { path: output.to_owned(), size, needed }
        })?;
    let sources = sources(&opened, plan, &layout)?;
    let file_system = esp_file_system(&opened, &identifiers, &layout, &files)?;
    let disk_uuid = identifiers.uuid("disk");

    // Nothing was touched so far; from here on a device is ours.
    target.set_size(layout.size)?;
    clear(&target, &layout)?;
    file_system.write(&target)?;
    let placed = fill(&target, plan, &opened, &sources, progress)?;
    if plan.verify {
        file_system.verify(&target)?;
    }
    write_tables(&target, &layout, disk_uuid)?;
    target.finish()?;

    let boot_file = files.iter().find(|file| file.path.contains("/boot-"));
    let boots = boot_file.is_some_and(|f| esp::is_efi_program(&f.contents, opened.architecture));
    let warnings = if boots {
        Vec::new()
    } else {
        vec![format!(
            "payload {} is not an EFI program for {}: this disk does not boot",
            esp::BOOT_PAYLOAD,
            opened.architecture
        )]
    };
    let is_skipped = |name: &str| name != HOOK_PAYLOAD && !plan.takes(name);
    let names = opened.image.config.payloads.iter().map(|payload| payload.name.to_string());
    Ok(Built {
        digest: opened.image.digest,
        version: opened.image.version().to_owned(),
        disk_uuid,
        size: layout.size,
        sector_size: layout.sector_size.bytes(),
        partitions: layout.partitions,
        payloads: placed,
        skipped: names.filter(|name| is_skipped(name)).collect(),
        warnings,
    })
}

/// The files that the ESP of such a disk has, for whoever wants them without the disk.
///
/// # Errors
/// [`DiskBuildError`].
pub fn esp_files(plan: &Plan) -> Result<Vec<EspFile>, DiskBuildError> {
    esp::files(&Opened::new(plan)?, plan)
}

/// Every partition but the data partition.
fn wanted(
    opened: &Opened,
    plan: &Plan,
    esp_size: u64,
    identifiers: &Identifiers,
) -> Result<Vec<Wanted>, DiskBuildError> {
    let mut wanted = vec![Wanted {
        label: ESP_LABEL.to_owned(),
        uuid: identifiers.uuid(ESP_LABEL),
        type_uuid: ESP_TYPE,
        flags: 0,
        size: Some(esp_size),
    }];
    for mapping in plan.mappings() {
        let payload = opened.layer(&mapping.payload)?.payload;
        let step = if mapping.payload == SYSTEM_PAYLOAD { SLOT_STEP } else { size::ALIGNMENT };
        let size = mapping.size.unwrap_or_else(|| layout::slot_size(payload.size, step));
        let size = size::round_up(size.max(1), size::ALIGNMENT);
        for slot in Slot::BOTH {
            let label = mapping.labels.of(slot).to_owned();
            if payload.size > size {
                let (payload, needed) = (payload.name.to_string(), payload.size);
                return Err(DiskBuildError::SlotTooSmall { label, payload, size, needed });
            }
            // Slot B holds no image yet that could name it.
            let identity = match slot {
                Slot::A => payload.partition,
                Slot::B => None,
            };
            let none = PartitionIdentity { uuid: None, type_uuid: None, flags: None };
            let identity = identity.unwrap_or(none);
            wanted.push(Wanted {
                uuid: identity.uuid.unwrap_or_else(|| identifiers.uuid(&label)),
                type_uuid: identity.type_uuid.unwrap_or(LINUX_TYPE),
                flags: identity.flags.unwrap_or(NO_AUTO),
                size: Some(size),
                label,
            });
        }
    }
    Ok(wanted)
}

fn data_partition(plan: &Plan, target: &Target, identifiers: &Identifiers) -> Option<Wanted> {
    let size = match (plan.data_size, target.capacity) {
        (Some(0), _) => return None,
        (Some(size), _) => Some(size),
        (None, None) => Some(DEFAULT_DATA_SIZE),
        (None, Some(_)) => None,
    };
    let (label, uuid) = (DATA_LABEL.to_owned(), identifiers.uuid(DATA_LABEL));
    Some(Wanted { label, uuid, type_uuid: LINUX_TYPE, flags: NO_AUTO, size })
}

/// Removes from a device what could be taken for part of the new disk: first of all its
/// old partition tables, then the signatures of file systems where empty partitions begin
/// and end.
fn clear(target: &Target, layout: &Layout) -> Result<(), DiskBuildError> {
    if target.is_fresh() {
        return Ok(());
    }
    target.wipe(0, size::ALIGNMENT)?;
    target.wipe(layout.size.saturating_sub(size::ALIGNMENT), size::ALIGNMENT)?;
    target.sync()?;
    for partition in &layout.partitions {
        let end = partition.start.saturating_add(partition.size);
        target.wipe(partition.start, size::ALIGNMENT)?;
        target.wipe(end.saturating_sub(size::ALIGNMENT), size::ALIGNMENT)?;
    }
    Ok(())
}

/// A payload of slot A, its file, and its partition.
struct Source<'a> {
    layer: Layer<'a>,
    blob: File,
    partition: &'a Partition,
}

fn sources<'a>(
    opened: &'a Opened,
    plan: &Plan,
    layout: &'a Layout,
) -> Result<Vec<Source<'a>>, DiskBuildError> {
    let mut sources = Vec::new();
    for mapping in plan.mappings() {
        let layer = opened.layer(&mapping.payload)?;
        let label = mapping.labels.of(Slot::A);
        if let Some(partition) = layout.partitions.iter().find(|p| p.label == label) {
            sources.push(Source { layer, blob: opened.blob(&layer)?, partition });
        }
    }
    Ok(sources)
}

fn esp_file_system<'a>(
    opened: &Opened,
    identifiers: &Identifiers,
    layout: &Layout,
    files: &'a [EspFile],
) -> Result<FileSystem<'a>, DiskBuildError> {
    let second = opened.layer(esp::BOOT_PAYLOAD)?.payload.size;
    let Some(partition) = layout.partitions.first() else {
        return Err(DiskBuildError::EspTooSmall { size: 0, needed: second, free: 0 });
    };
    let volume_id = identifiers.volume_id();
    FileSystem::compose(partition, layout.sector_size, volume_id, files, second)
}

/// Fills slot A's partitions, and says how; also how the boot file came to the ESP.
fn fill(
    target: &Target,
    plan: &Plan,
    opened: &Opened,
    sources: &[Source<'_>],
    progress: &dyn Progress,
) -> Result<Vec<Placed>, DiskBuildError> {
    let placed = |payload: &Payload, label: &str, shared, verified| Placed {
        payload: payload.name.to_string(),
        label: label.to_owned(),
        size: payload.size,
        shared,
        verified,
    };
    let boot_file = opened.layer(esp::BOOT_PAYLOAD)?.payload;
    let mut all = vec![placed(boot_file, ESP_LABEL, false, true)];
    for Source { layer, blob, partition } in sources {
        let region = Region { target, partition };
        let shared = payload::share(layer, blob, &region)?;
        if !shared {
            payload::copy(&opened.source, layer, &region, progress, &plan.stop)?;
        }
        if plan.verify {
            payload::verify(layer.payload, &region, progress, &plan.stop)?;
        }
        all.push(placed(layer.payload, &partition.label, shared, plan.verify || !shared));
    }
    Ok(all)
}

/// Makes the disk one: until the primary table stands, a device boots nothing.
fn write_tables(
    target: &Target,
    layout: &Layout,
    disk_uuid: uuid::Uuid,
) -> Result<(), DiskBuildError> {
    let tables = gpt::encode(disk_uuid, &layout.partitions, layout.sector_size, layout.size)
        .map_err(target.error("make the partition table of"))?;
    target.sync()?;
    target.write_at(tables.backup_offset, &tables.backup)?;
    target.sync()?;
    target.write_at(0, &tables.primary)?;
    target.sync()
}
