// SPDX-License-Identifier: MIT OR Apache-2.0

//! Step 2 of P4: what stands against an install.

use flipside_image::code::Coded as _;
use flipside_image::{BOOT_FILE_PAYLOAD, HOOK_PAYLOAD, Image, Layer, PartitionIdentity};

use super::arm::refuse_unproven_running_slot;
use super::boot_file;
use super::job::Job;
use super::obstacles::refuse_damaged_running_slot;
use super::transaction::Checked;
use crate::codes;
use crate::error::Error;
use crate::host::Partition;
use crate::opened::Host;
use crate::refusal::Refusal;

/// Step 2: everything that can be known beforehand. Changes nothing.
///
/// # Errors
/// What stands against the install.
pub fn check<'a>(job: &'a Job<'a>) -> Result<Checked<'a>, Error> {
    let Job { host, host_state, image, .. } = job;
    host.durable.phase("check")?;
    refuse_unproven_running_slot(host_state)?;
    refuse_damaged_running_slot(host, host_state, &job.access.stop)?;
    image
        .config
        .check_bootable()
        .map_err(|error| Refusal::block(error.code(), error.to_string()))?;
    let target = host_state.target();
    let boot_file = payload(image, BOOT_FILE_PAYLOAD)?;
    let mut partitions = Vec::new();
    for (name, label) in host.labels(target) {
        let layer = payload(image, name)?;
        let partition = host.disk().by_label(label)?;
        if layer.payload.size > partition.size {
            return Err(Refusal::block(
                codes::SLOT_TOO_SMALL,
                format!(
                    "payload {name} has {} bytes, partition {label} only {}",
                    layer.payload.size, partition.size
                ),
            )
            .into());
        }
        // What the partition holds now would stay, and be taken for the image's.
        if layer.payload.size == 0 {
            return Err(Refusal::block(
                codes::PAYLOAD_EMPTY,
                format!("the payload {name} is empty, and partition {label} is to hold it"),
            )
            .into());
        }
        if let Some(identity) = &layer.payload.partition {
            refuse_duplicate(host, partition, identity)?;
        }
        partitions.push((layer, partition));
    }
    host.check_esp(target, boot_file.payload.size)?;
    host.check_state_directory()?;
    host.boot()?.check(host_state.running)?;
    for layer in image.layers() {
        let name = layer.payload.name.as_str();
        if !host_state.payloads.iter().any(|taken| taken == name) && name != HOOK_PAYLOAD {
            tracing::info!("payload {name} is skipped: host.payloads does not map it");
        }
    }
    // Last, since it costs the most.
    let boot_file = boot_file::fetch(job, boot_file)?;
    Ok(Checked { job, partitions, boot_file })
}

/// A partition UUID that images manage may stand on this host once (`set_identity` refuses it too, on
/// its own disk, but by then the target is disarmed).
fn refuse_duplicate(
    host: &Host,
    partition: &Partition,
    identity: &PartitionIdentity,
) -> Result<(), Error> {
    let Some(uuid) = identity.uuid else { return Ok(()) };
    let mut others = host.disk().partitions().iter().filter(|p| p.number != partition.number);
    let has_it = match (others.find(|other| other.uuid == uuid), host.other_disk_with(uuid)) {
        (Some(other), _) if other.label.is_empty() => format!("partition {}", other.number),
        (Some(other), _) => format!("partition {}", other.label),
        (None, Some(disk)) => format!("a partition on {}", disk.display()),
        (None, None) => return Ok(()),
    };
    Err(Refusal::block(
        codes::PARTITION_UUID_DUPLICATE,
        format!("the image gives partition {} the UUID that {has_it} has", partition.label),
    )
    .into())
}

fn payload<'a>(image: &'a Image, name: &str) -> Result<Layer<'a>, Error> {
    image.layer(name).ok_or_else(|| {
        Refusal::block(codes::PAYLOAD_MISSING, format!("the image has no payload {name}")).into()
    })
}
