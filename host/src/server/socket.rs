//! A connection's socket as hyper sees it: it notes what moves, and gives hyper's
//! own refusals the form that every other error has.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::activity::Activity;
use super::refusal::Refusal;
use crate::limits::{SUBSCRIBER_SEND_BUFFER_BYTES, SUBSCRIBER_SHARED_SEND_BUFFER_BYTES};

/// A stream, TLS or plain, with what is known of the connection.
pub(super) struct Socket<S> {
    stream: S,
    activity: Arc<Activity>,
    /// Bytes read before, to be read again: the preface of HTTP/2.
    replay: Bytes,
    /// Whether HTTP/1 is spoken, in which hyper refuses by itself.
    http1: bool,
    /// Whether the head being read is past its first line.
    line_ended: bool,
    /// What is written in place of hyper's refusal.
    refusal: Option<Bytes>,
}

/// A stream with a TCP connection at its bottom.
pub(super) trait OverTcp {
    fn tcp(&self) -> &TcpStream;
}

impl OverTcp for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl OverTcp for TlsStream<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().0
    }
}

impl<S: OverTcp> OverTcp for Socket<S> {
    fn tcp(&self) -> &TcpStream {
        self.stream.tcp()
    }
}

/// Bounds what the kernel holds of a stream of events for its client. Without it the connection
/// works too, and holds more of the machine's memory.
pub(super) fn narrow(tcp: &TcpStream, http1: bool) {
    let bytes = if http1 { SUBSCRIBER_SEND_BUFFER_BYTES } else { SUBSCRIBER_SHARED_SEND_BUFFER_BYTES };
    let _ = SockRef::from(tcp).set_send_buffer_size(bytes);
}

impl<S> Socket<S> {
    pub(super) fn new(stream: S, activity: Arc<Activity>) -> Self {
        Self { stream, activity, replay: Bytes::new(), http1: true, line_ended: false, refusal: None }
    }

    /// Turns to HTTP/2, reading `replay` again first.
    pub(super) fn into_http2(mut self, replay: Bytes) -> Self {
        self.http1 = false;
        self.replay = replay;
        self
    }

    fn note_read(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            self.activity.end();
            return;
        }
        // Frames of HTTP/2 that come between requests are not the start of one.
        if !self.http1 {
            return;
        }
        if self.activity.received() {
            self.line_ended = false;
        }
        if !self.line_ended && self.activity.in_head() {
            self.line_ended = bytes.contains(&b'\n');
        }
    }

    fn note_write(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(Ok(_)) => self.activity.taken(),
            Poll::Pending => self.activity.block(),
            Poll::Ready(Err(_)) => {}
        }
        written
    }

    /// Our refusal for hyper's, if that is what `bytes` begins: hyper has answered a
    /// head that nobody else has seen.
    fn refusal_for(&self, bytes: &[u8]) -> Option<Refusal> {
        if !self.http1 || self.activity.answering() || !bytes.starts_with(b"HTTP/1.") {
            return None;
        }
        match bytes.get(9..12)? {
            b"400" => Some(Refusal::Malformed("the request's head is malformed")),
            b"414" => Some(Refusal::RequestLineTooLong),
            b"431" if self.line_ended => Some(Refusal::HeadersTooLarge),
            b"431" => Some(Refusal::RequestLineTooLong),
            _ => None,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Socket<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.replay.is_empty() {
            let count = self.replay.len().min(buf.remaining());
            buf.put_slice(&self.replay.split_to(count));
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        self.note_read(&buf.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> Socket<S> {
    /// Writes our refusal whole, then lets hyper believe that its own has gone.
    fn poll_write_refusal(&mut self, cx: &mut Context<'_>, hypers_len: usize) -> Poll<io::Result<usize>> {
        while let Some(refusal) = &mut self.refusal {
            let written = Pin::new(&mut self.stream).poll_write(cx, refusal);
            match &written {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(count)) => refusal.advance(*count),
                Poll::Ready(Err(_)) | Poll::Pending => return self.note_write(written),
            }
            if refusal.is_empty() {
                self.refusal = None;
            }
        }
        self.note_write(Poll::Ready(Ok(hypers_len)))
    }
}

impl<S: AsyncWrite + OverTcp + Unpin> AsyncWrite for Socket<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.as_mut().poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.activity.take_narrow() {
            narrow(self.stream.tcp(), self.http1);
        }
        if self.refusal.is_none() {
            let first: &[u8] = pieces.first().map_or(&[], |piece| piece);
            self.refusal = self.refusal_for(first).map(Refusal::bytes);
        }
        if self.refusal.is_some() {
            let hypers_len = pieces.iter().map(|piece| piece.len()).sum();
            return self.poll_write_refusal(cx, hypers_len);
        }
        let written = match pieces {
            [one] => Pin::new(&mut self.stream).poll_write(cx, one),
            many => Pin::new(&mut self.stream).poll_write_vectored(cx, many),
        };
        self.note_write(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        match &flushed {
            Poll::Ready(Ok(())) => self.activity.flushed(),
            Poll::Pending => self.activity.block(),
            Poll::Ready(Err(_)) => {}
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(cx);
        if shut.is_pending() {
            self.activity.block();
        }
        shut
    }
}
