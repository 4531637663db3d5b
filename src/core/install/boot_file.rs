// SPDX-License-Identifier: MIT OR Apache-2.0

//! The new boot file, fetched and looked at while the target is still what there is to go back to.
//!
//! It is spooled and written from there. Where there is no room for it, it is fetched twice: once to
//! be looked at, and once to be written.

use std::io;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use flipside_image::{BOOT_FILE_PAYLOAD, Compression, Descriptor, Layer, pe};

use super::batch::length;
use super::job::Job;
use super::plan::{ChunkSource, Plan};
use super::transfer::Target;
use super::{InstallError, Options, write_target};
use crate::blob_source::{BlobSource, FetchError, Sink};
use crate::codes;
use crate::error::Error;
use crate::host::esp::InstalledBootFile;
use crate::host::spool::Spool;
use crate::host::storage::Storage;
use crate::progress::{Event, Phase, Progress};
use crate::refusal::Refusal;

/// How much is read from a spool at a time, in bytes.
const PIECE: usize = 64 << 10;
/// The most bytes that are kept in memory where there is no spool and Secure Boot asks for all of them.
const MEMORY: usize = 64 << 20;

/// A boot file that firmware would start.
pub(super) struct CheckedBootFile<'a> {
    layer: Layer<'a>,
    spool: Option<Spool>,
}

/// Fetches the boot file in `layer` and checks it. What of it stands on the ESP already is not
/// fetched. Changes nothing.
///
/// # Errors
/// `boot-file-invalid`, `boot-file-untrusted`; what keeps it from being fetched.
pub(super) fn fetch<'a>(job: &Job<'a>, layer: Layer<'a>) -> Result<CheckedBootFile<'a>, Error> {
    job.access.progress.event(Event::Phase(Phase::Fetching));
    let standing = job.host.esp.open_boot_file(job.host_state.target())?;
    let spool = job.host.spool(layer.payload.size);
    let spool = spool.inspect_err(|error| {
        tracing::info!(
            "the boot file will be fetched twice: the state directory cannot keep it: {error}"
        );
    });
    let firmware = job.host.secure_boot()?;
    let memory = if firmware.asks() { MEMORY } else { pe::HEADER_LIMIT };
    let mut incoming = Incoming::new(spool.ok(), standing.as_ref(), layer, memory);
    match incoming.fill(job) {
        Err(InstallError::Write { source, .. }) if incoming.spool.is_some() => {
            tracing::warn!(
                "the boot file will be fetched twice: the state directory failed: {source}"
            );
            incoming = Incoming::new(None, standing.as_ref(), layer, memory);
            incoming.fill(job)?;
        }
        filled => filled?,
    }
    let head = incoming.head.into_inner().unwrap_or_else(PoisonError::into_inner);
    let (size, spool) = (layer.payload.size, incoming.spool);
    if let Err(flaw) = pe::check(&head, size, job.host.esp.architecture()) {
        let what = format!("the image's {BOOT_FILE_PAYLOAD} cannot be booted: {flaw}");
        return Err(Refusal::block(codes::BOOT_FILE_INVALID, what).into());
    }
    let read = |bytes: &mut [u8], at| match &spool {
        Some(spool) => spool.read_at(at, bytes),
        None => pe::copy_from(&head, bytes, at),
    };
    match spool.is_some() || head.len() as u64 == size {
        true => {
            let what = format!("the image's {BOOT_FILE_PAYLOAD}");
            job.host.refuse_untrusted(&what, &firmware, size, &read)?;
        }
        false if firmware.asks() => tracing::warn!(
            "whether the firmware trusts the boot file is not known: there is no room to look at it"
        ),
        false => {}
    }
    Ok(CheckedBootFile { layer, spool })
}

impl CheckedBootFile<'_> {
    /// In bytes.
    pub(super) fn size(&self) -> u64 {
        self.layer.payload.size
    }

    /// Puts it onto `medium`, each chunk hashed again on its way (P3).
    ///
    /// # Errors
    /// Those of [`write_payload`].
    pub(super) fn write(&self, job: &Job<'_>, storage: &dyn Storage) -> Result<(), InstallError> {
        if let Some(spool) = &self.spool {
            let source = Spooled { spool, layer: &self.layer };
            let layer = Layer { compression: Compression::None, frames: None, ..self.layer };
            let progress = Local(job.access.progress.as_ref());
            let target = Target {
                storage,
                payload: layer.payload,
                progress: &progress,
                stop: &job.access.stop,
            };
            match write_target(target, &source, &layer, None, &job.options()).map(drop) {
                Err(error) if error.is_of_source() => {
                    tracing::warn!("the boot file is fetched again: {error}");
                }
                written => return written,
            }
        }
        job.write(&self.layer, storage)
    }
}

