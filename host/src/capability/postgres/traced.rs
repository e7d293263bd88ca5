//! The spans of statements, in the words of OpenTelemetry's conventions for databases
//! (stable since 1.33).

use opentelemetry::Value;

use super::redacted::{bounded, without_values};
use super::{Error, Outcome, Place, RowSet, Transaction};
use crate::telemetry::trace::{Recording, Span, SpanKind, TraceContext, around};

/// What a statement has given.
pub(super) trait Given {
    /// No row was found and none was touched.
    fn is_nothing(&self) -> bool;
}

impl Given for RowSet {
    fn is_nothing(&self) -> bool {
        self.rows.is_empty()
    }
}

impl Given for u64 {
    fn is_nothing(&self) -> bool {
        *self == 0
    }
}

impl Given for Vec<Outcome> {
    fn is_nothing(&self) -> bool {
        self.iter().all(|outcome| outcome.affected == 0 && outcome.rows.is_nothing())
    }
}

impl Given for Box<dyn Transaction> {
    fn is_nothing(&self) -> bool {
        true
    }
}

impl Given for () {
    fn is_nothing(&self) -> bool {
        true
    }
}

/// Does some work for a guest in a span of its own; `describe` says what work it is.
pub(super) async fn traced<T: Given>(
    (trace, place): (&TraceContext, Option<&Place>),
    describe: impl FnOnce(&mut Recording),
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let mut span = trace.child(SpanKind::Client, "postgresql");
    if !span.is_recorded() {
        return work.await;
    }
    span.with(|span| {
        span.set("db.system.name", "postgresql");
        if let Some(place) = place {
            place.write(span);
        }
        describe(span);
    });
    let done = around(&span.under(trace), work).await;
    span.with(|span| {
        if done.as_ref().is_ok_and(Given::is_nothing) {
            span.in_vain();
        }
    });
    end(span, done.as_ref().err());
    done
}

/// Describes a statement.
pub(super) fn statement(span: &mut Recording, sql: &str) {
    let (text, summary) = without_values(sql);
    span.set("db.query.text", text);
    if let Some(operation) = summary.split(' ').next().filter(|operation| !operation.is_empty()) {
        span.set("db.operation.name", operation.to_owned());
        span.rename(summary.clone());
        span.set("db.query.summary", summary);
    }
}

/// Describes a command that has no text of a guest's: `BEGIN`, `COMMIT`, `ROLLBACK`, `BATCH`.
pub(super) fn command(span: &mut Recording, name: &'static str) {
    span.rename(name);
    span.set("db.operation.name", name);
}

/// Describes a batch, by the texts of all its statements. One statement is none.
pub(super) fn batch(span: &mut Recording, statements: &[super::Statement]) {
    if let [only] = statements {
        return statement(span, &only.sql);
    }
    let texts: Vec<String> = statements.iter().map(|statement| without_values(&statement.sql).0).collect();
    command(span, "BATCH");
    span.set("db.operation.batch.size", i64::try_from(statements.len()).unwrap_or(i64::MAX));
    span.set("db.query.text", bounded(texts.join("; ")));
}

fn end(span: Span, error: Option<&Error>) {
    span.end_with(|span| match error {
        None => {}
        Some(Error::Database(error)) => {
            span.set("db.response.status_code", Value::from(error.code.clone()));
            // The message may repeat a value.
            span.fail(error.code.clone(), "the database refused the statement");
        }
        Some(Error::BadParameter(_)) => span.fail("bad_parameter", "a parameter does not fit its type"),
        Some(Error::UnsupportedType(_)) => span.fail("unsupported_type", "a column has no type for guests"),
        Some(Error::Unavailable(why)) => span.fail("unavailable", why.clone()),
        Some(Error::Timeout) => span.fail("timeout", "the statement ran into its timeout"),
        Some(Error::TooLarge) => span.fail("too_large", "the answer is larger than one may be"),
        Some(Error::TransactionEnded) => span.fail("transaction_ended", "the transaction has ended already"),
    });
}
