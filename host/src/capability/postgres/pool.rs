//! A service's pool of connections, on its own role.

use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use async_trait::async_trait;
use deadpool::Runtime;
use deadpool::managed::{Pool, PoolConfig, PoolError, QueueMode, TimeoutType, Timeouts};
use tokio::sync::Semaphore;
use tokio::time::timeout_at;
use tokio_postgres::Config;

use super::breaker::Breaker;
use super::connection::{Opener, settings};
use super::error::{Failure, Fate};
use super::lease::Lease;
use super::place::Place;
use super::run::Done;
use super::transaction::PooledTransaction;
use super::{Error, Isolation, Outcome, Postgres, RowSet, Statement, Transaction, Value};
use crate::limits::{
    POSTGRES_CONNECT_TIMEOUT, POSTGRES_POOL_WAIT, POSTGRES_RECYCLE_TIMEOUT, POSTGRES_STATEMENT_GRACE,
};
use crate::manifest::PostgresGrant;
use crate::telemetry::Latency;
use crate::telemetry::trace::{SpanKind, child_of_current};

/// The real [`Postgres`]: connections of one role, opened when first needed.
pub struct PostgresPool {
    pool: Pool<Opener>,
    place: Place,
    /// How long a statement is waited for; the server ends it a little earlier.
    statement_wait: Duration,
    /// How long connections were waited for.
    waits: Latency,
    cancels: Arc<Semaphore>,
}

impl PostgresPool {
    /// A pool for `service`. `base_url` says where the database is; its user and
    /// password are replaced by the grant's role and `password`. Nothing is connected
    /// yet: with the database down, requests fail at once with
    /// [`Error::Unavailable`] until it is back.
    ///
    /// # Errors
    ///
    /// When `base_url` is no connection string; the error does not repeat it.
    pub fn new(service: &str, base_url: &str, password: &str, grant: &PostgresGrant) -> anyhow::Result<Self> {
        let mut config = Config::from_str(base_url).context("postgres.url is not a connection string")?;
        let options = [config.get_options(), Some(&settings(grant.statement_timeout))];
        let options = options.into_iter().flatten().collect::<Vec<_>>().join(" ");
        config
            .user(&grant.role)
            .password(password)
            .application_name(format!("wasmyard/{service}"))
            .options(options);

        let place = Place::of(&config);
        let mut pool = PoolConfig::new(grant.pool_max);
        // The connection used last has the statements of the moment prepared.
        pool.queue_mode = QueueMode::Lifo;
        pool.timeouts = Timeouts {
            wait: Some(POSTGRES_POOL_WAIT),
            // The opener keeps the connect timeout itself, to tell the breaker.
            create: Some(POSTGRES_CONNECT_TIMEOUT * 2),
            recycle: Some(POSTGRES_RECYCLE_TIMEOUT),
        };
        let pool = Pool::builder(Opener { config, breaker: Breaker::default() })
            .config(pool)
            .runtime(Runtime::Tokio1)
            .build()?;
        Ok(Self {
            pool,
            place,
            statement_wait: grant.statement_timeout + POSTGRES_STATEMENT_GRACE,
            waits: Latency::default(),
            cancels: Arc::new(Semaphore::new(grant.pool_max)),
        })
    }

    /// Connections of the pool at this moment: open ones, idle ones of them.
    pub fn connections(&self) -> (usize, usize) {
        let status = self.pool.status();
        (status.size, status.available)
    }

    /// How long connections of it were waited for.
    pub fn waits(&self) -> &Latency {
        &self.waits
    }

    /// Connections that it may have.
    pub fn connections_max(&self) -> usize {
        self.pool.status().max_size
    }

    /// Asks for a connection and a sign of life of the database.
    pub async fn ping(&self, deadline: Instant) -> Result<(), Error> {
        self.query("SELECT 1", &[], deadline).await.map(drop)
    }

    async fn run(&self, sql: &str, params: &[Value], deadline: Instant) -> Result<Done, Error> {
        let mut lease = self.lease(deadline).await?;
        match lease.run(sql, params, self.until(deadline)).await {
            Err(failure) if failure.retry => {
                let mut lease = self.replace(lease, &failure, deadline).await?;
                lease.run(sql, params, self.until(deadline)).await
            }
            ran => ran,
        }
        .map_err(|failure| failure.error)
    }

    /// A connection for one use, waited for until `deadline` at the latest.
    async fn lease(&self, deadline: Instant) -> Result<Lease, Error> {
        let (waiting, span) = (self.waits.begin(), child_of_current(SpanKind::Internal, "pool"));
        let connection = timeout_at(deadline.into(), self.pool.get()).await;
        drop(waiting);
        span.end();
        let connection = connection.map_err(|_| Error::Timeout)?;
        let connection = connection.map_err(|error| {
            Error::Unavailable(
                match error {
                    PoolError::Timeout(TimeoutType::Wait) => "every connection of the pool is busy",
                    _ => "the database cannot be reached",
                }
                .to_owned(),
            )
        })?;
        Ok(Lease::new(connection, self.cancels.clone()))
    }

    /// Another connection after a failure that is known to have executed nothing.
    async fn replace(&self, lease: Lease, failure: &Failure, deadline: Instant) -> Result<Lease, Error> {
        if failure.fate == Fate::Keep {
            return Ok(lease);
        }
        drop(lease);
        // The idle ones have most likely met the same end.
        self.pool.retain(|_, _| false);
        self.lease(deadline).await
    }

    fn until(&self, deadline: Instant) -> Instant {
        deadline.min(Instant::now() + self.statement_wait)
    }
}

impl std::fmt::Debug for PostgresPool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresPool").field("connections", &self.connections()).finish_non_exhaustive()
    }
}

#[async_trait]
impl Postgres for PostgresPool {
    async fn query(&self, sql: &str, params: &[Value], deadline: Instant) -> Result<RowSet, Error> {
        Ok(self.run(sql, params, deadline).await?.outcome.rows)
    }

    async fn execute(&self, sql: &str, params: &[Value], deadline: Instant) -> Result<u64, Error> {
        Ok(self.run(sql, params, deadline).await?.outcome.affected)
    }

    async fn batch(&self, statements: &[Statement], deadline: Instant) -> Result<Vec<Outcome>, Error> {
        if statements.is_empty() {
            return Ok(Vec::new());
        }
        let mut lease = self.lease(deadline).await?;
        let done = match lease.run_batch(statements, self.until(deadline)).await {
            Err(failure) if failure.retry => {
                let mut lease = self.replace(lease, &failure, deadline).await?;
                lease.run_batch(statements, self.until(deadline)).await
            }
            ran => ran,
        };
        let done = done.map_err(|failure| failure.error)?;
        Ok(done.into_iter().map(|done| done.outcome).collect())
    }

    async fn begin(&self, isolation: Isolation, deadline: Instant) -> Result<Box<dyn Transaction>, Error> {
        let lease = self.lease(deadline).await?;
        let begun = PooledTransaction::begin(lease, isolation, self.statement_wait, deadline).await;
        let begun = match begun {
            // A transaction that was not opened has executed nothing.
            Err(Failure { fate: Fate::Close, .. }) => {
                self.pool.retain(|_, _| false);
                let lease = self.lease(deadline).await?;
                PooledTransaction::begin(lease, isolation, self.statement_wait, deadline).await
            }
            begun => begun,
        };
        Ok(Box::new(begun.map_err(|failure| failure.error)?))
    }

    fn place(&self) -> Option<&Place> {
        Some(&self.place)
    }
}
