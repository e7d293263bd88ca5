//! An answer's body as hyper sends it.
//!
//! hyper drops a body when it has taken its last piece, which is before the client
//! has: so what is to be held until then travels in the piece itself.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures_util::stream::{BoxStream, StreamExt as _};
use hyper::body::{Frame, SizeHint};

use super::activity::{InFlight, Sending};
use super::exchange::{Body, Live, Permit};

/// A whole body, sent as one piece; or one that comes in many.
pub(super) struct Outgoing {
    bytes: Bytes,
    permit: Option<Permit>,
    stream: Option<BoxStream<'static, Bytes>>,
    in_flight: Option<InFlight>,
}

impl Outgoing {
    pub(super) fn new(body: Body, in_flight: InFlight) -> Self {
        let stream = body.live.and_then(|live| match *live {
            Live::Stream(pieces) => Some(pieces.stream),
            // The connection has been handed over to it.
            Live::Upgrade(_) => None,
        });
        Self { bytes: body.bytes, permit: body.permit, stream, in_flight: Some(in_flight) }
    }

    /// The next piece of many. Each is sent in its own time: what is between two has no
    /// deadline of the connection's.
    fn poll_stream(&mut self, cx: &mut Context<'_>) -> Poll<Option<Piece>> {
        let Some(stream) = &mut self.stream else { return Poll::Ready(None) };
        let next = ready!(stream.poll_next_unpin(cx));
        if next.is_none() {
            self.stream = None;
        }
        let sending = self.in_flight.as_ref().map(Sending::begin_part);
        Poll::Ready(next.map(|bytes| Piece { bytes, sending, _permit: None }))
    }
}

impl hyper::body::Body for Outgoing {
    type Data = Piece;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Piece>, Infallible>>> {
        if self.bytes.is_empty() {
            return self.poll_stream(cx).map(|piece| piece.map(|piece| Ok(Frame::data(piece))));
        }
        let bytes = std::mem::take(&mut self.bytes);
        let sending = self.in_flight.take().map(Sending::begin);
        Poll::Ready(Some(Ok(Frame::data(Piece { bytes, sending, _permit: self.permit.take() }))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_empty() && self.stream.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.stream {
            Some(_) => SizeHint::default(),
            None => SizeHint::with_exact(self.bytes.len() as u64),
        }
    }
}

/// The bytes, and what is held until they have been handed to the socket.
#[derive(Debug)]
pub(super) struct Piece {
    bytes: Bytes,
    sending: Option<Sending>,
    _permit: Option<Permit>,
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.bytes
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        if let Some(sending) = &self.sending {
            sending.progress();
        }
    }
}
