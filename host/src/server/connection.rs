//! One connection, from its first byte to its last.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH};
use http::{HeaderValue, Method, Request, Response, StatusCode, Version};
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::activity::{Activity, InFlight, Wait};
use super::check::check;
use super::cut::{Streams, cut_by, cuttable};
use super::drain::{Connections, Place};
use super::exchange::{Body, Exchange, Live, Peer};
use super::outgoing::Outgoing;
use super::refusal::Refusal;
use super::socket::{OverTcp, Socket, narrow};
use super::vigil::Vigil;
use crate::limits;
use crate::manifest::ServerLimits;

/// What every HTTP/2 connection begins with (RFC 9113, section 3.4).
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// As many fields as hyper reads without an allocation for each request.
const HYPER_FIELDS_MAX: usize = 100;
/// The smallest buffer that hyper takes.
const HYPER_BUFFER_MIN: usize = 8 * limits::KIB;
/// What HPACK counts for a field beside name and value (RFC 7541, section 4.1).
const HPACK_FIELD_REST: usize = 32;

/// What a connection serves.
pub(super) struct Served<E> {
    pub(super) exchange: Arc<E>,
    pub(super) peer: Peer,
    pub(super) limits: Arc<ServerLimits>,
}

/// Serves HTTP/1, or HTTP/2 if that is what the client begins with.
pub(super) async fn serve<E: Exchange, S>(stream: S, served: Served<E>, http2: bool, place: Place)
where
    S: AsyncRead + AsyncWrite + OverTcp + Unpin + Send + 'static,
{
    let mut vigil = Vigil::new(&served.limits, place);
    let served = Arc::new(served);
    let activity = Arc::new(Activity::default());
    let socket = Socket::new(stream, Arc::clone(&activity));
    if http2 {
        return serve_http2(socket.into_http2(Bytes::new()), &served, &activity, vigil).await;
    }
    if let Some((socket, read)) = serve_http1(socket, &served, &activity, &mut vigil).await {
        serve_http2(socket.into_http2(read), &served, &activity, vigil).await;
    }
}

/// Serves HTTP/1. Returns the socket, with what has been read from it, of a client
/// that speaks HTTP/2.
async fn serve_http1<E: Exchange, S>(
    socket: Socket<S>,
    served: &Arc<Served<E>>,
    activity: &Arc<Activity>,
    vigil: &mut Vigil,
) -> Option<(Socket<S>, Bytes)>
where
    S: AsyncRead + AsyncWrite + OverTcp + Unpin + Send + 'static,
{
    let connections = Arc::clone(vigil.place().connections());
    let service = service_fn(|request| {
        let in_flight = InFlight::begin(activity);
        answer(Arc::clone(served), Arc::clone(&connections), in_flight, request)
    });
    let mut connection = http1_builder(&served.limits).serve_connection(TokioIo::new(socket), service);
    let served_until = cuttable(poll_fn(|cx| match Pin::new(&mut connection).poll(cx) {
        Poll::Ready(ended) => {
            if let Err(error) = ended {
                tracing::debug!(peer = %served.peer.address, %error, "connection ended");
            }
            Poll::Ready(None)
        }
        Poll::Pending => vigil.poll_expired(cx, activity).map(Some),
    }));
    let Some(expired) = served_until.await else {
        note_timeout(&connections, &served.peer, Wait::Taking);
        return None;
    };

    let parts = connection.into_parts();
    let socket = parts.io.into_inner();
    if let (None, Some(upgrade)) = (expired, activity.handed_over()) {
        narrow(socket.tcp(), true);
        upgrade(Box::pin(socket), parts.read_buf).await;
        return None;
    }
    match expired {
        None if parts.read_buf.starts_with(HTTP2_PREFACE) => return Some((socket, parts.read_buf)),
        None | Some(Wait::First | Wait::Idle) => leave(socket, None, activity).await,
        Some(wait) => {
            note_timeout(&connections, &served.peer, wait);
            if wait == Wait::Head {
                leave(socket, Some(Refusal::HeadTimeout), activity).await;
            }
        }
    }
    None
}

/// Serves HTTP/2 until the client leaves, or has been idle or stalled for too long.
async fn serve_http2<E: Exchange, S>(
    socket: Socket<S>,
    served: &Arc<Served<E>>,
    activity: &Arc<Activity>,
    mut vigil: Vigil,
) where
    S: AsyncRead + AsyncWrite + OverTcp + Unpin + Send + 'static,
{
    let connections = Arc::clone(vigil.place().connections());
    let service = service_fn({
        let (served, connections, activity) =
            (Arc::clone(served), Arc::clone(&connections), Arc::clone(activity));
        move |request| {
            let in_flight = InFlight::begin(&activity);
            answer(Arc::clone(&served), Arc::clone(&connections), in_flight, request)
        }
    });
    let mut connection = pin!(http2_builder(&served.limits).serve_connection(TokioIo::new(socket), service));
    let mut going_away = false;
    let expired = poll_fn(|cx| {
        loop {
            if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
                if let Err(error) = ended {
                    tracing::debug!(peer = %served.peer.address, %error, "connection ended");
                }
                return Poll::Ready(None);
            }
            // Streams that the client opens before it has read the GOAWAY are still
            // answered; hyper waits for that.
            if vigil.draining() && !going_away {
                going_away = true;
                connection.as_mut().graceful_shutdown();
                continue;
            }
            return vigil.poll_expired(cx, activity).map(Some);
        }
    })
    .await;

    match expired {
        None => {}
        Some(Wait::First | Wait::Idle) => {
            connection.as_mut().graceful_shutdown();
            // A client that does not even close has nothing to lose.
            let _ = timeout(limits::LINGER_TIMEOUT, connection).await;
        }
        Some(wait) => note_timeout(&connections, &served.peer, wait),
    }
}