/// Takes a boot file that comes: all of it where there is a spool, and its start in any case.
struct Incoming<'a> {
    layer: Layer<'a>,
    spool: Option<Spool>,
    /// The target's present boot file.
    standing: Option<&'a InstalledBootFile>,
    head: Mutex<Vec<u8>>,
}

impl<'a> Incoming<'a> {
    /// Without a spool, its first bytes are kept in memory, as many as `memory`.
    fn new(
        spool: Option<Spool>,
        standing: Option<&'a InstalledBootFile>,
        layer: Layer<'a>,
        memory: usize,
    ) -> Self {
        let limit = if spool.is_some() { pe::HEADER_LIMIT } else { memory };
        let head = length(&(0..layer.payload.size)).min(limit);
        Self { layer, spool, standing, head: Mutex::new(vec![0; head]) }
    }

    /// Brings in all chunks: from the ESP, or else from the source.
    fn fill(&self, job: &Job<'_>) -> Result<(), InstallError> {
        let mut options = Options { read_back: false, ..job.options() };
        let progress = Ahead(job.access.progress.as_ref());
        options.resume |= self.take_standing(job, &options)?;
        job.write_from(job.source, &self.layer, self, &options, &progress)
    }

    /// Takes the chunks that stand on the ESP; says whether there were any.
    fn take_standing(&self, job: &Job<'_>, options: &Options) -> Result<bool, InstallError> {
        let Some(standing) = self.standing else { return Ok(false) };
        let (payload, stop) = (self.layer.payload, &job.access.stop);
        let target =
            |storage| Target { storage, payload, progress: &crate::progress::Silent, stop };
        let (from, to) = (target(standing), target(self));
        let kept = Plan::make(from, options)?.batches(payload, ChunkSource::Kept);
        for range in kept.iter().map(|batch| batch.range(payload)) {
            let mut bytes = vec![0; length(&range)];
            let read = standing.read_at(range.start, &mut bytes);
            read.map_err(|source| from.read_error(range.start, source))?;
            let written = self.write_at(range.start, &bytes);
            written.map_err(|source| to.write_error(range.start, source))?;
        }
        Ok(!kept.is_empty())
    }
}

impl Storage for Incoming<'_> {
    fn name(&self) -> String {
        "the state directory".to_owned()
    }

    fn capacity(&self) -> u64 {
        self.layer.payload.size
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if let Ok(start) = usize::try_from(offset) {
            let mut head = self.head.lock().unwrap_or_else(PoisonError::into_inner);
            let places = head.iter_mut().skip(start);
            places.zip(bytes).for_each(|(to, from)| *to = *from);
        }
        self.spool.as_ref().map_or(Ok(()), |spool| spool.write_at(offset, bytes))
    }

    /// Nothing of it is to outlast the run.
    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        match (&self.spool, self.standing) {
            (Some(spool), _) => spool.read_at(offset, bytes),
            (None, Some(standing)) => standing.read_at(offset, bytes),
            (None, None) => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

/// A boot file that was spooled, uncompressed.
struct Spooled<'a> {
    spool: &'a Spool,
    layer: &'a Layer<'a>,
}

impl BlobSource for Spooled<'_> {
    fn stream(
        &self,
        _: &Descriptor,
        range: Range<u64>,
        sink: &mut Sink<'_>,
    ) -> Result<(), FetchError> {
        let mut offset = range.start;
        while offset < range.end {
            let mut piece = vec![0; length(&(offset..range.end)).min(PIECE)];
            self.spool.read_at(offset, &mut piece).map_err(|source| {
                let (payload, storage) = (self.layer.payload.name.clone(), "the state directory");
                FetchError::failed(InstallError::Read {
                    payload,
                    storage: storage.to_owned(),
                    offset,
                    source,
                })
            })?;
            sink(&piece)?;
            offset += piece.len() as u64;
        }
        Ok(())
    }
}

/// Tells of what is fetched before anything is written.
struct Ahead<'a>(&'a dyn Progress);

impl Progress for Ahead<'_> {
    fn event(&self, event: Event) {
        match event {
            Event::Payload { name, fetch, .. } => self.0.event(Event::Ahead { name, fetch }),
            Event::Fetched(_) => self.0.event(event),
            _ => {}
        }
    }
}

/// Tells of what is written and not fetched.
struct Local<'a>(&'a dyn Progress);

impl Progress for Local<'_> {
    fn event(&self, event: Event) {
        match event {
            Event::Payload { name, size, kept, .. } => {
                self.0.event(Event::Payload { name, size, kept, fetch: 0 });
            }
            Event::Fetched(_) => {}
            other => self.0.event(other),
        }
    }
}
