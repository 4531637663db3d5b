// SPDX-License-Identifier: MIT OR Apache-2.0

//! Arguments in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    flipside::cli::main()
}
