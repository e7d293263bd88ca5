//! Subscribers whose clients take their time, without a host around them.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::io::{DuplexStream, duplex};
use tokio::sync::Semaphore;
use tokio::task::yield_now;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::event::{Cursor, Event};
use super::hub::Hub;
use super::line::{Filter, Line};
use super::places::Places;
use super::sse;
use super::stats::EventStats;
use super::stream::Stream;
use super::subscription::{Source, Subscription};
use super::websocket;
use crate::capability::redis::RedisConnection;
use crate::limiter::Client;
use crate::limits::{SUBSCRIBER_CLOSE_TIMEOUT, SUBSCRIBER_EVENTS_MAX};
use crate::manifest::EventForm;
use crate::server::Pieces;

/// For what happens by itself: only a failure waits so long.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two pings where a test waits for some: time for a client on a busy machine.
const PING_PERIOD: Duration = Duration::from_secs(2);

/// A topic with room for one subscriber, and no Redis: all that is told is new.
struct OneListens {
    source: Arc<Source>,
    places: Arc<Places>,
    told: usize,
}

impl OneListens {
    fn new() -> Self {
        let redis = Arc::new(RedisConnection::open("redis://127.0.0.1:1").unwrap());
        let stats: Arc<EventStats> = Arc::default();
        let hub = Arc::new(Hub::new(stats.clone()));
        hub.begin(place(0));
        let stream = Arc::new(Stream::new(redis, "orders"));
        let source = Arc::new(Source { hub, stream, stats, replays: Semaphore::new(1) });
        Self { source, places: Arc::new(Places::new(1, 1)), told: 0 }
    }

    fn open(&self, form: EventForm, expires: Option<Instant>) -> Subscription {
        let open = self.source.stats.enter(form);
        let taken = self.places.take(Client::User("1".into())).unwrap();
        let line = Line::new(Filter { subject: None, key: None });
        Subscription::new(self.source.clone(), line, None, expires, (open, taken))
    }

