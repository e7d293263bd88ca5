//! The host functions: what a guest's call is checked for before a backend sees it.

use wasmtime::Result;
use wasmtime::component::Resource;

use super::error::refused;
use super::traced::{batch, command, statement, traced};
use super::{Error, Isolation, Outcome, Place, Postgres, RowSet, Statement, Transaction, Value};
use crate::bindings::wasmyard::platform::postgres;
use crate::capability::Capabilities;
use crate::limits::{POSTGRES_BATCH_MAX, POSTGRES_TRANSACTIONS_MAX};
use crate::runtime::Context;

/// A guest's transaction; empty once it has been committed or rolled back.
pub struct TransactionHandle(Option<Box<dyn Transaction>>);

impl TransactionHandle {
    /// Takes the transaction out; dropping it rolls back.
    pub(in crate::capability) fn take(&mut self) -> Option<Box<dyn Transaction>> {
        self.0.take()
    }
}

impl postgres::Host for Context {
    async fn query(&mut self, sql: String, params: Vec<Value>) -> Result<Result<RowSet, Error>> {
        let postgres = self.postgres()?;
        let work = postgres.query(&sql, &params, self.request.deadline);
        Ok(traced((&self.request.trace, place(&self.capabilities)), |span| statement(span, &sql), work).await)
    }

    async fn execute(&mut self, sql: String, params: Vec<Value>) -> Result<Result<u64, Error>> {
        let postgres = self.postgres()?;
        let work = postgres.execute(&sql, &params, self.request.deadline);
        Ok(traced((&self.request.trace, place(&self.capabilities)), |span| statement(span, &sql), work).await)
    }

    async fn batch(&mut self, statements: Vec<Statement>) -> Result<Result<Vec<Outcome>, Error>> {
        if statements.len() > POSTGRES_BATCH_MAX {
            let why = format!("a batch has at most {POSTGRES_BATCH_MAX} statements");
            return Ok(Err(refused("54000", why)));
        }
        let postgres = self.postgres()?;
        let work = postgres.batch(&statements, self.request.deadline);
        Ok(traced((&self.request.trace, place(&self.capabilities)), |span| batch(span, &statements), work)
            .await)
    }

    async fn begin(&mut self, isolation: Isolation) -> Result<Result<Resource<TransactionHandle>, Error>> {
        if self.request.transactions_open >= POSTGRES_TRANSACTIONS_MAX {
            let why = format!("a request has at most {POSTGRES_TRANSACTIONS_MAX} transactions open");
            return Ok(Err(refused("53400", why)));
        }
        let postgres = self.postgres()?;
        let work = postgres.begin(isolation, self.request.deadline);
        let transaction = match traced(
            (&self.request.trace, place(&self.capabilities)),
            |span| command(span, "BEGIN"),
            work,
        )
        .await
        {
            Ok(transaction) => transaction,
            Err(error) => return Ok(Err(error)),
        };
        let handle = self.table.push(TransactionHandle(Some(transaction)))?;
        self.request.transactions_open += 1;
        Ok(Ok(handle))
    }
}

impl postgres::HostTransaction for Context {
    async fn query(
        &mut self,
        handle: Resource<TransactionHandle>,
        sql: String,
        params: Vec<Value>,
    ) -> Result<Result<RowSet, Error>> {
        let deadline = self.request.deadline;
        let Some(transaction) = &mut self.table.get_mut(&handle)?.0 else {
            return Ok(Err(Error::TransactionEnded));
        };
        let work = transaction.query(&sql, &params, deadline);
        Ok(traced((&self.request.trace, place(&self.capabilities)), |span| statement(span, &sql), work).await)
    }

    async fn execute(
        &mut self,
        handle: Resource<TransactionHandle>,
        sql: String,
        params: Vec<Value>,
    ) -> Result<Result<u64, Error>> {
        let deadline = self.request.deadline;
        let Some(transaction) = &mut self.table.get_mut(&handle)?.0 else {
            return Ok(Err(Error::TransactionEnded));
        };
        let work = transaction.execute(&sql, &params, deadline);
        Ok(traced((&self.request.trace, place(&self.capabilities)), |span| statement(span, &sql), work).await)
    }

    async fn commit(&mut self, handle: Resource<TransactionHandle>) -> Result<Result<(), Error>> {
        let Some(transaction) = self.end(&handle)? else { return Ok(Err(Error::TransactionEnded)) };
        let work = transaction.commit(self.request.deadline);
        Ok(traced((&self.request.trace, place(&self.capabilities)), |span| command(span, "COMMIT"), work)
            .await)
    }

    async fn rollback(&mut self, handle: Resource<TransactionHandle>) -> Result<Result<(), Error>> {
        let Some(transaction) = self.end(&handle)? else { return Ok(Err(Error::TransactionEnded)) };
        let work = transaction.rollback(self.request.deadline);
        Ok(traced((&self.request.trace, place(&self.capabilities)), |span| command(span, "ROLLBACK"), work)
            .await)
    }

    /// The guest drops the resource: an open transaction is rolled back and its
    /// connection returned. Should that fail, the connection is closed instead, which
    /// rolls back as well, so the error is of no interest.
    async fn drop(&mut self, handle: Resource<TransactionHandle>) -> Result<()> {
        let transaction = self.end(&handle)?;
        self.table.delete(handle)?;
        if let Some(transaction) = transaction {
            let work = transaction.rollback(self.request.deadline);
            let _ = traced(
                (&self.request.trace, place(&self.capabilities)),
                |span| command(span, "ROLLBACK"),
                work,
            )
            .await;
        }
        Ok(())
    }
}

impl Context {
    fn postgres(&self) -> Result<std::sync::Arc<dyn Postgres>> {
        let granted = self.capabilities.postgres.clone();
        granted.ok_or_else(|| wasmtime::format_err!("postgres is not granted"))
    }

    fn end(&mut self, handle: &Resource<TransactionHandle>) -> Result<Option<Box<dyn Transaction>>> {
        let transaction = self.table.get_mut(handle)?.take();
        if transaction.is_some() {
            self.request.transactions_open = self.request.transactions_open.saturating_sub(1);
        }
        Ok(transaction)
    }
}

fn place(granted: &Capabilities) -> Option<&Place> {
    granted.postgres.as_deref()?.place()
}
