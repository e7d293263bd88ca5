//! Events over a WebSocket.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Message, Utf8Bytes};

use super::message;
use super::step::{End, Step};
use super::subscription::Subscription;
use crate::limits::{
    KIB, SUBSCRIBER_CLOSE_TIMEOUT, SUBSCRIBER_FRAMES_MAX, SUBSCRIBER_MESSAGE_BYTES_MAX,
    SUBSCRIBER_PING_PERIOD,
};
use crate::server::Io;

/// Read at once: a subscriber sends little.
const READ_BYTES: usize = 2 * KIB;
/// Written at once, when there is so much.
const WRITE_BYTES: usize = 16 * KIB;

type Socket = WebSocketStream<Pin<Box<dyn Io>>>;

/// How it went on.
enum Outcome {
    /// The host has a reason to end it.
    End(End),
    /// The client has left, or is lost.
    Left,
}

/// Tells a subscriber until the end; `read` is what the connection had read already.
pub(crate) async fn serve(subscription: Subscription, io: Pin<Box<dyn Io>>, read: Bytes) {
    listen(subscription, io, read, SUBSCRIBER_PING_PERIOD).await;
}

/// The same, with a ping so often.
pub(super) async fn listen(
    mut subscription: Subscription,
    io: Pin<Box<dyn Io>>,
    read: Bytes,
    ping_period: Duration,
) {
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BYTES)
        .write_buffer_size(WRITE_BYTES)
        .max_write_buffer_size(WRITE_BYTES + crate::limits::SUBSCRIBER_BYTES_MAX)
        .max_message_size(Some(SUBSCRIBER_MESSAGE_BYTES_MAX))
        .max_frame_size(Some(SUBSCRIBER_MESSAGE_BYTES_MAX));
    let mut socket = Socket::from_partially_read(io, read.into(), Role::Server, Some(config)).await;
    let Outcome::End(end) = tell(&mut subscription, &mut socket, ping_period).await else { return };
    subscription.ended(end);
    let reason = message::close_reason(end, subscription.cursor());
    // Its place is somebody else's, however long the client takes to hear of that.
    drop(subscription);
    // A client that has stalled reads this when it goes on, if it does so soon.
    let _ = timeout(SUBSCRIBER_CLOSE_TIMEOUT, close(reason, &mut socket, end)).await;
}

async fn tell(subscription: &mut Subscription, socket: &mut Socket, ping_period: Duration) -> Outcome {
    let mut beat = interval_at(Instant::now() + ping_period, ping_period);
    // After a host was paused its client has as much time for an answer as ever.
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut answered, mut frames) = (true, 0);
    loop {
        let step = tokio::select! {
            biased;
            // Before the beat: an answer that has come and was not read is one.
            frame = socket.next() => {
                // Whatever it is, the client is there.
                answered = true;
                frames += 1;
                match frame {
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) if frames <= SUBSCRIBER_FRAMES_MAX => continue,
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return farewell(frame, socket).await,
                    Some(Ok(_)) => return Outcome::End(End::Unexpected),
                }
            }
            _ = beat.tick() => {
                if !std::mem::take(&mut answered) {
                    return Outcome::End(End::Silent);
                }
                frames = 0;
                tokio::select! {
                    biased;
                    sent = socket.send(Message::Ping(Bytes::new())) => match sent {
                        Ok(()) => continue,
                        Err(_) => return Outcome::Left,
                    },
                    end = subscription.overtaken() => return Outcome::End(end),
                }
            }
            step = subscription.next() => step,
        };
        let mut waited = false;
        if let Some(outcome) = write(step, subscription, socket, &mut waited).await {
            return outcome;
        }
        // Somebody has taken what did not fit at first. The answer to a ping may be long in
        // coming from a client that has so much to read before it.
        answered |= waited;
    }
}

/// Writes what is at hand, and sees to it that it leaves. The client may take its time: when
/// it takes too much, what waits for it grows beyond its bound, and the subscription says so.
/// Notes whether it took any time.
async fn write(
    first: Step,
    subscription: &mut Subscription,
    socket: &mut Socket,
    waited: &mut bool,
) -> Option<Outcome> {
    let mut next = Some(first);
    while let Some(step) = next {
        let text = match &step {
            Step::Ready(at) => message::ready(*at),
            Step::Event(event) => event.json.clone(),
            Step::Gap(gap) => message::gap(gap),
            Step::End(end) => return Some(Outcome::End(*end)),
        };
        // What the host writes is UTF-8, so there is nothing to lose.
        let text = Utf8Bytes::try_from(text).unwrap_or_default();
        tokio::select! {
            biased;
            sent = noting(waited, socket.feed(Message::Text(text))) => {
                if sent.is_err() {
                    return Some(Outcome::Left);
                }
            }
            end = subscription.overtaken() => return Some(Outcome::End(end)),
        }
        subscription.told(&step);
        next = subscription.at_hand();
    }
    tokio::select! {
        biased;
        flushed = noting(waited, socket.flush()) => flushed.is_err().then_some(Outcome::Left),
        end = subscription.overtaken() => Some(Outcome::End(end)),
    }
}

/// Does some work, and notes whether it had to wait.
async fn noting<T>(waited: &mut bool, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    poll_fn(|cx| {
        let polled = work.as_mut().poll(cx);
        *waited |= polled.is_pending();
        polled
    })
    .await
}

/// The client closes, or breaks a rule: it gets the answer that is its due.
async fn farewell(frame: Option<Result<Message, tungstenite::Error>>, socket: &mut Socket) -> Outcome {
    use tungstenite::Error::{Capacity, Protocol, Utf8};
    match frame {
        Some(Err(Capacity(_) | Protocol(_) | Utf8(_))) => Outcome::End(End::Unexpected),
        Some(Ok(_)) => {
            let _ = timeout(SUBSCRIBER_CLOSE_TIMEOUT, socket.flush()).await;
            Outcome::Left
        }
        _ => Outcome::Left,
    }
}

/// Says goodbye, and waits for the client to do so: a socket closed with unread bytes in it
/// would be reset, and the goodbye lost.
async fn close(reason: String, socket: &mut Socket, end: End) -> Result<(), tungstenite::Error> {
    let frame = CloseFrame { code: CloseCode::from(end.code()), reason: reason.into() };
    socket.send(Message::Close(Some(frame))).await?;
    while let Some(frame) = socket.next().await {
        frame?;
    }
    Ok(())
}
