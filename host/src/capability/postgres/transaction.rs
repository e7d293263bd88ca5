//! A transaction on a pooled connection.

use std::time::{Duration, Instant};

use async_trait::async_trait;

use super::error::{Failure, refused};
use super::lease::Lease;
use super::run::Done;
use super::{Error, Isolation, RowSet, Transaction, Value};

pub(super) struct PooledTransaction {
    lease: Lease,
    /// The database has refused a statement, and with it the transaction. A `COMMIT`
    /// would then roll back and report success.
    failed: bool,
    statement_wait: Duration,
}

impl PooledTransaction {
    pub(super) async fn begin(
        mut lease: Lease,
        isolation: Isolation,
        statement_wait: Duration,
        deadline: Instant,
    ) -> Result<Self, Failure> {
        let begin = match isolation {
            Isolation::ReadCommitted => "BEGIN ISOLATION LEVEL READ COMMITTED",
            Isolation::RepeatableRead => "BEGIN ISOLATION LEVEL REPEATABLE READ",
            Isolation::Serializable => "BEGIN ISOLATION LEVEL SERIALIZABLE",
        };
        lease.begin_transaction(begin, deadline.min(Instant::now() + statement_wait)).await?;
        Ok(Self { lease, failed: false, statement_wait })
    }

    async fn run(&mut self, sql: &str, params: &[Value], deadline: Instant) -> Result<Done, Error> {
        if !self.lease.is_usable() {
            return Err(Error::TransactionEnded);
        }
        let until = self.until(deadline);
        let ran = self.lease.run(sql, params, until).await;
        ran.map_err(|failure| {
            // What the host refused by itself was never sent, but SQLSTATEs do not
            // tell the two apart; the stricter reading is the contract's.
            self.failed |= matches!(failure.error, Error::Database(_) | Error::Timeout);
            failure.error
        })
    }

    async fn end(&mut self, command: &str, deadline: Instant) -> Result<(), Error> {
        if !self.lease.is_usable() {
            return Err(Error::TransactionEnded);
        }
        let until = self.until(deadline);
        self.lease.end_transaction(command, until).await.map_err(|failure| failure.error)
    }

    fn until(&self, deadline: Instant) -> Instant {
        deadline.min(Instant::now() + self.statement_wait)
    }
}

#[async_trait]
impl Transaction for PooledTransaction {
    async fn query(&mut self, sql: &str, params: &[Value], deadline: Instant) -> Result<RowSet, Error> {
        Ok(self.run(sql, params, deadline).await?.outcome.rows)
    }

    async fn execute(&mut self, sql: &str, params: &[Value], deadline: Instant) -> Result<u64, Error> {
        Ok(self.run(sql, params, deadline).await?.outcome.affected)
    }

    async fn commit(mut self: Box<Self>, deadline: Instant) -> Result<(), Error> {
        if self.failed {
            self.end("ROLLBACK", deadline).await?;
            let why = "the transaction had failed before, and was rolled back".to_owned();
            return Err(refused("25P02", why));
        }
        self.end("COMMIT", deadline).await
    }

    async fn rollback(mut self: Box<Self>, deadline: Instant) -> Result<(), Error> {
        self.end("ROLLBACK", deadline).await
    }
}
