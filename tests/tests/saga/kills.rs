//! The host is killed at random moments, under load.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinSet;
use wasmyard::testing::servers::{TestPostgres, TestRedis};
use wasmyard_tests::Books;

use crate::{client, ended, long, orders_of, project, seed, up};

/// Who order at the same time.
const CUSTOMERS: u64 = 6;
/// From when it is ready until it dies, at most.
const LIFE_MAX: Duration = Duration::from_millis(600);
/// Between two attempts while the host is down.
const PAUSE: Duration = Duration::from_millis(20);

/// What a customer was told at last: the order of each key, or that there is not enough.
type Told = BTreeMap<String, Option<i64>>;

/// One who orders, insists on an answer, and thinks better of it at times.
struct Customer {
    name: u64,
    random: fastrand::Rng,
    client: reqwest::Client,
    orders: String,
    told: Told,
}

impl Customer {
    async fn run(mut self, paused: Arc<AtomicBool>, stop: Arc<AtomicBool>) -> Told {
        let mut count = 0;
        while !stop.load(Relaxed) {
            if paused.load(Relaxed) {
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            count += 1;
            let key = format!("{}-{count}", self.name);
            let order = self.wish();
            let made = self.insist(&key, &order).await;
            if let Some(id) = made
                && self.random.u8(..) < 80
            {
                self.cancel(id).await;
            }
            self.told.insert(key, made);
        }
        self.told
    }

    fn wish(&mut self) -> Value {
        let mut products: Vec<i32> = (1..=10).collect();
        self.random.shuffle(&mut products);
        let lines = self.random.usize(1..=3);
        let mut line = |product: &i32| json!({ "product_id": product, "quantity": self.random.i32(1..=3) });
        let items: Vec<_> = products[..lines].iter().map(&mut line).collect();
        json!({ "user_id": 1, "items": items })
    }

    async fn insist(&self, key: &str, order: &Value) -> Option<i64> {
        loop {
            let sent = self.client.post(&self.orders).json(order).header("idempotency-key", key).send().await;
            if let Ok(answer) = sent {
                let (status, retry) =
                    (answer.status().as_u16(), answer.headers().contains_key("retry-after"));
                match (status, answer.json::<Value>().await) {
                    (201, Ok(order)) => return order["id"].as_i64(),
                    (409, Ok(_)) if !retry => return None,
                    (409 | 500.., _) | (_, Err(_)) => {}
                    (_, Ok(problem)) => panic!("{status}: {problem}"),
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn cancel(&self, order: i64) {
        let url = format!("{}/{order}/status", self.orders);
        loop {
            let sent = self.client.patch(&url).json(&json!({ "status": "cancelled" })).send().await;
            // The second time it is told that this is done already.
            if sent.is_ok_and(|answer| matches!(answer.status().as_u16(), 200 | 409)) {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn killed_at_random_it_loses_nothing_and_does_nothing_twice() {
    let seed = seed();
    let mut random = fastrand::Rng::with_seed(seed);
    let (rounds, kills) = if long() { (30, 10) } else { (2, 5) };
    let (postgres, redis) = (TestPostgres::shared(), TestRedis::start());
    let database = postgres.database();
    let project = project(&database, &redis.url());
    let mut program = up(&project);
    let books = Books::open(&database).await;
    // Of some there is not enough for everybody.
    books.sql("UPDATE products SET stock = CASE WHEN id % 3 = 0 THEN 50 ELSE 1000000 END").await;
    let books = Books::open(&database).await;

    let (paused, stop) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let mut customers = JoinSet::new();
    for name in 0..CUSTOMERS {
        let customer = Customer {
            name,
            random: fastrand::Rng::with_seed(seed ^ name),
            client: client(),
            orders: orders_of(&project),
            told: Told::new(),
        };
        customers.spawn(customer.run(paused.clone(), stop.clone()));
    }

    let (begun, mut longest) = (Instant::now(), Duration::ZERO);
    for round in 1..=rounds {
        paused.store(false, Relaxed);
        for _ in 0..kills {
            tokio::time::sleep(LIFE_MAX.mul_f64(random.f64())).await;
            program.end("KILL");
            books.balance().await;
            program = up(&project);
        }
        let restarted = Instant::now();
        paused.store(true, Relaxed);
        let took = ended(&books, restarted).await;
        longest = longest.max(took);
        eprintln!("{} kills: every saga ended {took:?} after the restart", round * kills);
        // Those that were begun since then.
        books.settle().await;
    }
    stop.store(true, Relaxed);
    let told: Told = customers.join_all().await.into_iter().flatten().collect();
    books.agree().await;
    books.told(&redis).await;

    let made: Vec<i64> = told.values().flatten().copied().collect();
    let distinct: std::collections::BTreeSet<_> = made.iter().collect();
    assert_eq!(distinct.len(), made.len(), "two keys have one order");
    let orders = books.number("SELECT count(*) FROM orders WHERE id > 8").await;
    assert_eq!(usize::try_from(orders), Ok(made.len()), "one order for each key that was told of one");
    let cancelled = books.number("SELECT count(*) FROM orders WHERE status = 'cancelled'").await;
    eprintln!(
        "{} kills in {:?}: {} requests, {orders} orders, {cancelled} of them cancelled, {} refused; every saga \
         ended {longest:?} after a restart at most",
        rounds * kills,
        begun.elapsed(),
        told.len(),
        told.len() - made.len(),
    );
    program.end("TERM");
}
