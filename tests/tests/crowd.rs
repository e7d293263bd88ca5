//! Many who listen to events, and one who does not.
//!
//! A program of its own: it looks at its memory, in which other tests would compile components.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use serde_json::Value;
use wasmyard_tests::{Heard, Shop, at_once, until};

const WS: &str = "/api/v1/orders/ws";
const HEALTHY: usize = 1_000;
const EVENTS: usize = 1_000;
/// Those before the one that stalls comes, in which the buffers of all others take their size.
const BEFORE: usize = 500;
/// Events that are told at once: fewer than wait for a subscriber.
const PART: usize = 100;
const FIRST: usize = 1_000_000;
/// Bytes of an event that say nothing: nearly all that it may have.
const FILLER: usize = 3_900;

#[tokio::test(flavor = "multi_thread")]
async fn one_who_stalls_is_let_go_and_a_thousand_others_hear_everything() {
    let shop = Shop::builder().change(|manifest| {
        let orders = manifest.services.get_mut("orders").and_then(|orders| orders.events.as_mut());
        orders.expect("orders have events").subscribers_per_client_max = HEALTHY + 1;
    });
    let shop = Arc::new(shop.start().await);
    let dialer = shop.dialer();
    // Each listens from when it is open, and answers the pings that come meanwhile.
    let mut healthy = tokio::task::JoinSet::new();
    for opening in (0..HEALTHY).collect::<Vec<_>>().chunks(50) {
        let open = opening.iter().map(|_| {
            let dialer = dialer.clone();
            async move {
                let mut socket = dialer.open(WS).await;
                socket.ready().await;
                socket
            }
        });
        for mut socket in at_once(open.collect::<Vec<_>>()).join_all().await {
            healthy.spawn(async move {
                for number in FIRST..FIRST + EVENTS {
                    assert_eq!(socket.message().await["order_id"], number);
                }
                socket
            });
        }
    }
    let mut parts = (FIRST..FIRST + EVENTS).step_by(PART);
    for from in parts.by_ref().take(BEFORE / PART) {
        part(&shop, from).await;
    }

    // The kernel takes in 4 KiB for it, and it reads no further than it must.
    let mut stalled = dialer.clone().with_receive_buffer(4 * 1024).open(WS).await;
    let start = stalled.ready().await;
    let before_mib = resident_mib("VmRSS:");
    forget_peak();
    while ended(&shop) == 0 {
        let from = parts.next().expect("no buffer takes all of them");
        part(&shop, from).await;
    }
    assert_eq!(slow(&shop), 1);
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
    let (peak_mib, after_mib) = (resident_mib("VmHWM:"), resident_mib("VmRSS:"));
    let sockets = healthy.join_all().await;
    assert_eq!(sockets.len(), HEALTHY);
    assert_eq!(ended(&shop), 1, "nobody else was let go");
    let part_mib = (HEALTHY * PART * FILLER / (1024 * 1024)) as u64;
    println!(
        "{HEALTHY} subscribers heard {EVENTS} events each, {} MiB; {} of them left for the one that stalled; \
         resident: {before_mib} MiB before, {after_mib} MiB after, {peak_mib} MiB at most, with the clients",
        part_mib * (EVENTS / PART) as u64,
        heard.len(),
    );
    // A copy for each of them of what is told at once would be four times as much.
    let most_mib = before_mib + part_mib / 4;
    assert!(peak_mib < most_mib, "{before_mib} MiB, then {peak_mib} MiB, and no more than {most_mib} MiB");

    let mut again = dialer.open(&format!("{WS}?after={}", reason["after"].as_str().expect("a place"))).await;
    let first = FIRST + BEFORE + heard.len();
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
async fn part(shop: &Shop, from: usize) {
    let sql = format!(
        "INSERT INTO outbox (topic, key, seq, type, payload)
         SELECT 'orders', number, 1, 'order.created',
                jsonb_build_object('order_id', number, 'filler', repeat('x', {FILLER}))
         FROM generate_series({from}, {}) AS number ORDER BY number",
        from + PART - 1
    );
    shop.sql(&sql).await;
    let expected = (HEALTHY * (from + PART - FIRST)) as u64;
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

/// Subscribers that were closed, for whatever reason.
fn ended(shop: &Shop) -> u64 {
    let topics = shop.host.platform().topics();
    let (_, stats) = topics.stats().next().expect("one topic");
    stats.ended().map(|(_, count)| count).sum()
}

/// What of this process is in memory, or was at most.
fn resident_mib(figure: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix(figure)).expect("a figure");
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().expect("a number") / 1024
}

/// From now on, the most is the most from now on (proc(5), `clear_refs`).
fn forget_peak() {
    std::fs::write("/proc/self/clear_refs", "5").expect("Linux");
}
