// SPDX-License-Identifier: MIT OR Apache-2.0

//! Where each chunk comes from.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use super::base::Base;
use super::batch::Batch;
use super::scan::scan;
use super::transfer::Target;
use super::{InstallError, Options};
use flipside_image::{ChunkIndex, Digest, Payload};

/// How many chunks besides the last are looked at before a whole target is.
const SAMPLES: usize = 7;

/// Where a chunk of an install comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChunkSource {
    /// It stands in the target already: its bytes there have its hash.
    Kept,
    /// From the running slot: copied, or made by a patch.
    Made,
    /// From the image's layer.
    Fetched,
}

/// The source of every chunk of one payload.
#[derive(Debug)]
pub(super) struct Plan {
    sources: Vec<ChunkSource>,
}

impl Plan {
    /// Looks what stands in the target. Reading all of a large slot takes time and is
    /// seldom of use, so a few chunks are looked at first; if none of them stands, no
    /// chunk is kept. [`Options::resume`] says that it is worth while.
    pub(super) fn make(target: Target<'_>, options: &Options) -> Result<Self, InstallError> {
        let payload = target.payload;
        let all = payload.chunks().map(|(index, _)| index).collect::<Vec<_>>();
        let is_worth_while = options.resume
            || standing(target, options, &samples(payload))?.contains(&ChunkSource::Kept);
        let looked_at = if is_worth_while { all } else { Vec::new() };
        Ok(Self { sources: standing(target, options, &looked_at)? })
    }

    /// Where chunk `index` comes from.
    pub(super) fn source(&self, index: ChunkIndex) -> ChunkSource {
        self.sources.get(index.0 as usize).copied().unwrap_or(ChunkSource::Fetched)
    }

    /// Has every chunk made that would be fetched and that `base` has.
    pub(super) fn use_base(&mut self, base: &Base<'_>) {
        for (index, source) in (0..).map(ChunkIndex).zip(&mut self.sources) {
            if *source == ChunkSource::Fetched && base.has(index) {
                *source = ChunkSource::Made;
            }
        }
    }

    /// Has every chunk fetched that was to be made and is not in `made`.
    pub(super) fn fetch_all_but(&mut self, made: &BTreeSet<ChunkIndex>) {
        for (index, source) in (0..).map(ChunkIndex).zip(&mut self.sources) {
            if *source == ChunkSource::Made && !made.contains(&index) {
                *source = ChunkSource::Fetched;
            }
        }
    }

    /// The batches of the chunks that come from `source`.
    pub(super) fn batches(&self, payload: &Payload, source: ChunkSource) -> Vec<Batch> {
        Batch::split(payload, |index| self.source(index) == source)
    }
}

/// The source of every chunk, as far as can be told from looking at these.
fn standing(
    target: Target<'_>,
    options: &Options,
    chunks: &[ChunkIndex],
) -> Result<Vec<ChunkSource>, InstallError> {
    let payload = target.payload;
    let sources = Mutex::new(vec![ChunkSource::Fetched; payload.chunks.len()]);
    let batches = Batch::split(payload, |index| chunks.binary_search(&index).is_ok());
    scan(target, options, &batches, &|nth, bytes| {
        // What cannot be read does not stand there; the write will tell more.
        let (Some(batch), Ok(bytes)) = (batches.get(nth), bytes) else { return Ok(()) };
        let standing: Vec<_> = target.checked(*batch, bytes).filter(|(_, is)| *is).collect();
        let mut sources = sources.lock().unwrap_or_else(PoisonError::into_inner);
        for (index, _) in standing {
            if let Some(source) = sources.get_mut(index.0 as usize) {
                *source = ChunkSource::Kept;
            }
        }
        Ok(())
    })
    .map_err(|error| match error {
        // Looking writes nothing: all of the payload is left.
        InstallError::Stopped { payload: name, .. } => {
            InstallError::Stopped { payload: name, left: payload.size }
        }
        other => other,
    })?;
    Ok(sources.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// The first and the last chunk and some evenly between, in order. Chunks of zeroes
/// stand on any empty medium and tell nothing about an earlier run.
fn samples(payload: &Payload) -> Vec<ChunkIndex> {
    let zeroes = Digest::of_zeroes(u64::from(payload.chunk_size.bytes()));
    let telling: Vec<ChunkIndex> =
        payload.chunks().filter(|(_, hash)| **hash != zeroes).map(|(index, _)| index).collect();
    let step = telling.len().div_ceil(SAMPLES).max(1);
    let mut samples: Vec<ChunkIndex> = telling.iter().copied().step_by(step).collect();
    samples.extend(telling.last());
    samples.dedup();
    samples
}

#[cfg(test)]
mod tests {
    use super::*;
    use flipside_image::ChunkSize;

    fn payload(hashes: Vec<Digest>) -> Payload {
        Payload {
            name: "system".parse().unwrap(),
            size: hashes.len() as u64 * 5000,
            chunk_size: ChunkSize::new(5000).unwrap(),
            chunks: hashes,
            frames: None,
            partition: None,
        }
    }

    #[test]
    fn samples_are_the_first_the_last_and_some_between() {
        for (count, expected) in [
            (0, vec![]),
            (1, vec![0]),
            (2, vec![0, 1]),
            (9, vec![0, 2, 4, 6, 8]),
            (700, vec![0, 100, 200, 300, 400, 500, 600, 699]),
        ] {
            let found = samples(&payload(vec![Digest::of(b"x"); count]));
            assert_eq!(found, expected.into_iter().map(ChunkIndex).collect::<Vec<_>>());
        }
    }

    #[test]
    fn chunks_of_zeroes_are_no_samples() {
        let mut hashes = vec![Digest::of(&[0; 5000]); 30];
        assert_eq!(samples(&payload(hashes.clone())), []);
        hashes[17] = Digest::of(b"x");
        assert_eq!(samples(&payload(hashes)), [ChunkIndex(17)]);
    }
}
