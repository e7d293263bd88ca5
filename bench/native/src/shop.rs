//! What the shop's functions share: reading through the cache, and writing around it.

use std::time::Duration;

use bytes::Bytes;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use wasmyard_guest::{Page, Problem, SqlError};

use crate::answer::Answer;
use crate::cache::{Cache, Outcome};
use crate::database::Database;
use crate::route::Head;

/// The backends.
pub(crate) struct Shop {
    pub(crate) database: Database,
    pub(crate) cache: Cache,
}

/// Where a list is kept, and for how long.
pub(crate) struct Kept<'a> {
    pub(crate) key: &'a str,
    pub(crate) ttl: Duration,
    /// Whether a list without items is kept too.
    pub(crate) empty: bool,
}

/// What a list's `Link` is made of.
pub(crate) struct Listed<'a> {
    pub(crate) path: &'a str,
    pub(crate) filters: &'a [(&'a str, &'a str)],
}

impl Shop {
    /// The bytes under a key, or as `read` makes them; past the cache for a client that
    /// refuses it.
    pub(crate) async fn cached(
        &self,
        refuses_cache: bool,
        kept: &Kept<'_>,
        read: impl AsyncFnOnce() -> Result<Vec<u8>, Problem>,
    ) -> Result<(Bytes, Outcome), Problem> {
        if refuses_cache {
            return Ok((read().await?.into(), Outcome::Refused));
        }
        self.cache.aside(kept, read).await
    }

    /// One page of a list; only the plain one is cached.
    pub(crate) async fn page(
        &self,
        head: &Head<'_>,
        page: &Page,
        kept: &Kept<'_>,
        listed: &Listed<'_>,
        read: impl AsyncFnOnce() -> Result<Vec<u8>, Problem>,
    ) -> Result<Answer, Problem> {
        let answer = if page.is_plain() {
            let (body, outcome) = self.cached(head.refuses_cache, kept, read).await?;
            Answer::json(body).cached(outcome)
        } else {
            Answer::json(read().await?)
        };
        let next = page.next(&answer.body, listed.path, listed.filters);
        Ok(answer.linked(next))
    }

    /// Runs a statement that writes one row, and returns it. When it fails and may have
    /// taken effect in spite of that, the list goes out of the cache as if it had.
    pub(crate) async fn write(
        &self,
        sql: &str,
        params: &[&(dyn ToSql + Sync)],
        list: &str,
    ) -> Result<Option<Row>, SqlError> {
        let written = self.database.query(sql, params).await;
        if written.as_ref().is_err_and(SqlError::leaves_doubt) {
            self.cache.invalidate(&[list.to_owned()]).await;
        }
        Ok(written?.pop())
    }
}

/// The row that an `INSERT` returned.
pub(crate) fn inserted(row: Option<Row>) -> Result<Row, Problem> {
    row.ok_or_else(|| Problem::internal("INSERT returned no row"))
}
