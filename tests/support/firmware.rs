// SPDX-License-Identifier: MIT OR Apache-2.0

//! Firmware that has its variables kept in a file, as it answers while an OS runs: `VarToFile` is
//! read anew after each change, which a directory cannot do by itself.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flipside_core::host::durable::{Durable, Step, StepObserver};

/// The machine.
pub struct Answering(PathBuf);

impl Answering {
    /// The way to the disk and the variables of the machine in `directory`.
    pub fn durable(directory: &Path) -> Durable {
        Durable::observed(Arc::new(Self(directory.to_owned())))
    }
}

impl StepObserver for Answering {
    fn before(&self, step: &Step<'_>) -> io::Result<()> {
        let (path, bytes) = match step {
            Step::SetVariable(path, bytes) => (path, Some(*bytes)),
            Step::RemoveVariable(path) => (path, None),
            _ => return Ok(()),
        };
        let name = path.file_name().unwrap().to_str().unwrap();
        if let Some(answer) = flipside_sim::var_to_file(&self.0, name, bytes) {
            std::fs::write(self.0.join(flipside_sim::var_to_file_path()), answer)?;
        }
        Ok(())
    }
}
