// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a hook may do as a unit of systemd, as properties of the unit (org.freedesktop.systemd1(5),
//! systemd.exec(5), systemd.resource-control(5)). `docs/hooks.md` says what for.

use std::time::Duration;

use zbus::Variant;

use super::GRACE;
use super::program::{Limits, Sandbox};

/// Names of properties and their values.
pub(super) type Properties<'a> = Vec<(&'static str, Variant<'a>)>;

/// The most processes and threads.
const TASKS: u64 = 256;

/// `CAP_DAC_OVERRIDE` and `CAP_DAC_READ_SEARCH` (capabilities(7)): to read what is another user's,
/// and to speak to services over their sockets.
const CAPABILITIES: u64 = 1 << 1 | 1 << 2;

const EPERM: i32 = nix::errno::Errno::EPERM as i32;

/// The unit's properties, apart from what runs in it.
pub(super) fn properties(sandbox: Sandbox, limits: &Limits) -> Properties<'static> {
    let mut all = limited(limits);
    all.extend(match sandbox {
        Sandbox::Closed => closed(),
        Sandbox::Delegated => vec![("Delegate", Variant::from(true))],
    });
    all
}

fn limited(limits: &Limits) -> Properties<'static> {
    let microseconds =
        |time: Duration| Variant::from(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    vec![
        ("Type", Variant::from("exec")),
        // It stays for us to ask how it ended, and for nobody else.
        ("AddRef", Variant::from(true)),
        ("CollectMode", Variant::from("inactive-or-failed")),
        // Where we are gone and do not stop it.
        ("RuntimeMaxUSec", microseconds(limits.timeout.saturating_add(GRACE))),
        ("TimeoutStopUSec", microseconds(GRACE)),
        ("OOMPolicy", Variant::from("kill")),
        ("MemoryMax", Variant::from(limits.memory)),
        ("MemorySwapMax", Variant::from(0_u64)),
        ("TasksMax", Variant::from(TASKS)),
        ("LimitCORE", Variant::from(0_u64)),
        // As flipside-update.service: what else runs on the host comes first.
        ("CPUWeight", Variant::from(20_u64)),
        ("IOWeight", Variant::from(20_u64)),
        ("Nice", Variant::from(10_i32)),
    ]
}

fn closed() -> Properties<'static> {
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let families = texts(&["AF_UNIX", "AF_INET", "AF_INET6", "AF_NETLINK"]);
    vec![
        ("NoNewPrivileges", Variant::from(true)),
        ("CapabilityBoundingSet", Variant::from(CAPABILITIES)),
        // Everything, the ESP and the firmware's variables too.
        ("ProtectSystem", Variant::from("strict")),
        // Which that leaves out.
        ("ReadOnlyPaths", Variant::from(texts(&["-/run"]))),
        ("ProtectHome", Variant::from("read-only")),
        ("ProtectKernelTunables", Variant::from(true)),
        ("ProtectControlGroups", Variant::from(true)),
        ("PrivateTmp", Variant::from(true)),
        // No disk behind the file systems' back.
        ("PrivateDevices", Variant::from(true)),
        ("ProtectKernelModules", Variant::from(true)),
        ("ProtectKernelLogs", Variant::from(true)),
        ("ProtectClock", Variant::from(true)),
        ("ProtectHostname", Variant::from(true)),
        ("RestrictAddressFamilies", Variant::from((true, families))),
        ("RestrictNamespaces", Variant::from(0_u64)),
        ("RestrictRealtime", Variant::from(true)),
        ("RestrictSUIDSGID", Variant::from(true)),
        ("LockPersonality", Variant::from(true)),
        ("KeyringMode", Variant::from("private")),
        ("SystemCallFilter", Variant::from((true, texts(&["@system-service"])))),
        ("SystemCallErrorNumber", Variant::from(EPERM)),
        ("SystemCallArchitectures", Variant::from(texts(&["native"]))),
        ("UMask", Variant::from(0o077_u32)),
    ]
}
