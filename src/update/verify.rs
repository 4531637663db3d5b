// SPDX-License-Identifier: MIT OR Apache-2.0

//! Whether a slot still holds what its record says, chunk by chunk.

use super::machine::Machine;
use super::situation::Situation;
use super::transaction::BOOT_FILE_PAYLOAD;
use super::{Run, UpdateError};
use crate::host::medium::Medium as _;
use crate::host::{Record, Slot};
use crate::image::{CONFIG_LIMIT, Image, ImageConfig, Manifest, Payload};
use crate::progress::Silent;

/// What a slot's contents were found to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SlotContents {
    /// Every chunk of every payload hashes to what the image's config says.
    Whole,
    /// The payloads with damaged chunks, one sentence each.
    Damaged(Vec<String>),
    /// No chunk hashes are to be had, and why.
    Unverifiable(String),
    /// The slot has no record.
    Empty,
}

/// Reads all of `slot` from the medium.
///
/// # Errors
/// [`UpdateError`] where a medium cannot be read at all.
pub fn slot(
    run: &Run,
    machine: &Machine,
    situation: &Situation,
    slot: Slot,
) -> Result<SlotContents, UpdateError> {
    let Some(record) = &situation.slot(slot).record else { return Ok(SlotContents::Empty) };
    let config = match config(run, machine, record) {
        Ok(config) => config,
        Err(why) => return Ok(SlotContents::Unverifiable(why)),
    };
    let mut damaged = Vec::new();
    for payload in &config.payloads {
        let name = payload.name.as_str();
        let result = if name == BOOT_FILE_PAYLOAD {
            let Some(medium) = machine.esp.open_boot_file(slot)? else {
                damaged.push(format!("{name} (the boot file is missing)"));
                continue;
            };
            if medium.capacity() < payload.size {
                damaged.push(format!("{name} (the boot file is cut short)"));
                continue;
            }
            crate::install::verify(&medium, payload, run.progress.as_ref(), &run.stop)
        } else {
            let Some((_, label)) = machine.labels(slot).find(|(mapped, _)| *mapped == name) else {
                continue;
            };
            let partition = machine.disk().by_label(label)?;
            let medium = machine.disk().open_for_reading(partition)?;
            crate::install::verify(&medium, payload, run.progress.as_ref(), &run.stop)
        };
        let chunks = result?;
        if let (Some(first), Some(last)) = (chunks.first(), chunks.last()) {
            let count = chunks.len();
            damaged.push(match count {
                1 => format!("{name} (chunk {first})"),
                _ => format!("{name} ({count} chunks from {first} to {last})"),
            });
        }
    }
    Ok(if damaged.is_empty() { SlotContents::Whole } else { SlotContents::Damaged(damaged) })
}

/// Whether the boot file of `slot` is another than its image's: read from
/// the medium, where the chunk hashes are kept on this host; no network is asked for them.
///
/// # Errors
/// [`UpdateError`] where it cannot be read.
pub(super) fn has_damaged_boot_file(
    run: &Run,
    machine: &Machine,
    situation: &Situation,
    slot: Slot,
) -> Result<bool, UpdateError> {
    let record = situation.slot(slot).record.as_ref();
    let kept = record.and_then(|record| machine.journal.config(&record.config_digest?));
    let config = kept.and_then(|bytes| ImageConfig::parse(&bytes).ok());
    let is_it = |payload: &&Payload| payload.name.as_str() == BOOT_FILE_PAYLOAD;
    let Some(payload) = config.as_ref().and_then(|config| config.payloads.iter().find(is_it))
    else {
        return Ok(false);
    };
    let Some(medium) = machine.esp.open_boot_file(slot)? else { return Ok(true) };
    if medium.capacity() < payload.size {
        return Ok(true);
    }
    Ok(!crate::install::verify(&medium, payload, &Silent, &run.stop)?.is_empty())
}

/// The config from the state directory, or else from where the image came.
fn config(run: &Run, machine: &Machine, record: &Record) -> Result<ImageConfig, String> {
    let Some(config_digest) = record.config_digest else {
        return Err("flipside did not install it".to_owned());
    };
    if let Some(bytes) = machine.journal.config(&config_digest) {
        return ImageConfig::parse(&bytes).map_err(|e| e.to_string());
    }
    let digest = record.digest.ok_or("its digest is unknown")?;
    let fetch = || -> Result<ImageConfig, UpdateError> {
        let source = run.source()?;
        let manifest = Manifest::parse(&source.manifest(&digest)?)?;
        let bytes = source.blob("config", &manifest.config, CONFIG_LIMIT)?;
        Ok(Image::with_config(digest, manifest, &bytes)?.config)
    };
    fetch()
        .map_err(|e| format!("its chunk hashes are not kept here, and fetching them failed: {e}"))
}

/// Reads `slots` from the medium. Nothing on a host without slots.
///
/// # Errors
/// [`UpdateError`].
pub fn verify(run: &Run, slots: &[Slot]) -> Result<Vec<(Slot, SlotContents)>, UpdateError> {
    let Some(machine) = Machine::open(run)? else { return Ok(Vec::new()) };
    let situation = machine.situation()?;
    slots.iter().map(|s| Ok((*s, slot(run, &machine, &situation, *s)?))).collect()
}
