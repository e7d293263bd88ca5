//! A login, and the refresh tokens that come of it.
//!
//! A refresh token is good once: with the next access token comes the next refresh token.
//! Whoever comes with a used one has stolen it or was robbed of it, and nobody can tell
//! which, so the whole session ends (RFC 9700, section 4.14.2). The row's lock makes one
//! of two uses at the same moment the first.

use serde::Serialize;
use utoipa::ToSchema;
use wasmyard_guest::auth::{self, OpaqueToken};
use wasmyard_guest::postgres::{self, Isolation, Statement, Transaction};
use wasmyard_guest::{
    Field, FormProblems, Problem, Request, Response, RowError, SqlError, Value, execute, problems,
};

use crate::account::Account;
use crate::password::{Password, busy};

/// Characters of a refresh token that are looked at; one has 43.
const TOKEN_LENGTH_MAX: usize = 128;
/// Sessions of one account that are open at a time: more than anybody has devices. The
/// oldest makes room for a new one.
const SESSIONS_MAX: i32 = 50;

/// A login.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
struct Login {
    #[schema(
        min_length = 1,
        max_length = 50,
        pattern = r"^[^\x00-\x1F\x7F-\x9F]*[^\s\x00-\x1F\x7F-\x9F][^\x00-\x1F\x7F-\x9F]*$",
        example = "alice"
    )]
    username: String,
    // One that is too short for a password is tried too.
    #[schema(value_type = String, format = Password, min_length = 1, max_length = 128, example = "alice-password")]
    password: Password,
}

impl Login {
    fn read(request: &Request) -> Result<Self, Problem> {
        let mut form = request.form(&["username", "password"])?;
        let username = form.required("username", |field| field.line(1..=50));
        let password = form.required("password", Password::read_attempt);
        let login = || Some(Self { username: username?, password: password? });
        form.finish(login())
    }
}

problems! { WrongLogin: wrong_login(), busy(2) }

/// Logs somebody in.
///
/// A name that nobody has, an account without a password and a wrong password have the same
/// answer, after the same work.
#[utoipa::path(post, path = "/api/v1/auth/login", tag = "auth", request_body = Login, responses(
    (status = 200, description = "Tokens; the access token is good for 15 minutes.", body = Granted),
    FormProblems,
    WrongLogin,
))]
pub(crate) fn login(request: &Request) -> Result<Response, Problem> {
    let Login { username, password } = Login::read(request)?;
    let account = Account::named(&username)?;
    let right = password.is(account.as_ref().map(|account| account.password_hash.as_str()))?;
    let Some(account) = account.filter(|_| right) else {
        return Err(wrong_login());
    };
    let token = auth::new_opaque_token();
    let make_room = "DELETE FROM sessions WHERE user_id = $1 AND id NOT IN (
             SELECT id FROM sessions WHERE user_id = $1 AND revoked_at IS NULL AND expires_at >= now()
             ORDER BY id DESC LIMIT $2
         )";
    let begin = "WITH session AS (
             INSERT INTO sessions (user_id, expires_at) VALUES ($1, now() + interval '30 days') RETURNING id, expires_at
         )
         INSERT INTO refresh_tokens (digest, session_id, expires_at) SELECT $2, id, expires_at FROM session";
    let statements = [
        statement(make_room, vec![account.id.into(), (SESSIONS_MAX - 1).into()]),
        statement(begin, vec![account.id.into(), Value::Bytes(token.digest.clone())]),
    ];
    postgres::batch(&statements).map_err(SqlError::from)?;
    granted(account.id, &account.role, token)
}

/// A refresh token.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
struct Refresh {
    #[schema(min_length = 1, max_length = 128, example = "vJ5oR2l1dX0mYt8kq3Zb7cN4wHs6eQfGaLpTiUxEoKw")]
    refresh_token: String,
}

problems! { Refused: refused() }

/// Gives the next tokens for a refresh token, which is good once.
///
/// One that is used a second time ends its session.
#[utoipa::path(post, path = "/api/v1/auth/refresh", tag = "auth", request_body = Refresh, responses(
    (status = 200, description = "The next tokens.", body = Granted),
    FormProblems,
    Refused,
))]
pub(crate) fn refresh(request: &Request) -> Result<Response, Problem> {
    let digest = read_digest(request)?;
    let transaction = postgres::begin(Isolation::ReadCommitted).map_err(SqlError::from)?;
    let Some(old) = Token::locked(&transaction, digest.clone())? else { return Err(refused()) };
    if old.is_over {
        return Err(refused());
    }
    if old.is_used {
        let revoke = "UPDATE sessions SET revoked_at = now() WHERE id = $1";
        transaction.execute(revoke, &[old.session.into()]).map_err(SqlError::from)?;
        transaction.commit().map_err(SqlError::from)?;
        return Err(refused());
    }

    let next = auth::new_opaque_token();
    for (sql, params) in [
        ("UPDATE refresh_tokens SET used_at = now() WHERE digest = $1", vec![Value::Bytes(digest)]),
        (
            "DELETE FROM refresh_tokens WHERE session_id = $1 AND expires_at < now()",
            vec![old.session.into()],
        ),
        (
            "WITH session AS (
                 UPDATE sessions SET expires_at = now() + interval '30 days' WHERE id = $1 RETURNING id, expires_at
             )
             INSERT INTO refresh_tokens (digest, session_id, expires_at) SELECT $2, id, expires_at FROM session",
            vec![old.session.into(), Value::Bytes(next.digest.clone())],
        ),
    ] {
        transaction.execute(sql, &params).map_err(SqlError::from)?;
    }
    transaction.commit().map_err(SqlError::from)?;
    granted(old.user_id, &old.role, next)
}

