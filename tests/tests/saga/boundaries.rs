//! The host is killed between two steps, wherever there are two.
//!
//! A proxy in front of Postgres holds the statement that is about to begin the next step;
//! then the process gets a SIGKILL. So it is the real program that dies, with nothing built
//! into it for the purpose, and what it had begun to say to the database is cut off with it.

use std::time::Instant;

use serde_json::{Value, json};
use wasmyard::testing::servers::{TestPostgres, TestRedis};
use wasmyard_tests::{Books, Proxy, until};

use crate::{client, ended, orders_of, project, up};

/// What is in the statement that begins a step, and in no other of the way there.
const BEGIN: &str = "INSERT INTO order_sagas (order_id, step, caller, key, due_at)";
const RESERVE: &str = "WHERE id = ANY($1::int4[]) ORDER BY id FOR NO KEY UPDATE";
const WRITE: &str = "INSERT INTO orders (id,";
const CONFIRM: &str = "SET state = 'confirmed'";
const END: &str = "DELETE FROM order_sagas WHERE order_id = $1 AND step = 'confirming'";
const TAKE: &str = "FOR UPDATE SKIP LOCKED";
const MARK: &str = "VALUES ($1, 'released')";
const GIVE_BACK: &str = "INSERT INTO stock_movements (order_id, product_id, kind, quantity)\n        SELECT order_id, product_id, 'release'";
const SWEPT: &str = "AND fence = $2 AND step = $3";
const CANCEL: &str = "SET status = $3";
const RETURNED: &str = "AND step = 'returning'";

/// Dies before each of these, one after the other, and is started again each time. Then the
/// request is repeated until it has an answer.
async fn an_order_survives(deaths: &[&str]) {
    let (postgres, redis) = (TestPostgres::shared(), TestRedis::start());
    let database = postgres.database();
    let proxy = Proxy::start(postgres.port()).await;
    let through = database.replace(&format!(":{}/", postgres.port()), &format!(":{}/", proxy.port()));
    let project = project(&through, &redis.url());
    let orders = orders_of(&project);
    let client = client();

    let program = up(&project);
    let books = Books::open(&database).await;
    let ordered = books.number("SELECT count(*) FROM orders").await;
    let order = || {
        client
            .post(&orders)
            .json(&json!({ "user_id": 1, "items": [
        { "product_id": 3, "quantity": 2 }, { "product_id": 1, "quantity": 1 }
    ] }))
            .header("idempotency-key", "the-same")
    };

    // The first death is the request's. Nobody waits for an answer that will not come.
    proxy.hold_before(deaths[0].as_bytes());
    let request = tokio::spawn(order().send());
    until(deaths[0], async || proxy.was_sprung()).await;
    books.balance().await;
    program.end("KILL");
    request.abort();
    // The others are those of the sweep, which finds the saga when it starts: as if the time
    // that the request had were over. It prepares its statements once, so the trap is there
    // before it is.
    for death in &deaths[1..] {
        books.sql("UPDATE order_sagas SET due_at = clock_timestamp()").await;
        proxy.hold_before(death.as_bytes());
        let sweeping = up(&project);
        until(death, async || proxy.was_sprung()).await;
        books.balance().await;
        sweeping.end("KILL");
    }
    let program = up(&project);
    let restarted = Instant::now();
    let took = ended(&books, restarted).await;
    books.agree().await;
    eprintln!("killed before {deaths:?}: every saga ended {took:?} after the restart");

    // Whatever became of it, the client gets one order for its key.
    let answers = [order().send().await, order().send().await];
    let mut seen: Vec<Value> = Vec::new();
    for answer in answers {
        let answer = answer.expect("an answer");
        assert_eq!(answer.status(), 201, "{}", project.log());
        seen.push(answer.json().await.expect("JSON"));
    }
    assert_eq!(seen[0], seen[1]);
    assert_eq!(books.number("SELECT count(*) FROM orders").await, ordered + 1);
    ended(&books, Instant::now()).await;
    books.agree().await;
    program.end("TERM");
}

macro_rules! deaths {
    ($($name:ident: $($death:ident),+;)+) => {
        $(#[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            an_order_survives(&[$($death),+]).await;
        })+
    };
}

deaths! {
    before_it_begins: BEGIN;
    before_its_stock_is_reserved: RESERVE;
    before_it_is_written: WRITE;
    before_it_is_confirmed: CONFIRM;
    before_it_ends: END;
    before_it_is_written_and_before_a_sweep_takes_it_up: WRITE, TAKE;
    before_it_is_written_and_before_its_stock_is_marked_as_released: WRITE, MARK;
    before_it_is_written_and_in_the_middle_of_the_release: WRITE, GIVE_BACK;
    before_it_is_written_and_before_it_is_undone: WRITE, SWEPT;
    before_it_is_confirmed_and_again_by_the_sweep: CONFIRM, CONFIRM;
    before_it_is_confirmed_and_before_the_sweep_ends_it: CONFIRM, SWEPT;
}

#[tokio::test(flavor = "multi_thread")]
async fn before_the_cancelled_orders_stock_is_back() {
    let (postgres, redis) = (TestPostgres::shared(), TestRedis::start());
    let database = postgres.database();
    let proxy = Proxy::start(postgres.port()).await;
    let through = database.replace(&format!(":{}/", postgres.port()), &format!(":{}/", proxy.port()));
    let project = project(&through, &redis.url());
    let orders = orders_of(&project);
    let client = client();
    let mut program = up(&project);
    let books = Books::open(&database).await;

    for (order, death) in [(4, CANCEL), (4, MARK), (6, RETURNED)] {
        proxy.hold_before(death.as_bytes());
        let cancel = client.patch(format!("{orders}/{order}/status")).json(&json!({ "status": "cancelled" }));
        let request = tokio::spawn(cancel.send());
        until(death, async || proxy.was_sprung()).await;
        program.end("KILL");
        request.abort();
        program = up(&project);
        ended(&books, Instant::now()).await;
        books.agree().await;
        let cancelled = format!("SELECT count(*) FROM orders WHERE id = {order} AND status = 'cancelled'");
        assert_eq!(books.number(&cancelled).await, i64::from(death != CANCEL), "{death}");
    }
    for (product, stock) in [(5, 41), (9, 202)] {
        assert_eq!(books.read().await[&product].stock, stock);
    }
    program.end("TERM");
}
