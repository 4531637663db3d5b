// SPDX-License-Identifier: MIT OR Apache-2.0

//! The kernel, played: it comes up only where its boot file is an image's, byte for byte, and its
//! slot's partitions hold the payloads of the same image.

use flipside_image::{Digest, printable};

use super::images::{KERNEL, KnownImage, KnownPayload, SYSTEM, read_limited};
use super::machine::{self, Machine};
use super::{Quirk, Slot, esp};

/// The image that comes up from `slot`; the text says why none does.
pub(super) fn come_up<'a>(
    machine: &Machine<'a>,
    slot: Slot,
    quirks: &[Quirk],
) -> Result<&'a KnownImage, String> {
    if quirks.contains(&Quirk::NoTableRepair) && !machine.disk.from_primary {
        return Err(format!("slot {slot} finds no partitions: the primary table is damaged"));
    }
    let path = slot.boot_file();
    let file = esp::find(&machine.esp, &path).ok_or_else(|| format!("{path} is gone"))?;
    let kernel = machine::hash_file(&file).map_err(|error| format!("{path}: {error}"))?;
    let started: Vec<_> =
        machine.images.iter().filter(|image| is(image, KERNEL, |p| p.sha256 == kernel)).collect();
    if started.is_empty() {
        return Err(unknown(machine, slot, &path).unwrap_or_else(|| {
            format!("slot {slot} crashes: {path} is damaged, it is no known image's")
        }));
    }
    // Images may share a kernel: the others of their payloads tell them apart.
    let mut reason = String::new();
    for image in &started {
        match holds(machine, image, slot) {
            Ok(()) => return Ok(image),
            Err(why) => reason = why,
        }
    }
    Err(reason)
}

/// What to say of a part of `slot` that is no known image's, where the slot's record names an image
/// that is not known. The record only explains.
fn unknown(machine: &Machine<'_>, slot: Slot, part: &str) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Record {
        digest: Digest,
        version: String,
    }
    let path = machine.esp.join(format!("EFI/flipside/slot-{}.json", slot.letter()));
    let record: Record = serde_json::from_slice(&read_limited(&path).ok()?).ok()?;
    let is_known = machine.images.iter().any(|image| image.digest == record.digest);
    let (version, digest) = (printable::line(&record.version, 40), record.digest.short());
    (!is_known).then(|| {
        format!(
            "slot {slot} cannot be judged: {part} is of an image that this machine does not know, \
             {version} ({digest}): `flipside sim boot --image DIR` names a layout that has it"
        )
    })
}

fn is(image: &KnownImage, payload: &str, like: impl Fn(&KnownPayload) -> bool) -> bool {
    image.payload(payload).is_some_and(like)
}

/// Whether the partitions of `slot` hold `image`.
fn holds(machine: &Machine<'_>, image: &KnownImage, slot: Slot) -> Result<(), String> {
    if image.payload(SYSTEM).is_none() {
        return Err(format!("slot {slot} has no root: image {} has none", image.version));
    }
    for payload in image.payloads.iter().filter(|payload| payload.name != KERNEL) {
        let label = format!("{}-{}", payload.name, slot.letter());
        let partition = match machine.disk.by_label(&label) {
            Ok(partition) => partition,
            Err(why) if payload.name == SYSTEM => return Err(format!("slot {slot}: {why}")),
            // A payload without a partition is one that this host does not take.
            Err(_) => continue,
        };
        let found = machine
            .hash_partition(partition, payload.size)
            .map_err(|error| format!("slot {slot}: partition {label}: {error}"))?;
        if found != Some(payload.sha256) {
            let other = machine.images.iter().find(|image| {
                is(image, &payload.name, |p| {
                    let there = machine.hash_partition(partition, p.size);
                    there.is_ok_and(|hash| hash == Some(p.sha256))
                })
            });
            return Err(match other {
                Some(other) => format!(
                    "slot {slot} mixes images: its boot file is of {}, its partition {label} of {}",
                    image.version, other.version
                ),
                None => {
                    unknown(machine, slot, &format!("partition {label}")).unwrap_or_else(|| {
                        format!("slot {slot}: partition {label} is damaged, it is no known image's")
                    })
                }
            });
        }
        // A kernel that looks for its partition by GUID has to find this one, and only this.
        if let Some(guid) = payload.partition {
            let mut named = machine.disk.partitions.iter().filter(|p| p.guid == guid);
            if named.next() != Some(partition) || named.next().is_some() {
                return Err(format!("slot {slot}: partition {label} is not the one called {guid}"));
            }
        }
    }
    Ok(())
}
