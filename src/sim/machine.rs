// SPDX-License-Identifier: MIT OR Apache-2.0

//! The machine in a directory, as its firmware sees it at power-on.

use std::path::{Path, PathBuf};

use flipside_image::{Architecture, Digest, Hasher};
use uuid::Uuid;

use super::gpt::{Disk, Partition};
use super::images::KnownImage;
use super::state::State;
use super::{Slot, esp};

/// Where a host directory has the ESP's content.
pub(super) const ESP: &str = "efi";
/// Where it has its disk.
pub(super) const DISK: &str = "disk.img";
/// Where it has the firmware's variables.
pub(super) const VARIABLES: &str = "sys/firmware/efi/efivars";

/// The machine's parts; nothing of it is changed.
pub(super) struct Machine<'a> {
    pub(super) esp: PathBuf,
    pub(super) disk: Disk,
    pub(super) images: &'a [KnownImage],
    pub(super) architecture: Architecture,
    loaders: Vec<Digest>,
}

/// What a file on the ESP is when the firmware or the loader starts it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Program {
    /// It is not there, or no program: the next is tried.
    Fails(String),
    /// The loader for removable media, whole.
    Loader,
    /// A slot's boot file; what is in it is the kernel's matter.
    Kernel(Slot),
    /// It runs, but never gets to an OS of this machine.
    Hangs(String),
}

impl<'a> Machine<'a> {
    /// The machine in `directory`; the text says what keeps it from being one.
    pub(super) fn open(directory: &Path, state: &'a State) -> Result<Self, String> {
        let path = directory.join(DISK);
        let disk =
            Disk::open(&path).map_err(|error| format!("the disk cannot be read: {error}"))?;
        Ok(Self {
            esp: directory.join(ESP),
            disk,
            images: &state.images,
            architecture: state.architecture(),
            loaders: loaders(directory, state),
        })
    }

    /// The path of the loader for removable media (UEFI 2.10, section 3.5.1.1).
    pub(super) fn removable_path(&self) -> String {
        format!("\\EFI\\BOOT\\{}", self.architecture.removable_media_file())
    }

    /// Whether `guid` is the partition whose files the ESP directory has.
    pub(super) fn is_esp(&self, guid: Uuid) -> bool {
        self.disk.esp().is_some_and(|partition| partition.guid == guid)
    }

    /// The ESP's partition GUID as systemd writes it in variables.
    pub(super) fn esp_guid_text(&self) -> Option<String> {
        Some(self.disk.esp()?.guid.to_string().to_uppercase())
    }

    /// What happens when the file `path` of the ESP is started.
    pub(super) fn start(&self, path: &str) -> Program {
        let Some(file) = esp::find(&self.esp, path) else {
            return Program::Fails("not found".to_owned());
        };
        match esp::is_program(&file, self.architecture) {
            Ok(true) => {}
            Ok(false) => return Program::Fails("no program".to_owned()),
            Err(error) => return Program::Fails(error.to_string()),
        }
        if let Some(slot) = Slot::of_boot_file(path) {
            return Program::Kernel(slot);
        }
        if !path.eq_ignore_ascii_case(&self.removable_path()) {
            return Program::Hangs(format!("{path} is no boot file of this machine"));
        }
        match hash_file(&file) {
            Ok(digest) if self.loaders.contains(&digest) => Program::Loader,
            _ => Program::Hangs(format!("the loader {path} is damaged")),
        }
    }

    /// The hash of the first `size` bytes of a partition; `None` where it is smaller.
    pub(super) fn hash_partition(
        &self,
        partition: &Partition,
        size: u64,
    ) -> std::io::Result<Option<Digest>> {
        use std::os::unix::fs::FileExt as _;
        if size > partition.size {
            return Ok(None);
        }
        let mut hasher = Hasher::new();
        let mut buffer = vec![0; 1 << 18];
        let (mut at, mut left) = (partition.start, size);
        while left > 0 {
            let count = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let part = buffer.get_mut(..count).unwrap_or_default();
            self.disk.file.read_exact_at(part, at)?;
            hasher.update(part);
            at = at.saturating_add(part.len() as u64);
            left = left.saturating_sub(part.len() as u64);
        }
        Ok(Some(hasher.finish()))
    }
}

/// What is whole as a loader: the one that the disk was built with, and what the OS brings.
fn loaders(directory: &Path, state: &State) -> Vec<Digest> {
    let files = std::fs::read_dir(directory.join("usr/lib/systemd/boot/efi"));
    let files = files.into_iter().flatten().filter_map(Result::ok);
    let of_os = files.filter_map(|file| hash_file(&file.path()).ok());
    of_os.chain([state.loader]).collect()
}

/// The hash of a whole file.
pub(super) fn hash_file(path: &Path) -> std::io::Result<Digest> {
    Ok(Digest::of(&std::fs::read(path)?))
}
