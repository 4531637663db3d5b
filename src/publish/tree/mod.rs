// SPDX-License-Identifier: MIT OR Apache-2.0

//! A root file system in memory: names, owners and modes, with the bytes of files where they were
//! found. A name cannot lead out of it, whatever an archive says.
//!
//! - [`directory`], [`layers`]: where it comes from
//! - [`tidy`], [`state`], [`root`]: what is taken out and added, so that a host can boot it
//! - [`kernel`], [`boot_file`], [`erofs`]: what is made of it
//! - [`build`]: all of that in order

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

pub mod boot_file;
pub mod build;
pub mod directory;
pub mod erofs;
pub mod kernel;
pub mod layers;
pub mod root;
pub mod state;
pub mod tidy;
mod unpack;

/// The most symbolic links that one name leads through, as the kernel has it (path_resolution(7)).
const LINKS: usize = 40;
/// The longest name of a file, in bytes (`NAME_MAX`), and of all of a path (`PATH_MAX`).
const NAME_LIMIT: usize = 255;
const PATH_LIMIT: usize = 4095;

/// Where something is in the tree, without `/` at its start: the root is empty.
pub type Name = Vec<u8>;

/// A root file system.
#[derive(Debug)]
pub struct Tree {
    names: BTreeMap<Name, usize>,
    inodes: Vec<Inode>,
}

/// A file, directory or link, which may have several names.
#[derive(Debug, Clone)]
pub struct Inode {
    /// What it is.
    pub kind: Kind,
    /// Who may do what: the lower 12 bits of `st_mode` (inode(7)).
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// When it was changed last, in seconds since 1970.
    pub mtime: i64,
    /// Extended attributes (xattr(7)).
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// What an inode is.
#[derive(Debug, Clone)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A regular file.
    File(Content),
    /// A symbolic link, and where it leads.
    Link(Vec<u8>),
    /// A FIFO.
    Fifo,
}

/// The bytes of a file.
#[derive(Debug, Clone)]
pub enum Content {
    /// Themselves.
    Bytes(Vec<u8>),
    /// A file on this machine.
    Path(PathBuf),
    /// A part of an open file.
    Part {
        /// The file.
        file: Arc<File>,
        /// Where it begins, in bytes.
        offset: u64,
        /// How many bytes it has.
        length: u64,
    },
}

/// Why a name cannot be in a tree.
#[derive(Debug, thiserror::Error)]
pub enum NameError {
    /// It would lead out of the tree.
    #[error("the name {0:?} has the part `..`")]
    Upward(String),
    /// No file system takes it.
    #[error("the name {0:?} is too long")]
    TooLong(String),
    /// Its directory is none.
    #[error("{0:?} lies in what is no directory")]
    NoDirectory(String),
    /// A hard link to what is not there.
    #[error("{0:?} is a hard link to {1:?}, which is no file")]
    NoTarget(String, String),
}

impl Inode {
    /// Of the system's own: root's, as old as can be.
    pub fn new(kind: Kind, mode: u32) -> Self {
        Self { kind, mode, uid: 0, gid: 0, mtime: 0, xattrs: BTreeMap::new() }
    }

    /// A directory of the system's own.
    pub fn directory(mode: u32) -> Self {
        Self::new(Kind::Directory, mode)
    }

    /// A file of the system's own that everybody may read.
    pub fn text(text: impl Into<Vec<u8>>) -> Self {
        Self::new(Kind::File(Content::Bytes(text.into())), 0o644)
    }

    /// Whether it is a directory.
    pub fn is_directory(&self) -> bool {
        matches!(self.kind, Kind::Directory)
    }
}

impl Default for Tree {
    fn default() -> Self {
        let names = BTreeMap::from([(Name::new(), 0)]);
        Self { names, inodes: vec![Inode::directory(0o755)] }
    }
}

impl Tree {
    /// What stands under `name`, itself: a link is not followed.
    pub fn get(&self, name: &[u8]) -> Option<&Inode> {
        self.names.get(name).and_then(|inode| self.inodes.get(*inode))
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, name: &[u8]) -> Option<&mut Inode> {
        self.names.get(name).and_then(|inode| self.inodes.get_mut(*inode))
    }

    /// The name that `name` leads to through symbolic links; `None` where there is nothing.
    pub fn resolve(&self, name: &[u8]) -> Option<Name> {
        self.follow(name).filter(|name| self.names.contains_key(name))
    }

    /// What `name` leads to.
    pub fn find(&self, name: &str) -> Option<&Inode> {
        self.get(&self.resolve(name.as_bytes())?)
    }

