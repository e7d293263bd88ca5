//! Whose turn it is: a lease in Postgres for each service, for all hosts of a database.

use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::OnceCell;
use tokio::time::timeout;
use uuid::Uuid;

use crate::capability::postgres::OwnerSession;
use crate::limits::{BACKGROUND_LEASE, POSTGRES_STATEMENT_GRACE, POSTGRES_STATEMENT_TIMEOUT};

/// The host's own schema, as for the signing keys, whose lock it takes: two hosts that make
/// one schema at the same moment would otherwise be in each other's way.
const SCHEMA: &str = "
    SELECT pg_advisory_xact_lock(hashtext('wasmyard.signing_keys'));
    CREATE SCHEMA IF NOT EXISTS wasmyard;
    REVOKE ALL ON SCHEMA wasmyard FROM PUBLIC;
    CREATE TABLE IF NOT EXISTS wasmyard.background_leases (
        service TEXT PRIMARY KEY,
        -- One more for each turn, whoever has it.
        token BIGINT NOT NULL DEFAULT 0,
        holder UUID,
        held_until TIMESTAMPTZ NOT NULL DEFAULT '-infinity',
        due_at TIMESTAMPTZ NOT NULL DEFAULT '-infinity'
    );";

/// A turn is there when nobody has it and its time has come. Only Postgres' clock counts.
const TAKE: &str = "
    WITH known AS (
        INSERT INTO wasmyard.background_leases (service) VALUES ($1) ON CONFLICT DO NOTHING
    ), taken AS (
        UPDATE wasmyard.background_leases
        SET token = token + 1, holder = $2, held_until = clock_timestamp() + make_interval(secs => $3)
        WHERE service = $1 AND held_until <= clock_timestamp() AND due_at <= clock_timestamp()
        RETURNING token
    )
    SELECT (SELECT token FROM taken) AS token,
           (SELECT extract(epoch FROM greatest(held_until, due_at) - clock_timestamp())::float8
            FROM wasmyard.background_leases
            WHERE service = $1 AND isfinite(greatest(held_until, due_at))) AS wait_s";

const RENEW: &str = "
    UPDATE wasmyard.background_leases SET held_until = clock_timestamp() + make_interval(secs => $3)
    WHERE service = $1 AND token = $2 AND held_until > clock_timestamp()";

const GIVE_BACK: &str = "
    UPDATE wasmyard.background_leases
    SET held_until = '-infinity', due_at = clock_timestamp() + make_interval(secs => $3)
    WHERE service = $1 AND token = $2";

/// The leases of all services, as this host sees them.
pub struct Leases {
    owner: OwnerSession,
    host: Uuid,
    made: OnceCell<()>,
}

/// Whether it is this host's turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// It is, with this fencing token, for [`BACKGROUND_LEASE`] unless renewed.
    Now(u64),
    /// Somebody has it, or it is not due: ask again after this.
    Later(Duration),
}

impl Leases {
    /// The leases in the database of `owner`. Nothing is connected yet.
    pub fn new(owner: OwnerSession) -> Self {
        Self { owner, host: Uuid::new_v4(), made: OnceCell::new() }
    }

    /// Takes a service's next turn if it is free and due.
    ///
    /// # Errors
    /// The database cannot be reached, or does not answer in time.
    pub async fn take(&self, service: &str) -> anyhow::Result<Turn> {
        self.made.get_or_try_init(|| self.make()).await?;
        let client = self.owner.take().await?;
        let lease_s = BACKGROUND_LEASE.as_secs_f64();
        let row = within(client.query_one(TAKE, &[&service, &self.host, &lease_s])).await?;
        self.owner.give_back(client);
        let token: Option<i64> = row.try_get("token")?;
        let wait_s: Option<f64> = row.try_get("wait_s")?;
        Ok(match token {
            Some(token) => Turn::Now(u64::try_from(token).context("a fencing token below zero")?),
            None => Turn::Later(Duration::try_from_secs_f64(wait_s.unwrap_or_default()).unwrap_or_default()),
        })
    }

    /// Keeps a turn for another [`BACKGROUND_LEASE`]. False when it has passed on.
    ///
    /// # Errors
    /// The database cannot be reached, or does not answer in time.
    pub async fn renew(&self, service: &str, token: u64) -> anyhow::Result<bool> {
        self.update(RENEW, service, token, BACKGROUND_LEASE).await
    }

    /// Ends a turn. The next one, of whichever host, is due after `every`.
    ///
    /// # Errors
    /// The database cannot be reached, or does not answer in time; the lease then ends by itself.
    pub async fn give_back(&self, service: &str, token: u64, every: Duration) -> anyhow::Result<()> {
        self.update(GIVE_BACK, service, token, every).await.map(|_| ())
    }

    async fn update(&self, sql: &str, service: &str, token: u64, time: Duration) -> anyhow::Result<bool> {
        let token = i64::try_from(token).context("a fencing token beyond what Postgres counts")?;
        let client = self.owner.take().await?;
        let updated = within(client.execute(sql, &[&service, &token, &time.as_secs_f64()])).await?;
        self.owner.give_back(client);
        Ok(updated > 0)
    }

    async fn make(&self) -> anyhow::Result<()> {
        let mut client = self.owner.take().await?;
        let made = within(async {
            let transaction = client.transaction().await?;
            transaction.batch_execute(SCHEMA).await?;
            transaction.commit().await
        });
        made.await.context("cannot make the table wasmyard.background_leases")?;
        self.owner.give_back(client);
        Ok(())
    }
}

/// The server ends a statement by itself; this is for a server that is gone.
async fn within<T>(work: impl Future<Output = Result<T, tokio_postgres::Error>>) -> anyhow::Result<T> {
    const WAIT: Duration = POSTGRES_STATEMENT_TIMEOUT.saturating_add(POSTGRES_STATEMENT_GRACE);
    Ok(timeout(WAIT, work).await.context("the database did not answer in time")??)
}
