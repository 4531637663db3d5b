// SPDX-License-Identifier: MIT OR Apache-2.0

use std::path::{Path, PathBuf};
use std::process::Command;

use flipside_image::code::Coded as _;

use super::*;
use flipside_core::host::durable::Durable;
use flipside_core::host::esp::InstalledBootFile;
use flipside_image::Architecture;

const STUB: &str = "/usr/lib/systemd/boot/efi/linuxx64.efi.stub";

/// Makes a UKI as people do without ukify: systemd's stub, and sections added by objcopy.
fn uki(directory: &Path, sections: &[(&str, &[u8])]) -> PathBuf {
    assert!(Path::new(STUB).exists(), "{STUB} is missing: apt-get install systemd-boot-efi");
    let path = directory.join("EFI/flipside/boot-b.efi");
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut command = Command::new("objcopy");
    for (number, (name, bytes)) in sections.iter().enumerate() {
        let file = directory.join(format!("section-{number}"));
        std::fs::write(&file, bytes).unwrap();
        let address = 0x1000_0000 + number * 0x0100_0000;
        command.arg(format!("--add-section={name}={}", file.display()));
        command.arg(format!("--change-section-vma={name}={address:#x}"));
    }
    let output = command.arg(STUB).arg(&path).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    path
}

fn open(directory: &Path) -> InstalledBootFile {
    let esp = flipside_core::testing::esp(directory, Architecture::X86_64, &Durable::new());
    esp.open_boot_file(Slot::B).unwrap().unwrap()
}

#[test]
fn the_kernel_is_what_the_boot_file_holds() {
    let directory = tempfile::tempdir().unwrap();
    let (kernel, initrd) = (vec![7; 100_001], vec![8; 5_003]);
    uki(
        directory.path(),
        &[
            (".osrel", b"ID=acme\n"),
            (".cmdline", b"quiet root=flipside:system \n\0"),
            (".initrd", &initrd),
            (".linux", &kernel),
        ],
    );
    let expected = Kernel {
        image: kernel,
        initrd: Some(initrd),
        command_line: "quiet root=flipside:system".into(),
    };
    assert_eq!(Kernel::of(&open(directory.path())).unwrap(), expected);
}

#[test]
fn an_initrd_and_a_command_line_may_be_absent_and_a_kernel_may_not() {
    let directory = tempfile::tempdir().unwrap();
    uki(directory.path(), &[(".linux", b"kernel")]);
    let kernel = Kernel::of(&open(directory.path())).unwrap();
    let none = Kernel { image: b"kernel".into(), initrd: None, command_line: String::new() };
    assert_eq!(kernel, none);
    let path = uki(directory.path(), &[(".initrd", b"initrd")]);
    let code = |directory: &Path| Kernel::of(&open(directory)).unwrap_err().code().name();
    assert_eq!(code(directory.path()), "kexec-no-kernel");
    std::fs::write(&path, "no program").unwrap();
    assert_eq!(code(directory.path()), "kexec-no-kernel");
}

#[test]
fn a_boot_file_that_is_cut_holds_no_kernel() {
    let directory = tempfile::tempdir().unwrap();
    let path = uki(directory.path(), &[(".cmdline", b"quiet"), (".linux", &[7; 100_000])]);
    let whole = std::fs::read(&path).unwrap();
    for length in [0, 64, 200, 4096, whole.len() - 60_000] {
        std::fs::write(&path, &whole[..length]).unwrap();
        let error = Kernel::of(&open(directory.path())).unwrap_err();
        assert_eq!(error.code().name(), "kexec-no-kernel", "{length}: {error}");
    }
}

#[test]
fn a_directory_loads_no_kernel() {
    let directory = tempfile::tempdir().unwrap();
    uki(directory.path(), &[(".linux", b"kernel")]);
    let root = Root::new(directory.path());
    let error = load(&root, &open(directory.path()), Slot::B).unwrap_err();
    assert_eq!(error.code().name(), "kexec-refused");
}

#[test]
fn the_command_line_names_the_slot_and_no_other() {
    for (line, expected) in [
        ("", "flipside.slot=b"),
        ("quiet ro", "quiet ro flipside.slot=b"),
        ("flipside.slot=a quiet", "quiet flipside.slot=b"),
        ("quiet \"flipside.slot=a\"  ro", "quiet ro flipside.slot=b"),
        ("quiet -- single", "quiet flipside.slot=b -- single"),
        ("a=\"b flipside.slot=c  -- d\" e", "a=\"b flipside.slot=c  -- d\" e flipside.slot=b"),
        ("xflipside.slot=a", "xflipside.slot=a flipside.slot=b"),
    ] {
        let found = for_slot(line, Slot::B);
        assert_eq!(found, expected, "{line:?}");
        let parsed = flipside_core::host::cmdline::CommandLine::parse(&found);
        assert_eq!(parsed.all("flipside.slot").collect::<Vec<_>>(), ["b"], "{line:?}");
    }
}

#[test]
fn what_is_loaded_is_whole_and_closed_for_writing() {
    use std::io::Read as _;
    let mut file = in_memory(b"kernel").unwrap();
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, b"kernel");
    assert!(file.write_all(b"x").is_err());
}
