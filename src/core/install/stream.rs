// SPDX-License-Identifier: MIT OR Apache-2.0

//! A layer without frame sizes: one plain zstd stream, decoded from its start.

use zstd::zstd_safe::{DCtx, DParameter, ErrorCode, InBuffer, OutBuffer, SafeResult};

use super::InstallError;
use super::batch::{Batch, length};
use super::buffer::Buffer;
use super::decode::{Damage, undecodable};
use super::fetch::{Supply, WorkItem};
use super::plan::{ChunkSource, Plan};
use crate::cancel::Stopped;
use flipside_image::ChunkIndex;

/// The largest window that a stream may ask for, as a power of two in bytes: what the
/// `zstd` command takes without being asked. The decoder needs that much memory.
const WINDOW_LOG_MAX: u32 = 27;

/// Cuts what a stream decodes to into work items.
struct Cutter<'a> {
    supply: &'a Supply<'a>,
    plan: &'a Plan,
    decoder: DCtx<'static>,
    /// The batches that are not complete, also those that stand already, the next one last.
    batches: Vec<Batch>,
    /// How many of them have to be written.
    wanted: usize,
    /// What fills now.
    buffer: Option<Buffer>,
    /// How many bytes of the payload were decoded.
    position: u64,
}

/// Why a stream is taken no further.
enum End {
    /// It is no good.
    Damaged(Damage),
    /// All that is wanted came; the rest stands in the target.
    Complete,
    /// The others end.
    Stopped,
}

impl From<Stopped> for End {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

impl From<ErrorCode> for End {
    fn from(code: ErrorCode) -> Self {
        Self::Damaged(undecodable(code))
    }
}

/// Fetches and decodes the layer as far as it is wanted, and hands out its work items.
pub(super) fn fetch_stream(supply: &Supply<'_>, plan: &Plan) -> Result<(), InstallError> {
    let job = supply.job;
    let mut cutter = Cutter::new(supply, plan)?;
    let mut end = None;
    let streamed = job.stream(0..job.layer.descriptor.size, &mut |piece| {
        cutter.take(piece).map_err(|why| {
            end = Some(why);
            Stopped
        })
    });
    match (end, streamed) {
        (Some(End::Damaged(damage)), _) => Err(job.bad(cutter.chunk(), &damage)),
        (Some(End::Complete), _) => Ok(()),
        (None, Ok(())) if !cutter.batches.is_empty() => {
            Err(job.bad(cutter.chunk(), &Damage::LayerEnds))
        }
        (_, streamed) => job.unless_stopped(streamed),
    }
}

impl<'a> Cutter<'a> {
    fn new(supply: &'a Supply<'a>, plan: &'a Plan) -> Result<Self, InstallError> {
        let payload = supply.job.target.payload;
        let mut decoder = DCtx::create();
        decoder
            .set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX))
            .map_err(|code| supply.job.bad(ChunkIndex(0), &undecodable(code)))?;
        let mut batches = plan.batches(payload, ChunkSource::Fetched);
        let wanted = batches.len();
        batches.extend(plan.batches(payload, ChunkSource::Kept));
        batches.extend(plan.batches(payload, ChunkSource::Made));
        batches.sort_unstable_by_key(|batch| std::cmp::Reverse(batch.first()));
        Ok(Self { supply, plan, decoder, batches, wanted, buffer: None, position: 0 })
    }

    /// The chunk that is decoded now.
    fn chunk(&self) -> ChunkIndex {
        let payload = self.supply.job.target.payload;
        let index = self.position / u64::from(payload.chunk_size.bytes());
        let last = payload.chunk_count().saturating_sub(1);
        ChunkIndex(u32::try_from(index).unwrap_or(last).min(last))
    }

    /// Decodes the next piece of the stream, and what the decoder held back.
    fn take(&mut self, piece: &[u8]) -> Result<(), End> {
        let mut input = InBuffer::around(piece);
        while let Some(batch) = self.batches.last().copied() {
            let size = length(&batch.range(self.supply.job.target.payload));
            let mut buffer = match self.buffer.take() {
                Some(buffer) => buffer,
                None => self.supply.buffer()?,
            };
            self.position += decode_into(&mut self.decoder, &mut input, &mut buffer, size)? as u64;
            if buffer.bytes().len() == size {
                self.complete(batch, buffer)?;
            } else {
                self.buffer = Some(buffer);
                if input.pos() == piece.len() {
                    return Ok(());
                }
            }
        }
        self.take_rest(&mut input)
    }

    /// Hands out a batch, unless it stands in the target already.
    fn complete(&mut self, batch: Batch, mut buffer: Buffer) -> Result<(), End> {
        self.batches.pop();
        if self.plan.source(batch.first()) != ChunkSource::Fetched {
            buffer.set_filled(0);
            self.buffer = Some(buffer);
            return Ok(());
        }
        self.supply.send(WorkItem { batch, buffer })?;
        self.wanted -= 1;
        if self.wanted == 0 && !self.batches.is_empty() { Err(End::Complete) } else { Ok(()) }
    }

    /// Takes what stands behind the payload's last byte: nothing that decodes to a byte.
    fn take_rest(&mut self, input: &mut InBuffer<'_>) -> Result<(), End> {
        loop {
            let mut space = [0_u8];
            let mut output = OutBuffer::around(space.as_mut_slice());
            let before = input.pos();
            self.decoder.decompress_stream(&mut output, input)?;
            if output.pos() > 0 {
                return Err(End::Damaged(Damage::LayerGoesOn));
            }
            if input.pos() == before {
                return Ok(());
            }
        }
    }
}

/// Decodes from `input` until `buffer` has `size` bytes or the input is used up; says how
/// many bytes were added.
fn decode_into(
    decoder: &mut DCtx<'static>,
    input: &mut InBuffer<'_>,
    buffer: &mut Buffer,
    size: usize,
) -> SafeResult {
    let filled = buffer.bytes().len();
    buffer.set_filled(size);
    let mut output = OutBuffer::around(buffer.bytes_mut().get_mut(filled..).unwrap_or_default());
    let decoded = decoder.decompress_stream(&mut output, input);
    let added = output.pos();
    buffer.set_filled(filled + added);
    decoded.map(|_| added)
}
