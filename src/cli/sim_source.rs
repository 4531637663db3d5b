// SPDX-License-Identifier: MIT OR Apache-2.0

//! Where a simulated machine learns the images that it installed from what it follows.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Failure;
use super::signals::stop_on_signals;
use crate::config::Config;
use crate::run::{self, Run};
use flipside_core::host::Root;
use flipside_core::progress::Silent;
use flipside_image::reference::is_loopback;
use flipside_publish::pull::pull;
use flipside_source::Location;

/// Where images of a registry are kept, in the machine's directory.
const KEPT: &str = "sim-images";

/// The layout that the machine in `directory` follows, or one with the images that its slots hold
/// from a registry on this computer.
pub(super) fn followed(directory: &Path) -> Option<PathBuf> {
    let root = Root::new(directory.canonicalize().ok()?);
    // What is wrong with the settings is told by the programs that go by them.
    let config = Config::load(&root).ok()?;
    match config.track.image.as_deref()?.parse().ok()? {
        Location::Layout { directory, .. } => Some(directory),
        Location::Registry(reference) if is_loopback(reference.host()) => {
            let kept = root.directory().join(KEPT);
            if let Err(failure) = fetch(&root, config, &kept) {
                tracing::warn!("cannot learn the images that {reference} has: {failure}");
            }
            Some(kept)
        }
        _ => None,
    }
}

/// Fetches the images of the slots that the machine does not know.
fn fetch(root: &Root, config: Config, to: &Path) -> Result<(), Failure> {
    let stop = stop_on_signals()?;
    let run = Run::new(root, config, Arc::new(Silent), stop.clone(), false);
    let known = flipside_sim::known_images(root.directory())?;
    let held = run::status(&run).slots.into_iter().filter_map(|slot| slot.digest);
    for digest in held.filter(|digest| !known.contains(digest)) {
        let source = run.source().map_err(Failure::of_run)?.sibling(&digest.to_string())?;
        pull(source.as_ref(), to, None, None, &Silent, &stop)?;
    }
    Ok(())
}
