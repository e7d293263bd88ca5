//! One statement on one connection: prepare, convert, send, read within bounds.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::Poll;

use tokio_postgres::RowStream;

use super::connection::{Connection, Prepared};
use super::error::{self, Failure, Fate};
use super::param::encode_all;
use super::row::Rows;
use super::{Error, Outcome, Statement, Value};

/// What one statement did, and whether its connection may be lent again.
pub(super) struct Done {
    pub(super) outcome: Outcome,
    pub(super) leaves: super::statement::Leaves,
}

/// Runs one statement.
pub(super) async fn one(connection: &mut Connection, sql: &str, params: &[Value]) -> Result<Done, Failure> {
    let prepared = connection.prepare_cached(sql).await?;
    let params = encode_all(params, prepared.statement.params())?;
    let sent = connection.client().query_raw(&prepared.statement, &params).await;
    let outcome = match sent {
        Ok(stream) => read(stream, &prepared).await,
        Err(error) if error::plan_is_stale(&error) => {
            connection.forget(sql);
            return Err(Failure { retry: true, ..error::of_execution(&error) });
        }
        Err(error) => Err(error::of_execution(&error)),
    };
    Ok(Done { outcome: outcome?, leaves: prepared.leaves })
}

/// Runs the statements of a batch, all sent before the first answer is awaited, with
/// a `BEGIN` in front. The caller commits or rolls back.
pub(super) async fn batch(
    connection: &mut Connection,
    statements: &[Statement],
) -> Result<Vec<Done>, Failure> {
    let mut ready = Vec::with_capacity(statements.len());
    for statement in statements {
        let prepared = connection.prepare_cached(&statement.sql).await?;
        let params = encode_all(&statement.params, prepared.statement.params())?;
        ready.push((prepared, params));
    }

    let client = connection.client();
    let mut begin = pin!(client.batch_execute("BEGIN"));
    let mut running: Vec<_> = ready
        .iter()
        .map(|(prepared, params)| {
            Running::Waiting(Box::pin(async move {
                let stream = client.query_raw(&prepared.statement, params);
                let stream = stream.await.map_err(|error| error::of_execution(&error))?;
                let outcome = read(stream, prepared).await?;
                Ok(Done { outcome, leaves: prepared.leaves })
            }))
        })
        .collect();

    // A statement is sent when its future is first polled, so polling in order is
    // sending in order. All are polled to their end: what stands behind a failed one
    // has been sent as well, and its answer has to be taken off the connection.
    let mut begun = None;
    std::future::poll_fn(|context| {
        if begun.is_none()
            && let Poll::Ready(result) = begin.as_mut().poll(context)
        {
            begun = Some(result);
        }
        let mut pending = begun.is_none();
        for one in &mut running {
            if let Running::Waiting(future) = one {
                match future.as_mut().poll(context) {
                    Poll::Ready(result) => *one = Running::Done(result),
                    Poll::Pending => pending = true,
                }
            }
        }
        if pending { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;

    if let Some(Err(error)) = begun {
        return Err(error::of_execution(&error));
    }
    let results = running.into_iter().map(|one| match one {
        Running::Done(result) => result,
        Running::Waiting(_) => Err(Failure {
            error: Error::Unavailable("a statement of the batch was not finished".to_owned()),
            fate: Fate::Close,
            retry: false,
        }),
    });
    let results: Vec<_> = results.collect();
    // A connection that one of them has spoiled is spoiled, whichever came first.
    let worst = results.iter().filter_map(|result| result.as_ref().err().map(|failure| failure.fate));
    let worst = worst.max().unwrap_or(Fate::Keep);
    let done: Result<Vec<_>, Failure> = results.into_iter().collect();
    done.map_err(|failure| Failure { fate: worst, ..failure })
}

enum Running<'a> {
    Waiting(Pin<Box<dyn Future<Output = Result<Done, Failure>> + Send + 'a>>),
    Done(Result<Done, Failure>),
}

async fn read(stream: RowStream, prepared: &Prepared) -> Result<Outcome, Failure> {
    let mut stream = pin!(stream);
    let mut rows = Rows::new();
    while let Some(row) = next(stream.as_mut()).await {
        let row = row.map_err(|error| error::of_execution(&error))?;
        // The rest of the answer is still on its way when one row is refused.
        let pushed = rows.push(&prepared.columns, &row);
        pushed.map_err(|error| Failure { error, fate: Fate::Cancel, retry: false })?;
    }
    let affected = stream.rows_affected().unwrap_or(0);
    Ok(Outcome { rows: rows.finish(&prepared.columns), affected })
}

async fn next(mut stream: Pin<&mut RowStream>) -> Option<Result<tokio_postgres::Row, tokio_postgres::Error>> {
    std::future::poll_fn(|context| futures_core::Stream::poll_next(stream.as_mut(), context)).await
}
