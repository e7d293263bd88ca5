//! The sweep: one host at a time, through swaps and deaths, and what it gives up on.

use std::time::{Duration, Instant};

use serde_json::Value;
use wasmyard::background::{Leases, Turn};
use wasmyard::capability::postgres::OwnerSession;
use wasmyard::manifest::{Background, Manifest};
use wasmyard::runtime::Service;
use wasmyard::testing::servers::{TestPostgres, TestRedis};
use wasmyard_tests::component::rebuilt;
use wasmyard_tests::{Books, Proxy, Shop, components, eventually, until, within};

use crate::{project, up};

/// The fencing token of the last turn that any host has had.
const TOKEN: &str = "SELECT token FROM wasmyard.background_leases WHERE service = 'orders'";

async fn token(books: &Books) -> i64 {
    until("there has been a turn", async || {
        books.number("SELECT count(*) FROM pg_tables WHERE tablename = 'background_leases'").await == 1
            && books.number("SELECT count(*) FROM wasmyard.background_leases").await == 1
    })
    .await;
    books.number(TOKEN).await
}

/// A host's turns of a service so far, as its metrics tell.
fn turns(service: &Service) -> i64 {
    let counts = service.stats().turns().outcomes().map(|(_, count)| count).sum::<u64>();
    i64::try_from(counts).expect("few")
}

/// Gives orders a turn, at the test's own hand.
pub(crate) async fn turn(shop: &Shop, token: u64) {
    let deadline = Instant::now() + Duration::from_secs(30);
    let ran = shop.service("orders").run_background(token, deadline).await;
    ran.expect("a turn").expect("it says nothing");
}

