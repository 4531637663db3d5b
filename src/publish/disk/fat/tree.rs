// SPDX-License-Identifier: MIT OR Apache-2.0

//! Directories and files, and the clusters they get: directories first, then the files,
//! each in one piece.

use std::collections::BTreeSet;

use super::super::esp::EspFile;
use super::boot_sector;
use super::geometry::{Geometry, Kind};
use super::name::{ShortName, long_name_entries, short_name};

const ENTRY: u64 = 32;
/// What a directory has at least, in bytes: room for more than 40 names. One that has to grow is given
/// a cluster of whatever lay there before; where the power is cut before that is cleared, its
/// garbage counts as entries, and fsck may take other files' clusters for theirs.
const DIRECTORY_BYTES: u64 = 4096;
const VOLUME_LABEL: u8 = 0x08;
const DIRECTORY: u8 = 0x10;
const ARCHIVE: u8 = 0x20;
/// 1980-01-01, the first day there is (fatgen103, "Date and Time Formats").
const FIRST_DAY: u16 = 1 << 5 | 1;

/// A directory.
pub(super) struct Node<'a> {
    children: Vec<(&'a str, Child<'a>)>,
}

enum Child<'a> {
    Directory(Node<'a>),
    File(&'a EspFile),
}

/// What lies where, in bytes from the file system's start.
#[derive(Default)]
pub(super) struct Places<'a> {
    /// Clusters of each directory and file, in their order.
    pub chains: Vec<u64>,
    /// The sum of them.
    pub used: u64,
    pub directories: Vec<(u64, Vec<u8>)>,
    /// Where the last directory ends.
    pub directories_end: u64,
    pub files: Vec<(u64, &'a EspFile)>,
}

impl<'a> Node<'a> {
    /// The root directory of a file system with these files.
    pub(super) fn root(files: &'a [EspFile]) -> Self {
        let mut root = Self { children: Vec::new() };
        for file in files {
            root.insert(&file.path, file);
        }
        root
    }

    fn insert(&mut self, path: &'a str, file: &'a EspFile) {
        let Some((first, rest)) = path.split_once('/') else {
            self.children.push((path, Child::File(file)));
            return;
        };
        for (name, child) in &mut self.children {
            if let Child::Directory(node) = child
                && *name == first
            {
                return node.insert(rest, file);
            }
        }
        let mut node = Self { children: Vec::new() };
        node.insert(rest, file);
        self.children.push((first, Child::Directory(node)));
    }

    /// Places this root directory and everything in it.
    pub(super) fn place(&self, geometry: &Geometry) -> Places<'a> {
        let mut places = Places::default();
        let root = match geometry.kind {
            Kind::Fat32 => places.take(self.size(true), geometry),
            Kind::Fat12 | Kind::Fat16 => 0,
        };
        let firsts = self.place_directories(&mut places, geometry);
        places.directories_end = geometry.cluster(places.used + 2);
        self.encode(root, None, &firsts, &mut places, geometry);
        places
    }

    /// Its size in bytes, with room for more entries.
    fn size(&self, is_root: bool) -> u64 {
        let mut taken = BTreeSet::new();
        let named = |(name, _): &(&str, Child<'_>)| {
            long_name_entries(name, &short_name(name, &mut taken)).len() as u64 + ENTRY
        };
        // The root has the label, others have `.` and `..`.
        let own = if is_root { ENTRY } else { 2 * ENTRY };
        (own + self.children.iter().map(named).sum::<u64>()).max(DIRECTORY_BYTES)
    }

    /// Takes clusters for the directories below, depth first.
    fn place_directories(&self, places: &mut Places<'a>, geometry: &Geometry) -> Vec<Placed> {
        let mut placed = Vec::new();
        for (_, child) in &self.children {
            if let Child::Directory(node) = child {
                let first = places.take(node.size(false), geometry);
                placed.push(Placed { first, below: node.place_directories(places, geometry) });
            }
        }
        placed
    }

    /// Encodes the directory at cluster `own`, and places its files. `parent` is the
    /// cluster of the directory above, 0 for the root; the root has none.
    fn encode(
        &self,
        own: u64,
        parent: Option<u64>,
        placed: &[Placed],
        places: &mut Places<'a>,
        geometry: &Geometry,
    ) {
        let mut bytes = Vec::new();
        match parent {
            None => bytes.extend(entry(boot_sector::label(), VOLUME_LABEL, 0, 0)),
            Some(parent) => {
                bytes.extend(entry(b".          ", DIRECTORY, own, 0));
                bytes.extend(entry(b"..         ", DIRECTORY, parent, 0));
            }
        }
        // `..` of the root's children names cluster 0, wherever the root is.
        let own_name = if parent.is_none() { 0 } else { own };
        let mut taken = BTreeSet::new();
        let mut placed = placed.iter();
        for (name, child) in &self.children {
            let short = short_name(name, &mut taken);
            bytes.extend(long_name_entries(name, &short));
            match child {
                Child::File(file) => {
                    let size = file.contents.len() as u64;
                    let first = if size == 0 { 0 } else { places.take(size, geometry) };
                    places.files.push((geometry.cluster(first), file));
                    bytes.extend(entry(&short, ARCHIVE, first, size));
                }
                Child::Directory(node) => {
                    let Some(below) = placed.next() else { continue };
                    bytes.extend(entry(&short, DIRECTORY, below.first, 0));
                    node.encode(below.first, Some(own_name), &below.below, places, geometry);
                }
            }
        }
        let offset = if own == 0 { geometry.fixed_root() } else { geometry.cluster(own) };
        places.directories.push((offset, bytes));
    }
}

/// The clusters of a directory below another.
struct Placed {
    first: u64,
    below: Vec<Placed>,
}

impl Places<'_> {
    /// The first of as many clusters as `size` bytes take.
    fn take(&mut self, size: u64, geometry: &Geometry) -> u64 {
        let clusters = size.div_ceil(u64::from(geometry.cluster_size));
        let first = self.used + 2;
        self.chains.push(clusters);
        self.used += clusters;
        first
    }
}

/// A short entry (fatgen103, "FAT Directory Structure").
fn entry(name: &ShortName, attributes: u8, cluster: u64, size: u64) -> Vec<u8> {
    let [low, high] = [cluster & 0xffff, cluster >> 16 & 0xffff].map(|half| half as u16);
    let mut bytes = name.to_vec();
    bytes.extend([attributes, 0, 0]);
    let (time, date) = (0_u16, FIRST_DAY);
    for field in [time, date, date, high, time, date, low] {
        bytes.extend(field.to_le_bytes());
    }
    bytes.extend(u32::try_from(size).unwrap_or(u32::MAX).to_le_bytes());
    bytes
}