/// Ends the session of a refresh token.
///
/// A token that is none is no error: what was to be gone is gone (RFC 7009, section 2.2).
/// Access tokens are good until they expire.
#[utoipa::path(post, path = "/api/v1/auth/logout", tag = "auth", request_body = Refresh, responses(
    (status = 204, description = "There is no such session any more."),
    FormProblems,
))]
pub(crate) fn logout(request: &Request) -> Result<Response, Problem> {
    let digest = read_digest(request)?;
    execute(
        "UPDATE sessions SET revoked_at = now() FROM refresh_tokens
         WHERE refresh_tokens.digest = $1 AND sessions.id = refresh_tokens.session_id AND sessions.revoked_at IS NULL",
        &[Value::Bytes(digest)],
    )?;
    Ok(Response { status: 204, headers: Vec::new(), body: Vec::new() })
}

/// A refresh token as it is stored, with what its session is about.
struct Token {
    session: i64,
    user_id: i32,
    role: String,
    is_used: bool,
    is_over: bool,
}

impl Token {
    /// The token of this digest; nobody else can use it until the transaction ends.
    fn locked(transaction: &Transaction, digest: Vec<u8>) -> Result<Option<Self>, Problem> {
        let sql = "SELECT sessions.id AS session, accounts.user_id, accounts.role,
                          refresh_tokens.used_at IS NOT NULL AS is_used,
                          sessions.revoked_at IS NOT NULL OR refresh_tokens.expires_at < now() AS is_over
                   FROM refresh_tokens
                   JOIN sessions ON sessions.id = refresh_tokens.session_id
                   JOIN accounts ON accounts.user_id = sessions.user_id
                   WHERE refresh_tokens.digest = $1 FOR UPDATE OF refresh_tokens, sessions";
        let found = transaction.query(sql, &[Value::Bytes(digest)]).map_err(SqlError::from)?;
        Ok(found.first(|row| {
            Ok::<_, RowError>(Self {
                session: row.get("session")?,
                user_id: row.get("user_id")?,
                role: row.get("role")?,
                is_used: row.get("is_used")?,
                is_over: row.get("is_over")?,
            })
        })?)
    }
}

/// Tokens (RFC 6749, section 5.1).
#[derive(Serialize, ToSchema)]
struct Granted {
    /// Sent with a request as `Authorization: Bearer …`.
    #[schema(example = "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl")]
    access_token: String,
    #[schema(example = "Bearer")]
    token_type: &'static str,
    /// Seconds that the access token is good for.
    #[schema(example = 900)]
    expires_in: u32,
    /// Gives the next tokens, once.
    #[schema(example = "vJ5oR2l1dX0mYt8kq3Zb7cN4wHs6eQfGaLpTiUxEoKw")]
    refresh_token: String,
}

fn granted(user_id: i32, role: &str, refresh: OpaqueToken) -> Result<Response, Problem> {
    let access = auth::issue_access_token(&user_id.to_string(), role);
    let granted = Granted {
        access_token: access.token,
        token_type: "Bearer",
        expires_in: access.expires_in_s,
        refresh_token: refresh.token,
    };
    Ok(Response::json(200, &granted)?.with_header("cache-control", "no-store"))
}

fn read_digest(request: &Request) -> Result<Vec<u8>, Problem> {
    let mut form = request.form(&["refresh_token"])?;
    let token = form.required("refresh_token", |field: Field<'_>| field.secret(1..=TOKEN_LENGTH_MAX));
    let refresh = form.finish(token.map(|refresh_token| Refresh { refresh_token }))?;
    Ok(auth::digest(&refresh.refresh_token))
}

fn wrong_login() -> Problem {
    Problem::unauthorized("The username or the password is wrong.")
}

/// The same for a token that never was, one that was used and one that has expired.
fn refused() -> Problem {
    Problem::unauthorized("The refresh token is not valid; log in again.")
}

fn statement(sql: &str, params: Vec<Value>) -> Statement {
    Statement { sql: sql.to_owned(), params }
}
