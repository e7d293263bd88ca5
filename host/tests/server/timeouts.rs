//! Every wait for a client ends.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crate::host::{Host, SHORT};
use crate::wire::{Wire, tls};

const LONG: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn a_head_that_does_not_end_is_answered_408() {
    let host = Host::with(|limits| limits.header_timeout = SHORT).await;
    let mut wire = Wire::connect(host.direct()).await;
    wire.send("GET / HTTP/1.1\r\nHost: local").await;
    wire.answer().await.assert_problem(408);
    wire.assert_closed().await;
    assert_eq!(host.server.stats().timed_out.load(Relaxed), 1);
}

#[tokio::test]
async fn so_is_the_head_of_a_later_request() {
    let host = Host::with(|limits| limits.header_timeout = SHORT).await;
    let mut wire = Wire::new(tls(host.https(), &["http/1.1"]).await);
    assert_eq!(wire.get("/").await.status, 200);
    wire.send("GET / HTTP/1.1\r\n").await;
    wire.answer().await.assert_problem(408);
    wire.assert_closed().await;
}

#[tokio::test]
async fn a_drip_of_bytes_does_not_extend_the_time() {
    let host = Host::with(|limits| limits.header_timeout = SHORT).await;
    let mut wire = Wire::connect(host.direct()).await;
    wire.send("GET / HTTP/1.1\r\n").await;
    let stats = host.server.stats();
    let drip = async {
        while stats.timed_out.load(Relaxed) == 0 {
            wire.send("X: y\r\n").await;
            tokio::time::sleep(SHORT / 10).await;
        }
    };
    tokio::time::timeout(crate::host::PATIENCE, drip).await.expect("timed out");
}

#[tokio::test]
async fn a_client_that_says_nothing_is_closed() {
    let host = Host::with(|limits| limits.header_timeout = SHORT).await;
    Wire::connect(host.direct()).await.assert_closed().await;
    Wire::new(tls(host.https(), &["http/1.1"]).await).assert_closed().await;
}

#[tokio::test]
async fn an_idle_connection_outlives_the_time_for_a_head() {
    let host = Host::with(|limits| {
        limits.header_timeout = SHORT;
        limits.keep_alive_timeout = LONG;
    })
    .await;
    let mut idle = Wire::connect(host.direct()).await;
    assert_eq!(idle.get("/").await.status, 200);

    // Two connections later in turn run out of that time; so has the idle one.
    for _ in 0..2 {
        let mut slow = Wire::connect(host.direct()).await;
        slow.send("GET").await;
        slow.answer().await.assert_problem(408);
    }
    assert_eq!(idle.get("/").await.status, 200);
}

#[tokio::test]
async fn an_idle_connection_is_closed_without_a_word() {
    let host = Host::with(|limits| {
        limits.header_timeout = LONG;
        limits.keep_alive_timeout = SHORT;
    })
    .await;
    let mut wire = Wire::connect(host.direct()).await;
    assert_eq!(wire.get("/").await.status, 200);
    wire.assert_closed().await;
    assert_eq!(host.server.stats().timed_out.load(Relaxed), 0);
}

#[tokio::test]
async fn a_slow_answer_is_nobodys_timeout() {
    let host = Host::with(|limits| {
        limits.header_timeout = SHORT;
        limits.keep_alive_timeout = SHORT;
        limits.write_timeout = SHORT;
    })
    .await;
    let mut wire = Wire::connect(host.direct()).await;
    wire.send("GET /held HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    for _ in 0..2 {
        let mut slow = Wire::connect(host.direct()).await;
        slow.send("GET").await;
        slow.answer().await.assert_problem(408);
    }
    host.script.release.add_permits(1);
    assert_eq!(wire.answer().await.body, "released");
}

#[tokio::test]
async fn a_handshake_has_a_deadline() {
    let host = Host::with(|limits| limits.tls_handshake_timeout = SHORT).await;
    Wire::connect(host.https()).await.assert_closed().await;
    assert_eq!(host.server.stats().handshakes_failed.load(Relaxed), 1);
}

#[tokio::test]
async fn an_answer_holds_its_permit_until_it_has_been_taken() {
    let host = Host::start().await;
    let mut wire = Wire::connect(host.direct()).await;
    wire.send("GET /big HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    let head = wire.head().await;
    assert!(head.contains("content-length: 67108864\r\n"), "{head}");
    assert_eq!(host.script.permit.available_permits(), 0);
    wire.skip(64 * 1024 * 1024).await;
    let freed = host.script.permit.acquire();
    drop(tokio::time::timeout(crate::host::PATIENCE, freed).await.expect("freed").expect("open"));
}

#[tokio::test]
async fn a_client_that_takes_nothing_loses_the_connection_and_the_permit() {
    let host = Host::with(|limits| limits.write_timeout = SHORT).await;
    for encrypted in [false, true] {
        let request = "GET /big HTTP/1.1\r\nHost: localhost\r\n\r\n";
        let mut plain = Wire::connect(host.direct()).await;
        let mut sealed = Wire::new(tls(host.https(), &["http/1.1"]).await);
        if encrypted {
            sealed.send(request).await;
            sealed.head().await;
        } else {
            plain.send(request).await;
            plain.head().await;
        }
        let freed = host.script.permit.acquire();
        drop(tokio::time::timeout(crate::host::PATIENCE, freed).await.expect("freed").expect("open"));
    }
    assert_eq!(host.server.stats().timed_out.load(Relaxed), 2);
}

#[tokio::test]
async fn an_answer_that_is_cut_ends_though_its_client_takes_nothing() {
    let host = Host::start().await;
    let mut wire = Wire::connect(host.direct()).await;
    wire.send("GET /endless HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    wire.head().await;
    host.script.cut.cancel();
    host.open(0).await;
    assert_eq!(host.server.stats().timed_out.load(Relaxed), 1);
}
