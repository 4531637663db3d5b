// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a power cut may leave: a file system in memory that knows which effects of a log
//! are durable and which may be lost.
//!
//! fsync of a file covers that inode's bytes and length, never its name; names are covered
//! by their directory's fsync. What no fsync covered may have reached the medium or not,
//! each effect by itself, writes torn at sectors. Firmware variables are durable at once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::recorder::Op;

/// Writes tear here, in bytes.
pub const SECTOR: u64 = 512;

type Inode = usize;

/// A directory tree: files with contents, and directories.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tree {
    names: BTreeMap<PathBuf, Option<Inode>>,
    contents: BTreeMap<Inode, std::sync::Arc<Vec<u8>>>,
    next: Inode,
}

impl Tree {
    /// Reads all below `root`.
    pub fn read(root: &Path) -> Self {
        let mut tree = Self::default();
        tree.read_below(root, Path::new(""));
        tree
    }

    fn read_below(&mut self, root: &Path, below: &Path) {
        for entry in std::fs::read_dir(root.join(below)).unwrap() {
            let entry = entry.unwrap();
            let path = below.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                self.names.insert(path.clone(), None);
                self.read_below(root, &path);
            } else {
                let bytes = std::fs::read(root.join(&path)).unwrap();
                self.put(path, bytes);
            }
        }
    }

    fn put(&mut self, path: PathBuf, bytes: Vec<u8>) -> Inode {
        let inode = self.next;
        self.next += 1;
        self.names.insert(path, Some(inode));
        self.contents.insert(inode, bytes.into());
        inode
    }

    /// `None` also where a mutated log names a file before it was made.
    fn inode(&self, path: &Path) -> Option<Inode> {
        *self.names.get(path)?
    }

    /// The bytes of a file.
    pub fn file(&self, path: impl AsRef<Path>) -> Option<&[u8]> {
        Some(&self.contents[&self.inode(path.as_ref())?])
    }

    /// Puts other bytes into a file, from `at`.
    pub fn overwrite(&mut self, path: &str, at: usize, bytes: &[u8]) {
        let inode = self.inode(Path::new(path)).unwrap();
        let content = std::sync::Arc::make_mut(self.contents.get_mut(&inode).unwrap());
        content[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// The names below `directory`.
    pub fn below<'a>(&'a self, directory: &'a str) -> impl Iterator<Item = &'a Path> {
        self.names.keys().map(PathBuf::as_path).filter(move |path| path.starts_with(directory))
    }

    /// Names and contents without inode numbers, leaving out what `ignored` says.
    pub fn flat(&self, ignored: impl Fn(&Path) -> bool) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
        let mut flat = BTreeMap::new();
        for (path, inode) in &self.names {
            if !ignored(path) {
                let bytes = inode.map(|inode| self.contents[&inode].to_vec());
                flat.insert(path.clone(), bytes);
            }
        }
        flat
    }

    /// Writes the tree to `root`, which is made anew.
    pub fn write(&self, root: &Path) {
        if root.exists() {
            std::fs::remove_dir_all(root).unwrap();
        }
        std::fs::create_dir_all(root).unwrap();
        for (path, inode) in &self.names {
            match inode {
                None => std::fs::create_dir_all(root.join(path)).unwrap(),
                Some(inode) => {
                    if let Some(parent) = root.join(path).parent() {
                        std::fs::create_dir_all(parent).unwrap();
                    }
                    write_sparse(&root.join(path), &self.contents[inode]);
                }
            }
        }
    }
}

fn write_sparse(path: &Path, bytes: &[u8]) {
    use std::os::unix::fs::FileExt as _;
    const PIECE: usize = 64 << 10;
    if bytes.len() <= PIECE {
        std::fs::write(path, bytes).unwrap();
        return;
    }
    let file = std::fs::File::create(path).unwrap();
    file.set_len(bytes.len() as u64).unwrap();
    for (index, piece) in bytes.chunks(PIECE).enumerate() {
        if piece.iter().any(|byte| *byte != 0) {
            file.write_all_at(piece, (index * PIECE) as u64).unwrap();
        }
    }
}

/// What an op does to names or to bytes.
#[derive(Debug, Clone)]
enum Effect {
    Link(PathBuf, Option<Inode>),
    Unlink(PathBuf),
    Rename(PathBuf, PathBuf),
    Write(Inode, u64, Vec<u8>),
    SetLength(Inode, u64),
    Variable(PathBuf, Option<Vec<u8>>),
}

#[derive(Debug, Clone)]
struct Pending {
    effect: Effect,
    /// The op that caused it.
    caused_by: usize,
    /// The op after which it is durable.
    durable_with: Option<usize>,
}

/// A log, understood: which op made which effect durable.
#[derive(Debug, Clone)]
pub struct Model {
    base: Tree,
    effects: Vec<Pending>,
    length: usize,
}

/// Decides what of the pending effects reached the medium.
pub trait Fate {
    /// Whether an effect on names, or a new length, did.
    fn survives(&mut self) -> bool;
    /// Which of `sectors` sectors of a write did.
    fn torn(&mut self, sectors: usize) -> Vec<bool> {
        vec![self.survives(); sectors]
    }
}

/// All that is pending is lost, or nothing.
pub struct Every(pub bool);

impl Fate for Every {
    fn survives(&mut self) -> bool {
        self.0
    }
}

/// A coin for each effect and each sector (xorshift64*).
pub struct Coin(pub u64);

impl Coin {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }
}

impl Fate for Coin {
    fn survives(&mut self) -> bool {
        self.next() >> 63 == 1
    }

    fn torn(&mut self, sectors: usize) -> Vec<bool> {
        match self.next() >> 62 {
            0 => vec![false; sectors],
            1 => vec![true; sectors],
            _ => (0..sectors).map(|_| self.survives()).collect(),
        }
    }
}