/// Answers one request: checks its head, asks the exchange, and adds what belongs to
/// the connection.
async fn answer<E: Exchange>(
    served: Arc<Served<E>>,
    connections: Arc<Connections>,
    in_flight: InFlight,
    request: Request<Incoming>,
) -> Result<Response<Outgoing>, Infallible> {
    let head_only = request.method() == Method::HEAD;
    let http1 = request.version() < Version::HTTP_2;
    let has_body = !request.body().is_end_stream();
    let mut close = false;
    let mut response = match check(&request, &served.limits) {
        Ok(()) => served.exchange.answer(request, &served.peer).await,
        Err(refusal) => {
            // Where two readers may differ about a request, they may about the next.
            close = true;
            served.exchange.refuse(&request, refusal, &served.peer)
        }
    };

    close |= has_body && is_refused_unread(response.status());
    if let Some(Live::Upgrade(_)) = response.body().live.as_deref() {
        let live = response.body_mut().live.take();
        live.into_iter().for_each(|live| in_flight.activity().hand_over(*live));
    } else if http1 && (close || connections.draining()) {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if head_only {
        if response.body().live.is_none() {
            let length = response.body().bytes.len();
            response.headers_mut().entry(CONTENT_LENGTH).or_insert_with(|| HeaderValue::from(length));
        }
        *response.body_mut() = Body::empty();
    }
    if let Some(Live::Stream(pieces)) = response.body().live.as_deref() {
        in_flight.activity().narrow();
        cut_by(pieces.cut.clone());
    }
    in_flight.activity().answer();
    Ok(response.map(|body| Outgoing::new(body, in_flight)))
}

/// Whether a request with a body may have got this answer before its body was read. The
/// connection then ends with the answer, and says so (RFC 9112, section 9.3): a client
/// that does not know sends its next request into a closing socket. The statuses of
/// answers that come of a body itself are left out.
fn is_refused_unread(status: StatusCode) -> bool {
    use StatusCode as Status;
    status.is_client_error()
        && ![Status::BAD_REQUEST, Status::CONFLICT, Status::UNPROCESSABLE_ENTITY].contains(&status)
}

/// Takes leave of a client: says why, if there is something to say, closes our side,
/// and reads what it still sends. A socket closed with unread bytes is reset by the
/// kernel, and a reset destroys an answer on its way (RFC 9112, section 9.6).
pub(super) async fn leave<S>(mut socket: S, refusal: Option<Refusal>, activity: &Activity)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let linger = async {
        if let Some(refusal) = refusal {
            socket.write_all(&refusal.bytes()).await?;
        }
        // hyper has done so already if the connection came to its own end.
        let _ = socket.shutdown().await;
        let mut discarded = 0;
        let mut buffer = Vec::new();
        while !activity.ended() && discarded < limits::LINGER_BYTES_MAX {
            buffer.clear();
            buffer.reserve(4 * limits::KIB);
            match socket.read_buf(&mut buffer).await? {
                0 => break,
                count => discarded += count,
            }
        }
        Ok::<(), std::io::Error>(())
    };
    // However it ends, the connection is over.
    let _ = timeout(limits::LINGER_TIMEOUT, linger).await;
}

fn note_timeout(connections: &Connections, peer: &Peer, wait: Wait) {
    connections.stats().timed_out.fetch_add(1, Relaxed);
    tracing::debug!(peer = %peer.address, ?wait, "connection timed out");
}

/// hyper's own bounds lie just above ours, so that what is over ours by little is
/// answered by [`check`], and what is over by much is never held in memory.
fn http1_builder(limits: &ServerLimits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        // Vigil's, which tells an idle connection from a slow one.
        .header_read_timeout(None)
        .max_buf_size(HYPER_BUFFER_MIN.max(head_bytes_max(limits) + 4 * limits::KIB));
    if limits.header_fields_max > HYPER_FIELDS_MAX {
        builder.max_headers(limits.header_fields_max + 1);
    }
    builder
}

/// The bounds on resets (CVE-2023-44487 and its kin) are those of h2, which closes a
/// connection that has 20 reset streams waiting or makes 1,024 errors.
fn http2_builder(limits: &ServerLimits) -> http2::Builder<Streams> {
    let list_bytes = head_bytes_max(limits) + limits.header_fields_max * HPACK_FIELD_REST + limits::KIB;
    let mut builder = http2::Builder::new(Streams);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits::HTTP2_STREAMS_MAX)
        .max_header_list_size(u32::try_from(list_bytes).unwrap_or(u32::MAX))
        .keep_alive_interval(limits::HTTP2_PING_INTERVAL)
        .keep_alive_timeout(limits::HTTP2_PING_TIMEOUT);
    builder
}

fn head_bytes_max(limits: &ServerLimits) -> usize {
    limits.request_line_bytes_max + limits.header_bytes_max
}
