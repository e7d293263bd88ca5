//! What breaks on the way, and what comes of it.

use std::sync::atomic::Ordering::Relaxed;

use serde_json::json;
use wasmyard::testing::servers::{TestPostgres, TestRedis};
use wasmyard_tests::{Heard, Shop, ShopBuilder, until};

use crate::{SSE, WS, brought, ordered, said, told};

const FIRST: i64 = 1_000_000;

async fn waiting(shop: &Shop) -> String {
    shop.sql("SELECT count(*) FROM outbox").await
}

#[tokio::test]
async fn while_redis_is_away_events_wait_and_then_all_of_them_come() {
    let (database, redis) = (TestPostgres::shared().database(), TestRedis::start());
    let shop = host(&database, &redis).start().await;
    let idle = host(&database, &redis).start().await;
    let dialer = shop.dialer();
    let mut socket = dialer.open(WS).await;
    let start = socket.ready().await;
    let mut source = shop.event_source(SSE, &[]).await;
    let first = ordered(&shop, 1).await;
    assert_eq!(socket.message().await["order_id"], first);
    // It has been heard before its row goes.
    until("the outbox is empty", async || waiting(&shop).await == "0").await;

    redis.kill();
    brought(&shop, first, "processing").await;
    brought(&shop, first, "cancelled").await;
    let second = ordered(&shop, 2).await;
    assert_eq!(waiting(&shop).await, "3");
    let counted = |host: &Shop| {
        let topics = host.host.platform().topics();
        let (_, stats) = topics.stats().next().expect("one topic");
        stats.waiting.load(Relaxed)
    };
    until("both hosts have counted", async || (counted(&shop), counted(&idle)) == (3, 3)).await;
    // Who comes now is let in, and waits too.
    let mut late = dialer.open(&format!("{WS}?after={start}")).await;
    redis.resume();

    let expected = [
        ("order.status_changed", first, 2, "processing"),
        ("order.status_changed", first, 3, "cancelled"),
        ("order.created", second, 1, "pending"),
    ];
    for expected in expected {
        assert_eq!(said(&socket.message().await), expected);
    }
    let mut of_late = Vec::new();
    while of_late.len() < 4 {
        let event = late.message().await;
        if event["type"] != "ready" {
            of_late.push(event);
        }
    }
    assert_eq!(of_late.iter().map(said).collect::<Vec<_>>()[1..], expected);
    let mut of_source = Vec::new();
    while of_source.len() < 4 {
        let event = source.next().await.expect("the answer goes on").data;
        if event["type"] != "ready" {
            of_source.push(event);
        }
    }
    assert_eq!(of_source, of_late);
    until("the outbox is empty", async || waiting(&shop).await == "0").await;
    // Also the one that has not moved them.
    until("neither says that something waits", async || (counted(&shop), counted(&idle)) == (0, 0)).await;
}

#[tokio::test]
async fn a_redis_that_forgets_everything_is_found_out() {
    let (database, redis) = (TestPostgres::shared().database(), TestRedis::start());
    let shop = host(&database, &redis).start().await;
    let mut socket = shop.dialer().open(WS).await;
    let start = socket.ready().await;
    told(&shop, FIRST..FIRST + 2, &[1]).await;
    let ids = [socket.message().await["id"].clone(), socket.message().await["id"].clone()];
    until("the outbox is empty", async || waiting(&shop).await == "0").await;

    redis.cli(&["FLUSHALL"]);
    told(&shop, FIRST + 2..FIRST + 3, &[1]).await;
    // Who has heard everything has missed nothing.
    let third = socket.message().await;
    assert_eq!(third["order_id"], FIRST + 2);
    // Who has not is told so, by a host that has nothing in its memory either.
    let other = host(&database, &redis).start().await;
    let mut back = other.dialer().open(&format!("{WS}?after={start}&order_id={}", FIRST + 2)).await;
    let gap = json!({ "id": ids[1], "type": "gap", "after": start, "resume_from": ids[1] });
    assert_eq!(back.message().await, gap);
    assert_eq!(back.message().await["id"], third["id"]);
}

