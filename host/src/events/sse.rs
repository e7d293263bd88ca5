//! Events as an answer that does not end: server-sent events, as the HTML standard has them
//! (section 9.2).

use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::stream::{StreamExt as _, unfold};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::event::Cursor;
use super::message;
use super::step::{End, Step};
use super::subscription::Subscription;
use crate::limits::{EVENTS_RETRY_PAUSE, KIB, SUBSCRIBER_CLOSE_TIMEOUT, SUBSCRIBER_PING_PERIOD};
use crate::server::Pieces;

/// nginx gathers an answer before it passes it on, unless it is told not to.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
/// A piece of the answer is sent when it has so many bytes, even if there is more at hand.
const PIECE_BYTES: usize = 16 * KIB;
/// How long a browser waits before it comes again, in milliseconds: four times what the host
/// itself waits, since all come at once.
const RETRY_MS: u128 = 4 * EVENTS_RETRY_PAUSE.as_millis();

/// The fields of the answer.
pub(crate) fn headers() -> HeaderMap {
    [
        (CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (X_ACCEL_BUFFERING, HeaderValue::from_static("no")),
    ]
    .into_iter()
    .collect()
}

/// The answer's body: pieces of whole events.
///
/// A task of its own fills it, because a body is not asked for anything while its client takes
/// nothing, and it is then that a subscription has to end.
pub(crate) fn pieces(subscription: Subscription) -> Pieces {
    let (sender, pieces) = mpsc::channel(1);
    let (last, closed) = oneshot::channel();
    let (left, cut) = (CancellationToken::new(), CancellationToken::new());
    tokio::spawn(fill(subscription, sender, (last, left.clone()), cut.clone()));
    let first = Bytes::from(format!("retry: {RETRY_MS}\n\n"));
    let taken = Taken { pieces, closed: Some(closed), left };
    let rest = unfold(taken, Taken::next);
    Pieces { stream: futures_util::stream::once(std::future::ready(first)).chain(rest).boxed(), cut }
}

/// Tells a subscriber until the end.
async fn fill(
    mut subscription: Subscription,
    pieces: mpsc::Sender<Bytes>,
    (last, left): (oneshot::Sender<Last>, CancellationToken),
    cut: CancellationToken,
) {
    let Some(end) = tell(&mut subscription, &pieces).await else { return };
    subscription.ended(end);
    let mut closed = BytesMut::new();
    // Without an id: the last one stays the one to come back with.
    event(&mut closed, None, message::CLOSED, &message::closed(end, subscription.cursor()));
    // Its place is somebody else's, however long the client takes to hear of that.
    drop((subscription, pieces));
    let _ = last.send(Last { bytes: closed.freeze(), _left: left.clone().drop_guard() });
    if timeout(SUBSCRIBER_CLOSE_TIMEOUT, left.cancelled()).await.is_err() {
        cut.cancel();
    }
}

/// Returns why the host ends it; `None` when the client has left.
async fn tell(subscription: &mut Subscription, pieces: &mpsc::Sender<Bytes>) -> Option<End> {
    let mut beat = interval_at(Instant::now() + SUBSCRIBER_PING_PERIOD, SUBSCRIBER_PING_PERIOD);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        // First the room, then what to put there: until then, what waits is in the line, which
        // has a bound.
        let room = tokio::select! {
            biased;
            room = pieces.reserve() => room.ok()?,
            end = subscription.overtaken() => return Some(end),
        };
        let step = tokio::select! {
            biased;
            () = pieces.closed() => return None,
            step = subscription.next() => step,
            _ = beat.tick() => {
                // A comment: whoever is between sees that the answer has not stalled.
                room.send(Bytes::from_static(b": \n\n"));
                continue;
            }
        };
        let (piece, end) = piece(step, subscription);
        if !piece.is_empty() {
            room.send(piece);
        }
        if end.is_some() {
            return end;
        }
    }
}

/// The next piece, and whether the end comes after it.
fn piece(mut step: Step, subscription: &mut Subscription) -> (Bytes, Option<End>) {
    let mut piece = BytesMut::new();
    loop {
        match &step {
            Step::Ready(at) => event(&mut piece, Some(*at), message::READY, &message::ready(*at)),
            Step::Event(told) => event(&mut piece, Some(told.id), &told.kind, &told.json),
            Step::Gap(gap) => event(&mut piece, Some(gap.resume_from), message::GAP, &message::gap(gap)),
            Step::End(end) => return (piece.freeze(), Some(*end)),
        }
        subscription.told(&step);
        let more = if piece.len() >= PIECE_BYTES { None } else { subscription.at_hand() };
        match more {
            Some(next) => step = next,
            None => return (piece.freeze(), None),
        }
    }
}

/// The last piece. It holds what says that it has left.
struct Last {
    bytes: Bytes,
    _left: DropGuard,
}

impl AsRef<[u8]> for Last {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// The pieces, as the connection takes them.
struct Taken {
    pieces: mpsc::Receiver<Bytes>,
    closed: Option<oneshot::Receiver<Last>>,
    left: CancellationToken,
}

impl Taken {
    async fn next(mut self) -> Option<(Bytes, Self)> {
        if let Some(piece) = self.pieces.recv().await {
            return Some((piece, self));
        }
        if let Some(closed) = self.closed.take() {
            return Some((Bytes::from_owner(closed.await.ok()?), self));
        }
        // A stream of HTTP/2 can be cut until its body ends, so it does not end before the last
        // piece has left.
        self.left.cancelled().await;
        None
    }
}

/// JSON as the host writes it has no line breaks, so an event has one line of data.
fn event(to: &mut BytesMut, id: Option<Cursor>, kind: &str, json: &[u8]) {
    to.reserve(kind.len() + json.len() + 64);
    if let Some(id) = id {
        to.put_slice(b"id: ");
        to.put_slice(id.to_string().as_bytes());
        to.put_u8(b'\n');
    }
    to.put_slice(b"event: ");
    to.put_slice(kind.as_bytes());
    to.put_slice(b"\ndata: ");
    to.put_slice(json);
    to.put_slice(b"\n\n");
}
