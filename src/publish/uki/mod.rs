// SPDX-License-Identifier: MIT OR Apache-2.0

//! Unified kernel images: systemd's stub with a kernel, an initrd and a command line behind it, which
//! firmware starts as one program (UAPI.5, "Unified Kernel Image"; Microsoft PE format, sections 3
//! and 4).

mod stub;

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use flipside_image::pe;

use super::PublishError;
use stub::{Laid, NewSection, Stub, field};

/// What a boot file is made of.
#[derive(Debug, Clone)]
pub struct Uki {
    /// systemd's stub: `linuxx64.efi.stub` or `linuxaa64.efi.stub`.
    pub stub: PathBuf,
    /// The kernel.
    pub kernel: PathBuf,
    /// Its version, as `uname -r` says it.
    pub kernel_version: String,
    /// The initrd; several are read as one, in their order. Microcode has to come first.
    pub initrds: Vec<PathBuf>,
    /// The command line, on one line.
    pub command_line: String,
    /// The content of os-release.
    pub os_release: Vec<u8>,
}

/// The most bytes that a stub may have. systemd's have about 100 KiB.
const STUB_LIMIT: u64 = 16 << 20;
/// A kernel aligns each initrd so (Linux, `Documentation/driver-api/early-userspace/buffer-format`).
const INITRD_ALIGNMENT: u64 = 4;

/// The content of a section.
enum Content<'a> {
    Bytes(&'a [u8]),
    Files(&'a [PathBuf]),
}

impl Content<'_> {
    /// In bytes.
    fn size(&self) -> Result<u64, PublishError> {
        match self {
            Self::Bytes(bytes) => Ok(bytes.len() as u64),
            Self::Files(files) => files.iter().try_fold(0_u64, |sum, file| {
                Ok(sum.next_multiple_of(INITRD_ALIGNMENT).saturating_add(size_of_file(file)?))
            }),
        }
    }

    fn write(&self, to: &mut impl Write, output: &Path) -> Result<(), PublishError> {
        let failed = || PublishError::file("write", output);
        match self {
            Self::Bytes(bytes) => to.write_all(bytes).map_err(failed()),
            Self::Files(files) => {
                let mut written = 0_u64;
                for file in *files {
                    let aligned = written.next_multiple_of(INITRD_ALIGNMENT);
                    pad(to, aligned - written).map_err(failed())?;
                    let mut from = open(file)?;
                    let copied = io::copy(&mut from, to).map_err(failed())?;
                    written = aligned.saturating_add(copied);
                }
                Ok(())
            }
        }
    }
}

impl Uki {
    /// Writes the boot file to `output`, the same bytes for the same parts.
    ///
    /// # Errors
    /// [`PublishError::File`], and [`PublishError::Uki`] for what is no stub, no kernel, or for
    /// another machine than the stub.
    pub fn write(&self, output: &Path) -> Result<(), PublishError> {
        let stub = Stub::parse(read(&self.stub, STUB_LIMIT)?).map_err(invalid(&self.stub))?;
        let room = self.check_kernel(&stub)?;
        let command_line = format!("{}\0", self.command_line);
        let kernel = std::slice::from_ref(&self.kernel);
        // The kernel is last: it unpacks itself into what lies behind it.
        let contents = [
            (".osrel", Content::Bytes(&self.os_release)),
            (".uname", Content::Bytes(self.kernel_version.as_bytes())),
            (".cmdline", Content::Bytes(command_line.as_bytes())),
            (".initrd", Content::Files(&self.initrds)),
            (".linux", Content::Files(kernel)),
        ];
        let mut sections = Vec::new();
        for (name, content) in &contents {
            let size = content.size()?;
            let in_memory = if *name == ".linux" { size.max(room) } else { size };
            sections.push(NewSection { name, size, in_memory, is_code: *name == ".linux" });
        }
        let laid = stub.lay_out(&sections).map_err(invalid(&self.stub))?;
        self.write_laid(&laid, &contents, output)
    }

