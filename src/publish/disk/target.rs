// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a disk is built into: a new file, which appears under its name when it is whole,
//! or a block device.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Seek as _, SeekFrom};
use std::os::unix::fs::{FileExt as _, FileTypeExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use tempfile::NamedTempFile;

use super::DiskBuildError;
use super::gpt::SectorSize;
use super::size::ALIGNMENT;

/// Zeroes are looked for, and left out of a file, in blocks of this many bytes.
const BLOCK: usize = 4096;

/// An open output. Several threads write at a time.
pub(super) struct Target {
    output: Output,
    path: PathBuf,
    /// Its size in bytes, where that is given.
    pub capacity: Option<u64>,
    pub sector_size: SectorSize,
}

enum Output {
    /// Reads as zero wherever nothing was written.
    New {
        file: NamedTempFile,
        replace: bool,
    },
    Device(File),
}

impl Target {
    /// Opens `path`, or creates it.
    ///
    /// # Errors
    /// [`DiskBuildError::OutputExists`], [`DiskBuildError::DeviceInUse`],
    /// [`DiskBuildError::DeviceNotEmpty`] and others of the output.
    pub(super) fn open(
        path: &Path,
        sector_size: Option<SectorSize>,
        force: bool,
    ) -> Result<Self, DiskBuildError> {
        let kind = match std::fs::metadata(path) {
            Ok(metadata) => Some(metadata.file_type()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(source) => return Err(output_error("open", path)(source)),
        };
        match kind {
            Some(kind) if kind.is_block_device() => Self::open_device(path, sector_size, force),
            Some(kind) if !kind.is_file() => {
                Err(DiskBuildError::OutputInvalid { path: path.to_owned() })
            }
            Some(_) if !force => Err(DiskBuildError::OutputExists { path: path.to_owned() }),
            exists => Self::create(path, sector_size.unwrap_or_default(), exists.is_some()),
        }
    }

    fn create(path: &Path, sector_size: SectorSize, exists: bool) -> Result<Self, DiskBuildError> {
        let failed = output_error("create", path);
        // What a link names is replaced, not the link.
        let path = if exists { path.canonicalize().map_err(&failed)? } else { path.to_owned() };
        let directory = match path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        let file = tempfile::Builder::new()
            .prefix(".flipside-disk-")
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(directory)
            .map_err(&failed)?;
        Ok(Self {
            output: Output::New { file, replace: exists },
            path,
            capacity: None,
            sector_size,
        })
    }

    fn open_device(
        path: &Path,
        asked: Option<SectorSize>,
        force: bool,
    ) -> Result<Self, DiskBuildError> {
        // On a block device O_EXCL means: not while it, or a partition of it, is mounted.
        let exclusive = OFlag::O_EXCL.bits();
        let opened = OpenOptions::new().read(true).write(true).custom_flags(exclusive).open(path);
        let mut file = match opened {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                return Err(DiskBuildError::DeviceInUse { path: path.to_owned() });
            }
            Err(source) => return Err(output_error("open", path)(source)),
        };
        let sector_bytes = rustix::fs::ioctl_blksszget(&file)
            .map_err(|error| output_error("ask for the sector size of", path)(error.into()))?;
        let asked_bytes = asked.map_or(sector_bytes, SectorSize::bytes);
        let sector_size = match SectorSize::from_bytes(sector_bytes) {
            Some(sector_size) if asked_bytes == sector_bytes => sector_size,
            _ => {
                let (path, device) = (path.to_owned(), sector_bytes);
                return Err(DiskBuildError::SectorSizeMismatch {
                    path,
                    device,
                    asked: asked_bytes,
                });
            }
        };
        let size =
            file.seek(SeekFrom::End(0)).map_err(output_error("ask for the size of", path))?;
        let target = Self {
            output: Output::Device(file),
            path: path.to_owned(),
            capacity: Some(size),
            sector_size,
        };
        match target.contents()? {
            Some(found) if !force => {
                Err(DiskBuildError::DeviceNotEmpty { path: path.to_owned(), found })
            }
            _ => Ok(target),
        }
    }

    /// What stands on a device: at its start, where partition tables and the superblocks
    /// of file systems are, and at its end, where GPT has its backup.
    fn contents(&self) -> Result<Option<&'static str>, DiskBuildError> {
        let size = self.capacity.unwrap_or(0);
        let length = usize::try_from(size.min(ALIGNMENT)).unwrap_or(0);
        let mut start = vec![0; length];
        let mut end = vec![0; length];
        self.read_at(0, &mut start)?;
        self.read_at(size.saturating_sub(length as u64), &mut end)?;
        let has = |bytes: &[u8], at: usize, what: &[u8]| {
            bytes.get(at..).is_some_and(|rest| rest.starts_with(what))
        };
        let header = |bytes: &[u8], at| has(bytes, at, b"EFI PART");
        let gpt = header(&start, 512)
            || header(&start, 4096)
            || header(&end, length.saturating_sub(512))
            || header(&end, length.saturating_sub(4096));
        Ok(if gpt {
            Some("a partition table (GPT)")
        } else if has(&start, 510, &[0x55, 0xaa]) {
            Some("a partition table (MBR) or a boot sector")
        } else if is_zero(&start) && is_zero(&end) {
            None
        } else {
            Some("data")
        })
    }

    /// Whether it reads as zero wherever nothing was written.
    pub(super) fn is_fresh(&self) -> bool {
        matches!(self.output, Output::New { .. })
    }

    /// The open output, for ioctls.
    pub(super) fn file(&self) -> &File {
        match &self.output {
            Output::New { file, .. } => file.as_file(),
            Output::Device(file) => file,
        }
    }

    /// Makes a new file this long; a device is as long as it is.
    pub(super) fn set_size(&self, size: u64) -> Result<(), DiskBuildError> {
        match &self.output {
            Output::New { file, .. } => {
                file.as_file().set_len(size).map_err(self.error("set the size of"))
            }
            Output::Device(_) => Ok(()),
        }
    }

    /// Writes all of `bytes`. Blocks of zeroes become holes in a new file.
    pub(super) fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), DiskBuildError> {
        self.write_io(offset, bytes).map_err(self.error("write"))
    }

    /// As [`Target::write_at`], with the system's error.
    pub(super) fn write_io(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if !self.is_fresh() {
            return self.file().write_all_at(bytes, offset);
        }
        let mut at = offset;
        let runs = bytes.chunks(BLOCK).collect::<Vec<_>>();
        for run in runs.chunk_by(|a, b| is_zero(a) == is_zero(b)) {
            let length: usize = run.iter().map(|block| block.len()).sum();
            if run.first().is_some_and(|block| !is_zero(block)) {
                let start = usize::try_from(at - offset).unwrap_or(usize::MAX);
                let span = bytes.get(start..).and_then(|rest| rest.get(..length));
                self.file().write_all_at(span.unwrap_or_default(), at)?;
            }
            at += length as u64;
        }
        Ok(())
    }

    pub(super) fn read_at(&self, offset: u64, bytes: &mut [u8]) -> Result<(), DiskBuildError> {
        self.read_io(offset, bytes).map_err(self.error("read"))
    }

    pub(super) fn read_io(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.file().read_exact_at(bytes, offset)
    }

    /// Overwrites a range of a device with zeroes.
    pub(super) fn wipe(&self, offset: u64, length: u64) -> Result<(), DiskBuildError> {
        let zeroes = vec![0; usize::try_from(length).unwrap_or(0)];
        self.write_at(offset, &zeroes)
    }

    /// Waits until a device has everything. A new file is the file system's matter, as
    /// with other tools that make files.
    pub(super) fn sync(&self) -> Result<(), DiskBuildError> {
        match &self.output {
            Output::New { .. } => Ok(()),
            Output::Device(file) => file.sync_all().map_err(self.error("flush")),
        }
    }

    /// Gives a new file its name.
    pub(super) fn finish(self) -> Result<(), DiskBuildError> {
        let Output::New { file, replace } = self.output else { return Ok(()) };
        let persisted =
            if replace { file.persist(&self.path) } else { file.persist_noclobber(&self.path) };
        match persisted {
            Ok(_) => Ok(()),
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
                Err(DiskBuildError::OutputExists { path: self.path })
            }
            Err(error) => Err(output_error("create", &self.path)(error.error)),
        }
    }

    /// What to make of the system's error.
    pub(super) fn error(&self, operation: &'static str) -> impl Fn(io::Error) -> DiskBuildError {
        output_error(operation, &self.path)
    }
}

