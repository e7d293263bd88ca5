//! A login, and the refresh tokens that come of it.
//!
//! A refresh token is good once: with the next access token comes the next refresh token.
//! Whoever comes with a used one has stolen it or was robbed of it, and nobody can tell
//! which, so the whole session ends (RFC 9700, section 4.14.2). The row's lock makes one
//! of two uses at the same moment the first.
//!
//! A token is `FAMILY.REST`, each of 256 random bits: the session has the family's digest
//! and the digest of its one good token. Who knows the family has had a token of the
//! session, so any other token of it is a used one; none of them is kept, however often a
//! client comes, and none is forgotten, however old it is.

use serde::Serialize;
use utoipa::ToSchema;
use wasmyard_guest::auth;
use wasmyard_guest::postgres::{self, Isolation, Statement, Transaction};
use wasmyard_guest::{
    Field, FormProblems, Problem, Request, Response, RowError, SqlError, Value, execute, problems,
};

use crate::account::Account;
use crate::password::{Password, busy};

/// Characters of a refresh token that are looked at; one has 87.
const TOKEN_LENGTH_MAX: usize = 128;
/// What stands between a token's family and the rest of it.
const FAMILY_END: char = '.';
/// Sessions that are over and that a login deletes: one more begins with it, so that in the
/// long run more go than come.
const SWEEP_MAX: i32 = 10;
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
    let token = RefreshToken::of_new_family();
    let make_room = "DELETE FROM sessions WHERE user_id = $1 AND id NOT IN (
             SELECT id FROM sessions WHERE user_id = $1 AND revoked_at IS NULL AND expires_at >= now()
             ORDER BY id DESC LIMIT $2
         )";
    // What another login deletes at this moment is left to it.
    let sweep = "DELETE FROM sessions WHERE id = ANY (ARRAY(
             SELECT id FROM sessions WHERE expires_at < now() ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED
         ))";
    let begin = "WITH session AS (
             INSERT INTO sessions (user_id, family, expires_at) VALUES ($1, $2, now() + interval '30 days')
             RETURNING id, expires_at
         )
         INSERT INTO refresh_tokens (digest, session_id, expires_at) SELECT $3, id, expires_at FROM session";
    let statements = [
        statement(make_room, vec![account.id.into(), (SESSIONS_MAX - 1).into()]),
        statement(sweep, vec![SWEEP_MAX.into()]),
        statement(begin, vec![account.id.into(), token.family(), token.digest()]),
    ];
    postgres::batch(&statements).map_err(SqlError::from)?;
    granted(account.id, &account.role, token)
}

/// A refresh token.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
struct Refresh {
    #[schema(
        min_length = 1,
        max_length = 128,
        example = "vJ5oR2l1dX0mYt8kq3Zb7cN4wHs6eQfGaLpTiUxEoKw.0cQe7gYt2mWb1xVs9LkRz4oHj6DfNpUa3EiTyX8CqBM"
    )]
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
    let token = RefreshToken::read(request)?;
    let transaction = postgres::begin(Isolation::ReadCommitted).map_err(SqlError::from)?;
    let Some(old) = Stored::locked(&transaction, &token)? else {
        // Used, or made up; who made it up knows no family.
        if token.has_family() {
            let revoke = "UPDATE sessions SET revoked_at = now() WHERE family = $1 AND revoked_at IS NULL";
            transaction.execute(revoke, &[token.family()]).map_err(SqlError::from)?;
            transaction.commit().map_err(SqlError::from)?;
        }
        return Err(refused());
    };
    if old.is_over {
        return Err(refused());
    }
    if old.is_used {
        let revoke = "UPDATE sessions SET revoked_at = now() WHERE id = $1";
        transaction.execute(revoke, &[old.session.into()]).map_err(SqlError::from)?;
        transaction.commit().map_err(SqlError::from)?;
        return Err(refused());
    }

    let next = token.successor();
    // A token from before families is kept until it expires: nothing else tells that it was used.
    let used = match token.has_family() {
        true => "DELETE FROM refresh_tokens WHERE digest = $1",
        false => "UPDATE refresh_tokens SET used_at = now() WHERE digest = $1",
    };
    for (sql, params) in [
        (used, vec![token.digest()]),
        (
            "DELETE FROM refresh_tokens WHERE session_id = $1 AND expires_at < now()",
            vec![old.session.into()],
        ),
        (
            "WITH session AS (
                 UPDATE sessions SET family = $2, expires_at = now() + interval '30 days' WHERE id = $1
                 RETURNING id, expires_at
             )
             INSERT INTO refresh_tokens (digest, session_id, expires_at) SELECT $3, id, expires_at FROM session",
            vec![old.session.into(), next.family(), next.digest()],
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
    let token = RefreshToken::read(request)?;
    execute(
        "UPDATE sessions SET revoked_at = now() WHERE revoked_at IS NULL
         AND (family = $1 OR id = (SELECT session_id FROM refresh_tokens WHERE digest = $2))",
        &[token.family(), token.digest()],
    )?;
    Ok(Response { status: 204, headers: Vec::new(), body: Vec::new() })
}

