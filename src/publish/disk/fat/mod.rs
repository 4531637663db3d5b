// SPDX-License-Identifier: MIT OR Apache-2.0

//! The ESP's file system with all its files, composed in one go: FAT32, or FAT16 and
//! FAT12 where a partition is too small for that, as UEFI has firmware read (UEFI 2.10,
//! section 13.3). Names and numbers are those of Microsoft's "FAT32 File System
//! Specification" (fatgen103).
//!
//! Composed here rather than by the `fatfs` crate: 0.3.6 gives `.` and `..` long names,
//! which fsck.fat takes for damage, and it writes a cluster at a time. A file system that
//! is written once, all files known, needs no allocator: everything lies in one piece.

use std::borrow::Cow;

mod boot_sector;
mod geometry;
mod name;
mod tree;

use geometry::{Geometry, Kind};
use tree::Node;

use super::DiskBuildError;
use super::esp::EspFile;
use super::gpt::{Partition, SectorSize};
use super::target::Target;

/// Room for what hosts add later, beside the second slot's boot file: records, proofs,
/// `failed.json`, loader entries and the loader's random seed. In bytes.
const HOST_FILES: u64 = 64 << 10;
/// FAT has no larger files, in bytes.
const LARGEST_FILE: u64 = 0xffff_ffff;

/// A composed file system: bytes at offsets, and zeroes everywhere else that matters.
pub(super) struct FileSystem<'a> {
    start: u64,
    /// Everything up to the files, in bytes: what has to be zero unless a piece covers it.
    metadata: u64,
    pieces: Vec<Piece<'a>>,
}

struct Piece<'a> {
    what: &'a str,
    offset: u64,
    bytes: Cow<'a, [u8]>,
}

impl<'a> FileSystem<'a> {
    /// Composes a file system for `partition` with `files`. All timestamps are
    /// 1980-01-01.
    ///
    /// # Errors
    /// [`DiskBuildError::EspTooSmall`] where these files and one more of
    /// `second_boot_file` bytes do not fit.
    pub(super) fn compose(
        partition: &Partition,
        sector_size: SectorSize,
        volume_id: u32,
        files: &'a [EspFile],
        second_boot_file: u64,
    ) -> Result<Self, DiskBuildError> {
        let too_small =
            |needed, free| Err(DiskBuildError::EspTooSmall { size: partition.size, needed, free });
        let largest = files.iter().map(|file| file.contents.len() as u64).max().unwrap_or(0);
        let least = files.iter().map(|file| file.contents.len() as u64).sum::<u64>();
        let least = least.saturating_add(second_boot_file).saturating_add(HOST_FILES);
        let Some(geometry) = Geometry::choose(partition.size, sector_size) else {
            return too_small(least, 0);
        };
        if largest > LARGEST_FILE {
            return too_small(least, LARGEST_FILE);
        }
        let root = Node::root(files);
        let places = root.place(&geometry);
        let cluster = u64::from(geometry.cluster_size);
        let later = second_boot_file.div_ceil(cluster).saturating_add(HOST_FILES.div_ceil(cluster));
        let needed = places.used.saturating_add(later);
        if needed > u64::from(geometry.clusters) {
            return too_small(
                needed.saturating_mul(cluster),
                u64::from(geometry.clusters) * cluster,
            );
        }

        let hidden = partition.start / u64::from(sector_size.bytes());
        let mut pieces = Vec::new();
        let mut add = |what, offset, bytes| pieces.push(Piece { what, offset, bytes });
        let used = u32::try_from(places.used).unwrap_or(u32::MAX);
        let boot = boot_sector::encode(&geometry, volume_id, u32::try_from(hidden).unwrap_or(0));
        for (copy, sector) in geometry.boot_sectors() {
            add("the boot sector", sector, boot.clone().into());
            if geometry.kind == Kind::Fat32 {
                let information = boot_sector::encode_fs_info(&geometry, used);
                add("the FSInfo sector", copy, information.into());
            }
        }
        let table = geometry.encode_table(&places.chains);
        for offset in geometry.tables() {
            add("the FAT", offset, table.clone().into());
        }
        for (offset, bytes) in places.directories {
            add("a directory", offset, bytes.into());
        }
        for (offset, file) in places.files {
            add(&file.path, offset, file.contents.as_slice().into());
        }
        Ok(Self { start: partition.start, metadata: places.directories_end, pieces })
    }

    /// Writes it.
    ///
    /// # Errors
    /// The target's.
    pub(super) fn write(&self, target: &Target) -> Result<(), DiskBuildError> {
        if !target.is_fresh() {
            target.wipe(self.start, self.metadata)?;
        }
        self.pieces
            .iter()
            .try_for_each(|piece| target.write_at(self.start + piece.offset, &piece.bytes))
    }