#[tokio::test]
async fn a_database_of_before_tells_of_its_new_rows_whatever_their_numbers() {
    let (database, redis) = (TestPostgres::shared().database(), TestRedis::start());
    let shop = host(&database, &redis).start().await;
    let owner = (*shop).clone();
    let mut socket = shop.dialer().open(WS).await;
    socket.ready().await;
    told(&owner, FIRST..FIRST + 3, &[1]).await;
    let mut last = String::new();
    for number in FIRST..FIRST + 3 {
        let event = socket.message().await;
        assert_eq!(event["order_id"], number);
        last = event["id"].as_str().expect("an id").to_owned();
    }
    until("the outbox is empty", async || waiting(&shop).await == "0").await;
    drop(socket);
    shop.stop().await;

    // Restored from a copy that has none of it: what comes now has the numbers of what Redis
    // was given last.
    owner.sql("UPDATE outbox_streams SET position = '0-0', fence = 0").await;
    owner.sql("ALTER TABLE outbox ALTER COLUMN id RESTART WITH 1").await;
    told(&owner, FIRST + 3..FIRST + 6, &[1]).await;
    assert_eq!(owner.sql("SELECT min(id), max(id) FROM outbox").await, "1|3");
    let shop = host(&database, &redis).start().await;
    let mut back = shop.dialer().open(&format!("{WS}?after={last}")).await;
    for number in FIRST + 3..FIRST + 6 {
        let mut event = back.message().await;
        if event["type"] == "ready" {
            event = back.message().await;
        }
        assert_eq!(event["order_id"], number, "{event}");
    }
}

#[tokio::test]
async fn a_host_that_dies_between_stream_and_outbox_has_its_events_told_once() {
    let (database, redis) = (TestPostgres::shared().database(), TestRedis::start());
    let hosts = [host(&database, &redis).start().await, host(&database, &redis).start().await];
    let mut sockets = Vec::new();
    for host in &hosts {
        let mut socket = host.dialer().open(WS).await;
        socket.ready().await;
        sockets.push(socket);
    }
    for round in 0..5 {
        let (old, new) = (FIRST + 2 * round, FIRST + 2 * round + 1);
        // Whoever fills the stream can write there, and not say so in the database.
        let holder = hosts[0].session().await;
        let row = "SELECT FROM outbox_streams WHERE topic = 'orders' FOR UPDATE";
        let held = until_held(&holder, row).await;
        told(&hosts[0], old..new, &[1]).await;
        for socket in &mut sockets {
            assert_eq!(socket.message().await["order_id"], old);
        }
        assert_eq!(waiting(&hosts[0]).await, "1", "it is in the stream, and in the outbox");
        let killed = "SELECT count(pg_terminate_backend(pid)) FROM pg_locks
                      WHERE locktype = 'advisory' AND granted AND objsubid = 1
                        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        // On a slow machine the first one's statement may have timed out by now, and the next
        // one is as far: it waits for the row with the lock in its hand.
        until("whoever has the lock is gone", async || hosts[0].sql(killed).await == "1").await;
        held.batch_execute("ROLLBACK").await.expect("the row is free");

        told(&hosts[0], new..new + 1, &[1]).await;
        for socket in &mut sockets {
            assert_eq!(socket.message().await["order_id"], new, "and not {old} again");
        }
        until("the outbox is empty", async || waiting(&hosts[0]).await == "0").await;
    }
}

/// Begins a transaction that holds what it selects.
async fn until_held<'a>(session: &'a tokio_postgres::Client, select: &str) -> &'a tokio_postgres::Client {
    // The row is there when a host has moved rows for the first time.
    until("the stream is somebody's", async || {
        let _ = session.batch_execute("ROLLBACK").await;
        let held = session.simple_query(&format!("BEGIN; {select}")).await.expect("a lock");
        held.iter().any(|message| matches!(message, tokio_postgres::SimpleQueryMessage::Row(_)))
    })
    .await;
    session
}

#[tokio::test]
async fn events_of_one_host_are_heard_on_the_other_and_go_on_without_it() {
    let (database, redis) = (TestPostgres::shared().database(), TestRedis::start());
    let first = host(&database, &redis).start().await;
    let second = host(&database, &redis).start().await;
    let (mut on_first, mut on_second) = (first.dialer().open(WS).await, second.dialer().open(WS).await);
    on_first.ready().await;
    on_second.ready().await;
    let orders = [ordered(&first, 1).await, ordered(&second, 2).await];
    for order in orders {
        let (one, other) = (on_first.message().await, on_second.message().await);
        assert_eq!(one["order_id"], order);
        assert_eq!(one, other);
    }
    // The first to start is the one that moves rows, and says goodbye.
    let stopping = tokio::spawn(first.stop());
    let Heard::Closed(1001, reason) = on_first.hear().await else { panic!("no goodbye") };
    assert_eq!(reason["reason"], "going-away");
    let after = reason["after"].as_str().expect("a place").to_owned();
    stopping.await.expect("it stops");
    brought(&second, orders[0], "processing").await;
    let event = on_second.message().await;
    assert_eq!(said(&event), ("order.status_changed", orders[0], 2, "processing"));
    // Whoever was on the first goes on, on the other.
    let mut moved = second.dialer().open(&format!("{WS}?after={after}")).await;
    let mut next = moved.message().await;
    if next["type"] == "ready" {
        next = moved.message().await;
    }
    assert_eq!(next, event);
}

fn host(database: &str, redis: &TestRedis) -> ShopBuilder {
    Shop::builder().postgres(database).redis(redis.url())
}
