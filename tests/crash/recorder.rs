// SPDX-License-Identifier: MIT OR Apache-2.0

//! The log of a run: every durable step, in order, with paths below the host's root.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use flipside_core::host::durable::{Step, StepObserver};

/// A [`Step`] that was done, owned, its path relative to the host directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    MakeDirectory(PathBuf),
    Create(PathBuf),
    SetLength(PathBuf, u64),
    Write(PathBuf, u64, Vec<u8>),
    Sync(PathBuf),
    SyncDirectory(PathBuf),
    Unlink(PathBuf),
    Rename(PathBuf, PathBuf),
    SetVariable(PathBuf, Vec<u8>),
    RemoveVariable(PathBuf),
    /// A file without a name, in this directory. What is written to it is left out: no cut
    /// leaves anything of it.
    CreateUnnamed(PathBuf),
    Phase(&'static str),
}

impl Op {
    /// Whether this makes earlier steps durable.
    pub fn is_sync(&self) -> bool {
        matches!(self, Op::Sync(_) | Op::SyncDirectory(_))
    }

    /// The file that this is about, where it is about one.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Op::Create(path)
            | Op::SetLength(path, _)
            | Op::Write(path, ..)
            | Op::Sync(path)
            | Op::Unlink(path) => Some(path),
            _ => None,
        }
    }
}

pub struct Recorder {
    root: PathBuf,
    log: Mutex<Vec<Op>>,
}

impl Recorder {
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), log: Mutex::new(Vec::new()) }
    }

    pub fn take(&self) -> Vec<Op> {
        std::mem::take(&mut self.log.lock().unwrap())
    }

    /// Firmware that has its variables kept in a file gives other ones to read as soon as it was told
    /// another. That comes first in the log: a cut between the two finds neither in the file.
    fn answer(&self, step: &Step<'_>) -> io::Result<()> {
        let (path, bytes) = match step {
            Step::SetVariable(path, bytes) => (path, Some(*bytes)),
            Step::RemoveVariable(path) => (path, None),
            _ => return Ok(()),
        };
        let name = path.file_name().unwrap().to_str().unwrap();
        let Some(answer) = flipside_sim::var_to_file(&self.root, name, bytes) else {
            return Ok(());
        };
        let path = PathBuf::from(flipside_sim::var_to_file_path());
        std::fs::write(self.root.join(&path), &answer)?;
        self.log.lock().unwrap().push(Op::SetVariable(path, answer));
        Ok(())
    }

    fn below(&self, path: &Path) -> PathBuf {
        path.strip_prefix(&self.root)
            .unwrap_or_else(|_| panic!("{} is not below the host", path.display()))
            .to_owned()
    }
}

impl StepObserver for Recorder {
    fn before(&self, step: &Step<'_>) -> io::Result<()> {
        self.answer(step)?;
        let op = match step {
            Step::MakeDirectory(path) => Op::MakeDirectory(self.below(path)),
            Step::Create(path) => Op::Create(self.below(path)),
            Step::SetLength(path, length) => Op::SetLength(self.below(path), *length),
            Step::Write(path, at, bytes) => Op::Write(self.below(path), *at, bytes.to_vec()),
            Step::Sync(path) => Op::Sync(self.below(path)),
            Step::SyncDirectory(path) => Op::SyncDirectory(self.below(path)),
            Step::Unlink(path) => Op::Unlink(self.below(path)),
            Step::Rename(from, to) => Op::Rename(self.below(from), self.below(to)),
            Step::SetVariable(path, bytes) => Op::SetVariable(self.below(path), bytes.to_vec()),
            Step::RemoveVariable(path) => Op::RemoveVariable(self.below(path)),
            Step::CreateUnnamed(directory, _) => Op::CreateUnnamed(self.below(directory)),
            Step::WriteUnnamed(..) => return Ok(()),
            Step::Phase(name) => Op::Phase(name),
        };
        self.log.lock().unwrap().push(op);
        Ok(())
    }
}
