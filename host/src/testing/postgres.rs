//! A database that answers what a test has written down.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use async_trait::async_trait;

use crate::capability::postgres::{
    DatabaseError, Error, Isolation, Outcome, Postgres, RowSet, Statement, Transaction, Value,
};

/// A scripted [`Postgres`]. Clones share the script, so a test can keep one.
///
/// # Panics
///
/// When it is asked something that was not expected, which also ends a test that asked
/// through a component, and when the last clone is dropped before everything expected
/// was asked.
#[derive(Clone, Default)]
pub struct ScriptedPostgres(Arc<Script>);

#[derive(Default)]
struct Script(Mutex<State>);

#[derive(Default)]
struct State {
    expected: VecDeque<(String, ScriptedAnswer)>,
    always: Vec<(String, ScriptedAnswer)>,
    asked: Vec<Asked>,
}

/// What the database answers.
#[derive(Debug, Clone)]
pub enum ScriptedAnswer {
    /// Rows; as many as these are affected.
    Rows(RowSet),
    /// No rows, so many affected.
    Affected(u64),
    /// A failure.
    Error(Error),
}

/// What the database was asked.
#[derive(Debug, Clone)]
pub enum Asked {
    /// A statement and its parameters.
    Statement {
        /// The SQL as the component sent it.
        sql: String,
        /// The parameters.
        params: Vec<Value>,
        /// Whether it was sent in a transaction, or as part of a batch.
        in_transaction: bool,
    },
    /// A transaction was opened.
    Begin(Isolation),
    /// A transaction was committed.
    Commit,
    /// A transaction was rolled back, or dropped, which comes to the same.
    Rollback,
}

/// Rows for an answer, each with a value for every column.
pub fn rows<'a>(
    columns: impl IntoIterator<Item = &'a str>,
    rows: impl IntoIterator<Item = Vec<Value>>,
) -> ScriptedAnswer {
    let columns: Vec<_> = columns.into_iter().map(str::to_owned).collect();
    let rows: Vec<_> = rows.into_iter().collect();
    let fits = rows.iter().all(|row| row.len() == columns.len());
    assert!(fits, "every row has as many values as there are columns");
    ScriptedAnswer::Rows(RowSet { columns, rows })
}

/// The violation of a constraint: `23505` of a unique one, `23503` of a foreign key,
/// `23514` of a check.
pub fn violation(code: &str, constraint: &str) -> ScriptedAnswer {
    ScriptedAnswer::Error(Error::Database(DatabaseError {
        code: code.to_owned(),
        message: format!("violates constraint \"{constraint}\""),
        detail: None,
        constraint: Some(constraint.to_owned()),
        table: None,
        column: None,
    }))
}

impl ScriptedPostgres {
    /// A database that expects nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Expects next a statement that contains `sql`, and answers it so.
    #[must_use]
    pub fn expect(self, sql: &str, answer: impl Into<ScriptedAnswer>) -> Self {
        self.lock().expected.push_back((sql.to_owned(), answer.into()));
        self
    }

    /// Answers any statement that contains `sql` so, any number of times, unless it is
    /// the next one expected.
    #[must_use]
    pub fn always(self, sql: &str, answer: impl Into<ScriptedAnswer>) -> Self {
        self.lock().always.push((sql.to_owned(), answer.into()));
        self
    }

    /// Everything that was asked so far, in order.
    pub fn asked(&self) -> Vec<Asked> {
        self.lock().asked.clone()
    }

    fn ask(&self, sql: &str, params: &[Value], in_transaction: bool) -> Result<Outcome, Error> {
        let mut state = self.lock();
        state.asked.push(Asked::Statement { sql: sql.to_owned(), params: params.to_vec(), in_transaction });
        let next = state.expected.pop_front_if(|(part, _)| sql.contains(part.as_str()));
        let answer = match next {
            Some((_, answer)) => answer,
            None => state.otherwise(sql, params),
        };
        match answer {
            ScriptedAnswer::Rows(rows) => Ok(Outcome { affected: rows.rows.len() as u64, rows }),
            ScriptedAnswer::Affected(affected) => {
                Ok(Outcome { affected, rows: RowSet { columns: Vec::new(), rows: Vec::new() } })
            }
            ScriptedAnswer::Error(error) => Err(error),
        }
    }