    fn tell(&mut self, count: usize) {
        for _ in 0..count {
            let (id, before) = (place(self.told + 1), place(self.told));
            let json = Bytes::from(format!(r#"{{"id":"{id}","filler":"{}"}}"#, "x".repeat(200)));
            let (key, kind) = ("7".into(), "order.created".into());
            self.source.hub.tell(Event { id, before, subject: None, key, kind, json });
            self.told += 1;
        }
    }

    /// Waits until so many events are on their way.
    async fn delivered(&self, count: u64) {
        let delivered = async {
            while self.source.stats.delivered.load(Relaxed) < count {
                yield_now().await;
            }
        };
        timeout(PATIENCE, delivered).await.expect("the events are on their way");
    }

    /// Waits until the only place is free.
    async fn is_free(&self) {
        let free = async {
            while self.places.take(Client::User("2".into())).is_err() {
                yield_now().await;
            }
        };
        timeout(PATIENCE, free).await.expect("the place is free");
        let open: u64 = self.source.stats.open().iter().map(|(_, open)| open).sum();
        assert_eq!(open, 0);
    }

    fn ended(&self, reason: &str) -> u64 {
        self.source.stats.ended().find(|(name, _)| *name == reason).unwrap().1
    }
}

fn place(seq: usize) -> Cursor {
    format!("1-{seq}").parse().unwrap()
}

/// All that is left of an answer.
async fn rest(pieces: Pieces) -> String {
    let whole = pieces.stream.map(|piece| String::from_utf8(piece.to_vec()).unwrap()).collect::<String>();
    timeout(PATIENCE, whole).await.expect("the answer ends")
}

#[tokio::test]
async fn a_reader_that_takes_nothing_loses_its_place_and_hears_why_when_it_goes_on() {
    let mut topic = OneListens::new();
    let mut pieces = sse::pieces(topic.open(EventForm::Sse, None));
    let ready = [pieces.stream.next().await.unwrap(), pieces.stream.next().await.unwrap()].concat();
    assert_eq!(
        String::from_utf8(ready).unwrap(),
        "retry: 1000\n\nid: 1-0\nevent: ready\ndata: {\"id\":\"1-0\",\"type\":\"ready\"}\n\n"
    );
    // What has room on the way, and what waits.
    topic.tell(5);
    topic.delivered(5).await;
    topic.tell(SUBSCRIBER_EVENTS_MAX + 1);
    topic.is_free().await;
    assert_eq!(topic.ended("slow"), 1);
    let cut = pieces.cut.clone();
    let rest = rest(pieces).await;
    assert_eq!(rest.matches("event: order.created\n").count(), 5, "{rest}");
    let closed = r#"data: {"after":"1-5","code":1013,"reason":"slow","type":"closed"}"#;
    assert!(rest.ends_with(&format!("event: closed\n{closed}\n\n")), "{rest}");
    assert!(!cut.is_cancelled(), "it has heard everything");
}

#[tokio::test]
async fn with_its_token_or_its_host_a_reader_that_takes_nothing_ends_too() {
    let mut topic = OneListens::new();
    let pieces = sse::pieces(topic.open(EventForm::Sse, Some(Instant::now())));
    topic.is_free().await;
    assert_eq!(topic.ended("expired"), 1);
    assert!(rest(pieces).await.contains(r#""code":4401"#));

    let mut pieces = sse::pieces(topic.open(EventForm::Sse, None));
    pieces.stream.next().await.unwrap();
    pieces.stream.next().await.unwrap();
    topic.tell(1);
    topic.delivered(1).await;
    // This one has no room.
    topic.tell(1);
    topic.source.hub.closing().cancel();
    topic.is_free().await;
    assert_eq!(topic.ended("going-away"), 1);
    // It never takes the end either, so what serves it is told to end.
    let cut = timeout(SUBSCRIBER_CLOSE_TIMEOUT + PATIENCE, pieces.cut.cancelled()).await;
    cut.expect("it is cut");
}

#[tokio::test]
async fn a_reader_that_leaves_gives_back_its_place() {
    let topic = OneListens::new();
    drop(sse::pieces(topic.open(EventForm::Sse, None)));
    topic.is_free().await;
    let mut pieces = sse::pieces(topic.open(EventForm::Sse, None));
    pieces.stream.next().await.unwrap();
    pieces.stream.next().await.unwrap();
    drop(pieces);
    topic.is_free().await;
}

#[tokio::test]
async fn who_comes_back_to_a_full_tail_has_room_for_what_is_told_next() {
    let mut topic = OneListens::new();
    topic.tell(2 * SUBSCRIBER_EVENTS_MAX);
    let open = topic.source.stats.enter(EventForm::Sse);
    let taken = topic.places.take(Client::User("1".into())).unwrap();
    let line = Line::new(Filter { subject: None, key: None });
    let oldest = 2 * SUBSCRIBER_EVENTS_MAX - SUBSCRIBER_EVENTS_MAX / 2;
    let mut back = Subscription::new(topic.source.clone(), line, Some(place(oldest)), None, (open, taken));
    assert!(matches!(back.next().await, super::Step::Ready(at) if at == place(oldest)));
    topic.tell(SUBSCRIBER_EVENTS_MAX / 2);
    for seq in oldest + 1..=2 * SUBSCRIBER_EVENTS_MAX + SUBSCRIBER_EVENTS_MAX / 2 {
        assert!(matches!(back.next().await, super::Step::Event(event) if event.id == place(seq)), "{seq}");
    }
}

/// A WebSocket's client, and what serves it, over a pipe that holds a KiB.
fn socket(topic: &OneListens) -> impl Future<Output = WebSocketStream<DuplexStream>> {
    let (server, client) = duplex(1024);
    let subscription = topic.open(EventForm::WebSocket, None);
    tokio::spawn(websocket::listen(subscription, Box::pin(server), Bytes::new(), PING_PERIOD));
    WebSocketStream::from_raw_socket(client, Role::Client, None)
}

/// What the client hears next; a ping is answered with the next look.
async fn heard(socket: &mut WebSocketStream<DuplexStream>) -> Message {
    timeout(PATIENCE, socket.next()).await.expect("something").expect("no end").expect("a message")
}

async fn pinged(socket: &mut WebSocketStream<DuplexStream>) {
    let message = heard(socket).await;
    assert!(message.is_ping(), "{message:?}");
}

/// The whole process stands still, longer than two pings are apart.
fn pause() {
    std::thread::sleep(PING_PERIOD * 5 / 2);
}

#[tokio::test]
async fn a_client_that_answers_outlives_a_pause_of_its_host() {
    let topic = OneListens::new();
    let mut socket = socket(&topic).await;
    assert!(heard(&mut socket).await.is_text(), "ready");
    pinged(&mut socket).await;
    futures_util::SinkExt::flush(&mut socket).await.unwrap();
    // The answer has been sent, and is not read before the next two pings are due.
    pause();
    for _ in 0..2 {
        pinged(&mut socket).await;
    }
    assert_eq!(topic.ended("silent"), 0);
}

#[tokio::test]
async fn a_client_that_takes_its_time_to_read_is_there() {
    let mut topic = OneListens::new();
    let mut socket = socket(&topic).await;
    assert!(heard(&mut socket).await.is_text(), "ready");
    // The ping that this waits for is answered; the next one is behind what follows.
    pinged(&mut socket).await;
    futures_util::SinkExt::flush(&mut socket).await.unwrap();
    pause();
    topic.tell(50);
    topic.delivered(50).await;
    // A ping is among what does not fit into the pipe, and the one after it is due.
    pause();
    let mut pings = 0;
    let mut events = 0;
    while events < 50 || pings < 3 {
        match heard(&mut socket).await {
            Message::Ping(_) => pings += 1,
            Message::Text(_) => events += 1,
            other => panic!("{other:?} after {events} events"),
        }
    }
    assert_eq!(topic.ended("silent"), 0);
}
