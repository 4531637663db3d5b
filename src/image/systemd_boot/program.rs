// SPDX-License-Identifier: MIT OR Apache-2.0

//! Which systemd-boot a program is.

use crate::version;

/// What systemd-boot says of itself in its section `.sdmagic` (boot.c, "Magic string for
/// recognizing our own binaries"); `bootctl` looks for it in the same way.
const MAGIC: &[u8] = b"#### LoaderInfo: systemd-boot ";
const MAGIC_END: &[u8] = b" ####";

/// The version of the systemd-boot that a program is; `None` where it is something else.
pub fn systemd_boot_version(program: &[u8]) -> Option<String> {
    let at = program.windows(MAGIC.len()).position(|window| window == MAGIC)?;
    let rest = program.get(at.saturating_add(MAGIC.len())..)?;
    let end = rest.windows(MAGIC_END.len()).take(100).position(|window| window == MAGIC_END)?;
    let version = std::str::from_utf8(rest.get(..end)?).ok()?;
    (!version.is_empty() && !version.contains(char::is_control)).then(|| version.to_owned())
}

/// Whether systemd-boot `new` is newer than `old`.
pub fn is_newer(new: &str, old: &str) -> bool {
    version::is_below(old, new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systemd_boot_is_known_by_its_magic() {
        for (program, expected) in [
            (
                "MZ....#### LoaderInfo: systemd-boot 252.39-1~deb12u2 ####..",
                Some("252.39-1~deb12u2"),
            ),
            ("#### LoaderInfo: systemd-boot 257 ####", Some("257")),
            ("#### LoaderInfo: systemd-stub 252 ####", None),
            ("#### LoaderInfo: systemd-boot 252", None),
            ("#### LoaderInfo: systemd-boot  ####", None),
            ("MZ shim", None),
            ("", None),
        ] {
            let version = systemd_boot_version(program.as_bytes());
            assert_eq!(version.as_deref(), expected, "{program}");
        }
    }

    #[test]
    fn versions_are_ordered_as_systemd_orders_them() {
        for (new, old, expected) in [
            ("257", "252", true),
            ("252.39-1~deb12u2", "252.38-1~deb12u1", true),
            ("252.39-1", "252.39-1~deb12u2", true),
            ("252.39-1~deb12u2", "252.39-1~deb12u2", false),
            ("252.9", "252.39", false),
            ("258~rc1-1", "257.9-1", true),
            ("258~rc1-1", "258-1", false),
            ("258.1", "258", true),
            ("0257", "257", false),
            ("", "252", false),
            ("252", "", true),
        ] {
            assert_eq!(is_newer(new, old), expected, "{new} {old}");
        }
    }
}
