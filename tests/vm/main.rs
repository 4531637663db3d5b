// SPDX-License-Identifier: MIT OR Apache-2.0

//! flipside on a real machine: Debian with systemd under OVMF in QEMU, with a disk, NVRAM and a
//! registry of its own for each case. `README.md` beside this file says how to run one.

#![allow(missing_docs, clippy::indexing_slicing, clippy::too_many_lines)]

mod cases;
mod container;
mod debian;
mod flipside_files;
mod guest;
mod lab;
mod machine;
mod minimal;
mod os_image;
mod programs;
#[allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#[path = "../support/put.rs"]
mod put;
mod qemu;
mod random;
#[allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#[path = "../support/registry.rs"]
mod registry;
mod replay;
mod runner;
mod uki;
mod verity;

use std::process::ExitCode;

fn main() -> ExitCode {
    match runner::run(cases::ALL, std::env::args().skip(1).collect()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("vm: {error:#}");
            ExitCode::FAILURE
        }
    }
}