    /// Where `name` leads, whether or not its last part is there; `None` where a part before is no
    /// directory, or for links that lead in a circle.
    fn follow(&self, name: &[u8]) -> Option<Name> {
        let mut left: Vec<Vec<u8>> = reversed(name);
        let mut at = Name::new();
        let mut links = 0;
        while let Some(part) = left.pop() {
            match part.as_slice() {
                b"" | b"." => continue,
                // The directory above the root is the root.
                b".." => at = directory_of(&at).to_vec(),
                part => {
                    let next = join(&at, part);
                    match self.get(&next).map(|inode| &inode.kind) {
                        Some(Kind::Link(target)) => {
                            links += 1;
                            if links > LINKS {
                                return None;
                            }
                            if target.starts_with(b"/") {
                                at = Name::new();
                            }
                            left.extend(reversed(target));
                        }
                        Some(Kind::Directory) => at = next,
                        _ if left.is_empty() => return Some(next),
                        _ => return None,
                    }
                }
            }
        }
        Some(at)
    }

    /// Puts `inode` under `name`, as an archive is unpacked: through links that stand for
    /// directories, and in place of what stands there. A directory keeps what is in it.
    ///
    /// # Errors
    /// [`NameError`].
    pub fn put(&mut self, name: &[u8], inode: Inode) -> Result<Name, NameError> {
        let name = self.place(name)?;
        if name.is_empty() {
            // The root stays a directory.
            if inode.is_directory()
                && let Some(root) = self.inodes.first_mut()
            {
                *root = inode;
            }
            return Ok(name);
        }
        if !(inode.is_directory() && self.get(&name).is_some_and(Inode::is_directory)) {
            self.remove(&name);
        }
        self.names.insert(name.clone(), self.inodes.len());
        self.inodes.push(inode);
        Ok(name)
    }

    /// Gives what stands under `target` another name.
    ///
    /// # Errors
    /// [`NameError`].
    pub fn link(&mut self, name: &[u8], target: &[u8]) -> Result<Name, NameError> {
        let place = self.place(target)?;
        let no_target = || NameError::NoTarget(shown(name), shown(target));
        let inode = *self.names.get(&place).ok_or_else(no_target)?;
        if self.get(&place).is_none_or(Inode::is_directory) {
            return Err(no_target());
        }
        let name = self.place(name)?;
        if name != place {
            self.remove(&name);
            self.names.insert(name.clone(), inode);
        }
        Ok(name)
    }

    /// Where `name` is to stand. Directories that are missing are made.
    fn place(&mut self, name: &[u8]) -> Result<Name, NameError> {
        let parts = parts(name)?;
        let Some((last, above)) = parts.split_last() else { return Ok(Name::new()) };
        let mut at = Name::new();
        for part in above {
            let next = join(&at, part);
            if self.get(&next).is_none() {
                self.names.insert(next.clone(), self.inodes.len());
                self.inodes.push(Inode::directory(0o755));
            }
            let found = self.resolve(&next);
            let is_directory = |name: &Name| self.get(name).is_some_and(Inode::is_directory);
            at = found.filter(is_directory).ok_or_else(|| NameError::NoDirectory(shown(name)))?;
        }
        let place = join(&at, last);
        if place.len() > PATH_LIMIT { Err(NameError::TooLong(shown(name))) } else { Ok(place) }
    }

    /// Takes out what stands under `name`, and all below it.
    pub fn remove(&mut self, name: &[u8]) {
        for name in self.below(name) {
            self.names.remove(&name);
        }
        if !name.is_empty() {
            self.names.remove(name);
        }
    }

    /// Every name below `name`, in order.
    pub fn below(&self, name: &[u8]) -> Vec<Name> {
        // `0` follows `/`.
        let (start, end) = match name {
            [] => (vec![0], None),
            name => ([name, b"/"].concat(), Some([name, b"0"].concat())),
        };
        let from = self.names.range(start..).map(|(name, _)| name);
        from.take_while(|name| end.as_ref().is_none_or(|end| *name < end)).cloned().collect()
    }

    /// The names directly in the directory `name`.
    pub fn children(&self, name: &[u8]) -> Vec<Name> {
        self.below(name).into_iter().filter(|below| directory_of(below) == name).collect()
    }

    /// Every name with its inode's number and its inode, directories before what is in them.
    pub fn all(&self) -> impl Iterator<Item = (&Name, usize, &Inode)> {
        self.names.iter().filter_map(|(name, number)| {
            self.inodes.get(*number).map(|inode| (name, *number, inode))
        })
    }

    /// When something in it was changed last, in seconds since 1970.
    pub fn newest(&self) -> i64 {
        self.inodes.iter().map(|inode| inode.mtime).max().unwrap_or(0)
    }

    /// No time is later than `seconds` since 1970.
    pub(super) fn clamp_times(&mut self, seconds: i64) {
        for inode in &mut self.inodes {
            inode.mtime = inode.mtime.min(seconds);
        }
    }
}

