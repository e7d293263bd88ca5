//! The host is killed between two steps, wherever there are two.
//!
//! A proxy in front of Postgres holds the statement that is about to begin the next step;
//! then the process gets a SIGKILL. So it is the real program that dies, with nothing built
//! into it for the purpose, and what it had begun to say to the database is cut off with it.

use std::time::Instant;

use serde_json::{Value, json};
use wasmyard::testing::servers::{TestPostgres, TestRedis};
use wasmyard_tests::{Books, Program, Project, Proxy, until};

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
const REFUSED: &str = "DELETE FROM order_sagas WHERE order_id = $1 AND step = 'reserving'";
const GIVE_UP: &str = "SET step = 'undoing'";

/// The database and Redis of a project, each with something between them and the host.
struct Between {
    books: Books,
    project: Project,
    postgres: Proxy,
    redis: Proxy,
    stream: TestRedis,
}

impl Between {
    async fn start() -> Self {
        let (server, stream) = (TestPostgres::shared(), TestRedis::start());
        let database = server.database();
        let (postgres, redis) = (Proxy::start(server.port()).await, Proxy::start(stream.port()).await);
        let through = database.replace(&format!(":{}/", server.port()), &format!(":{}/", postgres.port()));
        let project = project(&through, &format!("redis://127.0.0.1:{}", redis.port()));
        // The first start makes what the books are about.
        up(&project).end("TERM");
        Self { books: Books::open(&database).await, project, postgres, redis, stream }
    }

    /// Kills the host that has come to the trap which was set.
    async fn kill_at(&self, program: Program<'_>, trap: &Proxy, death: &str) {
        until(death, async || trap.was_sprung()).await;
        self.books.balance().await;
        program.end("KILL");
    }

    /// Starts a host whose sweep dies before this. It finds what was left as if the time that the
    /// request had were over. It prepares its statements once, so the trap is there before it is.
    async fn sweep_dies(&self, death: &str) {
        self.books.sql("UPDATE order_sagas SET due_at = clock_timestamp()").await;
        self.postgres.hold_before(death.as_bytes());
        self.kill_at(up(&self.project), &self.postgres, death).await;
    }

    /// Starts a host that brings everything to its end, however that is.
    async fn recover(&self, deaths: &[&str]) -> Program<'_> {
        let program = up(&self.project);
        let took = ended(&self.books, Instant::now()).await;
        self.books.agree().await;
        self.books.told(&self.stream).await;
        eprintln!("killed before {deaths:?}: every saga ended {took:?} after the restart");
        program
    }
}

/// Dies before each of these, one after the other, and is started again each time. Then the
/// request is repeated until it has an answer.
async fn an_order_survives(deaths: &[&str]) {
    let between = Between::start().await;
    let Between { books, project, .. } = &between;
    let orders = orders_of(project);
    let client = client();
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
    let program = up(project);
    between.postgres.hold_before(deaths[0].as_bytes());
    let request = tokio::spawn(order().send());
    between.kill_at(program, &between.postgres, deaths[0]).await;
    request.abort();
    // The others are those of the sweep.
    for death in &deaths[1..] {
        between.sweep_dies(death).await;
    }
    let program = between.recover(deaths).await;

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

/// An order that comes to nothing, of this user and for so many of product 5: its request dies
/// before the step, and another one with its key makes an order.
async fn a_refusal_survives(user: i32, quantity: i32, death: &str) {
    let between = Between::start().await;
    let Between { books, project, .. } = &between;
    let orders = orders_of(project);
    let program = up(project);
    let order = |user: i32, quantity: i32| {
        let order = json!({ "user_id": user, "product_id": 5, "quantity": quantity });
        client().post(&orders).json(&order).header("idempotency-key", "the-same").send()
    };
    // A cache still knows the user when the order is written.
    books.sql("INSERT INTO users (id, username, email) VALUES (77, 'gone', 'gone@example.com')").await;
    let [users, ..] = project.ports();
    let known = client().get(format!("http://127.0.0.1:{users}/api/v1/users/77")).send().await;
    assert!(known.is_ok_and(|known| known.status() == 200));
    books.sql("DELETE FROM users WHERE id = 77").await;

    between.postgres.hold_before(death.as_bytes());
    let request = tokio::spawn(order(user, quantity));
    between.kill_at(program, &between.postgres, death).await;
    request.abort();
    let program = between.recover(&[death]).await;
    assert_eq!(books.number("SELECT count(*) FROM orders").await, 8);
    assert_eq!(order(1, 2).await.expect("an answer").status(), 201, "the key is free");
    books.agree().await;
    program.end("TERM");
}

#[tokio::test(flavor = "multi_thread")]
async fn before_a_shortage_is_noted() {
    a_refusal_survives(1, 41, REFUSED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn before_an_order_is_given_up() {
    a_refusal_survives(77, 1, GIVE_UP).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn before_the_cancelled_orders_stock_is_back() {
    let between = Between::start().await;
    let Between { books, project, .. } = &between;
    let orders = orders_of(project);
    let client = client();
    let cancel = |order: i32| {
        let url = format!("{orders}/{order}/status");
        client.patch(url).json(&json!({ "status": "cancelled" })).send()
    };
    for (order, deaths) in
        [(4, &[CANCEL][..]), (4, &[MARK]), (6, &[RETURNED]), (8, &[MARK, TAKE, MARK, GIVE_BACK, SWEPT])]
    {
        // One that has prepared nothing yet, its own sweep included.
        let program = up(project);
        between.postgres.hold_before(deaths[0].as_bytes());
        let request = tokio::spawn(cancel(order));
        between.kill_at(program, &between.postgres, deaths[0]).await;
        request.abort();
        for death in &deaths[1..] {
            between.sweep_dies(death).await;
        }
        between.recover(deaths).await.end("TERM");
        let cancelled = format!("SELECT count(*) FROM orders WHERE id = {order} AND status = 'cancelled'");
        assert_eq!(books.number(&cancelled).await, i64::from(deaths[0] != CANCEL), "{deaths:?}");
    }
    for (product, stock) in [(5, 41), (9, 202), (10, 303)] {
        assert_eq!(books.read().await[&product].stock, stock);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn before_what_a_cancellation_has_changed_is_out_of_the_cache() {
    let between = Between::start().await;
    let Between { project, .. } = &between;
    let order = format!("{}/4", orders_of(project));
    let client = client();
    let status = async || {
        let answer = client.get(&order).send().await.expect("an answer");
        answer.json::<Value>().await.expect("JSON")["status"].clone()
    };
    let program = up(project);
    assert_eq!(status().await, "pending");
    let cached = || between.stream.cli(&["GET", "orders:4"]);
    until("it is in the cache", async || cached().contains("pending")).await;

    // The order is cancelled, and Redis does not hear of it.
    between.redis.hold_before(b"orders:4");
    let cancel = client.patch(format!("{order}/status")).json(&json!({ "status": "cancelled" }));
    let request = tokio::spawn(cancel.send());
    between.kill_at(program, &between.redis, "the invalidation").await;
    request.abort();
    assert!(cached().contains("pending"));

    let program = between.recover(&["the invalidation"]).await;
    assert_eq!(status().await, "cancelled");
    program.end("TERM");
}
