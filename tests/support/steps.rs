// SPDX-License-Identifier: MIT OR Apache-2.0

//! An observer that writes down durable steps as short lines, and may let one fail.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use flipside_core::host::durable::{Durable, Step, StepObserver};

type Rule = Box<dyn Fn(&Step<'_>) -> Option<io::Error> + Send + Sync>;

/// What was done, in order.
#[derive(Default)]
pub struct Steps {
    lines: Mutex<Vec<String>>,
    rule: Option<Rule>,
}

impl Steps {
    /// Steps that all succeed.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Steps of which `rule` fails some; it also sees the state before each.
    pub fn with(
        rule: impl Fn(&Step<'_>) -> Option<io::Error> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self { lines: Mutex::default(), rule: Some(Box::new(rule)) })
    }

    /// The way to the disk that is written down here.
    pub fn durable(self: &Arc<Self>) -> Durable {
        Durable::observed(Arc::clone(self) as Arc<dyn StepObserver>)
    }

    /// The lines since the last call.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.lines.lock().unwrap())
    }
}

impl StepObserver for Steps {
    fn before(&self, step: &Step<'_>) -> io::Result<()> {
        let name = |path: &Path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            name.replace("-8be4df61-93ca-11d2-aa0d-00e098032b8c", "")
        };
        let line = match step {
            Step::MakeDirectory(path) => format!("make {}", name(path)),
            Step::Create(path) => format!("create {}", name(path)),
            Step::SetLength(path, length) => format!("length {} {length}", name(path)),
            Step::Write(path, at, bytes) if bytes.iter().all(|b| *b == 0) => {
                format!("zero {} {at}+{}", name(path), bytes.len())
            }
            Step::Write(path, at, bytes) => format!("write {} {at}+{}", name(path), bytes.len()),
            Step::Sync(path) => format!("sync {}", name(path)),
            Step::SyncDirectory(path) => format!("sync {}/", name(path)),
            Step::Unlink(path) => format!("unlink {}", name(path)),
            Step::Rename(from, to) => format!("rename {} {}", name(from), name(to)),
            Step::SetVariable(path, _) => format!("set {}", name(path)),
            Step::RemoveVariable(path) => format!("remove {}", name(path)),
            Step::CreateUnnamed(directory, size) => format!("spool {} {size}", name(directory)),
            Step::WriteUnnamed(directory, at, bytes) => {
                format!("spool {} {at}+{}", name(directory), bytes.len())
            }
            Step::Phase(name) => format!("phase {name}"),
        };
        self.lines.lock().unwrap().push(line);
        match self.rule.as_ref().and_then(|rule| rule(step)) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}
