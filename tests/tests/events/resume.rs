//! Coming back: nothing missed, nothing heard twice, and what is gone is said.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use http::Method;
use serde_json::{Value, json};
use wasmyard_tests::component::rebuilt;
use wasmyard_tests::{EventSource, Listener, Session, Shop, at_once, components, until};

use crate::{SSE, WS, told};

/// Events of the long story.
const EVENTS: i64 = 10_000;
/// The first order of which they tell; no real order comes so far.
const FIRST: i64 = 1_000_000;
/// How often each of the four listeners is cut off.
const CUTS: usize = 25;

#[tokio::test]
async fn who_comes_back_goes_on_after_the_last_that_they_heard() {
    let shop = Shop::start().await;
    let dialer = shop.dialer();
    let mut first = dialer.open(WS).await;
    let start = first.ready().await;
    told(&shop, FIRST..FIRST + 5, &[1, 2]).await;
    let mut ids = Vec::new();
    for number in FIRST..FIRST + 5 {
        let event = first.message().await;
        assert_eq!(event["order_id"], number);
        ids.push(event["id"].as_str().expect("an id").to_owned());
    }

    let mut again = dialer.open(&format!("{WS}?after={}", ids[1])).await;
    // The places on both sides of what is asked for, and the very beginning.
    let mut from_start = dialer.open(&format!("{WS}?after={start}")).await;
    assert_eq!(from_start.ready().await, start);
    assert_eq!(again.ready().await, ids[1], "what follows is at hand, and comes as if it were new");
    for number in FIRST + 2..FIRST + 5 {
        assert_eq!(again.message().await["order_id"], number);
    }
    for number in FIRST..FIRST + 5 {
        assert_eq!(from_start.message().await["order_id"], number);
    }

    // A browser asks the same address again, and says what it has seen since.
    let address = format!("{SSE}?after={}", ids[0]);
    let mut source = shop.event_source(&address, &[("last-event-id", &ids[3])]).await;
    assert_eq!(source.next().await.and_then(|ready| ready.id), Some(ids[3].clone()));
    assert_eq!(source.next().await.and_then(|event| event.id), Some(ids[4].clone()));

    // A place that nobody has given.
    let mut lost = dialer.open(&format!("{WS}?after=9999999999999-0")).await;
    let gap = lost.message().await;
    let expected = json!({ "id": ids[4], "type": "gap", "after": "9999999999999-0", "resume_from": ids[4] });
    assert_eq!(gap, expected);
    assert_eq!(lost.ready().await, ids[4]);
}