/// Turns are the test's to give.
pub(crate) fn unscheduled(manifest: &mut Manifest) {
    manifest.services.get_mut("orders").expect("orders").background = None;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_hosts_one_has_the_turn_and_the_other_takes_over() {
    let (database, redis) = (TestPostgres::shared().database(), TestRedis::start());
    let start = || Shop::builder().postgres(&database).redis(redis.url()).start();
    let (first, second) = (start().await, start().await);
    let books = Books::open(&database).await;
    let services = [first.service("orders"), second.service("orders")];
    let all = || services.iter().map(|service| turns(service)).sum::<i64>();
    until("there are some turns", async || all() >= 4).await;
    first.stop().await;
    let before = token(&books).await;
    until("the other one goes on", async || books.number(TOKEN).await >= before + 3).await;
    second.stop().await;
    // Every token was one host's turn and no other's.
    assert_eq!(all(), books.number(TOKEN).await);
}

/// Takes the turn of orders, if it is there. The first to ask makes the row, and asks again.
async fn take(leases: &Leases) -> Turn {
    loop {
        match leases.take("orders").await.expect("a database") {
            Turn::Later(Duration::ZERO) => {}
            turn => return turn,
        }
    }
}

#[tokio::test]
async fn a_lease_is_one_hosts_until_it_ends_and_then_anothers() {
    let database = TestPostgres::shared().database();
    let books = Books::open_unmade(&database).await;
    let host = || Leases::new(OwnerSession::new(&database).expect("an address"));
    let (one, other) = (host(), host());
    assert_eq!(take(&one).await, Turn::Now(1));
    assert!(matches!(take(&other).await, Turn::Later(wait) if wait > Duration::ZERO));
    assert!(one.renew("orders", 1).await.expect("a database"));

    // Given back, the next turn is due after a while, whoever asks.
    one.give_back("orders", 1, Duration::from_secs(3600)).await.expect("a database");
    assert!(matches!(take(&other).await, Turn::Later(wait) if wait > Duration::from_secs(3000)));
    assert!(!one.renew("orders", 1).await.expect("a database"), "it has been given back");
    books.sql("UPDATE wasmyard.background_leases SET due_at = '-infinity'").await;
    assert_eq!(take(&other).await, Turn::Now(2));

    // Its holder has not been heard of.
    books.sql("UPDATE wasmyard.background_leases SET held_until = clock_timestamp()").await;
    assert_eq!(take(&one).await, Turn::Now(3));
    assert!(!other.renew("orders", 2).await.expect("a database"));
    other.give_back("orders", 2, Duration::ZERO).await.expect("a database");
    assert!(one.renew("orders", 3).await.expect("a database"), "what is no longer its own it cannot end");
}

#[tokio::test]
async fn what_a_later_turn_has_touched_an_earlier_one_leaves_alone() {
    let shop = Shop::builder().change(unscheduled).start().await;
    let books = Books::open(&shop.database).await;
    // An order that was never written, and a later turn that has had its saga in its hands.
    books.sql("INSERT INTO order_sagas (order_id, step, fence) VALUES (100, 'undoing', 7)").await;
    let run = async |token: u64| {
        turn(&shop, token).await;
        books.sagas().await
    };
    assert_eq!((run(6).await, run(7).await), (1, 0));
    let mark = "SELECT count(*) FROM reservations WHERE order_id = 100 AND state = 'released'";
    assert_eq!(books.number(mark).await, 1, "a late reserve will be refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_overtakes_its_reserve_refuses_it() {
    let shop = Shop::builder().change(unscheduled).start().await;
    let books = Books::open(&shop.database).await;
    let row = shop.session().await;
    let order = serde_json::json!({ "user_id": 1, "product_id": 2, "quantity": 1 });
    let mut token = 0;
    // The request waits for its stock for three seconds. On a machine that needs more for the
    // rest there is another request.
    eventually("the release comes first", async || {
        // The request has begun its saga and is waiting for the stock when its time is over.
        row.batch_execute("BEGIN; SELECT FROM products WHERE id = 2 FOR UPDATE").await.expect("it is held");
        let request = shop.post("/api/v1/orders", &order);
        let overtake = async {
            until("the saga has begun", async || books.sagas().await == 1).await;
            books.sql("UPDATE order_sagas SET due_at = clock_timestamp()").await;
            token += 1;
            turn(&shop, token).await;
            assert_eq!(books.sagas().await, 0);
            row.batch_execute("ROLLBACK").await.expect("the row is let go");
        };
        let (late, ()) = tokio::join!(request, overtake);
        // The mark has refused it, and not the lock, which it would have got in the end.
        late.problem(503)["detail"].to_string().contains("could not be made in time").then_some(())
    })
    .await;
    assert_eq!(books.read().await[&2].stock, 100);
    assert_eq!(shop.sql("SELECT count(*) FROM orders").await, "8");
    books.agree().await;
}

#[tokio::test]
async fn what_cannot_be_ended_keeps_nothing_else_waiting() {
    let shop = Shop::builder().change(unscheduled).start().await;
    let books = Books::open(&shop.database).await;
    // The first five hold a product of which the column takes no more: each release is refused.
    // The others can be undone, and became due in another order than that of their ids.
    books.sql("UPDATE products SET stock = 2147483647 WHERE id = 5").await;
    books
        .sql(
            "INSERT INTO reservations SELECT id, 'held' FROM generate_series(101, 110) AS id;
             INSERT INTO stock_movements (order_id, product_id, kind, quantity)
             SELECT id, CASE WHEN id <= 105 THEN 5 ELSE 2 END, 'reserve', 1
             FROM generate_series(101, 110) AS id;
             INSERT INTO order_sagas (order_id, step, due_at)
             SELECT id, 'undoing', clock_timestamp() - interval '1 minute' - id * interval '1 s'
             FROM generate_series(101, 105) AS id;
             INSERT INTO order_sagas (order_id, step, due_at)
             SELECT id, 'undoing', clock_timestamp() - (id * 7 % 11) * interval '1 s'
             FROM generate_series(106, 110) AS id",
        )
        .await;
    let order = "SELECT order_id FROM order_sagas WHERE order_id > 105 ORDER BY due_at";
    let expected = shop.sql(order).await;
    turn(&shop, 1).await;
    let failed = "SELECT order_id, attempts FROM order_sagas ORDER BY order_id";
    assert_eq!(shop.sql(failed).await, "101|1\n102|1\n103|1\n104|1\n105|1");
    let released = "SELECT order_id FROM stock_movements WHERE kind = 'release' ORDER BY moved_at";
    assert_eq!(shop.sql(released).await, expected);

    // There is room again.
    books.sql("UPDATE products SET stock = 0 WHERE id = 5; UPDATE order_sagas SET due_at = now()").await;
    turn(&shop, 2).await;
    assert_eq!(books.sagas().await, 0);
}

#[tokio::test]
async fn a_neighbour_that_hangs_is_noted() {
    // A call to products takes longer than a request of orders may: the turn outlasts it.
    let builder = Shop::builder().change(|manifest| {
        let mut limit = |name: &str, time: Duration| {
            manifest.services.get_mut(name).expect("a service").limits.request_timeout = time;
        };
        limit("orders", Duration::from_millis(1_000));
        limit("products", Duration::from_millis(1_500));
    });
    let shop = builder.start().await;
    let books = Books::open(&shop.database).await;
    books
        .sql(
            "INSERT INTO reservations VALUES (100, 'held');
             INSERT INTO stock_movements (order_id, product_id, kind, quantity) VALUES (100, 2, 'reserve', 1);
             UPDATE products SET stock = stock - 1 WHERE id = 2",
        )
        .await;
    let row = shop.session().await;
    row.batch_execute("BEGIN; SELECT FROM products WHERE id = 2 FOR UPDATE").await.expect("the row is held");
    books.sql("INSERT INTO order_sagas (order_id, step) VALUES (100, 'undoing')").await;
    until("the failure is noted", async || {
        let noted = "SELECT count(*) FROM order_sagas WHERE reason LIKE '%did not answer in time%'";
        books.number(noted).await == 1
    })
    .await;
    row.batch_execute("ROLLBACK").await.expect("the row is let go");
    books.agree().await;
}

#[tokio::test]
async fn a_database_that_says_nothing_ends_the_wait_for_a_turn() {
    let postgres = TestPostgres::shared();
    let (database, proxy) = (postgres.database(), Proxy::start(postgres.port()).await);
    let through = database.replace(&format!(":{}/", postgres.port()), &format!(":{}/", proxy.port()));
    let leases = Leases::new(OwnerSession::new(&through).expect("an address"));
    assert_eq!(take(&leases).await, Turn::Now(1));
    proxy.stall();
    let renewed = within("the wait", leases.renew("orders", 1)).await;
    assert!(renewed.is_err_and(|error| error.to_string().contains("in time")));
    assert!(within("the wait", leases.take("orders")).await.is_err());
    proxy.mend();
    let returned = within("the wait", leases.give_back("orders", 1, Duration::ZERO)).await;
    returned.expect("a database again");
}

#[tokio::test(flavor = "multi_thread")]
async fn turns_go_on_through_swaps_and_are_counted() {
    let shop = Shop::start().await;
    let books = Books::open(&shop.database).await;
    let orders = shop.service("orders");
    for mark in 0..3 {
        let before = token(&books).await;
        let component = rebuilt(components::ORDERS, mark).into();
        orders.deploy(component, wasmyard::admin::api::Way::Deploy).await.expect("a swap");
        books.sql("INSERT INTO order_sagas (order_id, step) VALUES (100, 'undoing')").await;
        until("the new version sweeps", async || books.sagas().await == 0).await;
        assert!(books.number(TOKEN).await > before);
    }
    let order = serde_json::json!({ "user_id": 1, "product_id": 2, "quantity": 1 });
    assert_eq!(shop.post("/api/v1/orders", &order).await.status, 201);
    let counted = orders.stats().own_events().read();
    let expected = [("saga_started", 1), ("saga_completed", 1), ("saga_undone", 3)];
    for (event, count) in expected {
        assert_eq!(counted.get(event), Some(&count), "{counted:?}");
    }
    let metrics = shop.operator().get("/metrics").await;
    for line in [
        "wasmyard_service_events_total{service=\"orders\",event=\"saga_undone\"} 3",
        "wasmyard_background_turns_total{service=\"orders\",outcome=\"done\"}",
        "wasmyard_background_turn_seconds_total{service=\"orders\"}",
    ] {
        assert!(metrics.text().contains(line), "{line}: {}", metrics.text());
    }
}

#[tokio::test]
async fn a_component_without_such_work_is_not_scheduled() {
    let builder = Shop::builder().change(|manifest| {
        let users = manifest.services.get_mut("users").expect("users");
        users.background = Some(Background { every: Duration::from_secs(1) });
    });
    let refused = builder.try_start().await.err().expect("a refusal");
    assert!(
        format!("{refused:#}").contains("does not export `wasmyard:platform/background@1.0.0`"),
        "{refused:#}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_ended_is_parked_and_an_operator_sees_to_it() {
    let (database, redis) = (TestPostgres::shared().database(), TestRedis::start());
    let project = project(&database, &redis.url());
    let program = up(&project);
    let books = Books::open(&database).await;
    // Products knows nothing of this order's stock, and has said so eleven times.
    books.sql("INSERT INTO order_sagas (order_id, step, attempts) VALUES (100, 'confirming', 11)").await;
    until("it is parked", async || {
        books.number("SELECT count(*) FROM order_sagas WHERE parked_at IS NOT NULL").await == 1
    })
    .await;

    let listed = project.run(&["saga", "list", "--json"]);
    let parked: Value = serde_json::from_slice(&listed.stdout).expect("JSON");
    let saga = &parked["parked"][0];
    let told =
        (saga["service"].as_str(), saga["id"].as_str(), saga["step"].as_str(), saga["attempts"].as_u64());
    assert_eq!(told, (Some("orders"), Some("100"), Some("confirming"), Some(12)), "{parked}");
    assert!(
        saga["reason"].as_str().is_some_and(|why| why.contains("no reservation of order 100")),
        "{parked}"
    );
    let table = project.run(&["saga", "list"]);
    assert!(String::from_utf8_lossy(&table.stdout).contains("orders/100"), "{table:?}");
    assert!(project.log().contains("a saga is parked"), "{}", project.log());

    for (name, code) in [("orders/101", 1), ("orders/x", 1), ("ordres/100", 1), ("100", 2)] {
        assert_eq!(project.run(&["saga", "retry", name]).status.code(), Some(code), "{name}");
    }
    // What was in its way is gone.
    books.sql("INSERT INTO reservations (order_id, state) VALUES (100, 'held')").await;
    let retried = project.run(&["saga", "retry", "orders/100"]);
    assert_eq!(String::from_utf8_lossy(&retried.stdout), "orders/100 is tried again\n", "{retried:?}");
    until("it ends", async || books.sagas().await == 0).await;
    let empty = project.run(&["saga", "list", "--json"]);
    assert_eq!(
        serde_json::from_slice::<Value>(&empty.stdout).expect("JSON")["parked"],
        serde_json::json!([])
    );
    program.end("TERM");
}
