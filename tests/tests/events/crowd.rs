//! Many who listen, and one who does not.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use serde_json::Value;
use wasmyard_tests::{Heard, Shop, at_once, until};

use crate::{WS, told};

const HEALTHY: usize = 1_000;
/// More than wait for one subscriber and fit into the kernel's buffers.
const EVENTS: i64 = 1_000;
const FIRST: i64 = 1_000_000;
/// Events that are told at once: fewer than wait for a subscriber.
const PART: usize = 100;

#[tokio::test(flavor = "multi_thread")]
async fn one_who_stalls_is_let_go_and_a_thousand_others_hear_everything() {
    let shop = Shop::builder().change(|manifest| {
        let orders = manifest.services.get_mut("orders").and_then(|orders| orders.events.as_mut());
        orders.expect("orders have events").subscribers_per_client_max = HEALTHY + 1;
    });
    let shop = Arc::new(shop.start().await);
    let dialer = shop.dialer();
    // The kernel takes in 4 KiB for it, and it reads no further than it must.
    let mut stalled = dialer.clone().with_receive_buffer(4 * 1024).open(WS).await;
    let start = stalled.ready().await;
    let mut sockets = Vec::new();
    for opening in (0..HEALTHY).collect::<Vec<_>>().chunks(50) {
        let dialer = dialer.clone();
        let open = opening.iter().map(|_| {
            let dialer = dialer.clone();
            async move {
                let mut socket = dialer.open(WS).await;
                socket.ready().await;
                socket
            }
        });
        sockets.extend(at_once(open.collect::<Vec<_>>()).join_all().await);
    }

    let before_mib = resident_mib();
    let healthy = sockets.into_iter().map(|mut socket| async move {
        for number in FIRST..FIRST + EVENTS {
            assert_eq!(socket.message().await["order_id"], number);
        }
        socket
    });
    let healthy = at_once(healthy.collect::<Vec<_>>());
    let mut parts = (FIRST..FIRST + EVENTS).step_by(PART);
    while slow(&shop) == 0 {
        let from = parts.next().expect("no buffer takes all of them");
        part(&shop, from).await;
    }

    // What had left the host before that is still good, and the end says where to go on.
    let mut heard = Vec::new();
    let (code, reason) = loop {
        match stalled.hear().await {
            Heard::Message(event) => heard.push(event),
            Heard::Closed(code, reason) => break (code, reason),
            Heard::Lost => panic!("the end was lost after {} events", heard.len()),
        }
    };
    assert_eq!((code, &reason["reason"]), (1013, &Value::from("slow")));
    assert_eq!(reason["after"], heard.last().map_or(Value::from(start), |event| event["id"].clone()));
    for from in parts {
        part(&shop, from).await;
    }
    let sockets = healthy.join_all().await;
    assert_eq!(sockets.len(), HEALTHY);
    let after_mib = resident_mib();
    println!(
        "{HEALTHY} subscribers heard {EVENTS} events each; {} of them left for the one that stalled; \
         resident: {before_mib} MiB before, {after_mib} MiB after, with the clients",
        heard.len()
    );
    assert_eq!(slow(&shop), 1, "nobody else was slow");
    // A queue for each of them, filled, would be a thousand MiB.
    assert!(after_mib < before_mib + 200, "{before_mib} MiB, then {after_mib} MiB");

    let mut again = dialer.open(&format!("{WS}?after={}", reason["after"].as_str().expect("a place"))).await;
    let first = FIRST + i64::try_from(heard.len()).expect("few");
    for number in first..FIRST + EVENTS {
        let mut event = again.message().await;
        if event["type"] == "ready" {
            event = again.message().await;
        }
        assert_eq!(event["order_id"], number);
    }
}

/// Tells some events, and waits until those who listen have them: they share two cores with
/// the host, and are not to be overrun.
async fn part(shop: &Shop, from: i64) {
    let until_now = from + PART as i64;
    told(shop, from..until_now, &[1, 2, 3]).await;
    let expected = HEALTHY as u64 * (until_now - FIRST).unsigned_abs();
    let topics = shop.host.platform().topics();
    let (_, stats) = topics.stats().next().expect("one topic");
    until("a part is heard", async || stats.delivered.load(Relaxed) >= expected).await;
}

/// Subscribers that were closed because they were slow.
fn slow(shop: &Shop) -> u64 {
    let topics = shop.host.platform().topics();
    let (_, stats) = topics.stats().next().expect("one topic");
    stats.ended().find(|(reason, _)| *reason == "slow").expect("a reason").1
}

/// What of this process is in memory.
fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a figure");
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().expect("a number") / 1024
}
