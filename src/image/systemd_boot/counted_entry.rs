// SPDX-License-Identifier: MIT OR Apache-2.0

//! Entries whose tries are counted in the names of their files, `+LEFT-DONE` before the suffix (Boot
//! Loader Specification, "Boot counting").

/// The tries left in the name of an entry of the slot with this letter; `None` for every other name.
pub fn tries_left(name: &str, slot: char) -> Option<u32> {
    let name = name.to_ascii_lowercase();
    let count = name.strip_prefix(&format!("flipside-{slot}+"))?;
    let (left, done) = match count.strip_suffix(".conf")?.split_once('-') {
        Some((left, done)) => (left, done),
        None => (count.strip_suffix(".conf")?, "0"),
    };
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    (is_number(left) && is_number(done)).then(|| left.parse().unwrap_or(u32::MAX))
}

/// Whether an entry starts the program at `path`.
pub fn starts(entry: &[u8], path: &str) -> bool {
    let text = String::from_utf8_lossy(entry);
    text.lines().filter_map(|line| line.trim().split_once([' ', '\t'])).any(|(key, value)| {
        matches!(key, "linux" | "efi") && value.trim().eq_ignore_ascii_case(path)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries_are_read_from_the_name_as_systemd_boot_reads_them() {
        for (name, expected) in [
            ("flipside-b+1.conf", Some(1)),
            ("flipside-b+0-1.conf", Some(0)),
            ("flipside-b+2-0.conf", Some(2)),
            ("FLIPSIDE-B+3.CONF", Some(3)),
            ("flipside-b+99999999999.conf", Some(u32::MAX)),
            ("flipside-b.conf", None),
            ("flipside-a+1.conf", None),
            ("flipside-b+.conf", None),
            ("flipside-b+1-.conf", None),
            ("flipside-b+1x.conf", None),
            ("flipside-b+-1.conf", None),
            ("flipside-b+1.conf.old", None),
            ("flipside-bb+1.conf", None),
        ] {
            assert_eq!(tries_left(name, 'b'), expected, "{name}");
        }
    }
}