impl Model {
    /// Understands `log`, which began on `base`.
    pub fn new(base: Tree, log: &[Op]) -> Self {
        let mut live = base.clone();
        let mut effects: Vec<Pending> = Vec::new();
        for (at, op) in log.iter().enumerate() {
            let mut cause = |effect| {
                effects.push(Pending { effect, caused_by: at, durable_with: None });
            };
            match op {
                Op::Phase(_) | Op::CreateUnnamed(_) => {}
                Op::MakeDirectory(path) => {
                    live.names.insert(path.clone(), None);
                    cause(Effect::Link(path.clone(), None));
                }
                Op::Create(path) => match live.names.get(path) {
                    Some(Some(inode)) => cause(Effect::SetLength(*inode, 0)),
                    _ => {
                        let inode = live.put(path.clone(), Vec::new());
                        cause(Effect::Link(path.clone(), Some(inode)));
                    }
                },
                Op::SetLength(path, length) => {
                    if let Some(inode) = live.inode(path) {
                        cause(Effect::SetLength(inode, *length));
                    }
                }
                Op::Write(path, offset, bytes) => {
                    if let Some(inode) = live.inode(path) {
                        cause(Effect::Write(inode, *offset, bytes.clone()));
                    }
                }
                Op::Unlink(path) => {
                    live.names.remove(path);
                    cause(Effect::Unlink(path.clone()));
                }
                Op::Rename(from, to) => {
                    if let Some(node) = live.names.remove(from) {
                        live.names.insert(to.clone(), node);
                    }
                    cause(Effect::Rename(from.clone(), to.clone()));
                }
                Op::SetVariable(path, bytes) => {
                    cause(Effect::Variable(path.clone(), Some(bytes.clone())));
                }
                Op::RemoveVariable(path) => cause(Effect::Variable(path.clone(), None)),
                Op::Sync(path) => {
                    let inode = live.inode(path);
                    cover(&mut effects, at, |e| match e {
                        Effect::Write(i, ..) | Effect::SetLength(i, _) => Some(*i) == inode,
                        _ => false,
                    });
                }
                Op::SyncDirectory(directory) => cover(&mut effects, at, |e| match e {
                    Effect::Link(path, _) | Effect::Unlink(path) | Effect::Rename(path, _) => {
                        path.parent() == Some(directory)
                    }
                    _ => false,
                }),
            }
            if let Some(Pending { effect: Effect::Variable(..), durable_with, .. }) =
                effects.last_mut()
            {
                durable_with.get_or_insert(at);
            }
        }
        Self { base, effects, length: log.len() }
    }

    /// The number of ops in the log.
    pub fn len(&self) -> usize {
        self.length
    }

    /// What stands on the medium after a cut behind the first `ops` ops.
    pub fn cut(&self, ops: usize, fate: &mut dyn Fate) -> Tree {
        let mut tree = self.base.clone();
        for pending in self.effects.iter().take_while(|p| p.caused_by < ops) {
            let durable = pending.durable_with.is_some_and(|sync| sync < ops);
            apply(&mut tree, &pending.effect, durable, fate);
        }
        tree
    }

    /// The ops whose effects are not durable after the first `ops` ops.
    pub fn pending(&self, ops: usize) -> impl Iterator<Item = usize> {
        self.effects
            .iter()
            .filter(move |p| p.caused_by < ops && p.durable_with.is_none_or(|sync| sync >= ops))
            .map(|p| p.caused_by)
    }
}

fn cover(effects: &mut [Pending], at: usize, covered: impl Fn(&Effect) -> bool) {
    for pending in effects {
        if pending.durable_with.is_none() && covered(&pending.effect) {
            pending.durable_with = Some(at);
        }
    }
}

fn apply(tree: &mut Tree, effect: &Effect, durable: bool, fate: &mut dyn Fate) {
    match effect {
        Effect::Write(inode, offset, bytes) => {
            // Where the name was lost the bytes are out of reach; they do no harm.
            let content = tree.contents.entry(*inode).or_default();
            let content = std::sync::Arc::make_mut(content);
            let first = offset / SECTOR;
            let end = offset + bytes.len() as u64;
            let count = (end.div_ceil(SECTOR) - first) as usize;
            let written = if durable { vec![true; count] } else { fate.torn(count) };
            for (index, _) in written.iter().enumerate().filter(|(_, written)| **written) {
                let from = ((first + index as u64) * SECTOR).max(*offset);
                let to = ((first + index as u64 + 1) * SECTOR).min(end);
                if content.len() < to as usize {
                    content.resize(to as usize, 0);
                }
                content[from as usize..to as usize]
                    .copy_from_slice(&bytes[(from - offset) as usize..(to - offset) as usize]);
            }
        }
        Effect::Variable(path, Some(bytes)) => {
            tree.next = tree.next.max(1 << 32);
            tree.put(path.clone(), bytes.clone());
        }
        Effect::Variable(path, None) => {
            tree.names.remove(path);
        }
        _ if !durable && !fate.survives() => {}
        Effect::SetLength(inode, length) => {
            let content = tree.contents.entry(*inode).or_default();
            std::sync::Arc::make_mut(content).resize(*length as usize, 0);
        }
        Effect::Link(path, inode) => {
            tree.names.insert(path.clone(), *inode);
            if let Some(inode) = inode {
                tree.contents.entry(*inode).or_default();
            }
        }
        Effect::Unlink(path) => {
            tree.names.remove(path);
        }
        Effect::Rename(from, to) => {
            if let Some(node) = tree.names.remove(from) {
                tree.names.insert(to.clone(), node);
            }
        }
    }
}
