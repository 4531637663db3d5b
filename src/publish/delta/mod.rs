// SPDX-License-Identifier: MIT OR Apache-2.0

//! Deltas: what a host needs to make a new image from an older one that it has. The format is in
//! `docs/image-format.md`; `flipside_image::delta` reads and writes it.
//!
//! - `make`: a delta of two images, written into a layout; `payload`, `chunk`: of one payload, of one
//!   chunk
//! - `blocks`, `windows`: where the old payload has what a chunk is made from; `patch`: the frame
//! - `opened`, `payload_file`: the two images, and their payloads as files
//! - `publish`, `push`: a delta to its place, and deltas on the way with their image; `registry`,
//!   `listed`: deltas in a registry and in a layout
//! - `run`, `ordered`: how the work is spread

mod blocks;
mod chunk;
mod listed;
mod make;
mod opened;
mod ordered;
mod patch;
mod payload;
mod payload_file;
mod publish;
mod push;
mod registry;
mod run;
mod windows;

pub use make::MadeDelta;
pub use opened::OpenedImage;
pub use publish::{DeltaTarget, publish};
pub use push::DeltaSources;
pub(super) use push::PushedDeltas;
pub use run::{DEFAULT_DELTA_LEVEL, DeltaSettings};

#[cfg(test)]
mod tests;
