//! A drain loses nothing, and ends.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use wasmyard::server::Drained;

use crate::host::{Host, PATIENCE, SHORT, until};
use crate::http2::{Client, text};
use crate::wire::{Wire, tls};

const HELD: &str = "GET /held HTTP/1.1\r\nHost: localhost\r\n\r\n";

async fn entered(host: &Host, count: u32) {
    let entered = host.script.entered.acquire_many(count);
    timeout(PATIENCE, entered).await.expect("entered").expect("open").forget();
}

async fn refused(address: std::net::SocketAddr) {
    let refused = async { while TcpStream::connect(address).await.is_ok() {} };
    timeout(PATIENCE, refused).await.expect("refused");
}

#[tokio::test]
async fn requests_in_flight_are_answered_and_new_connections_refused() {
    let host = Host::start().await;
    let (direct, script) = (host.direct(), Arc::clone(&host.script));
    let mut plain = Wire::connect(direct).await;
    plain.send(HELD).await;
    let mut sealed = Wire::new(tls(host.https(), &["http/1.1"]).await);
    sealed.send(HELD).await;
    entered(&host, 2).await;

    let drain = tokio::spawn(host.server.drain(PATIENCE));
    refused(direct).await;
    script.release.add_permits(2);
    let answer = plain.answer().await;
    assert_eq!((answer.body.as_str(), answer.field("connection")), ("released", Some("close")));
    plain.assert_closed().await;
    let answer = sealed.answer().await;
    assert_eq!((answer.body.as_str(), answer.field("connection")), ("released", Some("close")));
    sealed.assert_closed().await;
    assert_eq!(drain.await.expect("no panic").aborted, 0);
}

#[tokio::test]
async fn http2_streams_in_flight_are_answered() {
    let host = Host::start().await;
    let (direct, script) = (host.direct(), Arc::clone(&host.script));
    let mut client = Client::encrypted(&host).await;
    text(client.get("/").await).await;
    let held = tokio::spawn(async move {
        let answer = client.get("/held").await;
        (text(answer).await, client)
    });
    entered(&host, 1).await;

    let drain = tokio::spawn(host.server.drain(PATIENCE));
    refused(direct).await;
    script.release.add_permits(1);
    let (body, client) = held.await.expect("no panic");
    assert_eq!(body, "released");
    let ended = timeout(PATIENCE, client.connection).await.expect("in time").expect("no panic");
    assert!(ended.is_ok(), "{ended:?}");
    assert_eq!(drain.await.expect("no panic").aborted, 0);
}

#[tokio::test]
async fn idle_connections_are_closed_and_a_head_begun_is_waited_for() {
    let host = Host::start().await;
    let direct = host.direct();
    let mut idle = Wire::connect(direct).await;
    assert_eq!(idle.get("/").await.status, 200);
    let mut silent = Wire::connect(direct).await;
    let mut begun = Wire::connect(direct).await;
    begun.send("GET /late HTTP/1.1\r\n").await;
    host.open(3).await;

    let drain = tokio::spawn(host.server.drain(PATIENCE));
    idle.assert_closed().await;
    silent.assert_closed().await;
    drop((idle, silent));
    begun.send("Host: localhost\r\n\r\n").await;
    let answer = begun.answer().await;
    assert_eq!((answer.body.as_str(), answer.field("connection")), ("/late users false", Some("close")));
    begun.assert_closed().await;
    assert_eq!(drain.await.expect("no panic"), Drained { finished: 3, aborted: 0 });
}

#[tokio::test]
async fn what_does_not_end_is_cut_off_at_the_deadline() {
    let host = Host::start().await;
    let stats = host.server.stats();
    let mut stuck = Wire::connect(host.direct()).await;
    stuck.send(HELD).await;
    entered(&host, 1).await;
    let drained = timeout(PATIENCE, host.server.drain(SHORT)).await.expect("at the deadline");
    assert_eq!(drained, Drained { finished: 0, aborted: 1 });
    stuck.assert_closed().await;
    assert_eq!(stats.aborted.load(Relaxed), 1);
}

/// Clients that ask without a pause, on kept and on fresh connections: whoever was
/// let in is answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_is_lost_under_load() {
    let host = Host::start().await;
    let (direct, stats) = (host.direct(), host.server.stats());
    let asked = Arc::new(AtomicUsize::new(0));
    let mut clients = JoinSet::new();
    for number in 0..16 {
        let asked = Arc::clone(&asked);
        let requests = if number % 2 == 0 { 50 } else { 1 };
        clients.spawn(async move {
            let mut served = 0;
            while let Ok(stream) = TcpStream::connect(direct).await {
                let mut wire = Wire::new(stream);
                // The kernel completes a handshake before anybody accepts it; what it
                // had completed when the listener closed, it resets.
                let Some(mut answer) = wire.first("/").await else { break };
                served += 1;
                for _ in 1..requests {
                    asked.fetch_add(1, Relaxed);
                    if answer.field("connection") == Some("close") {
                        break;
                    }
                    // Panics if the connection is closed without an answer.
                    answer = wire.get("/").await;
                }
                assert_eq!(answer.status, 200);
            }
            served
        });
    }
    until("some load", || asked.load(Relaxed) > 1_000).await;
    let drained = host.server.drain(PATIENCE).await;
    assert_eq!(drained.aborted, 0);
    let mut served = 0;
    while let Some(client) = timeout(PATIENCE, clients.join_next()).await.expect("in time") {
        served += client.expect("every request after the first is answered");
    }
    assert_eq!(served, stats.accepted.load(Relaxed), "every connection accepted was served");
}

#[tokio::test]
async fn a_server_with_nothing_to_do_drains_at_once() {
    let host = Host::start().await;
    let drained = timeout(PATIENCE, host.server.drain(Duration::from_secs(3600))).await.expect("at once");
    assert_eq!(drained, Drained { finished: 0, aborted: 0 });
}
