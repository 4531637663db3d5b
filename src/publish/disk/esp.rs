// SPDX-License-Identifier: MIT OR Apache-2.0

//! What stands on the ESP of a fresh disk: the loader with its entry for slot A, slot A's
//! boot file and its record. No proof: the first boot is a trial like any other, and
//! promoting gives slot A its proof. Until then nothing else can boot, so nothing is
//! lost if it fails, and no update is installed (P6).

use std::path::{Path, PathBuf};

use flipside_core::host::esp::LoaderEntry;
use flipside_core::host::{Record, Slot};
use flipside_core::progress::Silent;
use flipside_image::pe;
use flipside_image::{Architecture, ContentId, ImageError, Payload};

use super::image::Opened;
use super::layout::slot_size;
use super::payload::{self, Memory};
use super::size::{ALIGNMENT, round_up};
use super::{DiskBuildError, Plan};

/// The payload that becomes the slot's boot file.
pub(super) const BOOT_PAYLOAD: &str = "kernel.efi";

/// The most bytes that a boot file may have where no size was given for the ESP.
const LARGEST: u64 = 1 << 30;

/// What the FAT and the small files take, at most, in bytes.
const ROOM: u64 = 8 << 20;
/// The least that an ESP has where the plan says nothing.
const LEAST: u64 = 512 << 20;

/// The ESP's size. By default with room for a boot file in each slot, which may grow by a quarter,
/// and for a loader while it replaces another.
pub(super) fn size(plan: &Plan, files: &[EspFile]) -> u64 {
    let needed = files.iter().fold(ROOM, |sum, file| {
        sum.saturating_add(slot_size(file.contents.len() as u64, 1).saturating_mul(2))
    });
    let default = needed.max(plan.least_esp_size.unwrap_or(LEAST));
    round_up(plan.esp_size.unwrap_or(default), ALIGNMENT)
}

/// A file on the ESP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EspFile {
    /// Where it stands, from the ESP's root, with `/` between names.
    pub path: String,
    /// What is in it.
    pub contents: Vec<u8>,
}

/// Every file of the ESP, the loader's own first.
pub(super) fn files(opened: &Opened, plan: &Plan) -> Result<Vec<EspFile>, DiskBuildError> {
    let file = |path: String, contents| EspFile { path, contents };
    let slot = Slot::A;
    let letter = slot.letter();
    let title = format!("{} {slot}", opened.image.config.product_info.name);
    let entry = LoaderEntry { title, is_preferred: true };
    Ok(vec![
        file(
            format!("EFI/BOOT/{}", opened.architecture.removable_media_file()),
            loader(opened.architecture, plan.loader.as_deref())?,
        ),
        file("loader/loader.conf".to_owned(), b"timeout 0\n".to_vec()),
        file(format!("loader/entries/flipside-{letter}.conf"), entry.contents(letter).into_bytes()),
        file(format!("EFI/flipside/slot-{letter}.json"), record(opened, plan)?),
        file(format!("EFI/flipside/boot-{letter}.efi"), boot_file(opened, plan)?),
    ])
}

fn record(opened: &Opened, plan: &Plan) -> Result<Vec<u8>, DiskBuildError> {
    let image = &opened.image;
    let tag = opened.index_digest.unwrap_or(image.digest);
    let taken = |payload: &&Payload| plan.takes(payload.name.as_str());
    let record = Record {
        content_id: Some(ContentId::of(image.config.payloads.iter().filter(taken))),
        ..Record::of(image, tag, plan.repository.clone())
    };
    let json = |source| ImageError::Json { object: "record", source };
    let mut bytes = serde_json::to_vec_pretty(&record).map_err(json)?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn boot_file(opened: &Opened, plan: &Plan) -> Result<Vec<u8>, DiskBuildError> {
    let layer = opened.layer(BOOT_PAYLOAD)?;
    let size = layer.payload.size;
    // Before so much memory is taken: it could not fit.
    let limit = plan.esp_size.unwrap_or(LARGEST);
    if size > limit {
        return Err(DiskBuildError::EspTooSmall { size: limit, needed: size, free: 0 });
    }
    let memory = Memory::new(&format!("payload {BOOT_PAYLOAD}"), size);
    payload::copy(&opened.source, &layer, &memory, &Silent, &plan.stop)?;
    Ok(memory.into_bytes())
}

/// Where Debian and Fedora have systemd-boot.
fn default_loader(architecture: Architecture) -> PathBuf {
    let suffix = match architecture {
        Architecture::X86_64 => "x64",
        Architecture::Aarch64 => "aa64",
    };
    Path::new("/usr/lib/systemd/boot/efi").join(format!("systemd-boot{suffix}.efi"))
}

fn loader(architecture: Architecture, path: Option<&Path>) -> Result<Vec<u8>, DiskBuildError> {
    let path = path.map_or_else(|| default_loader(architecture), Path::to_owned);
    let bytes = std::fs::read(&path)
        .map_err(|source| DiskBuildError::LoaderMissing { path: path.clone(), source })?;
    if is_efi_program(&bytes, architecture) {
        Ok(bytes)
    } else {
        Err(DiskBuildError::LoaderInvalid { path, architecture })
    }
}

/// Whether the firmware of `architecture` takes `bytes` for a program.
pub(super) fn is_efi_program(bytes: &[u8], architecture: Architecture) -> bool {
    pe::machine_of(bytes).is_some_and(|machine| machine.is(architecture))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loader_of_another_machine_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("loader.efi");
        let mut program = vec![0; 0x80];
        program[..2].copy_from_slice(b"MZ");
        program[0x3c] = 0x40;
        program[0x40..0x46].copy_from_slice(b"PE\0\0\x64\xaa");
        std::fs::write(&path, &program).unwrap();
        assert!(loader(Architecture::Aarch64, Some(&path)).is_ok());
        let refused = loader(Architecture::X86_64, Some(&path)).unwrap_err();
        assert!(matches!(refused, DiskBuildError::LoaderInvalid { .. }));
        std::fs::remove_file(&path).unwrap();
        let refused = loader(Architecture::X86_64, Some(&path)).unwrap_err();
        assert!(matches!(refused, DiskBuildError::LoaderMissing { .. }));
    }
}
