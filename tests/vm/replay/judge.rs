// SPDX-License-Identifier: MIT OR Apache-2.0

//! Judges a disk after a power cut by the bytes of the images alone, never by flipside's records.

use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};

use super::esp::{self, Files};
use crate::os_image::OsImage;

/// What is wrong with a disk, in contrast to what kept it from being judged.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unsound(pub String);

/// Where the partitions are, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Places {
    pub esp: (usize, usize),
    pub system_a: usize,
    pub system_b: usize,
}

/// An image, in memory.
pub struct Known {
    pub version: String,
    digest: String,
    kernel: Vec<u8>,
    system: Vec<u8>,
}

impl Known {
    /// Reads it.
    ///
    /// # Errors
    /// Its files cannot be read.
    pub fn of(image: &OsImage) -> Result<Self> {
        Ok(Self {
            version: image.version.clone(),
            digest: image.digest.clone(),
            kernel: std::fs::read(&image.kernel)?,
            system: std::fs::read(&image.system)?,
        })
    }
}

/// What must hold in all that a power cut leaves.
pub struct Judge {
    pub places: Places,
    pub images: Vec<Known>,
    /// `a` or `b`: what runs, and has to stay whole.
    pub running: char,
    /// Its version.
    pub runs: String,
    /// Files of the ESP that no power cut may take, nor any repair.
    pub lasting: Files,
    /// Whether the loader for removable media may boot the running slot only.
    pub loader_keeps: bool,
}

impl Judge {
    /// Judges `disk`; `scratch` is a file to repair the ESP in.
    ///
    /// # Errors
    /// [`Unsound`], and what keeps it from being judged.
    pub fn judge(&self, disk: &[u8], scratch: &Path) -> Result<()> {
        let (start, length) = self.places.esp;
        let esp = disk.get(start..start + length).context("the disk is too short")?;
        let repaired = esp::repaired(esp, scratch)?;
        self.inspect(disk, repaired).map_err(|error| Unsound(format!("{error:#}")).into())
    }

    fn inspect(&self, disk: &[u8], repaired: Option<Vec<u8>>) -> Result<()> {
        let files = esp::files(repaired.context("fsck.vfat gives up")?)?;
        for (path, content) in &self.lasting {
            let found = files.get(path).with_context(|| format!("{path} is lost"))?;
            ensure!(found == content, "{path} has changed");
        }
        let slots = [('a', self.places.system_a), ('b', self.places.system_b)];
        let mut whole = Vec::new();
        for (slot, place) in slots {
            let system = disk.get(place..).context("the disk is too short")?;
            let found = self.slot(&files, slot, system)?;
            self.proof(&files, slot, found)?;
            whole.push((slot, found));
        }
        let of = |slot: char| whole.iter().find(|(s, _)| *s == slot).and_then(|(_, found)| *found);
        let running = of(self.running).map(|known| known.version.as_str());
        ensure!(
            running == Some(self.runs.as_str()),
            "slot {}, which runs, holds {running:?} in place of {}",
            self.running,
            self.runs
        );
        let choice = loader_chooses(&files)?;
        for chosen in [choice.first, choice.uncounted] {
            of(chosen)
                .with_context(|| format!("the loader boots slot {chosen}, which does not"))?;
        }
        ensure!(
            !self.loader_keeps || choice.uncounted == self.running,
            "the loader boots slot {} for good, which has proved nothing",
            choice.uncounted
        );
        Ok(())
    }

    /// The image that boots from `slot`, or `None` where none does.
    fn slot(&self, files: &Files, slot: char, system: &[u8]) -> Result<Option<&Known>> {
        let path = boot_file(slot);
        let Some(kernel) = files.get(&path).filter(|bytes| bytes.starts_with(b"MZ")) else {
            return Ok(None);
        };
        let known = self.images.iter().find(|known| known.kernel == *kernel);
        let known = known.with_context(|| format!("{path} can be started, and is no image's"))?;
        ensure!(
            system.starts_with(&known.system),
            "{path} is of {}, and slot {slot} does not hold its system",
            known.version
        );
        Ok(Some(known))
    }

    /// A proof is of what boots there, or of what is being taken away.
    fn proof(&self, files: &Files, slot: char, found: Option<&Known>) -> Result<()> {
        let path = format!("efi/flipside/slot-{slot}.proven");
        let (Some(proof), Some(found)) = (files.get(&path), found) else { return Ok(()) };
        let proof = String::from_utf8_lossy(proof);
        let named = self.images.iter().find(|known| proof.contains(&known.digest));
        if let Some(named) = named
            && found.version != named.version
        {
            bail!("{path} is of {}, and {} boots from the slot", named.version, found.version);
        }
        Ok(())
    }
}

/// What systemd-boot starts without NVRAM.
struct Choice {
    /// The next time.
    first: char,
    /// Once the tries of a trial are used up.
    uncounted: char,
}

/// Of the entries whose file is there systemd-boot starts the one that sorts first; a file that is no
/// program would end it.
fn loader_chooses(files: &Files) -> Result<Choice> {
    let mut entries = Vec::new();
    for (path, content) in files {
        if !path.starts_with("loader/entries/") || !path.ends_with(".conf") {
            continue;
        }
        let content = String::from_utf8_lossy(content);
        let field = |name: &str| {
            let line = content.lines().find(|line| line.split_whitespace().next() == Some(name));
            line.and_then(|line| line.split_whitespace().nth(1)).map(str::to_lowercase)
        };
        let (Some(file), key) =
            (field("efi").or_else(|| field("linux")), field("sort-key").unwrap_or_default())
        else {
            continue;
        };
        let file = file.trim_start_matches('/').to_owned();
        if files.contains_key(&file) {
            // A counted entry whose tries are used up sorts last.
            entries.push((path.contains("+0"), key, path.clone(), file));
        }
    }
    entries.sort();
    let first = entries.first().context("the loader has no entry whose file is there")?;
    let uncounted = entries.iter().find(|(_, _, path, _)| !path.contains('+'));
    let uncounted = uncounted.context("the loader has nothing but trials")?;
    let slot = |(_, _, entry, file): &(bool, String, String, String)| {
        let is_program = files.get(file).is_some_and(|bytes| bytes.starts_with(b"MZ"));
        ensure!(is_program, "the loader's entry {entry} is of a file that is no program");
        let slot = ['a', 'b'].into_iter().find(|slot| *file == boot_file(*slot));
        slot.with_context(|| format!("the loader's entry {entry} is of {file}"))
    };
    Ok(Choice { first: slot(first)?, uncounted: slot(uncounted)? })
}

fn boot_file(slot: char) -> String {
    format!("efi/flipside/boot-{slot}.efi")
}
