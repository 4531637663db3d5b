// SPDX-License-Identifier: MIT OR Apache-2.0

//! SIGTERM and SIGINT as the wish to stop.

use std::io;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag::{register, register_conditional_shutdown};

use super::Failure;
use crate::codes;
use flipside_core::cancel::Cancel;

/// A wish that SIGTERM and SIGINT raise. A second signal of the same kind ends the process at
/// once: what is on disk is a crash state, and those are safe (P9).
///
/// # Errors
/// Signals cannot be watched for.
pub(super) fn stop_on_signals() -> Result<Cancel, Failure> {
    let stop = Cancel::new();
    watch(&stop).map_err(|error| {
        Failure::error(codes::RESOURCES_EXHAUSTED, format!("cannot watch for SIGTERM: {error}"))
    })?;
    Ok(stop)
}

fn watch(stop: &Cancel) -> io::Result<()> {
    for signal in [SIGTERM, SIGINT] {
        register_conditional_shutdown(signal, 1, stop.flag())?;
        register(signal, stop.flag())?;
    }
    Ok(())
}
