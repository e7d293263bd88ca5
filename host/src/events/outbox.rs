//! The outbox of one topic, held by the one host that moves its rows.

use std::time::Duration;

use anyhow::Context as _;
use tokio::time::timeout;
use tokio_postgres::{Client, Statement};

use super::event::{Cursor, TRACEPARENT};
use crate::capability::postgres::OwnerSession;
use crate::limits::{OUTBOX_BATCH, OUTBOX_SILENCE_MAX, POSTGRES_STATEMENT_GRACE, POSTGRES_STATEMENT_TIMEOUT};

/// Read in the order of the numbers: that of the commits, within a key.
const LOOK: &str = r#"
    SELECT id, key, seq, type, subject, payload::text, traceparent,
           to_char(occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
           extract(epoch FROM clock_timestamp() - occurred_at)::float8,
           (extract(epoch FROM occurred_at) * 1000000)::bigint
    FROM outbox WHERE topic = $1 ORDER BY id LIMIT $2"#;

/// The rows go, and the place up to which they are in the stream is noted, in one step.
const MOVED: &str = "
    WITH gone AS (DELETE FROM outbox WHERE topic = $1 AND id = ANY($2))
    UPDATE outbox_streams SET position = $3 WHERE topic = $1";

/// The same for rows that another host has put into the stream. A database that was restored
/// from a copy gives their numbers a second time, to rows that nobody has told of; the time
/// tells them apart.
const TOLD: &str = "
    WITH gone AS (
        DELETE FROM outbox USING unnest($2::bigint[], $3::bigint[]) AS told (id, occurred_us)
        WHERE topic = $1 AND outbox.id = told.id
          AND (extract(epoch FROM occurred_at) * 1000000)::bigint = told.occurred_us
    )
    UPDATE outbox_streams SET position = $4 WHERE topic = $1";

/// A topic's rows, while this host is the one to move them: until it is dropped, or its
/// session ends.
pub(super) struct Outbox {
    client: Client,
    topic: String,
    look: Statement,
    moved: Statement,
}

/// The right to fill a topic's stream.
pub(super) struct Term {
    pub(super) outbox: Outbox,
    /// What Redis tells this host from those before it by.
    pub(super) fence: i64,
    /// The newest event whose row is gone.
    pub(super) position: Cursor,
}

/// What one row is told from every other by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RowId {
    pub(super) number: i64,
    /// When it was written, in microseconds since 1970.
    pub(super) occurred_us: i64,
}

/// A row, made ready for the stream.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) number: i64,
    /// When it was written, in microseconds since 1970.
    pub(super) occurred_us: i64,
    pub(super) key: String,
    pub(super) kind: String,
    pub(super) subject: Option<String>,
    /// The event but for its id and the trace that it is in, with which it ends.
    pub(super) json: String,
    /// That trace: of who wrote the row, until it is sent in a span of its own.
    pub(super) traceparent: Option<String>,
    /// How long it has waited, in seconds.
    pub(super) age_s: f64,
}

impl Outbox {
    /// Becomes the one to move the topic's rows; `None` while another host is.
    ///
    /// # Errors
    /// The database cannot be reached, or has no outbox.
    pub(super) async fn hold(session: &OwnerSession, topic: &str) -> anyhow::Result<Option<Term>> {
        let client = session.take().await?;
        const HOLD: &str = "SELECT pg_try_advisory_lock(hashtextextended('wasmyard.outbox.' || $1, 0))";
        let held: bool = within(client.query_one(HOLD, &[&topic])).await?.get(0);
        if !held {
            session.give_back(client);
            return Ok(None);
        }
        // The lock is the session's, and the session must end with its host, also with one
        // that was switched off.
        let third = (OUTBOX_SILENCE_MAX / 3).as_secs();
        let keepalive = format!(
            "SET tcp_keepalives_idle = {third}; SET tcp_keepalives_interval = {third}; \
             SET tcp_keepalives_count = 2"
        );
        within(client.batch_execute(&keepalive)).await?;
        const TERM: &str = "
            INSERT INTO outbox_streams (topic, fence) VALUES ($1, 1)
            ON CONFLICT (topic) DO UPDATE SET fence = outbox_streams.fence + 1
            RETURNING fence, position";
        let term = within(client.query_one(TERM, &[&topic])).await?;
        let position: Cursor = term.get::<_, &str>(1).parse().context("outbox_streams.position")?;
        let (look, moved) =
            within(async { tokio::try_join!(client.prepare(LOOK), client.prepare(MOVED)) }).await?;
        let outbox = Self { client, topic: topic.to_owned(), look, moved };
        Ok(Some(Term { outbox, fence: term.get(0), position }))
    }

