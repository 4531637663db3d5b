// SPDX-License-Identifier: MIT OR Apache-2.0

//! Where the running OS says what it is called (os-release(5)).

pub use flipside_image::os_release::OsRelease;

use super::Root;

/// Where it stands, the first that exists.
const FILES: [&str; 2] = ["/etc/os-release", "/usr/lib/os-release"];
/// More than any such file has, in bytes.
const LIMIT: u64 = 64 << 10;

/// Reads the file of the host below `root`. Names are for people: what is missing or cannot be read
/// has a default.
pub fn read(root: &Root) -> OsRelease {
    let text = FILES.iter().find_map(|file| {
        let path = root.path(file);
        let size = std::fs::metadata(&path).ok()?.len();
        if size > LIMIT {
            return None;
        }
        std::fs::read(path).ok()
    });
    OsRelease::parse(&String::from_utf8_lossy(&text.unwrap_or_default()))
}
