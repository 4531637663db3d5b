// SPDX-License-Identifier: MIT OR Apache-2.0

//! Single parts of a host, opened for tests. In the product a host is opened whole, by
//! [`Host::open`](crate::Host::open), and its parts are core's own.

use std::path::PathBuf;

use flipside_image::Architecture;
use flipside_image::efi::device_path::PartitionNode;

use crate::host::Root;
use crate::host::boot::UefiBoot;
use crate::host::durable::Durable;
use crate::host::efi::{EfiError, Variables};
use crate::host::esp::Esp;

/// The ESP that is mounted at `directory`.
pub fn esp(directory: impl Into<PathBuf>, architecture: Architecture, durable: &Durable) -> Esp {
    Esp::new(directory, architecture, durable)
}

/// The firmware's variables.
///
/// # Errors
/// There are none.
pub fn variables(root: &Root, durable: &Durable) -> Result<Variables, EfiError> {
    Variables::open(root, durable)
}

/// Boots slots by boot files on `esp`, with entries called `<product_name> A` and `B`.
pub fn uefi_boot(
    variables: Variables,
    esp: PartitionNode,
    product_name: &str,
    architecture: Architecture,
) -> UefiBoot {
    UefiBoot::new(variables, esp, product_name, architecture)
}
