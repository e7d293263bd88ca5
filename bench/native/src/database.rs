//! The pool of connections to Postgres, and what its errors mean to a client.

use std::str::FromStr as _;

use anyhow::Context as _;
use deadpool_postgres::{
    Client, Manager, ManagerConfig, Pool, PoolError, RecyclingMethod, Runtime, TimeoutType,
};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Config, NoTls, Row};
use wasmyard_guest::SqlError;
use wasmyard_guest::bindings::wasmyard::platform::postgres::{DatabaseError, Error};

use crate::limits;

/// The shop's database.
pub(crate) struct Database(Pool);

impl Database {
    /// A pool; nothing is connected yet.
    pub(crate) fn new(url: &str) -> anyhow::Result<Self> {
        let mut config = Config::from_str(url).context("not a connection string of Postgres")?;
        let statement_timeout = limits::POSTGRES_STATEMENT_TIMEOUT.as_millis();
        config
            .application_name("native-shop")
            .connect_timeout(limits::POSTGRES_CONNECT_TIMEOUT)
            .options(format!("-c statement_timeout={statement_timeout} -c TimeZone=UTC"));
        let recycling_method = RecyclingMethod::Fast;
        let manager = Manager::from_config(config, NoTls, ManagerConfig { recycling_method });
        let pool = Pool::builder(manager)
            .max_size(limits::POSTGRES_POOL_MAX)
            // The connection used last has the statements of the moment prepared.
            .queue_mode(deadpool_postgres::QueueMode::Lifo)
            .wait_timeout(Some(limits::POSTGRES_POOL_WAIT))
            .create_timeout(Some(limits::POSTGRES_CONNECT_TIMEOUT * 2))
            .recycle_timeout(Some(limits::POSTGRES_CONNECT_TIMEOUT))
            .runtime(Runtime::Tokio1)
            .build()?;
        Ok(Self(pool))
    }

    /// Runs a statement, prepared once for each connection, and returns its rows.
    pub(crate) async fn query(
        &self,
        sql: &str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, SqlError> {
        let client = self.connection().await?;
        let statement = client.prepare_cached(sql).await.map_err(|error| failed(&error))?;
        client.query(&statement, params).await.map_err(|error| failed(&error))
    }

    /// Runs two statements in one transaction, sent together, and returns the rows of the
    /// second.
    pub(crate) async fn in_turn(
        &self,
        (first, first_params): (&str, &[&(dyn ToSql + Sync)]),
        (second, second_params): (&str, &[&(dyn ToSql + Sync)]),
    ) -> Result<Vec<Row>, SqlError> {
        let client = self.connection().await?;
        let first = client.prepare_cached(first).await.map_err(|error| failed(&error))?;
        let second = client.prepare_cached(second).await.map_err(|error| failed(&error))?;
        let (begun, one, two) = tokio::join!(
            client.batch_execute("BEGIN"),
            client.query(&first, first_params),
            client.query(&second, second_params),
        );
        let rows = begun.and(one).and(two);
        let end = if rows.is_ok() { "COMMIT" } else { "ROLLBACK" };
        client.batch_execute(end).await.map_err(|error| failed(&error))?;
        rows.map_err(|error| failed(&error))
    }

    async fn connection(&self) -> Result<Client, SqlError> {
        self.0.get().await.map_err(|error| {
            let why = match error {
                PoolError::Timeout(TimeoutType::Wait) => "every connection of the pool is busy".to_owned(),
                error => error.to_string(),
            };
            Error::Unavailable(why).into()
        })
    }
}

fn failed(error: &tokio_postgres::Error) -> SqlError {
    let Some(told) = error.as_db_error() else {
        return Error::Unavailable(error.to_string()).into();
    };
    let owned = |text: Option<&str>| text.map(str::to_owned);
    Error::Database(DatabaseError {
        code: told.code().code().to_owned(),
        message: told.message().to_owned(),
        detail: owned(told.detail()),
        constraint: owned(told.constraint()),
        table: owned(told.table()),
        column: owned(told.column()),
    })
    .into()
}
