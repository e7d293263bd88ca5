//! Events as an answer that does not end: server-sent events, as the HTML standard has them
//! (section 9.2).

use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::stream::{BoxStream, StreamExt as _, unfold};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::time::{Interval, interval_at};

use super::message;
use super::step::Step;
use super::subscription::Subscription;
use crate::limits::{EVENTS_RETRY_PAUSE, KIB, SUBSCRIBER_PING_PERIOD};

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
pub(crate) fn body(subscription: Subscription) -> BoxStream<'static, Bytes> {
    let now = tokio::time::Instant::now();
    let beat = interval_at(now + SUBSCRIBER_PING_PERIOD, SUBSCRIBER_PING_PERIOD);
    let first = Bytes::from(format!("retry: {RETRY_MS}\n\n"));
    let rest = unfold(Some((subscription, beat)), |state| async {
        let (mut subscription, mut beat) = state?;
        let (piece, ended) = piece(&mut subscription, &mut beat).await;
        Some((piece, (!ended).then_some((subscription, beat))))
    });
    futures_util::stream::once(std::future::ready(first)).chain(rest).boxed()
}

/// The next piece, and whether it is the last one.
async fn piece(subscription: &mut Subscription, beat: &mut Interval) -> (Bytes, bool) {
    let mut step = tokio::select! {
        biased;
        step = subscription.next() => step,
        // A comment: whoever is between sees that the answer has not stalled.
        _ = beat.tick() => return (Bytes::from_static(b": \n\n"), false),
    };
    let mut piece = BytesMut::new();
    loop {
        let ended = write(&step, subscription, &mut piece);
        subscription.told(&step);
        let more = if ended || piece.len() >= PIECE_BYTES { None } else { subscription.at_hand() };
        match more {
            Some(next) => step = next,
            None => return (piece.freeze(), ended),
        }
    }
}

/// Whether it was the last one.
fn write(step: &Step, subscription: &Subscription, to: &mut BytesMut) -> bool {
    match step {
        Step::Ready(at) => event(to, Some(&at.to_string()), message::READY, &message::ready(*at)),
        Step::Event(told) => event(to, Some(&told.id.to_string()), &told.kind, &told.json),
        Step::Gap(gap) => {
            event(to, Some(&gap.resume_from.to_string()), message::GAP, &message::gap(gap));
        }
        Step::End(end) => {
            subscription.ended(*end);
            let closed = message::closed(*end, subscription.cursor());
            // Without an id: the last one stays the one to come back with.
            event(to, None, message::CLOSED, &closed);
            return true;
        }
    }
    false
}

/// JSON as the host writes it has no line breaks, so an event has one line of data.
fn event(to: &mut BytesMut, id: Option<&str>, kind: &str, json: &[u8]) {
    to.reserve(kind.len() + json.len() + 64);
    if let Some(id) = id {
        to.put_slice(b"id: ");
        to.put_slice(id.as_bytes());
        to.put_u8(b'\n');
    }
    to.put_slice(b"event: ");
    to.put_slice(kind.as_bytes());
    to.put_slice(b"\ndata: ");
    to.put_slice(json);
    to.put_slice(b"\n\n");
}
