//! SQL, and what its errors mean to a client.

use crate::bindings::wasmyard::platform::postgres::{self, DatabaseError, Error, RowSet, Value};
use crate::{Fault, Problem, invalidate};

/// Runs a statement and returns its rows.
///
/// # Errors
///
/// A [`SqlError`], which `?` turns into the answer that fits it.
pub fn query(sql: &str, params: &[Value]) -> Result<RowSet, SqlError> {
    postgres::query(sql, params).map_err(SqlError::from)
}

/// Runs a statement and returns how many rows it touched.
///
/// # Errors
///
/// As [`query`].
pub fn execute(sql: &str, params: &[Value]) -> Result<u64, SqlError> {
    postgres::execute(sql, params).map_err(SqlError::from)
}

/// Runs a statement that writes, and returns its rows. When it fails and may have taken
/// effect in spite of that, `keys` go out of the cache as if it had.
///
/// # Errors
///
/// As [`query`].
pub fn write(sql: &str, params: &[Value], keys: &[String]) -> Result<RowSet, SqlError> {
    query(sql, params).inspect_err(|error| {
        if error.leaves_doubt() {
            invalidate(keys);
        }
    })
}

/// A failed statement, and the answer to it once one is known.
#[derive(Debug, Clone, PartialEq)]
pub struct SqlError {
    /// Boxed, so that a `Result` stays as small as its value.
    error: Box<Error>,
    problem: Option<Problem>,
}

impl SqlError {
    /// Whether the statement may have taken effect in spite of the error: the
    /// connection was lost while it was under way. What is cached must then go as if
    /// it had.
    pub fn leaves_doubt(&self) -> bool {
        match &*self.error {
            Error::Unavailable(_) | Error::Timeout => true,
            Error::Database(error) => error.code.starts_with("08") || error.code == "57P01",
            _ => false,
        }
    }
}

impl From<Error> for SqlError {
    fn from(error: Error) -> Self {
        Self { error: Box::new(error), problem: None }
    }
}

/// A violated constraint becomes an answer in one line.
pub trait OnConstraint: Sized {
    /// Answers with this problem when that constraint was violated.
    #[must_use]
    fn on_constraint(self, name: &str, problem: impl FnOnce() -> Problem) -> Self;
}

impl<T> OnConstraint for Result<T, SqlError> {
    fn on_constraint(self, name: &str, problem: impl FnOnce() -> Problem) -> Self {
        self.map_err(|mut failure| {
            if let Error::Database(DatabaseError { constraint: Some(constraint), .. }) = &*failure.error
                && constraint == name
            {
                failure.problem = Some(problem());
            }
            failure
        })
    }
}

impl From<SqlError> for Problem {
    fn from(SqlError { error, problem }: SqlError) -> Self {
        problem.unwrap_or_else(|| match *error {
            Error::Unavailable(cause) => away(cause),
            Error::Timeout => late("the statement ran into its timeout"),
            Error::TooLarge => Self::unprocessable(vec![Fault::parameter(
                "limit",
                "the answer would be over 8 MiB: ask for fewer rows",
            )]),
            Error::Database(error) => refused(&error),
            Error::BadParameter((number, reason)) => Self::internal(format!("parameter ${number}: {reason}")),
            Error::UnsupportedType((column, kind)) => {
                Self::internal(format!("column {column} has the type {kind}"))
            }
            Error::TransactionEnded => Self::internal("the transaction has ended already"),
        })
    }
}

/// The answer to an error of the database, by its SQLSTATE (PostgreSQL's appendix A).
fn refused(error: &DatabaseError) -> Problem {
    let DatabaseError { code, message, constraint, .. } = error;
    let constraint = constraint.as_deref().unwrap_or("none");
    let cause = format!("SQLSTATE {code}, constraint {constraint}: {message}");
    match code.as_str() {
        // Statement timeout, or an operator's hand; a lock that another session holds.
        "57014" | "55P03" => late(cause),
        // Deadlock or serialization failure: the same request may succeed at once.
        "40001" | "40P01" => away(cause),
        // Read-only after a failover, shutting down, out of connections, cut off.
        "25006" | "57P01" | "57P02" | "57P03" | "53300" => away(cause),
        _ if code.starts_with("08") => away(cause),
        // Data that a validation let through: too long, out of range, not text.
        "22001" | "22003" | "22021" | "22P05" | "23514" => {
            Problem::unprocessable(vec![Fault::body("the database does not accept these values")])
                .with_cause(cause)
        }
        "23505" => Problem::conflict("The same thing exists already.").with_cause(cause),
        _ => Problem::internal(cause),
    }
}

fn away(cause: impl Into<String>) -> Problem {
    Problem::unavailable("The database is not available.", cause)
}

fn late(cause: impl Into<String>) -> Problem {
    Problem::timeout("The database did not answer in time.", cause)
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

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&[i32]> for Value {
    fn from(numbers: &[i32]) -> Self {
        Self::Int32Array(numbers.iter().copied().map(Some).collect())
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database(code: &str, constraint: Option<&str>) -> SqlError {
        Error::Database(DatabaseError {
            code: code.into(),
            message: "no".into(),
            detail: None,
            constraint: constraint.map(str::to_owned),
            table: None,
            column: None,
        })
        .into()
    }

    fn status(error: SqlError) -> u16 {
        Problem::from(error).status()
    }

    #[test]
    fn every_error_has_its_answer() {
        assert_eq!(status(Error::Unavailable("refused".into()).into()), 503);
        assert_eq!(status(Error::Timeout.into()), 504);
        assert_eq!(status(Error::TooLarge.into()), 422);
        assert_eq!(status(Error::BadParameter((1, "text".into())).into()), 500);
        for (code, expected) in [
            ("57014", 504),
            ("55P03", 504),
            ("40001", 503),
            ("57P01", 503),
            ("08006", 503),
            ("53300", 503),
            ("22021", 422),
            ("23514", 422),
            ("23505", 409),
            ("42501", 500),
            ("42P01", 500),
        ] {
            assert_eq!(status(database(code, None)), expected, "{code}");
        }
    }

    #[test]
    fn a_constraint_has_its_own_answer() {
        let failed: Result<(), SqlError> = Err(database("23505", Some("users_email_key")));
        let problem: Problem = failed
            .on_constraint("users_username_key", || Problem::conflicting_field("username", "taken"))
            .on_constraint("users_email_key", || Problem::conflicting_field("email", "taken"))
            .map_err(Problem::from)
            .expect_err("a conflict");
        assert_eq!(problem, Problem::conflicting_field("email", "taken"));
    }

    #[test]
    fn a_lost_connection_leaves_doubt_and_a_refusal_none() {
        assert!(SqlError::from(Error::Unavailable(String::new())).leaves_doubt());
        assert!(SqlError::from(Error::Timeout).leaves_doubt());
        assert!(database("08006", None).leaves_doubt());
        assert!(!database("23505", None).leaves_doubt());
        assert!(!SqlError::from(Error::TooLarge).leaves_doubt());
    }
}