    /// Reads it back.
    ///
    /// # Errors
    /// [`DiskBuildError::ReadBackDiffers`], and the target's.
    pub(super) fn verify(&self, target: &Target) -> Result<(), DiskBuildError> {
        for piece in &self.pieces {
            let mut stored = vec![0; piece.bytes.len()];
            target.read_at(self.start + piece.offset, &mut stored)?;
            if stored != *piece.bytes {
                return Err(DiskBuildError::ReadBackDiffers {
                    what: format!("{} on the ESP", piece.what),
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fatfs::FatType;
    use proptest::prelude::*;
    use std::io::Read as _;
    use std::process::Command;

    const MIB: u64 = 1 << 20;

    fn partition(size: u64) -> Partition {
        let (uuid, type_uuid) = (uuid::Uuid::nil(), uuid::Uuid::nil());
        Partition { number: 1, label: "esp".into(), uuid, type_uuid, flags: 0, start: 0, size }
    }

    /// Has other implementations read a file system of this size: the type and the
    /// cluster size that they see.
    fn made(size: u64, sector_size: SectorSize, files: &[EspFile]) -> (FatType, u32) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("esp");
        let target = Target::open(&path, None, false).unwrap();
        target.set_size(size).unwrap();
        let partition = partition(size);
        let composed = FileSystem::compose(&partition, sector_size, 7, files, 0).unwrap();
        composed.write(&target).unwrap();
        composed.verify(&target).unwrap();
        target.finish().unwrap();

        let checked = Command::new("fsck.fat").arg("-n").arg(&path).output().unwrap();
        assert!(checked.status.success(), "{size} {sector_size:?}: {checked:?}");

        let image = std::fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let read = fatfs::FileSystem::new(image, fatfs::FsOptions::new()).unwrap();
        assert_eq!(read.volume_id(), 7);
        assert_eq!(read.volume_label(), "ESP");
        for file in files {
            let mut contents = Vec::new();
            let mut stored = read.root_dir().open_file(&file.path).unwrap();
            stored.read_to_end(&mut contents).unwrap();
            assert!(contents == file.contents, "{}", file.path);
        }
        (read.fat_type(), read.cluster_size())
    }

    fn files() -> Vec<EspFile> {
        let file = |path: &str, size: usize| EspFile {
            path: path.into(),
            contents: (0..size).map(|at| (at / 7) as u8 | 1).collect(),
        };
        vec![
            file("EFI/BOOT/BOOTX64.EFI", 10_000),
            file("EFI/flipside/slot-a.json", 1),
            file("loader/loader.conf", 512),
            file("EFI/flipside/empty", 0),
            file("EFI/flipside/boot-a.efi", 100_001),
        ]
    }

    #[test]
    fn the_type_follows_the_size() {
        use SectorSize::{Bytes512, Bytes4096};
        for (size, sector_size, fat_type, cluster) in [
            (MIB, Bytes512, FatType::Fat12, 512),
            (4 * MIB, Bytes512, FatType::Fat16, 512),
            (32 * MIB, Bytes512, FatType::Fat16, 4096),
            (34 * MIB, Bytes512, FatType::Fat32, 512),
            (100 * MIB, Bytes512, FatType::Fat32, 1024),
            (512 * MIB, Bytes512, FatType::Fat32, 4096),
            (16384 * MIB, Bytes512, FatType::Fat32, 8192),
            (MIB, Bytes4096, FatType::Fat12, 4096),
            (64 * MIB, Bytes4096, FatType::Fat16, 4096),
            (512 * MIB, Bytes4096, FatType::Fat32, 4096),
        ] {
            let read = made(size, sector_size, &files());
            assert_eq!(read, (fat_type, cluster), "{size} {sector_size:?}");
        }
    }

    #[test]
    fn directories_of_many_files_take_several_clusters() {
        let many: Vec<_> = (0..120)
            .map(|n| EspFile {
                path: format!("EFI/a directory of many/file with a long name {n}.conf"),
                contents: vec![n; 3],
            })
            .collect();
        made(34 * MIB, SectorSize::Bytes512, &many);
        made(MIB, SectorSize::Bytes512, &many);
    }

    #[test]
    fn directories_have_room_for_what_hosts_add() {
        for size in [MIB, 48 * MIB, 512 * MIB] {
            let geometry = Geometry::choose(size, SectorSize::Bytes512).unwrap();
            let files = files();
            let places = Node::root(&files).place(&geometry);
            // EFI, EFI/BOOT, EFI/flipside, loader; of FAT32 the root before them.
            let directories = if geometry.kind == Kind::Fat32 { 5 } else { 4 };
            for chain in &places.chains[..directories] {
                assert!(chain * u64::from(geometry.cluster_size) >= 4096, "{size}: {chain}");
            }
            assert_eq!(places.directories.len(), 5);
        }
    }

    #[test]
    fn one_boot_file_too_many_is_refused_before_anything_is_written() {
        let files = files();
        let fits = |second| {
            FileSystem::compose(&partition(MIB), SectorSize::Bytes512, 7, &files, second).is_ok()
        };
        assert!(fits(700_000));
        assert!(!fits(MIB));
        assert!(!fits(u64::MAX));
        let tiny = FileSystem::compose(&partition(0), SectorSize::Bytes512, 7, &files, 0);
        assert!(matches!(tiny, Err(DiskBuildError::EspTooSmall { .. })));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn every_size_in_mebibytes_can_be_made(mebibytes in 1_u64..3000, large in any::<bool>()) {
            let sector_size = if large { SectorSize::Bytes4096 } else { SectorSize::Bytes512 };
            made(mebibytes * MIB, sector_size, &files());
        }
    }
}
