//! A database that is slow exactly where a test wants it.

use tokio_postgres::Client;

use crate::{Shop, until};

/// Stands in front of one table, for its own service alone, and counts the service's
/// `SELECT`s, but for those that lock a row to write it. While it is closed each of them waits after its snapshot was taken and
/// before it has its rows: it will answer with what was there when it came.
///
/// It is a row policy whose condition Postgres evaluates once for each statement.
pub struct Turnstile {
    session: Client,
}

/// Any number that nothing else in a test's database locks.
const LOCK: i64 = 7;

impl Turnstile {
    /// Puts an open one in front of a table, which has its service's name.
    pub async fn before(shop: &Shop, table: &str) -> Self {
        let session = shop.session().await;
        // The policies of a table are looked up when a statement is planned, which those
        // prepared before are again. What waits here is the service's own timeouts'
        // matter, not that of `lock_timeout`.
        let sql = format!(
            "CREATE SEQUENCE turnstile;
             CREATE FUNCTION turnstile() RETURNS boolean
             LANGUAGE plpgsql SECURITY DEFINER SET lock_timeout = 0 AS $$
             BEGIN
                 IF current_query() LIKE 'SELECT%' AND current_query() NOT LIKE '%FOR NO KEY UPDATE' THEN
                     PERFORM nextval('turnstile');
                     PERFORM pg_advisory_xact_lock_shared({LOCK});
                 END IF;
                 RETURN true;
             END $$;
             ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;
             CREATE POLICY reads ON {table} FOR SELECT USING ((SELECT turnstile()));
             CREATE POLICY inserts ON {table} FOR INSERT WITH CHECK (true);
             CREATE POLICY updates ON {table} FOR UPDATE USING (true);"
        );
        session.batch_execute(&sql).await.expect("the turnstile is built");
        Self { session }
    }

    /// From now on, who comes waits.
    pub async fn close(&self) {
        let sql = format!("SELECT pg_advisory_lock({LOCK})");
        self.session.batch_execute(&sql).await.expect("the turnstile closes");
    }

    /// Lets everybody through who waits, and all who come.
    pub async fn open(&self) {
        let sql = format!("SELECT pg_advisory_unlock({LOCK})");
        self.session.batch_execute(&sql).await.expect("the turnstile opens");
    }

    /// How many have come so far, those that wait among them.
    pub async fn count(&self) -> i64 {
        let sql = "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM turnstile";
        self.session.query_one(sql, &[]).await.expect("the turnstile is read").get(0)
    }

    /// Waits until so many have come.
    pub async fn until_count(&self, count: i64) {
        until("enough readers have come to the database", async || self.count().await >= count).await;
    }
}