    /// Raises the fence above one that Redis has seen: the database is older than Redis,
    /// restored from a copy.
    pub(super) async fn fence_above(&self, seen: i64) -> anyhow::Result<i64> {
        const RAISE: &str = "UPDATE outbox_streams SET fence = $2 + 1 WHERE topic = $1 RETURNING fence";
        Ok(within(self.client.query_one(RAISE, &[&self.topic, &seen])).await?.get(0))
    }

    /// The next rows, at most [`OUTBOX_BATCH`].
    pub(super) async fn look(&self) -> anyhow::Result<Vec<Row>> {
        let rows = within(self.client.query(&self.look, &[&self.topic, &i64::from(OUTBOX_BATCH)])).await?;
        rows.iter().map(row).collect()
    }

    /// These rows are in the stream, up to `position`.
    pub(super) async fn moved(&self, numbers: &[i64], position: Cursor) -> anyhow::Result<()> {
        let position = position.to_string();
        within(self.client.execute(&self.moved, &[&self.topic, &numbers, &position])).await?;
        Ok(())
    }

    /// These rows are in the stream since another host's term, up to `position`.
    pub(super) async fn told(&self, rows: &[RowId], position: Cursor) -> anyhow::Result<()> {
        let (numbers, times): (Vec<i64>, Vec<i64>) =
            rows.iter().map(|row| (row.number, row.occurred_us)).unzip();
        let position = position.to_string();
        within(self.client.execute(TOLD, &[&self.topic, &numbers, &times, &position])).await?;
        Ok(())
    }

    /// How many rows wait.
    pub(super) async fn waiting(&self) -> anyhow::Result<u64> {
        count(&self.client, &self.topic).await
    }
}

/// How many rows of a topic wait, for a host that does not move them.
pub(super) async fn waiting(session: &OwnerSession, topic: &str) -> anyhow::Result<u64> {
    let client = session.take().await?;
    let waiting = count(&client, topic).await?;
    session.give_back(client);
    Ok(waiting)
}

async fn count(client: &Client, topic: &str) -> anyhow::Result<u64> {
    let row = within(client.query_one("SELECT count(*) FROM outbox WHERE topic = $1", &[&topic])).await?;
    Ok(row.get::<_, i64>(0).try_into().unwrap_or_default())
}

/// The members in the order in which they are told; the service's own are in the middle.
fn row(row: &tokio_postgres::Row) -> anyhow::Result<Row> {
    let (kind, payload): (String, &str) = (row.try_get(3)?, row.try_get(5)?);
    let occurred_at: &str = row.try_get(7)?;
    // An object as Postgres writes it: the table takes nothing else.
    let own = payload.strip_prefix('{').and_then(|payload| payload.strip_suffix('}')).unwrap_or_default();
    let comma = if own.is_empty() { "" } else { "," };
    let json = format!(
        r#"{{"type":{},{own}{comma}"seq":{},"occurred_at":{}"#,
        serde_json::to_string(&kind)?,
        row.try_get::<_, i32>(2)?,
        serde_json::to_string(occurred_at)?,
    );
    Ok(Row {
        number: row.try_get(0)?,
        occurred_us: row.try_get(9)?,
        key: row.try_get(1)?,
        subject: row.try_get(4)?,
        json,
        traceparent: row.try_get(6)?,
        age_s: row.try_get(8)?,
        kind,
    })
}

impl Row {
    /// The whole event but for its id.
    pub(super) fn told(&self) -> String {
        let traceparent = serde_json::Value::from(self.traceparent.as_deref());
        format!(r#"{}{TRACEPARENT}{traceparent}}}"#, self.json)
    }
}

/// The server ends a statement by itself; this is for a server that is gone.
async fn within<T>(work: impl Future<Output = Result<T, tokio_postgres::Error>>) -> anyhow::Result<T> {
    const WAIT: Duration = POSTGRES_STATEMENT_TIMEOUT.saturating_add(POSTGRES_STATEMENT_GRACE);
    Ok(timeout(WAIT, work).await.context("the database did not answer in time")??)
}
