// SPDX-License-Identifier: MIT OR Apache-2.0

//! Whether a slot still holds what its record says, chunk by chunk.

use flipside_image::{BOOT_FILE_PAYLOAD, Digest, ImageConfig, Payload};

use super::read_back::verify;
use crate::cancel::Cancel;
use crate::error::Error;
use crate::host::Record;
use crate::host::storage::Storage as _;
use crate::opened::{Access, Host};
use crate::progress::Silent;
use crate::slot::Slot;
use crate::state::HostState;

/// Fetches the config of the image with this digest, which this host has not kept; in words, why
/// not.
pub type FetchConfig<'a> = dyn Fn(&Digest) -> Result<ImageConfig, String> + 'a;

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
/// [`Error`] where a medium cannot be read at all.
pub fn contents(
    access: &Access,
    host: &Host,
    host_state: &HostState,
    slot: Slot,
    fetch: &FetchConfig<'_>,
) -> Result<SlotContents, Error> {
    let Some(record) = &host_state.slot(slot).record else { return Ok(SlotContents::Empty) };
    let config = match config(host, record, fetch) {
        Ok(config) => config,
        Err(why) => return Ok(SlotContents::Unverifiable(why)),
    };
    let mut damaged = Vec::new();
    for payload in &config.payloads {
        let name = payload.name.as_str();
        let result = if name == BOOT_FILE_PAYLOAD {
            let Some(storage) = host.esp.open_boot_file(slot)? else {
                damaged.push(format!("{name} (the boot file is missing)"));
                continue;
            };
            if storage.capacity() < payload.size {
                damaged.push(format!("{name} (the boot file is cut short)"));
                continue;
            }
            verify(&storage, payload, access.progress.as_ref(), &access.stop)
        } else {
            let Some((_, label)) = host.labels(slot).find(|(mapped, _)| *mapped == name) else {
                continue;
            };
            let partition = host.disk().by_label(label)?;
            let storage = host.disk().open_for_reading(partition)?;
            verify(&storage, payload, access.progress.as_ref(), &access.stop)
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
/// [`Error`] where it cannot be read.
pub(super) fn has_damaged_boot_file(
    host: &Host,
    host_state: &HostState,
    slot: Slot,
    stop: &Cancel,
) -> Result<bool, Error> {
    let record = host_state.slot(slot).record.as_ref();
    let kept = record.and_then(|record| host.journal.config(&record.config_digest?));
    let config = kept.and_then(|bytes| ImageConfig::parse(&bytes).ok());
    let is_it = |payload: &&Payload| payload.name.as_str() == BOOT_FILE_PAYLOAD;
    let Some(payload) = config.as_ref().and_then(|config| config.payloads.iter().find(is_it))
    else {
        return Ok(false);
    };
    let Some(storage) = host.esp.open_boot_file(slot)? else { return Ok(true) };
    if storage.capacity() < payload.size {
        return Ok(true);
    }
    Ok(!verify(&storage, payload, &Silent, stop)?.is_empty())
}

/// The config that `record` names: from the state directory, or else from where the image came.
///
/// # Errors
/// In words, why it cannot be had.
pub fn config(
    host: &Host,
    record: &Record,
    fetch: &FetchConfig<'_>,
) -> Result<ImageConfig, String> {
    let Some(config_digest) = record.config_digest else {
        return Err("flipside did not install it".to_owned());
    };
    if let Some(bytes) = host.journal.config(&config_digest) {
        return ImageConfig::parse(&bytes).map_err(|e| e.to_string());
    }
    fetch(&record.digest.ok_or("its digest is unknown")?)
        .map_err(|e| format!("its chunk hashes are not kept here, and fetching them failed: {e}"))
}
