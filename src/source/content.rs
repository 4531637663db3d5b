// SPDX-License-Identifier: MIT OR Apache-2.0

//! What is sent to a registry: bytes, or a file that is read while it is sent.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use flipside_image::{Descriptor, Digest, ImageError};

use super::{LocalError, SourceError};

/// How many bytes are read at a time.
const READ: u64 = 64 << 10;

/// A blob that can be sent.
pub struct Blob {
    pub(super) digest: Digest,
    pub(super) size: u64,
    content: Arc<Content>,
}

enum Content {
    Memory(Vec<u8>),
    File {
        path: PathBuf,
        file: File,
        /// Why it could not be read while it was sent.
        failure: Mutex<Option<io::Error>>,
    },
}

/// The bytes of a range of a blob, as the body of requests.
#[derive(Clone)]
pub(crate) struct Part {
    content: Arc<Content>,
    range: Range<u64>,
    /// How many of its bytes were handed to the connection.
    sent: Arc<AtomicU64>,
}

impl Blob {
    /// One in memory.
    pub fn of(bytes: Vec<u8>) -> Self {
        let (digest, size) = (Digest::of(&bytes), bytes.len() as u64);
        Self { digest, size, content: Arc::new(Content::Memory(bytes)) }
    }

    /// One in a file.
    ///
    /// # Errors
    /// [`LocalError::File`]; [`ImageError::Inconsistent`] for a file of another size.
    pub fn open(path: &Path, blob: &Descriptor) -> Result<Self, SourceError> {
        let unreadable = |source| LocalError::File { path: path.to_owned(), source };
        let file = File::open(path).map_err(unreadable)?;
        let size = file.metadata().map_err(unreadable)?.len();
        if size != blob.size {
            let what = format!("{} has {size} bytes, not {}", path.display(), blob.size);
            return Err(ImageError::Inconsistent { what }.into());
        }
        let content = Content::File { path: path.to_owned(), file, failure: Mutex::default() };
        Ok(Self { digest: blob.digest, size, content: Arc::new(content) })
    }

    /// A range of it, which is inside of it.
    pub(super) fn part(&self, range: Range<u64>) -> Part {
        Part { content: Arc::clone(&self.content), range, sent: Arc::default() }
    }

    /// Why its file could not be read, where that ended a request.
    pub(super) fn failure(&self) -> Option<LocalError> {
        match &*self.content {
            Content::Memory(_) => None,
            Content::File { path, failure, .. } => {
                let source = failure.lock().unwrap_or_else(PoisonError::into_inner).take()?;
                Some(LocalError::File { path: path.clone(), source })
            }
        }
    }
}

impl Content {
    /// The bytes of a short range.
    fn read(&self, range: Range<u64>) -> io::Result<Vec<u8>> {
        let at = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        match self {
            Self::Memory(bytes) => {
                let bytes = bytes.get(at(range.start)..at(range.end));
                bytes.map(<[u8]>::to_vec).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
            }
            Self::File { file, failure, .. } => {
                let mut bytes = vec![0; at(range.end.saturating_sub(range.start))];
                file.read_exact_at(&mut bytes, range.start).map_err(|error| {
                    let kind = error.kind();
                    *failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    kind
                })?;
                Ok(bytes)
            }
        }
    }
}

impl Part {
    /// Its size in bytes.
    pub fn length(&self) -> u64 {
        self.range.end.saturating_sub(self.range.start)
    }

    /// How many of its bytes the present request has taken.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// The body of one request.
    pub fn body(&self) -> reqwest::Body {
        self.sent.store(0, Ordering::Relaxed);
        let Self { content, range, sent } = self.clone();
        let mut next = range.start;
        let pieces = std::iter::from_fn(move || {
            let end = next.saturating_add(READ).min(range.end);
            let piece = (next < end).then(|| content.read(next..end))?;
            sent.fetch_add(end.saturating_sub(next), Ordering::Relaxed);
            next = end;
            Some(piece)
        });
        reqwest::Body::wrap_stream(futures_util::stream::iter(pieces))
    }
}
