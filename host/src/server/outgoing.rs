//! An answer's body as hyper sends it.
//!
//! hyper drops a body when it has taken its last piece, which is before the client
//! has: so what is to be held until then travels in the piece itself.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use hyper::body::{Frame, SizeHint};

use super::activity::{InFlight, Sending};
use super::exchange::{Body, Permit};

/// A whole body, sent as one piece.
#[derive(Debug)]
pub(super) struct Outgoing {
    bytes: Bytes,
    permit: Option<Permit>,
    in_flight: Option<InFlight>,
}

impl Outgoing {
    pub(super) fn new(body: Body, in_flight: InFlight) -> Self {
        Self { bytes: body.bytes, permit: body.permit, in_flight: Some(in_flight) }
    }
}

impl hyper::body::Body for Outgoing {
    type Data = Piece;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Piece>, Infallible>>> {
        if self.bytes.is_empty() {
            return Poll::Ready(None);
        }
        let bytes = std::mem::take(&mut self.bytes);
        let sending = self.in_flight.take().map(Sending::begin);
        Poll::Ready(Some(Ok(Frame::data(Piece { bytes, sending, _permit: self.permit.take() }))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.len() as u64)
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
