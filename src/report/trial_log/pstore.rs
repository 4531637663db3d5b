// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a kernel said last before it died: pstore keeps it across the reboot, and
//! `systemd-pstore.service` moves it to the disk (systemd-pstore(8)).

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use flipside_core::host::Root;

/// Where the kernel offers it, and where systemd keeps it, in directories of its own.
const DIRECTORIES: [&str; 2] = ["/sys/fs/pstore", "/var/lib/systemd/pstore"];

/// How deep systemd's directories are.
const DEPTH: u32 = 2;

/// The most files that are looked at.
const FILES: usize = 64;

/// What was kept after `since`, `limit` bytes at most.
pub fn since(root: &Root, since: Timestamp, limit: usize) -> Vec<u8> {
    let mut files = Vec::new();
    for directory in DIRECTORIES {
        find(&root.path(directory), DEPTH, &mut files);
    }
    files.retain(|file| is_since(file, since));
    files.sort();
    let mut text = Vec::new();
    for file in files.iter().take(FILES) {
        let left = limit.saturating_sub(text.len());
        let opened = File::open(file);
        // What cannot be read tells nothing; there is no more to do about it.
        let _ = opened.and_then(|file| file.take(left as u64).read_to_end(&mut text));
        if !text.is_empty() && !text.ends_with(b"\n") && text.len() < limit {
            text.push(b'\n');
        }
    }
    text
}

fn find(directory: &Path, depth: u32, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = entry.file_name();
        let name = name.to_string_lossy();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && depth > 0 => find(&path, depth - 1, found),
            // Records that the kernel could not decompress end in `.enc.z`.
            Ok(kind) if kind.is_file() && name.starts_with("dmesg") && !name.ends_with(".z") => {
                found.push(path);
            }
            _ => {}
        }
    }
}

fn is_since(file: &Path, since: Timestamp) -> bool {
    let changed = std::fs::metadata(file).and_then(|metadata| metadata.modified());
    changed.ok().and_then(|time| Timestamp::try_from(time).ok()).is_some_and(|time| time > since)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_words_since_the_arming_are_found_where_kernel_and_systemd_put_them() {
        let directory = tempfile::tempdir().unwrap();
        let root = Root::new(directory.path());
        assert_eq!(since(&root, Timestamp::UNIX_EPOCH, 100), b"");
        for (path, text, second) in [
            ("sys/fs/pstore/dmesg-efi_pstore-2", "panic", 50),
            ("sys/fs/pstore/dmesg-efi_pstore-3.enc.z", "packed", 50),
            ("sys/fs/pstore/console-ramoops-0", "console", 50),
            ("var/lib/systemd/pstore/17/001/dmesg.txt", "oops\n", 50),
            ("var/lib/systemd/pstore/16/dmesg.txt", "another trial's", 10),
        ] {
            let path = root.path(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
            let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(second);
            File::options().append(true).open(&path).unwrap().set_modified(time).unwrap();
        }
        let armed = Timestamp::from_second(20).unwrap();
        assert_eq!(since(&root, armed, 100), b"panic\noops\n");
        assert_eq!(since(&root, armed, 7), b"panic\no");
    }
}