    fn write_laid(
        &self,
        laid: &Laid,
        contents: &[(&str, Content<'_>)],
        output: &Path,
    ) -> Result<(), PublishError> {
        let failed = || PublishError::file("write", output);
        let mut file = io::BufWriter::new(File::create(output).map_err(failed())?);
        file.write_all(&laid.head).map_err(failed())?;
        for ((name, content), padded) in contents.iter().zip(&laid.padded) {
            let size = content.size()?;
            content.write(&mut file, output)?;
            let Some(padding) = padded.checked_sub(size) else {
                return Err(invalid(output)(format!("its {name} grew while it was read")));
            };
            pad(&mut file, padding).map_err(failed())?;
        }
        let file = file.into_inner().map_err(|error| error.into_error()).map_err(failed())?;
        let written = file.metadata().map_err(failed())?.len();
        if written == laid.size() {
            return Ok(());
        }
        Err(invalid(output)("a part of it changed while it was read".to_owned()))
    }

    /// Whether the kernel is an EFI program for the stub's machine. Returns how many bytes of memory
    /// it wants, unpacked.
    fn check_kernel(&self, stub: &Stub) -> Result<u64, PublishError> {
        let mut head = Vec::new();
        let kernel = open(&self.kernel)?;
        let failed = PublishError::file("read", &self.kernel);
        kernel.take(pe::HEADER_LIMIT as u64).read_to_end(&mut head).map_err(failed)?;
        let invalid = invalid(&self.kernel);
        let Some(machine) = pe::machine_of(&head) else {
            return Err(invalid("it is no kernel that firmware can start (no EFI program)".into()));
        };
        if machine != stub.machine {
            let what = format!("it is for {machine}, and the stub is for {}", stub.machine);
            return Err(invalid(what));
        }
        // PE format, "Optional Header Windows-Specific Fields": SizeOfImage.
        let image_size = stub::optional_header(&head).and_then(|at| field(&head, at + 56));
        Ok(image_size.map_or(0, u64::from))
    }
}

fn invalid(path: &Path) -> impl FnOnce(String) -> PublishError {
    let path = path.to_owned();
    |what| PublishError::Uki { path, what }
}

fn open(path: &Path) -> Result<File, PublishError> {
    File::open(path).map_err(PublishError::file("open", path))
}

fn size_of_file(path: &Path) -> Result<u64, PublishError> {
    Ok(path.metadata().map_err(PublishError::file("read", path))?.len())
}

fn read(path: &Path, limit: u64) -> Result<Vec<u8>, PublishError> {
    let mut bytes = Vec::new();
    let failed = PublishError::file("read", path);
    open(path)?.take(limit + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > limit {
        return Err(invalid(path)(format!("it has more than {limit} bytes, so it is no stub")));
    }
    Ok(bytes)
}

fn pad(to: &mut impl Write, count: u64) -> io::Result<()> {
    io::copy(&mut io::repeat(0).take(count), to).map(|_| ())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const STUB: &str = "/usr/lib/systemd/boot/efi/linuxx64.efi.stub";
    /// Any EFI program is a kernel to who builds a boot file.
    const KERNEL: &str = "/usr/lib/systemd/boot/efi/systemd-bootx64.efi";

    fn uki(directory: &Path) -> Uki {
        let initrds = [("one", "first"), ("two", "second")].map(|(name, text)| {
            let path = directory.join(name);
            fs::write(&path, text).unwrap();
            path
        });
        Uki {
            stub: STUB.into(),
            kernel: KERNEL.into(),
            kernel_version: "6.1".into(),
            initrds: initrds.into(),
            command_line: "ro".into(),
            os_release: b"ID=a\n".into(),
        }
    }

    /// The sections of the program in `path`, by name, with their content.
    fn sections(path: &Path) -> Vec<(String, Vec<u8>)> {
        let bytes = fs::read(path).unwrap();
        let read = |to: &mut [u8], at: u64| {
            let at = usize::try_from(at).unwrap();
            let from = bytes.get(at..at + to.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
            to.copy_from_slice(from);
            Ok(())
        };
        let content = |range: std::ops::Range<u64>| {
            bytes[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()]
                .to_vec()
        };
        let found = pe::sections(read).unwrap().unwrap();
        found.into_iter().map(|section| (section.name, content(section.range))).collect()
    }

    #[test]
    fn a_boot_file_is_the_stub_with_its_parts_behind_it() {
        let directory = tempfile::tempdir().unwrap();
        let output = directory.path().join("kernel.efi");
        uki(directory.path()).write(&output).unwrap();
        let (stub, made) = (sections(Path::new(STUB)), sections(&output));
        assert_eq!(made[..stub.len()], stub);
        let kernel = fs::read(KERNEL).unwrap();
        let parts: [(&str, &[u8]); 5] = [
            (".osrel", b"ID=a\n"),
            (".uname", b"6.1"),
            (".cmdline", b"ro\0"),
            // The second begins at a multiple of four.
            (".initrd", b"first\0\0\0second"),
            (".linux", &kernel),
        ];
        for ((name, content), (expected_name, expected)) in made[stub.len()..].iter().zip(parts) {
            assert_eq!(name, expected_name);
            // A kernel takes more memory than it has bytes: of it, the padding in the file counts.
            let whole = content.get(..expected.len()) == Some(expected);
            assert!(whole && (content.len() == expected.len() || name == ".linux"), "{name}");
        }
        assert_eq!(made.len(), stub.len() + parts.len());
        let again = directory.path().join("again.efi");
        uki(directory.path()).write(&again).unwrap();
        assert_eq!(fs::read(again).unwrap(), fs::read(output).unwrap());
    }

    #[test]
    fn a_part_that_cannot_be_used_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let output = directory.path().join("kernel.efi");
        uki(directory.path()).write(&output).unwrap();
        let changed = |name: &str, from: &str, change: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = fs::read(from).unwrap();
            change(&mut bytes);
            let path = directory.path().join(name);
            fs::write(&path, bytes).unwrap();
            path
        };
        let other_machine = |bytes: &mut Vec<u8>| {
            let at = u32::from_le_bytes(bytes[0x3c..0x40].try_into().unwrap()) as usize + 4;
            bytes[at..at + 2].copy_from_slice(&[0x64, 0xaa]);
        };
        let good = uki(directory.path());
        let cut = changed("cut", STUB, &|bytes| bytes.truncate(bytes.len() / 2));
        let text = changed("text", STUB, &|bytes| *bytes = b"text".into());
        let arm = changed("arm", KERNEL, &other_machine);
        let missing = directory.path().join("missing");
        for (uki, part) in [
            (Uki { stub: output.clone(), ..good.clone() }, "unified kernel image already"),
            (Uki { stub: cut, ..good.clone() }, "damaged"),
            (Uki { stub: text.clone(), ..good.clone() }, "no EFI program"),
            (Uki { kernel: text, ..good.clone() }, "no kernel that firmware can start"),
            (Uki { kernel: arm, ..good.clone() }, "it is for aarch64"),
            (Uki { initrds: vec![missing], ..good }, "missing"),
        ] {
            let error = uki.write(&directory.path().join("other")).unwrap_err().to_string();
            assert!(error.contains(part), "{part}: {error}");
        }
    }
}
