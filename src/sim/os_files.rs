// SPDX-License-Identifier: MIT OR Apache-2.0

//! The files that a booted OS finds: what its image brings and what its kernel says.

use std::io;
use std::path::Path;

use super::error::At as _;
use super::images::KnownImage;
use super::{SimError, Slot};

/// Makes the directory's files those of `image`, freshly booted from the partition called `root`.
pub(super) fn write(
    directory: &Path,
    image: &KnownImage,
    slot: Slot,
    root: Option<uuid::Uuid>,
) -> Result<(), SimError> {
    tracing::debug!("slot {slot}: writing the files of {}", image.version);
    empty_run(directory)?;
    put(directory, "etc/os-release", &os_release(image))?;
    let root = root.map(|guid| format!("root=PARTUUID={guid} ")).unwrap_or_default();
    put(directory, "proc/cmdline", &format!("{root}ro quiet\n"))?;
    let boot_id = uuid::Uuid::new_v4();
    put(directory, "proc/sys/kernel/random/boot_id", &format!("{boot_id}\n"))?;
    // What systemd-timesyncd makes once it has set the clock.
    put(directory, "run/systemd/timesync/synchronized", "")
}

/// Writes a file of the machine, and the directories above it.
pub(super) fn put(directory: &Path, name: &str, text: &str) -> Result<(), SimError> {
    let path = directory.join(name);
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).at("make", parent)?;
    }
    std::fs::write(&path, text).at("write", &path)
}

/// `/run` is in memory: empty at each boot, but for what systemd-tmpfiles makes.
pub(super) fn empty_run(directory: &Path) -> Result<(), SimError> {
    let run = directory.join("run");
    match std::fs::remove_dir_all(&run) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).at("empty", &run);
        }
        _ => {}
    }
    let own = run.join("flipside");
    std::fs::create_dir_all(&own).at("make", &own)
}

/// os-release(5).
fn os_release(image: &KnownImage) -> String {
    let quoted = |text: &str| {
        let mut out = String::from("\"");
        for c in text.chars().filter(|c| !c.is_control()) {
            if matches!(c, '"' | '\\' | '$' | '`') {
                out.push('\\');
            }
            out.push(c);
        }
        out.push('"');
        out
    };
    let pretty = format!("{} {}", image.name, image.version);
    [
        ("ID", &image.id),
        ("NAME", &image.name),
        ("VERSION_ID", &image.version),
        ("PRETTY_NAME", &pretty),
        ("VARIANT_ID", &image.variant),
    ]
    .iter()
    .map(|(key, value)| format!("{key}={}\n", quoted(value)))
    .collect()
}
