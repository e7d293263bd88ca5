//! Coming back: nothing missed, nothing heard twice, and what is gone is said.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use http::Method;
use serde_json::{Value, json};
use wasmyard_tests::component::rebuilt;
use wasmyard_tests::{EventSource, Heard, Listener, Session, Shop, at_once, components, until};

use crate::{SSE, WS, told};

/// Events of the long story.
const EVENTS: i64 = 10_000;
/// The first order of which they tell; no real order comes so far.
const FIRST: i64 = 1_000_000;
/// Those that are told at once; a third of them is for each customer.
const PART: i64 = 100;
/// How often the orders component is swapped meanwhile.
const SWAPS: i64 = 5;
/// Those told from one swap to the next.
const PARTS: i64 = EVENTS / SWAPS / PART;
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

/// How far each listener has come: the newest event of the long story, and the newest order
/// that was really made.
#[derive(Default)]
struct Progress {
    told: AtomicI64,
    real: AtomicI64,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_cuts_and_a_swap_every_two_thousand_events_cost_none_and_double_none() {
    let shop = Arc::new(Shop::builder().tokens_required().start().await);
    // Enough for alice, who orders as long as a swap takes.
    shop.sql("UPDATE products SET stock = 1000000 WHERE id = 10").await;
    let mut sessions = Vec::new();
    for name in ["alice", "bob", "charlie", "diana"] {
        sessions.push(shop.login(name).await);
    }
    let heard: Arc<[Progress; 4]> = Arc::default();
    let listeners = sessions.iter().zip(0..).map(|(session, which)| {
        let (shop, session, heard) = (shop.clone(), session.clone(), heard.clone());
        async move { (which, listen(&shop, &session, which, &heard[which]).await) }
    });
    let listeners = at_once(listeners.collect::<Vec<_>>());

    // Everything that is told is heard before the next part is: the cuts and the swaps are
    // spread over the whole of it.
    let part = async |from: i64| {
        told(&shop, from..from + PART, &[1, 2, 3]).await;
        let newest = |which: i64| (from..from + PART).rev().find(|number| is_for(*number, which));
        let all = async || {
            (0..4).zip(&*heard).all(|(which, heard)| Some(heard.told.load(Relaxed)) >= newest(which))
        };
        until("a part is heard", all).await;
    };
    let order = async || {
        let body = json!({ "product_id": 10, "quantity": 1 });
        let made = sessions[0].send(&shop, Method::POST, "/api/v1/orders", &body).await;
        assert_eq!(made.status, 201, "{made:?}");
        let order = made.json()["id"].as_i64().expect("an id");
        let all = async || [&heard[0], &heard[3]].iter().all(|heard| heard.real.load(Relaxed) >= order);
        until("the order is heard", all).await;
        order
    };
    let mut ordered = BTreeSet::new();
    for swap in 0..SWAPS {
        let from = FIRST + swap * EVENTS / SWAPS;
        let mut parts = (0..PARTS).map(|part| from + part * PART);
        let deploy = tokio::spawn({
            let shop = shop.clone();
            let build = rebuilt(components::ORDERS, u8::try_from(swap).expect("few"));
            async move { shop.operator().deployed("orders", build).await }
        });
        for from in parts.by_ref().take(5) {
            part(from).await;
            ordered.insert(order().await);
        }
        while !deploy.is_finished() {
            ordered.insert(order().await);
        }
        deploy.await.expect("a swap");
        for from in parts {
            part(from).await;
            ordered.insert(order().await);
        }
    }
    // What all of them wait for.
    told(&shop, FIRST + EVENTS..FIRST + EVENTS + 3, &[1, 2, 3]).await;

    let (mut total, mut connections) = (0, 0);
    for (which, (heard, opened)) in listeners.join_all().await {
        let which = i64::try_from(which).expect("few");
        let expected = (FIRST..FIRST + EVENTS + 3).filter(|number| is_for(*number, which));
        // All told in their order, and real ones in theirs: both are waited for.
        let (real, told): (Vec<i64>, Vec<i64>) = heard.iter().partition(|number| **number < FIRST);
        assert_eq!(told, expected.collect::<Vec<_>>(), "listener {which}");
        // Alice's.
        let of_listener =
            if which == 0 || which == 3 { ordered.iter().copied().collect() } else { Vec::new() };
        assert_eq!(real, of_listener, "listener {which}");
        total += heard.len();
        connections += opened;
    }
    assert!(connections >= 4 * (CUTS + 1), "each was cut so often");
    println!(
        "{EVENTS} events and {} orders, {SWAPS} swaps: {total} heard over {connections} connections, none missing, \
         none twice, none of somebody else's",
        ordered.len()
    );
}

/// Whose events a listener hears: the first three are customers, the last one sees all.
fn is_for(number: i64, which: i64) -> bool {
    which == 3 || number % 3 == which
}

/// One connection, of either kind.
enum Connection {
    Socket(Box<Listener>),
    Source(EventSource),
}

impl Connection {
    /// The next message; `None` when the host has found the client to be slow, which on a busy
    /// machine is one more cut.
    async fn next(&mut self) -> Option<Value> {
        match self {
            Self::Socket(socket) => match socket.hear().await {
                Heard::Message(message) => Some(message),
                Heard::Closed(1013, _) => None,
                end => panic!("nobody but the client cuts: {end:?}"),
            },
            Self::Source(source) => {
                let event = source.next().await.expect("an event, or why there is none");
                if event.kind != "closed" {
                    return Some(event.data);
                }
                assert_eq!(event.data["code"], 1013, "nobody but the client cuts");
                None
            }
        }
    }
}

/// Listens until the last event comes, and is cut off again and again: at even distances but for
/// some chance, and twice in a row now and then. Gives what it heard, and over how many
/// connections.
async fn listen(shop: &Shop, session: &Session, which: usize, progress: &Progress) -> (Vec<i64>, usize) {
    let of_which = i64::try_from(which).expect("few");
    let last = (FIRST + EVENTS..FIRST + EVENTS + 3).rev().find(|number| is_for(*number, of_which));
    let events = if which == 3 { EVENTS } else { EVENTS / 3 };
    let distance = usize::try_from(events).expect("few") / (CUTS + 1);
    let mut random = fastrand::Rng::with_seed(which as u64);
    let mut cuts: Vec<usize> = (1..=CUTS).map(|cut| cut * distance - random.usize(..distance / 2)).collect();
    (4..CUTS).step_by(5).for_each(|twice| cuts[twice] = cuts[twice - 1]);
    let mut cuts = cuts.into_iter().peekable();

    let (dialer, bearer) = (shop.dialer(), format!("Bearer {}", session.access));
    let (mut after, mut heard) = ("0-0".to_owned(), Vec::new());
    for opened in 1.. {
        let mut connection = match opened % 2 {
            1 => {
                let socket = dialer.open_as(session, &format!("{WS}?after={after}")).await;
                Connection::Socket(Box::new(socket))
            }
            _ => {
                let fields = [("authorization", bearer.as_str()), ("last-event-id", after.as_str())];
                Connection::Source(shop.event_source(SSE, &fields).await)
            }
        };
        while cuts.next_if(|cut| heard.len() >= *cut).is_none() {
            let Some(event) = connection.next().await else { break };
            assert_ne!(event["type"], "gap", "{event}");
            after = event["id"].as_str().expect("a place").to_owned();
            let Some(order) = event["order_id"].as_i64() else { continue };
            heard.push(order);
            if Some(order) == last {
                return (heard, opened);
            }
            let of_kind = if order < FIRST { &progress.real } else { &progress.told };
            of_kind.store(order, Relaxed);
        }
    }
    unreachable!("the last event comes")
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
