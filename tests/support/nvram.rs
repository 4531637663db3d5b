// SPDX-License-Identifier: MIT OR Apache-2.0

//! A host's firmware variables in a directory, made without flipside's codec: the bytes are put
//! together here, after the UEFI specification.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use flipside_core::host::Root;
use flipside_core::host::boot::UefiBoot;
use flipside_core::host::durable::Durable;
use flipside_image::Architecture;
use flipside_image::efi::device_path::PartitionNode;

const GLOBAL: &str = "8be4df61-93ca-11d2-aa0d-00e098032b8c";
const LOADER: &str = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";

/// The ESP of the fixtures that OVMF wrote.
pub const ESP: PartitionNode = PartitionNode {
    number: 1,
    start_lba: 2048,
    size_lba: 98304,
    uuid: uuid::Uuid::from_u128(0x3f6e2a51_9c04_4b7d_8e12_5a0d6c7b8f90),
};

/// The ESP of another disk.
pub const OTHER_ESP: PartitionNode = PartitionNode { uuid: uuid::Uuid::from_u128(7), ..ESP };

/// A directory host of which only the variables exist.
pub struct Nvram {
    pub directory: tempfile::TempDir,
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect()
}

/// HD(partition), and File(file) where there is one.
pub fn path(esp: PartitionNode, file: Option<&str>) -> Vec<u8> {
    let mut path = vec![4, 1, 42, 0];
    path.extend(esp.number.to_le_bytes());
    path.extend(esp.start_lba.to_le_bytes());
    path.extend(esp.size_lba.to_le_bytes());
    path.extend(esp.uuid.to_bytes_le());
    path.extend([2, 2]);
    if let Some(file) = file {
        let text = utf16(file);
        path.extend([4, 4]);
        path.extend(u16::try_from(text.len() + 4).unwrap().to_le_bytes());
        path.extend(text);
    }
    path.extend([0x7f, 0xff, 4, 0]);
    path
}

/// The data of a boot entry.
pub fn entry(attributes: u32, description: &str, path: &[u8], optional: &[u8]) -> Vec<u8> {
    let mut data = attributes.to_le_bytes().to_vec();
    data.extend(u16::try_from(path.len()).unwrap().to_le_bytes());
    data.extend(utf16(description));
    data.extend(path);
    data.extend(optional);
    data
}

/// Data of an active entry for `file` on the ESP.
pub fn file(file: &str) -> Vec<u8> {
    entry(1, "an entry", &path(ESP, Some(file)), &[])
}

pub fn slot(letter: char) -> Vec<u8> {
    let file = format!("\\EFI\\flipside\\boot-{letter}.efi");
    entry(1, &format!("Acme OS {}", letter.to_uppercase()), &path(ESP, Some(&file)), &[])
}

/// Data of an entry of another system.
pub fn foreign() -> Vec<u8> {
    entry(1, "Fedora", &path(OTHER_ESP, Some("\\EFI\\fedora\\shimx64.efi")), &[])
}

/// Data of the entry that EDK2 makes for a whole disk, as OVMF wrote it.
pub fn whole_disk() -> Vec<u8> {
    include_bytes!("../fixtures/efivars-ovmf/Boot0002-8be4df61-93ca-11d2-aa0d-00e098032b8c")[4..]
        .to_vec()
}

/// Data of an entry for slot A, as OVMF's shell wrote it with the whole path from the controller on.
pub fn whole_path_of_slot_a() -> Vec<u8> {
    include_bytes!("../fixtures/efivars-ovmf/Boot0004-8be4df61-93ca-11d2-aa0d-00e098032b8c")[4..]
        .to_vec()
}

/// The entry `data`, which has no optional data, without the NUL behind its file.
pub fn without_nul(data: &[u8]) -> Vec<u8> {
    let mut path = path_of(data);
    let nul = path.len() - 6;
    path.drain(nul..nul + 2);
    // HD has 42 bytes.
    path[44] -= 2;
    let front = data.len() - path.len() - 2;
    let mut entry = data[..front].to_vec();
    entry[4..6].copy_from_slice(&u16::try_from(path.len()).unwrap().to_le_bytes());
    [entry, path].concat()
}