/// A refresh token as its client has it.
struct RefreshToken(String);

impl RefreshToken {
    /// The first one of a session.
    fn of_new_family() -> Self {
        Self::of(&auth::new_opaque_token().token)
    }

    /// Another one of a family.
    fn of(family: &str) -> Self {
        Self(format!("{family}{FAMILY_END}{}", auth::new_opaque_token().token))
    }

    fn read(request: &Request) -> Result<Self, Problem> {
        let mut form = request.form(&["refresh_token"])?;
        let token = form.required("refresh_token", |field: Field<'_>| field.secret(1..=TOKEN_LENGTH_MAX));
        let refresh = form.finish(token.map(|refresh_token| Refresh { refresh_token }))?;
        Ok(Self(refresh.refresh_token))
    }

    /// The next one of its family; of a new one, if it is from before there were families.
    fn successor(&self) -> Self {
        self.0.split_once(FAMILY_END).map_or_else(Self::of_new_family, |(family, _)| Self::of(family))
    }

    fn has_family(&self) -> bool {
        self.0.contains(FAMILY_END)
    }

    /// What is stored of it.
    fn digest(&self) -> Value {
        Value::Bytes(auth::digest(&self.0))
    }

    /// What is stored of its family; without one, what no session has.
    fn family(&self) -> Value {
        Value::Bytes(auth::digest(self.0.split_once(FAMILY_END).map_or("", |(family, _)| family)))
    }
}

/// A refresh token as it is stored, with what its session is about.
struct Stored {
    session: i64,
    user_id: i32,
    role: String,
    is_used: bool,
    is_over: bool,
}

impl Stored {
    /// What is stored of this one; nobody else can use it until the transaction ends.
    fn locked(transaction: &Transaction, token: &RefreshToken) -> Result<Option<Self>, Problem> {
        let sql = "SELECT sessions.id AS session, accounts.user_id, accounts.role,
                          refresh_tokens.used_at IS NOT NULL AS is_used,
                          sessions.revoked_at IS NOT NULL OR refresh_tokens.expires_at < now() AS is_over
                   FROM refresh_tokens
                   JOIN sessions ON sessions.id = refresh_tokens.session_id
                   JOIN accounts ON accounts.user_id = sessions.user_id
                   WHERE refresh_tokens.digest = $1 FOR UPDATE OF refresh_tokens, sessions";
        let found = transaction.query(sql, &[token.digest()]).map_err(SqlError::from)?;
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

fn granted(user_id: i32, role: &str, refresh: RefreshToken) -> Result<Response, Problem> {
    let access = auth::issue_access_token(&user_id.to_string(), role);
    let granted = Granted {
        access_token: access.token,
        token_type: "Bearer",
        expires_in: access.expires_in_s,
        refresh_token: refresh.0,
    };
    Ok(Response::json(200, &granted)?.with_header("cache-control", "no-store"))
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
