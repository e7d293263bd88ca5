//! The books of the stock: what must add up, whatever happens to the hosts.

use std::collections::BTreeMap;
use std::time::SystemTime;

use tokio_postgres::{Client, NoTls};

/// A look at the database past every host.
pub struct Books {
    session: Client,
    /// What there was of each product at the beginning: on stock, reserved and sold.
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
}

impl Books {
    /// Opens the books of a database, with what is in it now.
    ///
    /// # Panics
    /// When it cannot be reached.
    pub async fn open(database: &str) -> Self {
        let mut books = Self::open_unmade(database).await;
        let total = |stock: Stock| stock.stock + stock.reserved + stock.sold;
        books.initial =
            books.read().await.into_iter().map(|(product, stock)| (product, total(stock))).collect();
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
        let rows = "SELECT product_id, stock::int8, reserved::int8, sold::int8 FROM product_stock";
        let rows = self.session.query(rows, &[]).await.expect("the stock");
        let stock =
            |row: &tokio_postgres::Row| Stock { stock: row.get(1), reserved: row.get(2), sold: row.get(3) };
        rows.iter().map(|row| (row.get(0), stock(row))).collect()
    }

    /// Checks that nothing was lost or made up: this holds at every moment.
    ///
    /// # Panics
    /// When a product does not add up.
    pub async fn balance(&self) {
        for (product, Stock { stock, reserved, sold }) in self.read().await {
            assert_eq!(
                stock + reserved + sold,
                self.initial[&product],
                "product {product}: stock {stock} + reserved {reserved} + sold {sold}"
            );
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

    /// The database's time.
    ///
    /// # Panics
    /// When it does not tell.
    pub async fn now(&self) -> SystemTime {
        self.session.query_one("SELECT clock_timestamp()", &[]).await.expect("the time").get(0)
    }

    /// Checks that both services have the same orders, once every saga has ended: what is
    /// sold is what is ordered and not cancelled, line by line, and no stock is held for
    /// anything else. Each effect is there once: the ledger has a line of an order once by
    /// its key, and here as often as the order.
    ///
    /// # Panics
    /// When they have not.
    pub async fn agree(&self) {
        self.balance().await;
        assert_eq!(self.sagas().await, 0, "a saga has not ended");
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
        // An order is told of once when it is made: its history begins once, and so do its events.
        let begun = "SELECT count(*) FROM orders WHERE (
                         SELECT count(*) FROM order_history WHERE order_id = orders.id AND status = 'pending'
                     ) <> 1";
        assert_eq!(self.number(begun).await, 0, "an order that did not begin once");
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
