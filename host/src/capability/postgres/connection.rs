//! A connection with the statements prepared on it, and the pool's way to make one.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use deadpool::managed;
use tokio::task::JoinHandle;
use tokio_postgres::config::TargetSessionAttrs;
use tokio_postgres::{CancelToken, Client, Config, NoTls};

use super::breaker::Breaker;
use super::error::{self, Failure};
use super::row::Columns;
use super::socket::Address;
use super::statement::{Leaves, judge};
use crate::limits::{POSTGRES_CONNECT_TIMEOUT, POSTGRES_IDLE_CHECK, POSTGRES_STATEMENTS_KEPT};

/// One connection. Dropped, its socket is closed at once, and Postgres rolls back
/// whatever was open on it.
pub(super) struct Connection {
    client: Client,
    /// Reads and writes the socket.
    task: JoinHandle<()>,
    /// Where to send a request to cancel.
    address: Address,
    overflow: Arc<AtomicBool>,
    statements: Statements,
}

/// A statement known to the server, ready to be executed.
pub(super) struct Prepared {
    pub(super) statement: tokio_postgres::Statement,
    pub(super) columns: Columns,
    pub(super) leaves: Leaves,
}

impl Connection {
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// What it takes to cancel a statement that is busy, from another task.
    pub(super) fn canceller(&self) -> (Address, CancelToken) {
        (self.address.clone(), self.client.cancel_token())
    }

    /// Whether it broke because the server sent more than an answer may hold.
    pub(super) fn overflowed(&self) -> bool {
        self.overflow.load(Ordering::Acquire)
    }

    /// The statement from the cache, or prepared now and kept.
    pub(super) async fn prepare_cached(&mut self, sql: &str) -> Result<Arc<Prepared>, Failure> {
        if self.client.is_closed() {
            return Err(error::found_closed());
        }
        if let Some(prepared) = self.statements.get(sql) {
            return Ok(prepared);
        }
        let leaves = judge(sql)?;
        let statement = self.client.prepare(sql).await.map_err(|error| error::of_preparation(&error))?;
        let columns = Columns::new(statement.columns())?;
        let prepared = Arc::new(Prepared { statement, columns, leaves });
        self.statements.insert(sql, prepared.clone());
        Ok(prepared)
    }

    /// Forgets a statement whose plan has become invalid.
    pub(super) fn forget(&mut self, sql: &str) {
        self.statements.kept.remove(sql);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The statements of one connection, the least recently used going first. A dropped
/// statement is closed on the server by the driver.
#[derive(Default)]
struct Statements {
    kept: HashMap<Box<str>, (u64, Arc<Prepared>)>,
    clock: u64,
}

impl Statements {
    fn get(&mut self, sql: &str) -> Option<Arc<Prepared>> {
        self.clock += 1;
        let (used, prepared) = self.kept.get_mut(sql)?;
        *used = self.clock;
        Some(prepared.clone())
    }

    fn insert(&mut self, sql: &str, prepared: Arc<Prepared>) {
        if self.kept.len() >= POSTGRES_STATEMENTS_KEPT {
            // A scan of a few hundred entries, paid only where a round trip was.
            let oldest = self.kept.iter().min_by_key(|(_, (used, _))| *used).map(|(sql, _)| sql.clone());
            oldest.and_then(|oldest| self.kept.remove(&oldest));
        }
        self.kept.insert(sql.into(), (self.clock, prepared));
    }
}

/// Opens connections for a pool, behind the breaker.
pub(super) struct Opener {
    pub(super) config: Config,
    pub(super) breaker: Breaker,
}

/// No connection could be had. The cause has been logged.
#[derive(Debug)]
pub(super) struct NotOpened;

impl managed::Manager for Opener {
    type Type = Connection;
    type Error = NotOpened;

    async fn create(&self) -> Result<Connection, NotOpened> {
        let attempt = self.breaker.admit().ok_or(NotOpened)?;
        let why = match tokio::time::timeout(POSTGRES_CONNECT_TIMEOUT, self.open()).await {
            Ok(Ok(connection)) => {
                if attempt.succeeded() {
                    tracing::info!(role = self.config.get_user(), "postgres: connected again");
                }
                return Ok(connection);
            }
            Ok(Err(why)) => why,
            Err(_) => format!("no answer within {} ms", POSTGRES_CONNECT_TIMEOUT.as_millis()),
        };
        if attempt.failed() {
            tracing::warn!(role = self.config.get_user(), %why, "postgres: cannot connect");
        }
        Err(NotOpened)
    }

    /// A connection that was idle for long is asked for a sign of life: a firewall
    /// may have forgotten it without telling.
    async fn recycle(
        &self,
        connection: &mut Connection,
        metrics: &managed::Metrics,
    ) -> managed::RecycleResult<NotOpened> {
        let closed = || managed::RecycleError::message("closed");
        if connection.client.is_closed() {
            return Err(closed());
        }
        if metrics.last_used() > POSTGRES_IDLE_CHECK {
            connection.client.check_connection().await.map_err(|_| closed())?;
        }
        Ok(())
    }
}

impl Opener {
    /// The first of the addresses that will do, or why the last of them will not.
    async fn open(&self) -> Result<Connection, String> {
        let mut why = "the connection string names no host".to_owned();
        for address in Address::all(&self.config) {
            match self.open_at(&address).await {
                Ok(connection) => return Ok(connection),
                Err(error) => why = error,
            }
        }
        Err(why)
    }

    async fn open_at(&self, address: &Address) -> Result<Connection, String> {
        let socket = address.dial().await.map_err(|error| error.to_string())?;
        let overflow = socket.overflow();
        let connecting = self.config.connect_raw(socket, NoTls).await;
        let (client, connection) = connecting.map_err(|error| error_chain(&error))?;
        let task = tokio::spawn(async move {
            // A lost connection is noticed and told by whoever uses it next.
            let _ = connection.await;
        });
        let address = address.clone();
        let connection = Connection { client, task, address, overflow, statements: Statements::default() };
        if self.config.get_target_session_attrs() == TargetSessionAttrs::ReadWrite {
            let shown = connection.client.query_one("SHOW transaction_read_only", &[]).await;
            let read_only: String = shown.map_err(|error| error_chain(&error))?.get(0);
            if read_only == "on" {
                return Err("the server is read-only".to_owned());
            }
        }
        Ok(connection)
    }
}

/// The settings that every connection of a service opens with.
pub(super) fn settings(statement_timeout: Duration) -> String {
    use crate::limits::{POSTGRES_IDLE_IN_TRANSACTION_TIMEOUT, POSTGRES_LOCK_TIMEOUT};
    format!(
        "-c statement_timeout={} -c lock_timeout={} -c idle_in_transaction_session_timeout={} -c TimeZone=UTC",
        statement_timeout.as_millis(),
        POSTGRES_LOCK_TIMEOUT.as_millis(),
        POSTGRES_IDLE_IN_TRANSACTION_TIMEOUT.as_millis(),
    )
}

/// An error with its causes; the driver's own text stops at "error connecting".
pub(super) fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