    fn note(&self, asked: Asked) {
        self.lock().asked.push(asked);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn otherwise(&self, sql: &str, params: &[Value]) -> ScriptedAnswer {
        let always = self.always.iter().find(|(part, _)| sql.contains(part.as_str()));
        let Some((_, answer)) = always else {
            let next = self.expected.front();
            let next = next.map_or("nothing more".to_owned(), |(part, _)| format!("{part:?} next"));
            panic!("the scripted database expects {next}, but was asked\n  {sql}\n  with {params:?}");
        };
        answer.clone()
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        let state = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some((part, _)) = state.expected.front()
            && !std::thread::panicking()
        {
            panic!("the scripted database was never asked {part:?}");
        }
    }
}

impl From<Error> for ScriptedAnswer {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl From<i32> for Value {
    fn from(number: i32) -> Self {
        Self::Int32(number)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Int64(number)
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Self::Boolean(truth)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

#[async_trait]
impl Postgres for ScriptedPostgres {
    async fn query(&self, sql: &str, params: &[Value], _: Instant) -> Result<RowSet, Error> {
        Ok(self.ask(sql, params, false)?.rows)
    }

    async fn execute(&self, sql: &str, params: &[Value], _: Instant) -> Result<u64, Error> {
        Ok(self.ask(sql, params, false)?.affected)
    }

    async fn batch(&self, statements: &[Statement], _: Instant) -> Result<Vec<Outcome>, Error> {
        statements.iter().map(|statement| self.ask(&statement.sql, &statement.params, true)).collect()
    }

    async fn begin(&self, isolation: Isolation, _: Instant) -> Result<Box<dyn Transaction>, Error> {
        self.note(Asked::Begin(isolation));
        Ok(Box::new(ScriptedTransaction { database: self.clone(), ended: false }))
    }
}

struct ScriptedTransaction {
    database: ScriptedPostgres,
    ended: bool,
}

impl ScriptedTransaction {
    fn end(&mut self, how: Asked) {
        self.ended = true;
        self.database.note(how);
    }
}

impl Drop for ScriptedTransaction {
    fn drop(&mut self) {
        if !self.ended {
            self.end(Asked::Rollback);
        }
    }
}

#[async_trait]
impl Transaction for ScriptedTransaction {
    async fn query(&mut self, sql: &str, params: &[Value], _: Instant) -> Result<RowSet, Error> {
        Ok(self.database.ask(sql, params, true)?.rows)
    }

    async fn execute(&mut self, sql: &str, params: &[Value], _: Instant) -> Result<u64, Error> {
        Ok(self.database.ask(sql, params, true)?.affected)
    }

    async fn commit(mut self: Box<Self>, _: Instant) -> Result<(), Error> {
        self.end(Asked::Commit);
        Ok(())
    }

    async fn rollback(mut self: Box<Self>, _: Instant) -> Result<(), Error> {
        self.end(Asked::Rollback);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn answers_in_order_and_remembers() {
        let now = Instant::now();
        let postgres = ScriptedPostgres::new()
            .expect("SELECT stock", rows(["stock"], [vec![Value::Int32(3)]]))
            .expect("UPDATE", ScriptedAnswer::Affected(1))
            .always("SELECT 1", rows(["one"], [vec![Value::Int32(1)]]));
        let mut transaction = postgres.begin(Isolation::Serializable, now).await.expect("begun");
        let stock = transaction.query("SELECT stock FROM products", &[], now).await.expect("rows");
        assert!(matches!(stock.rows[0][0], Value::Int32(3)));
        assert_eq!(postgres.execute("SELECT 1", &[], now).await.expect("one row"), 1);
        assert_eq!(transaction.execute("UPDATE products", &[Value::Null], now).await.expect("one"), 1);
        transaction.commit(now).await.expect("committed");
        let asked = postgres.asked();
        assert!(matches!(asked[0], Asked::Begin(Isolation::Serializable)));
        assert!(
            matches!(&asked[3], Asked::Statement { in_transaction: true, params, .. } if params.len() == 1)
        );
        assert!(matches!(asked[4], Asked::Commit));
    }

    #[tokio::test]
    #[should_panic(expected = "expects nothing more, but was asked")]
    async fn an_unexpected_statement_is_loud() {
        let _ = ScriptedPostgres::new().query("SELECT 2", &[], Instant::now()).await;
    }

    #[test]
    #[should_panic(expected = "never asked \"SELECT\"")]
    fn an_unasked_statement_is_loud() {
        drop(ScriptedPostgres::new().expect("SELECT", ScriptedAnswer::Affected(0)));
    }
}
