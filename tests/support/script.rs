// SPDX-License-Identifier: MIT OR Apache-2.0

//! Bodies that end as they are told.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame};

/// A body and how it ends.
pub struct Script {
    pub bytes: Bytes,
    pub end: End,
    /// Sent in chunks, without a length.
    pub framed: bool,
    pub flushed: bool,
    /// So many bytes at a time, and how long it takes until the next ones.
    pub pace: Option<(usize, Duration)>,
    pub pause: Option<Pin<Box<tokio::time::Sleep>>>,
    /// Where what is taken is counted.
    pub sent: Arc<AtomicUsize>,
}

/// So much is handed out at once: a client that takes no more gets no more.
const PIECE: usize = 64 << 10;

#[derive(Clone, Copy)]
pub enum End {
    Proper,
    Error,
    Never,
}

impl Script {
    pub fn whole(bytes: Bytes) -> Self {
        let (end, framed, flushed) = (End::Proper, false, false);
        Self { bytes, end, framed, flushed, pace: None, pause: None, sent: Arc::default() }
    }

    fn piece(&mut self, size: usize) -> Frame<Bytes> {
        self.sent.fetch_add(size, Ordering::SeqCst);
        Frame::data(self.bytes.split_to(size))
    }

    pub fn end_after(&mut self, bytes: usize, end: End) {
        self.bytes.truncate(bytes);
        self.end = end;
    }
}

impl Body for Script {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Some(pause) = &mut self.pause {
            std::task::ready!(pause.as_mut().poll(context));
            self.pause = None;
        }
        if let Some((size, pause)) = self.pace
            && self.bytes.len() > size
        {
            self.pause = Some(Box::pin(tokio::time::sleep(pause)));
            return Poll::Ready(Some(Ok(self.piece(size))));
        }
        if !self.bytes.is_empty() {
            let size = self.bytes.len().min(PIECE);
            return Poll::Ready(Some(Ok(self.piece(size))));
        }
        match self.end {
            End::Proper => Poll::Ready(None),
            // What came before has to go out first.
            End::Error if !self.flushed => {
                self.flushed = true;
                context.waker().wake_by_ref();
                Poll::Pending
            }
            End::Error => Poll::Ready(Some(Err(io::ErrorKind::ConnectionReset.into()))),
            // Nobody wakes this: the client has to lose patience.
            End::Never => Poll::Pending,
        }
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        match (self.end, self.framed) {
            (End::Proper, false) => hyper::body::SizeHint::with_exact(self.bytes.len() as u64),
            _ => hyper::body::SizeHint::default(),
        }
    }
}
