//! The bounds on heads and connections, and what a client over one of them reads.

use std::sync::atomic::Ordering::Relaxed;

use crate::host::{Host, until};
use crate::wire::{Wire, tls};

fn with_fields(count: usize) -> String {
    let fields: String = (1..count).map(|number| format!("X-{number}: y\r\n")).collect();
    format!("GET / HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n")
}

fn with_value(bytes: usize) -> String {
    format!("GET / HTTP/1.1\r\nHost: localhost\r\nX-Large: {}\r\n\r\n", "x".repeat(bytes))
}

fn with_path(bytes: usize) -> String {
    format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "x".repeat(bytes))
}

async fn ask(host: &Host, request: impl AsRef<[u8]>) -> crate::wire::Answer {
    let mut wire = Wire::connect(host.direct()).await;
    wire.send(request).await;
    wire.answer().await
}

#[tokio::test]
async fn a_hundred_fields_are_served_and_one_more_is_refused() {
    let host = Host::start().await;
    assert_eq!(ask(&host, with_fields(100)).await.status, 200);
    ask(&host, with_fields(101)).await.assert_problem(431);
    ask(&host, with_fields(2_000)).await.assert_problem(431);
}

#[tokio::test]
async fn the_number_of_fields_may_be_set_below_and_above_hypers_own() {
    let few = Host::with(|limits| limits.header_fields_max = 10).await;
    assert_eq!(ask(&few, with_fields(10)).await.status, 200);
    ask(&few, with_fields(11)).await.assert_problem(431);

    let many = Host::with(|limits| limits.header_fields_max = 300).await;
    assert_eq!(ask(&many, with_fields(300)).await.status, 200);
    ask(&many, with_fields(301)).await.assert_problem(431);
}

#[tokio::test]
async fn fields_may_have_32_kib() {
    let host = Host::start().await;
    assert_eq!(ask(&host, with_value(32_000)).await.status, 200);
    ask(&host, with_value(32 * 1024)).await.assert_problem(431);
    ask(&host, with_value(1024 * 1024)).await.assert_problem(431);
}

#[tokio::test]
async fn the_request_line_may_have_16_kib() {
    let host = Host::start().await;
    // `GET /` and ` HTTP/1.1` are 14 bytes of it.
    assert_eq!(ask(&host, with_path(16 * 1024 - 14)).await.status, 200);
    ask(&host, with_path(16 * 1024 - 13)).await.assert_problem(414);
    ask(&host, with_path(40 * 1024)).await.assert_problem(414);
    ask(&host, with_path(1024 * 1024)).await.assert_problem(414);
}

#[tokio::test]
async fn beyond_the_connections_there_is_a_503_or_nothing() {
    let host = Host::with(|limits| limits.connections_max = 1).await;
    let mut first = Wire::connect(host.direct()).await;
    assert_eq!(first.get("/").await.status, 200);

    let mut second = Wire::connect(host.direct()).await;
    let refusal = second.answer().await;
    refusal.assert_problem(503);
    assert_eq!(refusal.field("retry-after"), Some("1"));
    second.assert_closed().await;

    let mut encrypted = Wire::connect(host.https()).await;
    encrypted.assert_closed().await;
    assert_eq!(host.server.stats().turned_away.load(Relaxed), 2);

    drop(first);
    host.open(0).await;
    assert_eq!(Wire::connect(host.direct()).await.get("/").await.status, 200);
}

#[tokio::test]
async fn a_handshake_counts_as_a_connection() {
    let host = Host::with(|limits| limits.connections_max = 1).await;
    let _silent = Wire::connect(host.https()).await;
    host.open(1).await;
    Wire::connect(host.direct()).await.answer().await.assert_problem(503);
}

#[tokio::test]
async fn changed_limits_count_for_new_connections() {
    let host = Host::start().await;
    let mut limits = crate::host::manifest_server().limits;
    limits.request_line_bytes_max = 100;
    host.server.set_limits(limits);
    ask(&host, with_path(100)).await.assert_problem(414);
}

#[tokio::test]
async fn the_bounds_hold_behind_tls() {
    let host = Host::start().await;
    let mut wire = Wire::new(tls(host.https(), &["http/1.1"]).await);
    wire.send(with_value(1024 * 1024)).await;
    wire.answer().await.assert_problem(431);
}

#[tokio::test]
async fn a_connection_that_ends_leaves_the_count() {
    let host = Host::start().await;
    let mut wires = Vec::new();
    for _ in 0..5 {
        let mut wire = Wire::connect(host.direct()).await;
        wire.get("/").await;
        wires.push(wire);
    }
    host.open(5).await;
    drop(wires);
    let stats = host.server.stats();
    until("no connection", || stats.open.load(Relaxed) == 0).await;
    assert_eq!(stats.accepted.load(Relaxed), 5);
}
