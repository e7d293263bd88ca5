//! What the service knows of somebody who logs in.

use serde::Serialize;
use utoipa::ToSchema;
use wasmyard_guest::{Problem, Request, Response, Row, RowError, problems, query};

/// Whose password is to be verified.
pub(crate) struct Account {
    /// Their key.
    pub(crate) id: i32,
    /// What they may do: `customer` or `admin`.
    pub(crate) role: String,
    /// The hash of their password.
    pub(crate) password_hash: String,
}

impl Account {
    /// The account of this name.
    pub(crate) fn named(username: &str) -> Result<Option<Self>, Problem> {
        let found = query(
            "SELECT accounts.user_id, accounts.role, accounts.password_hash
             FROM accounts JOIN users ON users.id = accounts.user_id WHERE users.username = $1",
            &[username.into()],
        )?;
        Ok(found.first(|row| {
            Ok::<_, RowError>(Self {
                id: row.get("user_id")?,
                role: row.get("role")?,
                password_hash: row.get("password_hash")?,
            })
        })?)
    }
}

/// The caller as they see themselves.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
struct Me {
    #[schema(minimum = 1, example = 1)]
    id: i32,
    #[schema(example = "alice")]
    username: String,
    #[schema(format = Email, example = "alice@example.com")]
    email: String,
    /// `customer` or `admin`.
    #[schema(example = "customer")]
    role: String,
}

/// Tells who is logged in.
#[utoipa::path(get, path = "/api/v1/auth/me", tag = "auth", responses(
    (status = 200, description = "The token's user.", body = Me),
    Gone,
))]
pub(crate) fn me(request: &Request) -> Result<Response, Problem> {
    let caller = request.caller()?.ok_or_else(gone)?;
    let found = query(
        "SELECT users.id, users.username, users.email, accounts.role
         FROM users JOIN accounts ON accounts.user_id = users.id WHERE users.id = $1",
        &[caller.id.into()],
    )?;
    let me = found.first(Me::from_row)?.ok_or_else(gone)?;
    Ok(Response::json(200, &me)?.with_header("cache-control", "no-store"))
}

fn gone() -> Problem {
    Problem::unauthorized("The token's user is not there any more.")
}

problems! { Gone: gone() }

impl Me {
    fn from_row(row: Row<'_>) -> Result<Self, RowError> {
        Ok(Self {
            id: row.get("id")?,
            username: row.get("username")?,
            email: row.get("email")?,
            role: row.get("role")?,
        })
    }
}