#[tokio::test]
async fn a_history_that_was_trimmed_is_said_to_have_a_gap() {
    const KEPT: i64 = 1_000;
    let shop = Shop::builder()
        .change(|manifest| {
            let events = manifest.services.get_mut("orders").and_then(|orders| orders.events.as_mut());
            events.expect("orders have events").keep = KEPT as u64;
        })
        .start()
        .await;
    let dialer = shop.dialer();
    let mut socket = dialer.open(WS).await;
    let start = socket.ready().await;
    let mut ids = vec![start];
    for from in (FIRST..FIRST + 1_500).step_by(250) {
        told(&shop, from..from + 250, &[1]).await;
        for _ in 0..250 {
            ids.push(socket.message().await["id"].as_str().expect("an id").to_owned());
        }
    }
    // 500 events are gone, of which the last one is still a place to come back from.
    for (after, is_gone) in [(0, true), (1, true), (499, true), (500, false), (501, false)] {
        let mut back = dialer.open(&format!("{WS}?after={}", ids[after])).await;
        let mut next = back.message().await;
        if is_gone {
            let gap = json!({ "id": ids[500], "type": "gap", "after": ids[after], "resume_from": ids[500] });
            assert_eq!(next, gap);
            next = back.message().await;
        }
        let first = after.max(500) + 1;
        assert_eq!(next["id"], ids[first], "after {after}");
        assert_eq!(back.message().await["id"], ids[first + 1]);
    }
    let metrics = shop.operator().get("/metrics").await;
    let gaps = r#"wasmyard_event_gaps_total{topic="orders"} 3"#;
    assert!(metrics.text().contains(gaps), "{}", metrics.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_cuts_and_many_swaps_cost_no_event_and_double_none() {
    let shop = Arc::new(Shop::builder().tokens_required().start().await);
    let mut sessions = Vec::new();
    for name in ["alice", "bob", "charlie", "diana"] {
        sessions.push(shop.login(name).await);
    }
    let done = Arc::new(AtomicBool::new(false));

    // Three customers in turn; and between the swaps, alice orders by herself.
    let swaps = tokio::spawn({
        let (shop, done, alice) = (shop.clone(), done.clone(), sessions[0].clone());
        async move {
            let (operator, mut ordered) = (shop.operator(), BTreeSet::new());
            while !done.load(Relaxed) || ordered.len() < 5 {
                let mark = u8::try_from(ordered.len() % 200).expect("small");
                operator.deployed("orders", rebuilt(components::ORDERS, mark)).await;
                let body = json!({ "product_id": 10, "quantity": 1 });
                let made = alice.send(&shop, Method::POST, "/api/v1/orders", &body).await;
                assert_eq!(made.status, 201, "{made:?}");
                ordered.insert(made.json()["id"].as_i64().expect("an id"));
            }
            ordered
        }
    });
    let listeners = sessions.iter().zip(0..).map(|(session, which)| {
        let (shop, session) = (shop.clone(), session.clone());
        async move { (which, listen(&shop, &session, which).await) }
    });
    let listeners = at_once(listeners.collect::<Vec<_>>());
    for from in (FIRST..FIRST + EVENTS).step_by(200) {
        told(&shop, from..from + 200, &[1, 2, 3]).await;
    }
    done.store(true, Relaxed);
    let ordered = swaps.await.expect("the swaps");
    // What all of them wait for.
    told(&shop, FIRST + EVENTS..FIRST + EVENTS + 3, &[1, 2, 3]).await;

    let mut total = 0;
    for (which, heard) in listeners.join_all().await {
        let of_user = |number: i64| which == 3 || number % 3 == which;
        let mut expected: Vec<i64> = (FIRST..FIRST + EVENTS + 3).filter(|number| of_user(*number)).collect();
        if which == 0 || which == 3 {
            expected.extend(&ordered);
        }
        total += heard.len();
        // Alice's own orders may have come at any time; the others came in their order.
        let (mut real, in_order): (Vec<i64>, Vec<i64>) =
            heard.into_iter().partition(|number| *number < FIRST);
        assert!(in_order.is_sorted_by(|a, b| a < b), "listener {which}: in order, and none twice");
        let mut all = in_order;
        all.append(&mut real);
        all.sort_unstable();
        expected.sort_unstable();
        assert_eq!(all, expected, "listener {which}");
    }
    println!("{} swaps, {total} events heard over {} connections", ordered.len(), 4 * (CUTS + 1));
}

/// One connection, of either kind.
enum Connection {
    Socket(Box<Listener>),
    Source(EventSource),
}

impl Connection {
    async fn next(&mut self) -> Value {
        match self {
            Self::Socket(socket) => socket.message().await,
            Self::Source(source) => source.next().await.expect("nobody but the client cuts").data,
        }
    }
}

/// Listens until the last event comes, and is cut off again and again.
async fn listen(shop: &Shop, session: &Session, which: i64) -> Vec<i64> {
    let ends = FIRST + EVENTS..FIRST + EVENTS + 3;
    let last = ends.rev().find(|number| which == 3 || number % 3 == which).expect("one of three");
    let (dialer, bearer) = (shop.dialer(), format!("Bearer {}", session.access));
    let (mut after, mut heard) = ("0-0".to_owned(), Vec::new());
    let mut random = which.unsigned_abs() + 1;
    for cut in 0..=CUTS {
        // Of a linear congruential generator the upper bits are the good ones.
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // So few that nobody is through before the last cut.
        let count = if cut == CUTS { u64::MAX } else { (random >> 33) % 120 };
        let mut connection = match cut % 2 {
            0 => {
                let socket = dialer.open_as(session, &format!("{WS}?after={after}")).await;
                Connection::Socket(Box::new(socket))
            }
            _ => {
                let fields = [("authorization", bearer.as_str()), ("last-event-id", after.as_str())];
                Connection::Source(shop.event_source(SSE, &fields).await)
            }
        };
        for _ in 0..count {
            let event = connection.next().await;
            assert_ne!(event["type"], "gap", "{event}");
            after = event["id"].as_str().expect("a place").to_owned();
            if let Some(order) = event["order_id"].as_i64() {
                heard.push(order);
                if order == last {
                    return heard;
                }
            }
        }
    }
    heard
}

#[tokio::test]
async fn what_commits_late_is_told_late_and_not_lost() {
    let shop = Shop::start().await;
    let mut socket = shop.dialer().open(WS).await;
    socket.ready().await;
    let late = shop.session().await;
    let insert = |number: i64| {
        format!(
            "INSERT INTO outbox (topic, key, seq, type, subject, payload)
             VALUES ('orders', '{number}', 1, 'order.created', '1', '{{\"order_id\": {number}, \"status\": \"pending\"}}')"
        )
    };
    // The first has the lower number, and commits when the second has been told.
    late.batch_execute(&format!("BEGIN; {}", insert(1))).await.expect("a row");
    shop.sql(&insert(2)).await;
    assert_eq!(socket.message().await["order_id"], 2);
    late.batch_execute("COMMIT").await.expect("a commit");
    assert_eq!(socket.message().await["order_id"], 1);
    until("the outbox is empty", async || shop.sql("SELECT count(*) FROM outbox").await == "0").await;
}
