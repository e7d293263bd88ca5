//! From the driver's errors to the contract's, and what they mean for the
//! connection.

use tokio_postgres::error::{DbError, Severity, SqlState};

use super::{DatabaseError, Error};

/// Why a statement gave no answer.
#[derive(Debug)]
pub(super) struct Failure {
    /// What the guest is told.
    pub(super) error: Error,
    /// What becomes of the connection.
    pub(super) fate: Fate,
    /// Nothing was executed, and a fresh connection or a fresh plan may well do: the
    /// statement may be tried once more.
    pub(super) retry: bool,
}

/// What an error means for the connection it came over, from mild to grave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fate {
    /// Fit for further use.
    Keep,
    /// To be closed.
    Close,
    /// To be closed, and what still runs on it cancelled.
    Cancel,
}

impl From<Error> for Failure {
    /// An error found before anything was sent.
    fn from(error: Error) -> Self {
        Self { error, fate: Fate::Keep, retry: false }
    }
}

/// The driver's error while a statement was executed.
pub(super) fn of_execution(error: &tokio_postgres::Error) -> Failure {
    match error.as_db_error() {
        Some(db) => of_database(db),
        None => Failure { error: lost(), fate: Fate::Close, retry: false },
    }
}

/// The driver's error while a statement was prepared: preparing executes nothing.
pub(super) fn of_preparation(error: &tokio_postgres::Error) -> Failure {
    let failure = of_execution(error);
    Failure { retry: failure.fate == Fate::Close, ..failure }
}

/// The connection was found closed before anything was sent over it.
pub(super) fn found_closed() -> Failure {
    Failure { error: lost(), fate: Fate::Close, retry: true }
}

/// The host's own refusal, in the shape of the database's.
pub(super) fn refused(code: &str, message: String) -> Error {
    Error::Database(DatabaseError {
        code: code.to_owned(),
        message,
        detail: None,
        constraint: None,
        table: None,
        column: None,
    })
}

/// Whether the plan of a statement kept for later has become invalid, for example
/// by a migration. It is found out before the statement is executed.
pub(super) fn plan_is_stale(error: &tokio_postgres::Error) -> bool {
    error.as_db_error().is_some_and(|db| {
        *db.code() == SqlState::INVALID_SQL_STATEMENT_NAME || db.routine() == Some("RevalidateCachedQuery")
    })
}

fn of_database(db: &DbError) -> Failure {
    let code = db.code();
    if *code == SqlState::QUERY_CANCELED {
        return Failure { error: Error::Timeout, fate: Fate::Keep, retry: false };
    }
    let gone = matches!(code.code(), "57P01" | "57P02" | "57P03") || code.code().starts_with("08");
    // A connection to a server that has become a standby would refuse every write
    // from now on; the next one may find the new primary.
    let standby = *code == SqlState::READ_ONLY_SQL_TRANSACTION;
    let fatal = matches!(db.parsed_severity(), Some(Severity::Fatal | Severity::Panic))
        || matches!(db.severity(), "FATAL" | "PANIC");
    if gone || standby || fatal {
        return Failure {
            error: Error::Unavailable(db.message().to_owned()),
            fate: Fate::Close,
            retry: false,
        };
    }
    Failure {
        error: Error::Database(DatabaseError {
            code: code.code().to_owned(),
            message: db.message().to_owned(),
            detail: db.detail().map(str::to_owned),
            constraint: db.constraint().map(str::to_owned),
            table: db.table().map(str::to_owned),
            column: db.column().map(str::to_owned),
        }),
        fate: Fate::Keep,
        retry: false,
    }
}

fn lost() -> Error {
    Error::Unavailable("the connection to the database was lost".to_owned())
}
