//! Keys kept in Postgres, for all hosts of one database.

use std::time::Duration;

use anyhow::Context as _;
use async_trait::async_trait;
use jiff::Timestamp;

use crate::capability::postgres::OwnerSession;
use crate::limits::SIGNING_KEY_RETIREMENT;

/// The host's own schema: no service's role may look into it. It is not one of the
/// shop's migrations, because every manifest whose routes ask for callers needs it.
const SCHEMA: &str = "
    SELECT pg_advisory_xact_lock(hashtext('wasmyard.signing_keys'));
    CREATE SCHEMA IF NOT EXISTS wasmyard;
    REVOKE ALL ON SCHEMA wasmyard FROM PUBLIC;
    CREATE TABLE IF NOT EXISTS wasmyard.signing_keys (
        id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        kid TEXT NOT NULL UNIQUE,
        -- PKCS #8, encrypted under auth.key.
        sealed BYTEA NOT NULL,
        created_at TIMESTAMPTZ NOT NULL DEFAULT now()
    );";

/// Where keys are kept.
#[async_trait]
pub trait KeyStore: Send + Sync {
    /// All keys, the newest first.
    async fn load(&self) -> anyhow::Result<Vec<StoredKey>>;

    /// Adds a key, which is then the newest. Keys whose tokens have all expired are deleted.
    async fn add(&self, kid: &str, sealed: &[u8], adding: Adding) -> anyhow::Result<()>;
}

/// What a new key does to those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Adding {
    /// It is added only if there is none: of several hosts that start at once, one makes
    /// the first key.
    First,
    /// It takes the place of the newest, whose tokens are taken until they expire.
    Newest,
    /// It is the only one from now on: tokens of the others are refused.
    Only,
}

/// A key as it is kept.
#[derive(Debug, Clone)]
pub struct StoredKey {
    /// Its name.
    pub kid: String,
    /// The encrypted key.
    pub sealed: Vec<u8>,
    /// When it was added, by the store's clock.
    pub made_at: Timestamp,
    /// How long ago that was, by the same clock.
    pub age: Duration,
}

/// The real [`KeyStore`].
pub struct PostgresKeys {
    owner: OwnerSession,
}

impl PostgresKeys {
    /// The keys in the database of `owner`; the table is made if it is missing.
    ///
    /// # Errors
    /// The database cannot be reached, or does not let its owner make the table.
    pub async fn open(owner: OwnerSession) -> anyhow::Result<Self> {
        let mut client = owner.take().await?;
        let transaction = client.transaction().await?;
        transaction.batch_execute(SCHEMA).await.context("cannot make the table wasmyard.signing_keys")?;
        transaction.commit().await?;
        owner.give_back(client);
        Ok(Self { owner })
    }
}

#[async_trait]
impl KeyStore for PostgresKeys {
    async fn load(&self) -> anyhow::Result<Vec<StoredKey>> {
        let client = self.owner.take().await?;
        let sql = "SELECT kid, sealed, (extract(epoch FROM created_at) * 1000)::bigint AS made_ms,
                          (extract(epoch FROM now() - created_at) * 1000)::bigint AS age_ms
                   FROM wasmyard.signing_keys ORDER BY id DESC";
        let rows = client.query(sql, &[]).await?;
        self.owner.give_back(client);
        let key = |row: &tokio_postgres::Row| {
            let age_ms: i64 = row.try_get("age_ms")?;
            anyhow::Ok(StoredKey {
                kid: row.try_get("kid")?,
                sealed: row.try_get("sealed")?,
                made_at: Timestamp::from_millisecond(row.try_get("made_ms")?)?,
                age: Duration::from_millis(u64::try_from(age_ms).unwrap_or_default()),
            })
        };
        rows.iter().map(key).collect()
    }

    async fn add(&self, kid: &str, sealed: &[u8], adding: Adding) -> anyhow::Result<()> {
        let mut client = self.owner.take().await?;
        let transaction = client.transaction().await?;
        transaction.batch_execute("LOCK TABLE wasmyard.signing_keys IN SHARE ROW EXCLUSIVE MODE").await?;
        let delete = "DELETE FROM wasmyard.signing_keys AS old
                      WHERE $2 OR (SELECT min(next.created_at) FROM wasmyard.signing_keys AS next WHERE next.id > old.id)
                            < now() - make_interval(secs => $1)";
        transaction
            .execute(delete, &[&SIGNING_KEY_RETIREMENT.as_secs_f64(), &(adding == Adding::Only)])
            .await?;
        let insert = "INSERT INTO wasmyard.signing_keys (kid, sealed) SELECT $1, $2
                      WHERE NOT $3 OR NOT EXISTS (SELECT FROM wasmyard.signing_keys)";
        transaction.execute(insert, &[&kid, &sealed, &(adding == Adding::First)]).await?;
        transaction.commit().await?;
        self.owner.give_back(client);
        Ok(())
    }
}
