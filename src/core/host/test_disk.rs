// SPDX-License-Identifier: MIT OR Apache-2.0

//! Disk images for tests, made by other people's programs.

use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use std::sync::LazyLock;

use uuid::Uuid;

use super::gpt::ESP_TYPE;
use flipside_image::PartitionIdentity;

pub(crate) const MIB: u64 = 1024 * 1024;
/// The ESP's GUID on every disk of [`make`].
pub(crate) const ESP_UUID: Uuid = Uuid::from_u128(0xe5b0_0000_0000_4000_8000_0000_0000_0001);
/// Slot A's, then B's.
pub(crate) const SLOT_UUIDS: [Uuid; 2] = [
    Uuid::from_u128(0x5107_0000_0000_4000_8000_0000_0000_000a),
    Uuid::from_u128(0x5107_0000_0000_4000_8000_0000_0000_000b),
];

/// A program of Debian's sbin, which is not on everybody's path.
pub(crate) fn program(name: &str) -> Command {
    let places = ["/usr/sbin", "/sbin", "/usr/bin"];
    let found = places.iter().map(|place| Path::new(place).join(name)).find(|path| path.exists());
    Command::new(found.unwrap_or_else(|| panic!("this test needs {name}; `make test` installs it")))
}

pub(crate) fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{command:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// A disk of 24 `unit`s (bytes) with ESP, two slots of `sizes` units and a data partition,
/// from the first unit on: made by sgdisk, or by the gpt crate with sectors that sgdisk cannot make.
pub(crate) fn make_of(path: &Path, sector_size: u32, unit: u64, sizes: [u64; 2]) {
    File::create(path).unwrap().set_len(24 * unit).unwrap();
    let [a, b] = SLOT_UUIDS;
    let linux = Uuid::from_u128(0x0fc6_3daf_8483_4772_8e79_3d69_d847_7de4);
    let data = Uuid::from_u128(0xda7a);
    let rest = 23 - 1 - 4 - sizes[0] - sizes[1];
    let partitions = [
        ("esp", ESP_TYPE, ESP_UUID, 4),
        ("system-a", linux, a, sizes[0]),
        ("system-b", linux, b, sizes[1]),
        ("data", linux, data, rest),
    ];
    if sector_size == 512 {
        let mut sgdisk = program("sgdisk");
        sgdisk.args(["-a", &(unit / 512).to_string()]);
        let unit = unit / 1024;
        for (number, (label, kind, uuid, size)) in (1..).zip(partitions) {
            sgdisk.args([
                "-n",
                &format!("{number}:0:+{}K", size * unit),
                "-c",
                &format!("{number}:{label}"),
            ]);
            sgdisk.args(["-t", &format!("{number}:{kind}"), "-u", &format!("{number}:{uuid}")]);
        }
        run(sgdisk.arg(path));
        return;
    }
    let size = gpt::disk::LogicalBlockSize::Lb4096;
    let sectors_per_unit = unit / u64::from(sector_size);
    let config = gpt::GptConfig::new().writable(true).logical_block_size(size);
    let mut disk = config.create(path).unwrap();
    let mut next = sectors_per_unit;
    let entries = (1..).zip(partitions).map(|(number, (label, kind, uuid, size))| {
        let first = next;
        next += size * sectors_per_unit;
        let entry = gpt::partition::Partition {
            part_type_guid: kind.into(),
            part_guid: uuid,
            first_lba: first,
            last_lba: next - 1,
            flags: 0,
            name: label.to_owned(),
        };
        (number, entry)
    });
    disk.update_partitions(entries.collect()).unwrap();
    let mut file = disk.write().unwrap();
    let sectors = u32::try_from(24 * unit / u64::from(sector_size)).unwrap();
    gpt::mbr::ProtectiveMBR::with_lb_size(sectors - 1).overwrite_lba0(&mut file).unwrap();
}

/// The usual disk: 24 MiB, two slots of 4 MiB. Made once, since sgdisk takes its time.
pub(crate) fn make(path: &Path, sector_size: u32) {
    static MADE: LazyLock<[Vec<u8>; 2]> = LazyLock::new(|| {
        [512, 4096].map(|sector_size| {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("disk.img");
            make_of(&path, sector_size, MIB, [4, 4]);
            std::fs::read(path).unwrap()
        })
    });
    std::fs::write(path, &MADE[usize::from(sector_size == 4096)]).unwrap();
}

/// The same, where a test needs nothing but the path.
pub(crate) fn made(directory: &Path, sector_size: u32) -> PathBuf {
    let path = directory.join("disk.img");
    make(&path, sector_size);
    path
}

/// Puts `bytes` at `offset` of the file at `path`.
pub(crate) fn patch(path: &Path, offset: u64, bytes: &[u8]) {
    let mut file = File::options().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(offset)).unwrap();
    file.write_all(bytes).unwrap();
}

/// An identity that changes nothing.
pub(crate) const KEEP: PartitionIdentity =
    PartitionIdentity { uuid: None, type_uuid: None, flags: None };
