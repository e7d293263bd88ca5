//! Readers of server-sent events who take nothing: their bodies are not asked for anything.

use std::sync::atomic::Ordering::Relaxed;

use serde_json::{Value, json};
use wasmyard_tests::{EventSource, Session, Shop, Wire, client, until, within};

use crate::ends::short_session;
use crate::{SSE, told_at_length};

const FIRST: i64 = 1_000_000;
/// Events that are told at once.
const PART: i64 = 64;
/// Bytes of an event that say nothing: nearly all that it may have.
const FILLER: usize = 3_900;
/// What the client's kernel, or its window, takes for it.
const LITTLE: u32 = 4 * 1024;
const WINDOW: u32 = 65_535;

/// A reader over HTTP/1.1 that has sent its request, and reads nothing.
async fn over_http1(shop: &Shop) -> Wire {
    let mut wire = shop.dialer().with_receive_buffer(LITTLE).wire().await;
    wire.write(format!("GET {SSE} HTTP/1.1\r\nhost: localhost\r\n\r\n").as_bytes()).await;
    wire
}

/// A reader over HTTP/2 that has heard the beginning, and its connection.
async fn over_http2(shop: &Shop, session: Option<&Session>) -> (EventSource, reqwest::Client) {
    let pem = std::fs::read(shop.state_dir().join("tls/self-signed.pem")).expect("the certificate");
    let client = client(&pem, |builder| builder.http2_initial_stream_window_size(WINDOW));
    let mut request = client.get(shop.url(SSE));
    if let Some(session) = session {
        request = request.bearer_auth(&session.access);
    }
    let mut source = EventSource::of(request).await;
    assert_eq!(source.next().await.expect("the beginning").kind, "ready");
    (source, client)
}

/// Readers now.
fn readers(shop: &Shop) -> u64 {
    let topics = shop.host.platform().topics();
    let (_, stats) = topics.stats().next().expect("one topic");
    stats.open()[0].1
}

/// Tells so many parts, and waits until the host has read them.
async fn parts(shop: &Shop, count: i64) {
    let topics = shop.host.platform().topics();
    let (_, stats) = topics.stats().next().expect("one topic");
    let before = stats.received.load(Relaxed);
    told_at_length(shop, FIRST..FIRST + count * PART, &[1], FILLER).await;
    let expected = before + (count * PART).unsigned_abs();
    until("they are read", async || stats.received.load(Relaxed) >= expected).await;
}

/// Subscribers that were closed for this reason.
fn ended(shop: &Shop, reason: &str) -> u64 {
    let topics = shop.host.platform().topics();
    let (_, stats) = topics.stats().next().expect("one topic");
    stats.ended().find(|(name, _)| *name == reason).expect("a reason").1
}

#[tokio::test]
async fn over_http1_a_reader_that_stalls_is_let_go_and_told_where_to_go_on() {
    let shop = Shop::start().await;
    let mut wire = over_http1(&shop).await;
    until("it listens", async || readers(&shop) == 1).await;
    // More than the kernel, what encrypts, the server and the line take.
    parts(&shop, 8).await;
    until("its place is free", async || readers(&shop) == 0).await;
    assert_eq!(ended(&shop, "slow"), 1);

    let told = within("the end", wire.until(b"event: closed\ndata: ")).await;
    let told = String::from_utf8(told).expect("text");
    let last = told.rsplit_once("\nid: ").and_then(|(_, last)| last.split_once('\n')).expect("an id").0;
    let end = wire.until(b"\n\n").await;
    let end: Value = serde_json::from_slice(&end).expect("JSON");
    assert_eq!(end, json!({ "type": "closed", "code": 1013, "reason": "slow", "after": last }));
    // The last chunk: the answer has an end.
    within("the last chunk", wire.until(b"\r\n0\r\n\r\n")).await;
}

#[tokio::test]
async fn over_http2_a_reader_that_stalls_is_let_go_while_its_connection_lives() {
    let shop = Shop::start().await;
    let (mut source, client) = over_http2(&shop, None).await;
    parts(&shop, 8).await;
    until("its place is free", async || readers(&shop) == 0).await;
    assert_eq!(ended(&shop, "slow"), 1);
    let health = client.get(shop.url("/api/health")).send().await.expect("the connection lives");
    assert_eq!(health.status(), 200);
    let mut last = Value::Null;
    let end = loop {
        let event = source.next().await.expect("the end is said");
        match event.kind.as_str() {
            "closed" => break event.data,
            _ => last = event.data["id"].clone(),
        }
    };
    assert_eq!(end, json!({ "type": "closed", "code": 1013, "reason": "slow", "after": last }));
    assert_eq!(source.next().await, None);
}

#[tokio::test]
async fn with_the_token_the_subscription_of_a_reader_that_stalls_ends() {
    let shop = Shop::builder().tokens_required().start().await;
    let session = short_session(&shop);
    let (_source, _client) = over_http2(&shop, Some(&session)).await;
    // More than the window, less than waits for it.
    parts(&shop, 3).await;
    until("its place is free", async || readers(&shop) == 0).await;
    assert_eq!(ended(&shop, "expired"), 1);
}

#[tokio::test]
async fn a_stop_does_not_wait_for_readers_that_stall() {
    let shop = Shop::start().await;
    let _wire = over_http1(&shop).await;
    let (_source, _client) = over_http2(&shop, None).await;
    until("both listen", async || readers(&shop) == 2).await;
    parts(&shop, 3).await;
    let Shop { host, .. } = shop;
    let drained = within("the host stops", host.stop(&|_| {})).await;
    assert_eq!(drained.aborted, 0, "{drained:?}");
}

#[tokio::test]
async fn a_reader_of_a_quiet_stream_sees_that_it_is_there() {
    let shop = Shop::start().await;
    let mut wire = Wire::open(&shop).await;
    wire.write(format!("GET {SSE} HTTP/1.1\r\nhost: localhost\r\n\r\n").as_bytes()).await;
    within("the beginning", wire.until(b"event: ready\n")).await;
    for _ in 0..2 {
        within("a comment", wire.until(b"\n: \n\n")).await;
    }
}
