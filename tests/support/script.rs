// SPDX-License-Identifier: MIT OR Apache-2.0

//! Bodies that end as they are told.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Frame};

/// A body and how it ends.
pub struct Script {
    pub bytes: Bytes,
    pub end: End,
    /// Sent in chunks, without a length.
    pub framed: bool,
    pub flushed: bool,
}

#[derive(Clone, Copy)]
pub enum End {
    Proper,
    Error,
    Never,
}

impl Script {
    pub fn whole(bytes: Bytes) -> Self {
        Self { bytes, end: End::Proper, framed: false, flushed: false }
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
        if !self.bytes.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.bytes)))));
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
