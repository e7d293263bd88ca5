//! Which statements a guest may send.
//!
//! A connection is lent to one request after another, so nothing that a statement
//! does to the session may stay behind. A prepared statement holds exactly one
//! command (Postgres refuses `SELECT 1; BEGIN` there), and its first keyword decides:
//! queries and changes of rows are let through, everything else is refused, which
//! takes away `BEGIN`, `COMMIT`, `SET`, `LISTEN`, `DECLARE`, `PREPARE`, `COPY`, `DO`
//! and `CALL` together with every command that a later Postgres may bring. The schema
//! is the migrations' matter, so `CREATE` and its kin are not needed either.
//!
//! What remains are functions with an effect on the session. A statement that names
//! one runs, and its connection is closed afterwards instead of reused. A function
//! of the database's owner that hides such a call is the owner's to answer for.

use super::Error;
use super::error::refused;
use crate::limits::POSTGRES_SQL_BYTES_MAX;

/// First keywords that are let through.
const ALLOWED: [&str; 10] =
    ["SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "WITH", "VALUES", "TABLE", "TRUNCATE", "LOCK"];

/// Words with an effect that outlives the statement and its transaction.
const SESSION_WORDS: [&str; 14] = [
    "set_config",
    "pg_advisory_lock",
    "pg_advisory_lock_shared",
    "pg_try_advisory_lock",
    "pg_try_advisory_lock_shared",
    "temp",
    "temporary",
    "pg_temp",
    "setseed",
    "dblink_connect",
    "lo_open",
    "query_to_xml",
    "cursor_to_xml",
    "pg_replication_origin_session_setup",
];

/// What a statement leaves behind on its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leaves {
    /// Nothing: the connection may be lent again.
    Nothing,
    /// Perhaps something: the connection is closed after use.
    SessionState,
}

/// Judges a statement before it is prepared.
pub(super) fn judge(sql: &str) -> Result<Leaves, Error> {
    if sql.len() > POSTGRES_SQL_BYTES_MAX {
        return Err(refused("54000", format!("a statement is at most {POSTGRES_SQL_BYTES_MAX} bytes")));
    }
    if sql.contains('\0') {
        return Err(refused("42601", "a statement holds no NUL byte".to_owned()));
    }
    let keyword = first_word(sql);
    if !ALLOWED.iter().any(|allowed| keyword.eq_ignore_ascii_case(allowed)) {
        return Err(refused(
            "0A000",
            format!(
                "a statement begins with one of {}, not with {keyword:?}; transactions are opened with `begin`",
                ALLOWED.join(", ")
            ),
        ));
    }
    // An identifier written with Unicode escapes could spell any of the words.
    let escaped = sql.as_bytes().windows(3).any(|bytes| bytes.eq_ignore_ascii_case(b"u&\""));
    let named = words(sql).any(|word| SESSION_WORDS.iter().any(|known| word.eq_ignore_ascii_case(known)));
    Ok(if escaped || named { Leaves::SessionState } else { Leaves::Nothing })
}

fn words(sql: &str) -> impl Iterator<Item = &str> {
    sql.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$')).filter(|word| !word.is_empty())
}

/// The first word after white space, comments and opening parentheses.
fn first_word(sql: &str) -> &str {
    let mut rest = sql;
    loop {
        rest = rest.trim_start_matches([' ', '\t', '\n', '\r', '\x0b', '\x0c', '(']);
        if let Some(comment) = rest.strip_prefix("--") {
            rest = comment.find(['\n', '\r']).map_or("", |end| &comment[end..]);
        } else if let Some(comment) = rest.strip_prefix("/*") {
            rest = after_comment(comment);
        } else {
            let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
            return &rest[..end];
        }
    }
}

/// What follows a block comment; they nest in PostgreSQL.
fn after_comment(mut rest: &str) -> &str {
    let mut depth = 1;
    while depth > 0 {
        let Some(at) = rest.find(['/', '*']) else { return "" };
        rest = &rest[at..];
        if let Some(inner) = rest.strip_prefix("/*") {
            depth += 1;
            rest = inner;
        } else if let Some(outer) = rest.strip_prefix("*/") {
            depth -= 1;
            rest = outer;
        } else {
            rest = &rest[1..];
        }
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_and_changes_of_rows_pass() {
        for sql in [
            "SELECT 1",
            "  -- why\n (select 1) union (select 2)",
            "/* a /* b */ c */ INSERT INTO t VALUES ($1)",
            "with x as (select 1) delete from t",
            "SELECT attempts, temperature, template FROM t",
            "SELECT pg_advisory_xact_lock(1)",
        ] {
            assert!(matches!(judge(sql), Ok(Leaves::Nothing)), "{sql}");
        }
    }

    #[test]
    fn what_changes_the_session_does_not() {
        for sql in [
            "BEGIN",
            "begin;",
            "/* SELECT */ COMMIT",
            "-- SELECT\nROLLBACK",
            "START TRANSACTION",
            "END",
            "ABORT",
            "SAVEPOINT a",
            "SET ROLE postgres",
            "RESET ALL",
            "LISTEN x",
            "DECLARE c CURSOR FOR SELECT 1",
            "PREPARE p AS SELECT 1",
            "EXECUTE p",
            "COPY t FROM STDIN",
            "DO $$ BEGIN END $$",
            "CALL p()",
            "CREATE TEMP TABLE t (i int)",
            "DISCARD ALL",
            "/*",
            "",
            "SELECTED",
            "/*/ SELECT 1",
        ] {
            let Err(Error::Database(error)) = judge(sql) else { panic!("{sql} passed") };
            assert_eq!(error.code, "0A000", "{sql}");
        }
    }

    #[test]
    fn functions_with_an_effect_on_the_session_cost_the_connection() {
        for sql in [
            "SELECT set_config('role', 'x', false)",
            "SELECT PG_CATALOG.Pg_Advisory_Lock(1)",
            "SELECT 1 INTO TEMP t",
            "select \"set_config\"('a', 'b', false)",
            r#"SELECT U&"\0073et_config"('a', 'b', false)"#,
        ] {
            assert!(matches!(judge(sql), Ok(Leaves::SessionState)), "{sql}");
        }
    }

    #[test]
    fn bounds() {
        assert!(judge(&format!("SELECT {}", "1".repeat(POSTGRES_SQL_BYTES_MAX))).is_err());
        assert!(judge("SELECT '\0'").is_err());
    }
}
