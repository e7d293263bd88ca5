//! Many who listen, and one who does not.

use std::sync::Arc;

use serde_json::Value;
use wasmyard_tests::{Heard, Shop, at_once, until};

use crate::{WS, told};

const HEALTHY: usize = 1_000;
/// More than wait for one subscriber and fit into the kernel's buffers.
const EVENTS: i64 = 1_500;
const FIRST: i64 = 1_000_000;

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
    for from in (FIRST..FIRST + EVENTS).step_by(100) {
        told(&shop, from..from + 100, &[1, 2, 3]).await;
    }
    until("the one that stalls is let go", async || metric(&shop, SLOW).await == 1).await;

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
    let sockets = healthy.join_all().await;
    assert_eq!(sockets.len(), HEALTHY);
    let after_mib = resident_mib();
    println!(
        "{HEALTHY} subscribers heard {EVENTS} events each; {} of them left for the one that stalled; \
         resident: {before_mib} MiB before, {after_mib} MiB after, with the clients",
        heard.len()
    );
    assert_eq!(metric(&shop, SLOW).await, 1, "nobody else was slow");
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

const SLOW: &str = r#"wasmyard_event_subscribers_closed_total{topic="orders",reason="slow"}"#;

async fn metric(shop: &Shop, line: &str) -> u64 {
    let metrics = shop.operator().get("/metrics").await;
    let value = metrics.text().lines().find_map(|have| have.strip_prefix(line)?.trim().parse().ok());
    value.unwrap_or_else(|| panic!("no {line}"))
}

/// What of this process is in memory.
fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a figure");
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().expect("a number") / 1024
}
