// SPDX-License-Identifier: MIT OR Apache-2.0

//! `flipside labels`.

use std::process::ExitCode;

use serde_json::{Map, Value, json};

use super::{Failure, Global, print, print_json};
use crate::codes;
use crate::config::Config;
use flipside_core::host::disk::payloads;
use flipside_core::settings::SlotLabels;

/// Print the partition labels of every payload, for an initrd.
///
/// Prints one line for each payload: its name, its label in slot A and its label in slot B,
/// separated by tabs. It reads only the settings, so it also works in an image build.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Prints the labels.
///
/// # Errors
/// A config that cannot be used; a label that the kernel does not show as it is.
pub fn run(_: Args, global: &Global) -> super::Result {
    let config = Config::load(&global.root)?.core().host;
    if global.json {
        let item = |(name, labels): (&str, &SlotLabels)| {
            (name.to_owned(), json!({"a": labels.a, "b": labels.b}))
        };
        let labels: Map<String, Value> = payloads(&config).map(item).collect();
        print_json(&json!({"labels": labels}))?;
        return Ok(ExitCode::SUCCESS);
    }
    for (name, labels) in payloads(&config) {
        for label in [&labels.a, &labels.b] {
            check(label)?;
        }
        print(format_args!("{name}\t{}\t{}", labels.a, labels.b))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The kernel gives a label to udev in printable ASCII, and anything else as `!`.
fn check(label: &str) -> Result<(), Failure> {
    let is_shown = !label.is_empty() && label.chars().all(|c| c == ' ' || c.is_ascii_graphic());
    match is_shown {
        true => Ok(()),
        false => Err(Failure::error(
            codes::LABEL_UNSUITABLE,
            format!(
                "an initrd cannot find the partition {label:?}: its label is not printable ASCII"
            ),
        )),
    }
}
