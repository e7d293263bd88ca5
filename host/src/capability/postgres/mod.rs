//! `wasmyard:platform/postgres`: SQL on a service's own database role.
//!
//! [`Postgres`] is the seam: [`PostgresPool`] answers it in the host,
//! [`crate::testing::ScriptedPostgres`] in a component's unit tests. The host
//! functions in `host.rs` are the same for both.
//!
//! What keeps one request's mess from the next borrower of a connection:
//!
//! - a connection with a statement in flight, or inside a transaction, is closed
//!   instead of returned (`lease.rs`);
//! - a guest cannot open a transaction or change the session by SQL, and a
//!   connection that ran a function with an effect on the session is closed after
//!   use (`statement.rs`).

mod breaker;
mod connection;
mod error;
mod host;
mod lease;
mod migrate;
mod numeric;
mod owner;
mod param;
mod place;
mod pool;
mod ready;
mod redacted;
mod role;
mod row;
mod run;
mod socket;
mod statement;
#[cfg(test)]
mod tests;
mod traced;
mod transaction;

use std::time::Instant;

use async_trait::async_trait;

pub use crate::bindings::wasmyard::platform::postgres::{
    DatabaseError, Error, Isolation, Outcome, RowSet, Statement, Value,
};
pub use host::TransactionHandle;
pub use migrate::{Prepared, prepare_database};
pub use owner::OwnerSession;
pub use place::Place;
pub use pool::PostgresPool;
pub use ready::wait_until_ready;
pub use role::role_password;

/// A database, real or scripted. Every call ends at `deadline` at the latest, with
/// [`Error::Timeout`].
#[async_trait]
pub trait Postgres: Send + Sync {
    /// Runs a statement and returns its rows.
    async fn query(&self, sql: &str, params: &[Value], deadline: Instant) -> Result<RowSet, Error>;

    /// Runs a statement and returns how many rows it touched.
    async fn execute(&self, sql: &str, params: &[Value], deadline: Instant) -> Result<u64, Error>;

    /// Runs statements, sent together, in one transaction; the first error undoes
    /// all of them.
    async fn batch(&self, statements: &[Statement], deadline: Instant) -> Result<Vec<Outcome>, Error>;

    /// Opens a transaction on a connection of its own.
    async fn begin(&self, isolation: Isolation, deadline: Instant) -> Result<Box<dyn Transaction>, Error>;

    /// Where it is, for spans; a scripted one is nowhere.
    fn place(&self) -> Option<&Place> {
        None
    }
}

/// An open transaction. Dropped without [`commit`](Transaction::commit) it is rolled
/// back: its connection is closed and never goes back to the pool.
#[async_trait]
pub trait Transaction: Send {
    /// Runs a statement in the transaction and returns its rows.
    async fn query(&mut self, sql: &str, params: &[Value], deadline: Instant) -> Result<RowSet, Error>;

    /// Runs a statement in the transaction and returns how many rows it touched.
    async fn execute(&mut self, sql: &str, params: &[Value], deadline: Instant) -> Result<u64, Error>;

    /// Makes the work durable. A transaction in which a statement was refused is
    /// rolled back instead, and the answer is SQLSTATE 25P02.
    async fn commit(self: Box<Self>, deadline: Instant) -> Result<(), Error>;

    /// Undoes the work; the connection is fit for the next borrower afterwards.
    async fn rollback(self: Box<Self>, deadline: Instant) -> Result<(), Error>;
}
