//! The books of the stock: what must add up, whatever happens to the hosts.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tokio_postgres::{Client, NoTls};
use wasmyard::testing::servers::TestRedis;

use crate::until;

/// How long a saga is its request's before a sweep may take it: the shop's five seconds and one.
const REQUESTS_TIME: Duration = Duration::from_secs(6);

/// A look at the database past every host.
pub struct Books {
    session: Client,
    /// What there was of each product at the beginning.
    initial: BTreeMap<i32, i64>,
}

/// Where the pieces of one product are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stock {
    /// Those that can be had.
    pub stock: i64,
    /// Those of orders that are being made.
    pub reserved: i64,
    /// Those of orders that are made.
    pub sold: i64,
    /// Those that somebody has added by setting the stock, less those taken away.
    pub adjusted: i64,
}

impl Stock {
    /// What there was before anything happened.
    fn initial(self) -> i64 {
        self.stock + self.reserved + self.sold - self.adjusted
    }
}

impl Books {
    /// Opens the books of a database, with what is in it now.
    ///
    /// # Panics
    /// When it cannot be reached.
    pub async fn open(database: &str) -> Self {
        let mut books = Self::open_unmade(database).await;
        books.initial =
            books.read().await.into_iter().map(|(product, stock)| (product, stock.initial())).collect();
        books
    }

    /// Those of a database in which there is nothing yet.
    ///
    /// # Panics
    /// When it cannot be reached.
    pub async fn open_unmade(database: &str) -> Self {
        let (session, connection) = tokio_postgres::connect(database, NoTls).await.expect("the database");
        tokio::spawn(connection);
        Self { session, initial: BTreeMap::new() }
    }

    /// Where everything is, in one look.
    ///
    /// # Panics
    /// When it cannot be read.
    pub async fn read(&self) -> BTreeMap<i32, Stock> {
        let rows =
            "SELECT product_id, stock::int8, reserved::int8, sold::int8, adjusted::int8 FROM product_stock";
        let rows = self.session.query(rows, &[]).await.expect("the stock");
        let stock = |row: &tokio_postgres::Row| Stock {
            stock: row.get(1),
            reserved: row.get(2),
            sold: row.get(3),
            adjusted: row.get(4),
        };
        rows.iter().map(|row| (row.get(0), stock(row))).collect()
    }

    /// Checks that nothing was lost or made up: this holds at every moment.
    ///
    /// # Panics
    /// When a product does not add up.
    pub async fn balance(&self) {
        for (product, stock) in self.read().await {
            assert_eq!(stock.initial(), self.initial[&product], "product {product}: {stock:?}");
        }
    }

    /// How many sagas have not ended.
    ///
    /// # Panics
    /// When they cannot be counted.
    pub async fn sagas(&self) -> i64 {
        self.number("SELECT count(*) FROM order_sagas").await
    }

    /// The same of those that had begun before a time of the database's.
    ///
    /// # Panics
    /// When they cannot be counted.
    pub async fn sagas_before(&self, time: SystemTime) -> i64 {
        let count = "SELECT count(*) FROM order_sagas WHERE started_at < $1";
        self.session.query_one(count, &[&time]).await.expect("the sagas").get(0)
    }

    /// Waits until every saga has ended, and checks meanwhile that nothing is lost.
    ///
    /// # Panics
    /// When one does not end.
    pub async fn settle(&self) {
        until("every saga ends", async || {
            self.balance().await;
            self.sagas().await == 0
        })
        .await;
    }

    /// Checks that whatever was left behind may be swept within the time of one request: this is
    /// the part of the time until it has ended that does not depend on the machine.
    ///
    /// # Panics
    /// When one may not.
    pub async fn due_soon(&self) {
        // What has failed before waits longer each time.
        let late = "SELECT count(*) FROM order_sagas
                    WHERE attempts = 0 AND due_at > clock_timestamp() + make_interval(secs => $1)";
        let late = self.session.query_one(late, &[&REQUESTS_TIME.as_secs_f64()]).await.expect("the sagas");
        assert_eq!(late.get::<_, i64>(0), 0, "a saga that no sweep may take in time");
    }

    /// The database's time.
    ///
    /// # Panics
    /// When it does not tell.
    pub async fn now(&self) -> SystemTime {
        self.session.query_one("SELECT clock_timestamp()", &[]).await.expect("the time").get(0)
    }