fn output_error(operation: &'static str, path: &Path) -> impl Fn(io::Error) -> DiskBuildError {
    let path = path.to_owned();
    move |source| DiskBuildError::Output { operation, path: path.clone(), source }
}

fn is_zero(bytes: &[u8]) -> bool {
    const ZEROES: [u8; BLOCK] = [0; BLOCK];
    bytes.chunks(BLOCK).all(|block| ZEROES.starts_with(block))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt as _;

    #[test]
    fn an_unfinished_file_never_has_its_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("disk.img");
        let target = Target::open(&path, None, false).unwrap();
        target.write_at(0, b"half").unwrap();
        drop(target);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_file_that_is_there_is_kept_without_force() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("disk.img");
        std::fs::write(&path, "precious").unwrap();
        let refused = Target::open(&path, None, false).err().unwrap();
        assert!(matches!(refused, DiskBuildError::OutputExists { .. }));
        Target::open(&path, None, true).unwrap().finish().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"");
    }

    #[test]
    fn a_file_that_appears_meanwhile_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("disk.img");
        let target = Target::open(&path, None, true).unwrap();
        std::fs::write(&path, "precious").unwrap();
        assert!(matches!(target.finish(), Err(DiskBuildError::OutputExists { .. })));
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    }

    #[test]
    fn directories_and_other_things_are_no_outputs() {
        for path in ["/", "/dev/null"] {
            let refused = Target::open(Path::new(path), None, true).err().unwrap();
            assert!(matches!(refused, DiskBuildError::OutputInvalid { .. }), "{path}");
        }
    }

    #[test]
    fn zeroes_become_holes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("disk.img");
        let target = Target::open(&path, None, false).unwrap();
        let mut bytes = vec![0; 1 << 20];
        bytes[500_000] = 1;
        *bytes.last_mut().unwrap() = 2;
        target.set_size(2 << 20).unwrap();
        target.write_at(777, &bytes).unwrap();
        target.finish().unwrap();
        assert_eq!(std::fs::read(&path).unwrap()[777..][..bytes.len()], bytes);
        let metadata = std::fs::metadata(&path).unwrap();
        assert!(metadata.blocks() * 512 <= 5 * 4096, "{} blocks", metadata.blocks());
    }
}