/// The device path of an entry without optional data.
pub fn path_of(data: &[u8]) -> Vec<u8> {
    let length = usize::from(u16::from_le_bytes([data[4], data[5]]));
    data[data.len() - length..].to_vec()
}

/// The entry `data`, which has no optional data, with one instance more in its path: `place` before
/// the others.
pub fn with_instance(place: &[u8], data: &[u8]) -> Vec<u8> {
    let path = path_of(data);
    let front = &data[..data.len() - path.len()];
    let (end, instance_end) = ([0x7f, 0xff, 4, 0], [0x7f, 1, 4, 0]);
    let place = place.strip_suffix(&end).unwrap();
    let path = [place, &instance_end, &path].concat();
    let mut entry = front.to_vec();
    entry[4..6].copy_from_slice(&u16::try_from(path.len()).unwrap().to_le_bytes());
    [entry, path].concat()
}

impl Nvram {
    /// No variable at all.
    pub fn empty() -> Self {
        let directory = super::scratch::directory();
        std::fs::create_dir_all(directory.path().join("sys/firmware/efi/efivars")).unwrap();
        Self { directory }
    }

    /// These entries and this order.
    pub fn with(order: &[u16], entries: &[(u16, Vec<u8>)]) -> Self {
        let nvram = Self::empty();
        if !order.is_empty() {
            nvram.set_order(order);
        }
        for (number, data) in entries {
            nvram.set(&format!("Boot{number:04X}"), data);
        }
        nvram
    }

    pub fn root(&self) -> Root {
        Root::new(self.directory.path())
    }

    pub fn efivars(&self) -> PathBuf {
        self.directory.path().join("sys/firmware/efi/efivars")
    }

    pub fn set(&self, name: &str, data: &[u8]) {
        set(&self.efivars(), name, GLOBAL, data);
    }

    /// A variable of the boot loader interface, as text.
    pub fn set_loader(&self, name: &str, text: &str) {
        set(&self.efivars(), name, LOADER, &utf16(text));
    }

    /// A variable of the boot loader interface, of any bytes.
    pub fn set_loader_data(&self, name: &str, data: &[u8]) {
        set(&self.efivars(), name, LOADER, data);
    }

    pub fn set_order(&self, order: &[u16]) {
        self.set("BootOrder", &order.iter().flat_map(|n| n.to_le_bytes()).collect::<Vec<u8>>());
    }

    pub fn order(&self) -> Vec<u16> {
        order(&self.efivars())
    }

    pub fn data(&self, name: &str) -> Option<Vec<u8>> {
        read(&self.efivars(), name)
    }

    pub fn boot(&self, durable: &Durable) -> UefiBoot {
        let variables = flipside_core::testing::variables(&self.root(), durable).unwrap();
        flipside_core::testing::uefi_boot(variables, ESP, "Acme OS", Architecture::X86_64)
    }

    /// Every file with its bytes.
    pub fn all(&self) -> BTreeMap<String, Vec<u8>> {
        std::fs::read_dir(self.efivars())
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|e| (e.file_name().into_string().unwrap(), std::fs::read(e.path()).unwrap()))
            .collect()
    }
}

fn set(directory: &Path, name: &str, vendor: &str, data: &[u8]) {
    let contents = [&[7, 0, 0, 0], data].concat();
    std::fs::write(directory.join(format!("{name}-{vendor}")), contents).unwrap();
}

/// The data of a variable of the firmware's own.
pub fn read(directory: &Path, name: &str) -> Option<Vec<u8>> {
    let contents = std::fs::read(directory.join(format!("{name}-{GLOBAL}"))).ok()?;
    Some(contents[4..].to_vec())
}

/// `BootOrder` as numbers.
pub fn order(directory: &Path) -> Vec<u16> {
    let data = read(directory, "BootOrder").unwrap_or_default();
    data.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect()
}
