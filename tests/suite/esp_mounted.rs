// SPDX-License-Identifier: MIT OR Apache-2.0

//! The ESP as a file system of its own that becomes full and read-only: a FAT where the kernel
//! has it, a small tmpfs otherwise. Needs root to mount.

use std::path::{Path, PathBuf};
use std::process::Command;

use flipside_core::host::Slot;
use flipside_core::host::durable::Durable;
use flipside_core::host::esp::{BootFileState, Esp, EspError};
use flipside_core::host::storage::Storage as _;
use flipside_image::Architecture;
use flipside_image::code::Coded as _;

struct Mounted {
    directory: tempfile::TempDir,
}

impl Mounted {
    /// 40 MiB, or `None` where this user cannot mount anything.
    fn new() -> Option<Self> {
        let mounted = Self { directory: tempfile::tempdir().unwrap() };
        let image = mounted.directory.path().join("esp.img");
        std::fs::File::create(&image).unwrap().set_len(40 << 20).unwrap();
        std::fs::create_dir(mounted.mount_point()).unwrap();
        let run = |command: &mut Command| command.output().is_ok_and(|o| o.status.success());
        let mount = |options: &[&str], what: &Path| {
            run(Command::new("mount").args(options).arg(what).arg(mounted.mount_point()))
        };
        let is_fat = run(Command::new("/usr/sbin/mkfs.vfat").arg("-F32").arg(&image))
            && mount(&["-tvfat", "-oloop"], &image);
        if !is_fat {
            println!("no FAT can be mounted here: a tmpfs stands for it");
            if !mount(&["-ttmpfs", "-osize=40M"], Path::new("tmpfs")) {
                println!("skipped: mounting needs root");
                return None;
            }
        }
        std::fs::create_dir(mounted.mount_point().join("EFI")).unwrap();
        Some(mounted)
    }

    fn mount_point(&self) -> PathBuf {
        self.directory.path().join("mnt")
    }

    fn esp(&self) -> Esp {
        flipside_core::testing::esp(self.mount_point(), Architecture::X86_64, &Durable::new())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.mount_point()).output();
    }
}

fn program(size: usize) -> Vec<u8> {
    let mut bytes = vec![0xa5; size];
    bytes[..2].copy_from_slice(b"MZ");
    bytes[0x3c..0x40].copy_from_slice(&64u32.to_le_bytes());
    bytes[64..68].copy_from_slice(b"PE\0\0");
    bytes
}

fn install(esp: &Esp, slot: Slot, bytes: &[u8]) -> Result<(), EspError> {
    let file = esp.create_boot_file(slot, bytes.len() as u64)?;
    for (i, piece) in bytes.chunks(1 << 20).enumerate().rev() {
        file.write_at((i as u64) << 20, piece).unwrap();
    }
    file.sync().unwrap();
    file.complete()
}

#[test]
fn a_file_system_that_becomes_full_is_told_and_recovers() {
    let Some(mounted) = Mounted::new() else { return };
    let esp = mounted.esp();
    esp.check().unwrap();
    let bytes = program(15 << 20);
    install(&esp, Slot::A, &bytes).unwrap();
    assert_eq!(esp.boot_file(Slot::A).unwrap(), BootFileState::Bootable);
    assert_eq!(
        std::fs::read(mounted.mount_point().join("EFI/flipside/boot-a.efi")).unwrap(),
        bytes
    );
    install(&esp, Slot::B, &bytes).unwrap();

    let error = install(&esp, Slot::B, &program(35 << 20)).unwrap_err();
    assert_eq!(error.code().name(), "esp-full");
    assert!(error.to_string().contains("MiB are needed"), "{error}");

    esp.make_unbootable_and_remove(Slot::B).unwrap();
    assert_eq!(esp.boot_file(Slot::B).unwrap(), BootFileState::Absent);
    install(&esp, Slot::B, &bytes).unwrap();
    esp.write_loader_entry(Slot::A, "Acme OS A", true).unwrap();
    esp.write_failed(b"[1]").unwrap();
    esp.write_failed(b"[1, 2]").unwrap();
    assert_eq!(esp.read_failed().unwrap().present().unwrap(), b"[1, 2]");
}

/// A power cut while a boot file is written, and fsck at the next boot.
#[test]
fn remnants_that_fsck_left_give_way_where_their_room_is_needed() {
    let Some(mounted) = Mounted::new() else { return };
    let esp = mounted.esp();
    let remnant = mounted.mount_point().join("FSCK0000.REC");
    let other = mounted.mount_point().join("FSCK0000.TXT");
    std::fs::write(&remnant, vec![1; 15 << 20]).unwrap();
    std::fs::write(&other, "kept").unwrap();
    install(&esp, Slot::A, &program(15 << 20)).unwrap();
    assert!(remnant.exists(), "there was room for both");
    let error = install(&esp, Slot::B, &program(35 << 20)).unwrap_err();
    assert_eq!(error.code().name(), "esp-full");
    assert!(remnant.exists(), "its room would not have been enough");
    esp.check_room(Slot::B, 15 << 20).unwrap();
    assert!(remnant.exists(), "a question changes nothing");
    install(&esp, Slot::B, &program(15 << 20)).unwrap();
    assert!(!remnant.exists() && other.exists());
}

#[test]
fn a_read_only_file_system_is_refused() {
    let Some(mounted) = Mounted::new() else { return };
    let remount = |how: &Path| {
        let done = Command::new("mount").arg("-o").arg(how).arg(mounted.mount_point()).output();
        assert!(done.unwrap().status.success());
    };
    remount(Path::new("remount,ro"));
    let esp = mounted.esp();
    assert_eq!(esp.check().unwrap_err().code().name(), "esp-read-only");
    assert_eq!(esp.write_failed(b"[]").unwrap_err().code().name(), "esp-read-only");
    remount(Path::new("remount,rw"));
}
