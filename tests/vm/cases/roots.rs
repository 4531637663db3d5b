// SPDX-License-Identifier: MIT OR Apache-2.0

//! Which slot runs, on roots of every kind, on a real kernel.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::expect::text;
use crate::lab::Bench;
use crate::machine::Machine;
use crate::minimal;

const SCRIPT: &str = include_str!("../minimal/roots");

/// What stands there, and whether the kernel still tells what is behind it.
const KINDS: [(&str, bool); 6] = [
    ("plain", true),
    ("overlay", true),
    ("overlay-hidden", false),
    ("volatile", true),
    ("loop", true),
    ("verity", true),
];

pub fn run(bench: &Bench<'_>) -> Result<()> {
    let (image, verity) = minimal::with_root(bench.lab)?;
    let mut machine = Machine::minimal(bench, &image, "64MiB", &bench.settings(""))?;
    machine.start()?;
    machine.run(&format!("cat >/run/roots <<'END'\n{SCRIPT}\nEND"))?;
    for (kind, is_behind) in KINDS {
        // Each in a mount name space of its own.
        let status = machine.run(&format!(
            "unshare -m sh -c 'mount --make-rprivate / && exec sh /run/roots {kind} \"{verity}\"'"
        ))?;
        let status: Value =
            serde_json::from_str(&status).with_context(|| format!("{kind}: {status}"))?;
        let slot = text(&status, "/running/slot");
        ensure!(slot == "a", "{kind}: slot {slot:?} runs: {status}");
        let fact = text(&status, "/running/evidence/0");
        let names = fact.starts_with("the device behind /") && fact.contains("vda2 (system-a)");
        ensure!(names == is_behind, "{kind}: it is known by {fact:?}");
        // It goes with its name space; what it stood on would keep the partition busy.
        machine.run("losetup -d /dev/loop0 2>/dev/null; true")?;
    }
    Ok(())
}
