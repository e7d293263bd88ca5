//! A connection lent to one request, and what becomes of it afterwards.
//!
//! It goes back to the pool only if nothing is in flight on it, it is in no
//! transaction and nothing was left in its session. In any other case, a dropped
//! future among them, it leaves the pool and its socket is closed.

use std::sync::Arc;
use std::time::Instant;

use deadpool::managed::Object;
use tokio::sync::Semaphore;
use tokio::time::error::Elapsed;
use tokio::time::timeout_at;
use tokio_postgres::{CancelToken, NoTls};

use super::connection::{Connection, Opener};
use super::error::{self, Failure, Fate};
use super::run::{self, Done};
use super::socket::Address;
use super::statement::Leaves;
use super::{Error, Statement, Value};
use crate::limits::POSTGRES_CANCEL_TIMEOUT;

pub(super) struct Lease {
    /// `None` only while it is being dropped.
    connection: Option<Object<Opener>>,
    /// A statement was sent and its answer has not been read to the end.
    in_flight: bool,
    in_transaction: bool,
    /// Not to be lent again, for whatever reason.
    spoiled: bool,
    /// Bounds the cancel requests that are under way at once.
    cancels: Arc<Semaphore>,
}

impl Lease {
    pub(super) fn new(connection: Object<Opener>, cancels: Arc<Semaphore>) -> Self {
        Self {
            connection: Some(connection),
            in_flight: false,
            in_transaction: false,
            spoiled: false,
            cancels,
        }
    }

    /// Runs one statement until `until` at the latest.
    pub(super) async fn run(&mut self, sql: &str, params: &[Value], until: Instant) -> Result<Done, Failure> {
        let connection = self.occupy()?;
        let ran = timeout_at(until.into(), run::one(connection, sql, params)).await;
        self.settle(ran)
    }

    /// Opens a transaction, runs the statements and commits; rolls back on the first
    /// error.
    pub(super) async fn run_batch(
        &mut self,
        statements: &[Statement],
        until: Instant,
    ) -> Result<Vec<Done>, Failure> {
        self.in_transaction = true;
        let connection = self.occupy()?;
        let ran = timeout_at(until.into(), run::batch(connection, statements)).await;
        let ran = self.settle(ran);
        if ran.is_ok() {
            self.end_transaction("COMMIT", until).await?;
        } else if self.is_usable() {
            // Should it fail, the connection is closed, which undoes as much.
            let _ = self.end_transaction("ROLLBACK", until).await;
        }
        ran
    }

    /// Opens a transaction. From here on the connection is closed when it is dropped.
    pub(super) async fn begin_transaction(&mut self, begin: &str, until: Instant) -> Result<(), Failure> {
        self.in_transaction = true;
        self.control(begin, until).await
    }

    /// `COMMIT` or `ROLLBACK`.
    pub(super) async fn end_transaction(&mut self, end: &str, until: Instant) -> Result<(), Failure> {
        self.control(end, until).await?;
        self.in_transaction = false;
        Ok(())
    }

    /// Whether another statement may be sent.
    pub(super) fn is_usable(&self) -> bool {
        !self.in_flight && !self.spoiled
    }

    async fn control(&mut self, command: &str, until: Instant) -> Result<(), Failure> {
        let connection = self.occupy()?;
        if connection.client().is_closed() {
            return self.settle(Ok(Err(error::found_closed())));
        }
        let ran = timeout_at(until.into(), connection.client().batch_execute(command)).await;
        self.settle(ran.map(|ran| ran.map_err(|error| error::of_execution(&error))))
    }

    /// Marks the connection busy. If the future that works on it is dropped, the mark
    /// stays, and so the connection does not return to the pool.
    fn occupy(&mut self) -> Result<&mut Connection, Failure> {
        self.in_flight = true;
        match self.connection.as_mut() {
            Some(connection) => Ok(connection),
            None => Err(error::found_closed()),
        }
    }

    /// Takes the mark away as far as the result allows.
    fn settle<T: Settles>(&mut self, ran: Result<Result<T, Failure>, Elapsed>) -> Result<T, Failure> {
        let mut result =
            ran.unwrap_or(Err(Failure { error: Error::Timeout, fate: Fate::Cancel, retry: false }));
        let overflowed = self.connection.as_ref().is_some_and(|connection| connection.overflowed());
        if overflowed && result.is_err() {
            result = Err(Failure { error: Error::TooLarge, fate: Fate::Cancel, retry: false });
        }
        match &result {
            Ok(done) => {
                self.in_flight = false;
                self.spoiled |= done.leaves_session_state();
            }
            Err(Failure { fate: Fate::Keep, .. }) => self.in_flight = false,
            Err(Failure { fate: Fate::Close, .. }) => (self.in_flight, self.spoiled) = (false, true),
            Err(Failure { fate: Fate::Cancel, .. }) => {}
        }
        result
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        if !self.in_flight && !self.in_transaction && !self.spoiled {
            return drop(connection);
        }
        let cancel = self.in_flight.then(|| connection.canceller());
        drop(Object::take(connection));
        if let Some((address, token)) = cancel {
            cancel_in_background(address, token, &self.cancels);
        }
    }
}

/// Closing the socket does not end a statement that is busy: Postgres looks at the
/// socket only when it has something to send. Where too many requests are under way
/// already, the server's own statement timeout has to do.
fn cancel_in_background(address: Address, token: CancelToken, cancels: &Arc<Semaphore>) {
    let Ok(permit) = cancels.clone().try_acquire_owned() else { return };
    let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
    runtime.spawn(async move {
        let _permit = permit;
        let cancel = async {
            if let Ok(socket) = address.dial().await {
                let _ = token.cancel_query_raw(socket, NoTls).await;
            }
        };
        let _ = tokio::time::timeout(POSTGRES_CANCEL_TIMEOUT, cancel).await;
    });
}

/// What a finished piece of work means for its connection.
trait Settles {
    fn leaves_session_state(&self) -> bool;
}

impl Settles for () {
    fn leaves_session_state(&self) -> bool {
        false
    }
}

impl Settles for Done {
    fn leaves_session_state(&self) -> bool {
        self.leaves == Leaves::SessionState
    }
}

impl Settles for Vec<Done> {
    fn leaves_session_state(&self) -> bool {
        self.iter().any(Settles::leaves_session_state)
    }
}
