// SPDX-License-Identifier: MIT OR Apache-2.0

//! A pair from this machine's `/usr`, for those who have no Debian mirror or no time: in version 2 a
//! tenth of the files are longer by a block, which moves everything behind them.

use std::fs::File;
use std::io::{BufWriter, Read as _, Write as _};
use std::path::{Path, PathBuf};

use crate::bed::MIB;
use crate::pair::Pair;

/// The size of both, in bytes.
const SIZE: u64 = 600 * MIB;
/// One file of so many is changed.
const CHANGED: usize = 10;

const BLOCK: usize = 4096;

pub fn pair(directory: &Path) -> Pair {
    let file = |name| directory.join(name);
    let pair = Pair { name: "/usr", old: file("usr-1.img"), new: file("usr-2.img") };
    for (path, is_new) in [(&pair.old, false), (&pair.new, true)] {
        if path.metadata().map_or(0, |metadata| metadata.len()) != SIZE {
            fill(path, SIZE, is_new);
        }
    }
    pair
}

/// The files below `/usr` in the order of their names, each from a new block, as a file system image
/// has them.
fn fill(path: &Path, size: u64, is_new: bool) {
    let mut output = BufWriter::new(File::create(path).unwrap());
    let mut left = size;
    for (nth, file) in files().enumerate() {
        let mut bytes = Vec::new();
        let Ok(file) = File::open(&file) else { continue };
        file.take(left).read_to_end(&mut bytes).unwrap();
        if is_new && nth.is_multiple_of(CHANGED) {
            let middle = bytes.len() / 2;
            bytes.splice(middle..middle, block(nth as u64));
        }
        bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
        bytes.truncate(left as usize);
        output.write_all(&bytes).unwrap();
        left -= bytes.len() as u64;
        if left == 0 {
            break;
        }
    }
    assert_eq!(left, 0, "/usr is too small for a payload of {size} bytes");
    output.flush().unwrap();
}

/// All files below `/usr`, in order.
fn files() -> impl Iterator<Item = PathBuf> {
    let mut waiting = vec![PathBuf::from("/usr")];
    std::iter::from_fn(move || {
        loop {
            let next = waiting.pop()?;
            let Ok(metadata) = next.symlink_metadata() else { continue };
            if metadata.is_dir() {
                let entries = std::fs::read_dir(&next).into_iter().flatten().flatten();
                let mut entries: Vec<_> = entries.map(|entry| entry.path()).collect();
                entries.sort_by(|a, b| b.cmp(a));
                waiting.extend(entries);
            } else if metadata.is_file() {
                return Some(next);
            }
        }
    })
}

/// A block that nothing compresses.
pub fn block(seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..BLOCK / 8).flat_map(|_| next()).collect()
}