/// The parts of a name as archives have them: `./a//b/` is `a` and `b`.
fn parts(name: &[u8]) -> Result<Vec<&[u8]>, NameError> {
    let parts: Vec<&[u8]> =
        name.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b".")).collect();
    if parts.contains(&&b".."[..]) {
        return Err(NameError::Upward(shown(name)));
    }
    if parts.iter().any(|part| part.len() > NAME_LIMIT) {
        return Err(NameError::TooLong(shown(name)));
    }
    Ok(parts)
}

/// The parts of a name, the last one first.
fn reversed(name: &[u8]) -> Vec<Vec<u8>> {
    name.split(|byte| *byte == b'/').rev().map(<[u8]>::to_vec).collect()
}

pub(super) fn join(directory: &[u8], name: &[u8]) -> Name {
    if directory.is_empty() { name.to_vec() } else { [directory, b"/", name].concat() }
}

/// The directory that `name` stands in; the root's is the root.
pub(super) fn directory_of(name: &[u8]) -> &[u8] {
    name.iter().rposition(|byte| *byte == b'/').and_then(|at| name.get(..at)).unwrap_or_default()
}

/// The last part of a name.
pub(super) fn base_of(name: &[u8]) -> &[u8] {
    name.rsplit(|byte| *byte == b'/').next().unwrap_or_default()
}

/// For people.
pub(super) fn shown(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(target: &str) -> Inode {
        Inode::new(Kind::Link(target.into()), 0o777)
    }

    #[test]
    fn no_name_leads_out_of_the_tree() {
        let mut tree = Tree::default();
        for name in ["../a", "a/../../b", "/..", "a/.."] {
            assert!(matches!(
                tree.put(name.as_bytes(), Inode::text("x")),
                Err(NameError::Upward(_))
            ));
        }
        tree.put(b"up", link("../../..")).unwrap();
        tree.put(b"etc-link", link("/etc")).unwrap();
        tree.put(b"etc", Inode::directory(0o755)).unwrap();
        assert_eq!(tree.put(b"up/a", Inode::text("x")).unwrap(), b"a");
        assert_eq!(tree.put(b"/etc-link/b", Inode::text("x")).unwrap(), b"etc/b");
        tree.put(b"circle", link("circle")).unwrap();
        for name in ["circle/a", "a/b"] {
            let put = tree.put(name.as_bytes(), Inode::text("x"));
            assert!(matches!(put, Err(NameError::NoDirectory(_))), "{name}");
        }
        let long = [b'a'; NAME_LIMIT + 1];
        assert!(matches!(tree.put(&long, Inode::text("x")), Err(NameError::TooLong(_))));
        assert!(tree.put(&long[1..], Inode::text("x")).is_ok());
    }

    #[test]
    fn what_is_below_a_name_is_not_what_begins_like_it() {
        let mut tree = Tree::default();
        for name in ["a/b/c", "a-b", "a/b-c", "a0", "b"] {
            tree.put(name.as_bytes(), Inode::text("x")).unwrap();
        }
        assert_eq!(tree.below(b"a"), [&b"a/b"[..], b"a/b-c", b"a/b/c"]);
        assert_eq!(tree.children(b"a"), [&b"a/b"[..], b"a/b-c"]);
        assert_eq!(tree.children(b""), [&b"a"[..], b"a-b", b"a0", b"b"]);
        tree.remove(b"a");
        assert_eq!(tree.below(b""), [&b"a-b"[..], b"a0", b"b"]);
    }

    #[test]
    fn a_directory_keeps_what_is_in_it_and_a_file_takes_its_place() {
        let mut tree = Tree::default();
        tree.put(b"a/b", Inode::text("x")).unwrap();
        tree.put(b"a", Inode::directory(0o700)).unwrap();
        assert_eq!(tree.get(b"a").unwrap().mode, 0o700);
        assert!(tree.get(b"a/b").is_some());
        tree.put(b"a", Inode::text("x")).unwrap();
        assert!(tree.get(b"a/b").is_none() && !tree.get(b"a").unwrap().is_directory());
        tree.put(b".", Inode::directory(0o711)).unwrap();
        tree.put(b"/", Inode::text("no")).unwrap();
        assert_eq!(tree.get(b"").unwrap().mode, 0o711);
    }

    #[test]
    fn names_of_one_file_share_it() {
        let mut tree = Tree::default();
        tree.put(b"usr/lib/x", Inode::text("x")).unwrap();
        tree.put(b"lib", link("usr/lib")).unwrap();
        assert_eq!(tree.link(b"y", b"lib/x").unwrap(), b"y");
        tree.get_mut(b"y").unwrap().mode = 0o600;
        assert_eq!(tree.get(b"usr/lib/x").unwrap().mode, 0o600);
        tree.link(b"y", b"y").unwrap();
        for target in ["usr", "no", "y/z", "../y"] {
            assert!(tree.link(b"z", target.as_bytes()).is_err(), "{target}");
        }
        assert!(tree.find("/lib/../lib/x").is_some());
        assert!(tree.find("lib/x/y").is_none());
    }
}
