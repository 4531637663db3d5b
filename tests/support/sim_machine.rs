// SPDX-License-Identifier: MIT OR Apache-2.0

//! A machine of `flipside sim` with 1.0 in slot A, and what an updater would do to it, done by
//! hand: 2.0 put into slot B, boot entries and variables written as bytes.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use flipside_publish::disk::Plan;
use flipside_sim::{self as sim, BootOptions, Judge, NewOptions, Outcome, Power, Promote, Quirk};

use super::images::{ImageBuilder, OsImage};

const GLOBAL: &str = "8be4df61-93ca-11d2-aa0d-00e098032b8c";
const LOADER: &str = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";

pub struct SimMachine {
    pub directory: PathBuf,
    pub one: OsImage,
    pub two: OsImage,
    _temporary: tempfile::TempDir,
}

impl SimMachine {
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    /// A machine with 2.0 in slot B as well, neither proven; B's entry is Boot0003, behind A's.
    pub fn with_both() -> Self {
        let machine = Self::new();
        machine.install_b();
        machine
    }

    pub fn with(change: impl FnOnce(&mut NewOptions)) -> Self {
        Self::on_disk(&Plan::default(), change)
    }

    /// On a disk as `disk` has it.
    pub fn on_disk(disk: &Plan, change: impl FnOnce(&mut NewOptions)) -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let one = ImageBuilder::new("1.0").write(temporary.path().join("one"));
        let two = ImageBuilder::new("2.0").write(temporary.path().join("two"));
        let directory = temporary.path().join("host");
        let location = |image: &OsImage| format!("oci:{}", image.layout.display());
        let mut options = NewOptions {
            images: vec![location(&one), location(&two)],
            architecture: Some(flipside_image::Architecture::X86_64),
            ..NewOptions::default()
        };
        change(&mut options);
        let disk = Plan {
            slot_size: Some(1 << 20),
            seed: Some(7),
            loader: Some(Self::loader(temporary.path())),
            ..disk.clone()
        };
        assert_eq!(flipside::cli::new_machine(&directory, &options, &disk).unwrap(), "1.0");
        Self { directory, one, two, _temporary: temporary }
    }

    /// Something with a program's headers: systemd-boot itself is not needed where it is played.
    fn loader(directory: &Path) -> PathBuf {
        let path = directory.join("loader.efi");
        let architecture = flipside_image::Architecture::X86_64;
        fs::write(&path, super::images::kernel(architecture, 99, 9000)).unwrap();
        path
    }

    pub fn install_b(&self) {
        self.write_partition("system-b", 0, self.two.payload("system"));
        fs::write(self.esp("EFI/flipside/boot-b.efi"), self.two.payload("kernel.efi")).unwrap();
        self.write_loader_entry('b', 1);
        self.write_entry(3, &self.entry_of('b'));
        self.set_order(&[0, 3, 1, 2]);
    }

    pub fn esp(&self, path: &str) -> PathBuf {
        self.directory.join("efi").join(path)
    }

    pub fn write_loader_entry(&self, letter: char, key: u8) {
        let text = format!("sort-key   flipside-{key}\nefi  /EFI/flipside/boot-{letter}.efi\n");
        let path = format!("loader/entries/flipside-{letter}.conf");
        fs::write(self.esp(&path), text).unwrap();
    }

    pub fn prove(&self, letter: char) {
        fs::write(self.esp(&format!("EFI/flipside/slot-{letter}.proven")), "x\n").unwrap();
    }

    /// Bytes at an offset of a partition.
    pub fn write_partition(&self, label: &str, at: u64, bytes: &[u8]) {
        let path = self.directory.join("disk.img");
        let disk = gpt::GptConfig::new().open(&path).unwrap();
        let partition = disk.partitions().values().find(|p| p.name == label).unwrap();
        let start = partition.bytes_start(gpt::disk::LogicalBlockSize::Lb512).unwrap();
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.write_all_at(bytes, start + at).unwrap();
    }

    pub fn damage_primary_table(&self) {
        let path = self.directory.join("disk.img");
        let file = fs::File::options().write(true).open(path).unwrap();
        file.write_all_at(&[0xff; 8], 512 + 16).unwrap();
    }

    fn variable(&self, name: &str, vendor: &str) -> PathBuf {
        self.directory.join("sys/firmware/efi/efivars").join(format!("{name}-{vendor}"))
    }

    /// A variable's data.
    pub fn read(&self, name: &str) -> Option<Vec<u8>> {
        let bytes = fs::read(self.variable(name, GLOBAL)).ok()?;
        Some(bytes[4..].to_vec())
    }

    pub fn write(&self, name: &str, data: &[u8]) {
        fs::write(self.variable(name, GLOBAL), [b"\x07\0\0\0", data].concat()).unwrap();
    }

    pub fn text(&self, name: &str) -> Option<String> {
        let bytes = fs::read(self.variable(name, LOADER)).ok()?;
        let units: Vec<u16> =
            bytes[4..].chunks(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
        Some(String::from_utf16(&units).unwrap().trim_end_matches('\0').to_owned())
    }

    pub fn entry(&self, number: u16) -> Option<Vec<u8>> {
        self.read(&format!("Boot{number:04X}"))
    }

    pub fn write_entry(&self, number: u16, data: &[u8]) {
        self.write(&format!("Boot{number:04X}"), data);
    }

    /// Slot A's entry, made one for the boot file of another letter.
    pub fn entry_of(&self, letter: char) -> Vec<u8> {
        let wide =
            |text: &str| -> Vec<u8> { text.encode_utf16().flat_map(u16::to_le_bytes).collect() };
        let entry = self.entry(0).unwrap();
        let entry = replace(&entry, &wide("boot-a.efi"), &wide(&format!("boot-{letter}.efi")));
        let upper = letter.to_ascii_uppercase();
        replace(&entry, &wide(" A\0"), &wide(&format!(" {upper}\0")))
    }

    pub fn order(&self) -> Option<Vec<u16>> {
        let data = self.read("BootOrder")?;
        Some(data.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect())
    }

    pub fn set_order(&self, order: &[u16]) {
        let data: Vec<u8> = order.iter().flat_map(|number| number.to_le_bytes()).collect();
        self.write("BootOrder", &data);
    }

    pub fn set_next(&self, number: u16) {
        self.write("BootNext", &number.to_le_bytes());
    }

    /// What would boot: `A 1.0`, `B 2.0`, or why nothing.
    pub fn judged(&self, power: &Power) -> String {
        let before = self.snapshot();
        let verdict = Judge::of(&self.directory).unwrap().judge(&self.directory, power);
        assert_eq!(self.snapshot(), before, "a judge changes nothing");
        match verdict.booted {
            Ok(booted) => format!("{} {}", booted.slot, booted.version),
            Err(reason) => reason,
        }
    }

    pub fn judged_plainly(&self) -> String {
        self.judged(&Power::default())
    }

    /// Boots and goes no further than the OS comes up, with quirks.
    pub fn boot_with(&self, quirks: &[Quirk]) -> String {
        let power = Power { wipe_nvram: false, quirks: quirks.to_vec() };
        let foreseen = self.judged(&power);
        let options = BootOptions { power, ..BootOptions::default() };
        let said = said(&sim::boot(&self.directory, &options).unwrap());
        assert!(said.starts_with(&foreseen), "the judge foresaw {foreseen}, but {said}");
        said
    }

    /// Boots to success; promoting means that the slot gets its proof and nothing more.
    pub fn boot_to_success(&self, slot: char) -> String {
        let promote = |directory: &Path| {
            let path = format!("efi/EFI/flipside/slot-{slot}.proven");
            fs::write(directory.join(path), "x\n").map_err(|error| error.to_string())
        };
        let options = BootOptions { promote: Promote::Call(&promote), ..BootOptions::default() };
        said(&sim::boot(&self.directory, &options).unwrap())
    }

    /// Every file with its bytes, but for the disk.
    fn snapshot(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut files = Vec::new();
        let mut directories = vec![self.directory.clone()];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    directories.push(path);
                } else if path.extension().is_none_or(|extension| extension != "img") {
                    files.push((path.clone(), fs::read(path).unwrap()));
                }
            }
        }
        files.sort();
        files
    }
}

/// `B 2.0 (trial)`, or why nothing boots.
fn said(outcome: &Outcome) -> String {
    match &outcome.booted {
        Ok((booted, ending)) => format!("{} {} ({ending})", booted.slot, booted.version),
        Err(reason) => reason.clone(),
    }
}

fn replace(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let at = bytes.windows(from.len()).position(|window| window == from).unwrap();
    [&bytes[..at], to, &bytes[at + from.len()..]].concat()
}