    /// Waits until every saga has ended, and checks that both services have the same orders:
    /// what is sold is what is ordered and not cancelled, line by line, and no stock is held for
    /// anything else. Each effect is there once: the ledger has a line of an order once by
    /// its key, and here as often as the order.
    ///
    /// # Panics
    /// When they have not.
    pub async fn agree(&self) {
        self.settle().await;
        self.balance().await;
        assert_eq!(self.number("SELECT count(*) FROM reservations WHERE state = 'held'").await, 0);
        // Both ways: sold without an order, and ordered without a sale.
        let sold =
            "SELECT order_id, product_id, quantity FROM stock_movements JOIN reservations USING (order_id)
                    WHERE kind = 'reserve' AND state = 'confirmed'";
        let ordered = "SELECT order_id, line.product_id, line.quantity
                       FROM order_lines AS line JOIN orders ON orders.id = order_id WHERE status <> 'cancelled'";
        for (some, others) in [(sold, ordered), (ordered, sold)] {
            let odd = format!("SELECT count(*) FROM ({some} EXCEPT ALL {others}) AS odd");
            assert_eq!(self.number(&odd).await, 0, "{odd}");
        }
        let begun = "SELECT count(*) FROM orders WHERE (
                         SELECT count(*) FROM order_history WHERE order_id = orders.id AND status = 'pending'
                     ) <> 1";
        assert_eq!(self.number(begun).await, 0, "an order that did not begin once");
    }

    /// Checks, once everything has come to the stream, that all orders but those of the sample
    /// data have been told of: when they were made and each time that they were moved, once
    /// and in this order.
    ///
    /// # Panics
    /// When one has not.
    pub async fn told(&self, redis: &TestRedis) {
        until("the outbox is empty", async || self.number("SELECT count(*) FROM outbox").await == 0).await;
        let mut told: BTreeMap<i64, Vec<(i64, String)>> = BTreeMap::new();
        let stream = redis.cli(&["XRANGE", "wasmyard:events:{orders}", "-", "+"]);
        for line in stream.lines().filter(|line| line.starts_with("{\"type\"")) {
            let event: Value = serde_json::from_str(line).expect("an event");
            let number = |name: &str| event[name].as_i64().expect("a number");
            let what = format!("{} {}", event["type"], event["status"]).replace('"', "");
            told.entry(number("order_id")).or_default().push((number("seq"), what));
        }
        let orders = "SELECT orders.id::int8, event_seq::int8, array_agg(step.status::text ORDER BY step.id)
                      FROM orders JOIN order_history AS step ON order_id = orders.id
                      WHERE orders.id > 8 GROUP BY orders.id";
        for row in self.session.query(orders, &[]).await.expect("the orders") {
            let (order, last, steps): (i64, i64, Vec<String>) = (row.get(0), row.get(1), row.get(2));
            let kind = |seq: i64| if seq == 1 { "order.created" } else { "order.status_changed" };
            let expected: Vec<_> =
                (1..=last).zip(steps).map(|(seq, status)| (seq, format!("{} {status}", kind(seq)))).collect();
            assert_eq!(told.remove(&order).unwrap_or_default(), expected, "order {order}");
        }
        told.retain(|order, _| *order > 8);
        assert!(told.is_empty(), "orders that there are not: {told:?}");
    }

    /// How often the server has ended a transaction to break a deadlock. It counts by itself too,
    /// but makes that known a second late.
    ///
    /// # Panics
    /// When it cannot be read.
    pub async fn deadlocks(&self) -> i64 {
        self.number(
            "SELECT count(*) FROM regexp_matches(
                 pg_read_file(current_setting('data_directory') || '/../log'), 'deadlock detected', 'g'
             )",
        )
        .await
    }

    /// A number that a statement gives.
    ///
    /// # Panics
    /// When it gives none.
    pub async fn number(&self, sql: &str) -> i64 {
        let row = self.session.query_one(sql, &[]).await;
        row.unwrap_or_else(|error| panic!("{sql}: {error}")).get(0)
    }

    /// The end of what the server has logged: what a deadlock was about, for one.
    ///
    /// # Panics
    /// When it cannot be read.
    pub async fn server_log(&self) -> String {
        let log = "SELECT right(pg_read_file(current_setting('data_directory') || '/../log'), 8000)";
        self.session.query_one(log, &[]).await.expect("the server's log").get(0)
    }

    /// Changes something past every host.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn sql(&self, sql: &str) {
        self.session.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
}
