// SPDX-License-Identifier: MIT OR Apache-2.0

//! What this host has of the image that is on offer: the image in the running slot, and the delta
//! from it.

use flipside_core::cancel::Stopped;
use flipside_core::host::Record;
use flipside_core::state::HostState;
use flipside_core::{Host, install};
use flipside_image::delta::{Delta, Download, OldImage};
use flipside_image::{Digest, Image};
use flipside_source::Source;

use super::Run;
use super::upkeep::fetch_config;
use crate::config::Deltas;

/// What `image`, which `source` has, can be made from. That it cannot be told is no reason to end an
/// update: then all of it is fetched.
///
/// # Errors
/// [`Stopped`].
pub(super) fn find(
    run: &Run,
    host: &Host,
    host_state: &HostState,
    source: &dyn Source,
    image: &Image,
) -> Result<Option<OldImage>, Stopped> {
    let deltas = run.config.update.deltas;
    let running = host_state.running_slot();
    let Some(record) = running.record.as_ref().filter(|_| deltas != Deltas::Off) else {
        return Ok(None);
    };
    let fetch = |digest: &Digest| fetch_config(run, digest);
    let mut config = match install::config(host, record, &fetch) {
        Ok(config) => config,
        Err(why) => {
            tracing::info!("nothing is taken from the running slot: {why}");
            return Ok(None);
        }
    };
    let may_be_writable = deltas == Deltas::Writable;
    config.payloads.retain(|payload| host.is_base(payload.name.as_str(), may_be_writable));
    let delta = match config.payloads.is_empty() {
        true => None,
        false => find_delta(source, image, [Some(record), running.adopted.as_ref()])?,
    };
    Ok(Some(OldImage::new(&config, delta, image)))
}

/// The first delta from the config of one of `records`.
fn find_delta(
    source: &dyn Source,
    image: &Image,
    records: [Option<&Record>; 2],
) -> Result<Option<Delta>, Stopped> {
    let mut asked = Vec::new();
    for from in records.into_iter().flatten().filter_map(|record| record.config_digest) {
        if asked.contains(&from) {
            continue;
        }
        match source.delta(image, &from) {
            Ok(Some(delta)) => return Ok(Some(delta)),
            Ok(None) => {}
            Err(error) if error.is_stopped() => return Err(Stopped),
            Err(error) => tracing::warn!("no delta is used: {error}"),
        }
        asked.push(from);
    }
    Ok(None)
}

/// What `image` costs this host.
pub(super) fn download(host_state: &HostState, image: &Image, old: Option<&OldImage>) -> Download {
    Download::of(image, old, |name| host_state.payloads.iter().any(|taken| taken == name))
}
