//! The seam between a connection and what answers its requests.

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use hyper::body::Incoming;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use super::refusal::Refusal;

/// Answers requests. One value serves all listeners; [`Peer::listener`] tells them
/// apart.
pub trait Exchange: Send + Sync + 'static {
    /// Answers one request. It never fails: a failure is an answer too.
    ///
    /// The head has been checked against `server.limits`; its `Host` is there when
    /// HTTP/1.1 wants it and is a legal authority. The body has not been read: see
    /// [`read_body`](super::read_body). `Date`, `Content-Length` and the
    /// connection's own fields are the server's to write, and a HEAD request's body
    /// is left out by the server, so answer it as a GET.
    ///
    /// The future is dropped when the client goes away before it has its answer.
    fn answer(
        &self,
        request: http::Request<Incoming>,
        peer: &Peer,
    ) -> impl Future<Output = http::Response<Body>> + Send;

    /// Answers a request that the server refuses on sight: too large, or malformed.
    /// The default is the refusal's own problem+json with a new request id;
    /// implement it to log the request as any other.
    fn refuse(
        &self,
        _head: &http::Request<Incoming>,
        refusal: Refusal,
        _peer: &Peer,
    ) -> http::Response<Body> {
        refusal.response()
    }
}

/// Who is asking, and through which door.
#[derive(Debug, Clone)]
pub struct Peer {
    /// The client's address.
    pub address: SocketAddr,
    /// The listener that accepted the connection.
    pub listener: ListenerKind,
    /// Whether the connection is encrypted.
    pub secure: bool,
}

/// Which listener a request came through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenerKind {
    /// HTTPS: the routes of all services.
    Public,
    /// Plain HTTP that only redirects to HTTPS; never seen by an [`Exchange`] of a
    /// caller.
    Redirect,
    /// Plain HTTP on loopback, for the one service of this name.
    Direct(Arc<str>),
    /// Plain HTTP on loopback: the operator's API.
    Admin,
    /// Plain HTTP for whoever collects metrics, and nothing else.
    Metrics,
}

/// Held while an answer's bytes are on their way: it counts towards a service's
/// concurrency until the last of them has been handed to the socket, or the
/// connection is gone.
pub type Permit = tokio::sync::OwnedSemaphorePermit;

/// The body of an answer: whole, with what is held until it has been sent; or one that does
/// not end by itself.
#[derive(Debug, Default)]
pub struct Body {
    pub(super) bytes: Bytes,
    pub(super) permit: Option<Permit>,
    /// Boxed, because nearly no answer has it.
    pub(super) live: Option<Box<Live>>,
}

/// What comes after the head of an answer, where that is no whole body.
pub enum Live {
    /// Pieces, as they come.
    Stream(Pieces),
    /// After an answer 101 over HTTP/1.1: whoever has the connection from then on.
    Upgrade(Upgrade),
}

/// A body in pieces. Each is on its way before the next is asked for: from a client that takes
/// nothing, the stream does not hear.
pub struct Pieces {
    /// The pieces; an end of them is the end of the body.
    pub stream: BoxStream<'static, Bytes>,
    /// Cancelled, it ends the answer where it is, whether or not the client takes anything:
    /// with the connection in HTTP/1, with a reset of the stream in HTTP/2.
    pub cut: CancellationToken,
}

/// Uses a connection that HTTP has left, until the future ends; with what had been read of it.
/// It counts as open for so long.
pub type Upgrade = Box<dyn FnOnce(Pin<Box<dyn Io>>, Bytes) -> BoxFuture<'static, ()> + Send>;

/// A connection without a protocol.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stream(_) => "Stream",
            Self::Upgrade(_) => "Upgrade",
        })
    }
}

impl Body {
    /// No body.
    pub fn empty() -> Self {
        Self::default()
    }

    /// A body that holds nothing.
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        Self { bytes: bytes.into(), permit: None, live: None }
    }

    /// A body that keeps `permit` until its last byte has been handed to the socket.
    pub fn with_permit(bytes: impl Into<Bytes>, permit: Permit) -> Self {
        Self { bytes: bytes.into(), permit: Some(permit), live: None }
    }

    /// What is no whole body.
    pub fn live(live: Live) -> Self {
        Self { live: Some(Box::new(live)), ..Self::default() }
    }

    /// What will be sent, if it is whole.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}
