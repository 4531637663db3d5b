// SPDX-License-Identifier: MIT OR Apache-2.0

//! Bodies that end as they are told.

use std::io;
use std::pin::Pin;
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
}

#[derive(Clone, Copy)]
pub enum End {
    Proper,
    Error,
    Never,
}

impl Script {
    pub fn whole(bytes: Bytes) -> Self {
        let (end, framed, flushed) = (End::Proper, false, false);
        Self { bytes, end, framed, flushed, pace: None, pause: None }
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
            return Poll::Ready(Some(Ok(Frame::data(self.bytes.split_to(size)))));
        }
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
