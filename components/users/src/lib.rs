//! The shop's users service.

mod account;
mod email;
pub mod password;
mod session;
pub mod user;

use std::time::Duration;

use user::{NewUser, User};
use utoipa::OpenApi;
use wasmyard_guest::{
    AlsoAt, DESCRIPTION_PATH, FormProblems, Freshness, Guest, Health, OnConstraint, Page, Problem,
    QueryProblems, Request, Response, Statistics, cached, describe, invalidate, problems, query, write,
};

/// The list changes with every new user, and a change in `psql` should show soon.
const LIST_TTL: Duration = Duration::from_secs(60);
/// A user hardly ever changes.
const ITEM_TTL: Duration = Duration::from_secs(300);

/// The list's path; an item's follows it.
const PATH: &str = "/api/v1/users";
/// The list's key in the cache.
const LIST_KEY: &str = "users:all";

#[derive(OpenApi)]
#[openapi(
    info(title = "Users", description = "Users of the shop, and their logins."),
    paths(list, create, item, session::login, session::refresh, session::logout, account::me, stats, health),
    modifiers(&ALSO_AT)
)]
struct Description;

/// At the service's own port, beside the paths that all services share.
const ALSO_AT: AlsoAt =
    AlsoAt(&[("/api/v1/users/stats", "/api/v1/stats"), ("/api/v1/users/health", "/health")]);

struct Users;

wasmyard_guest::export!(Users);

impl Guest for Users {
    fn handle(request: &Request) -> Result<Response, Problem> {
        match (request.method.as_str(), request.route.as_str()) {
            ("GET", PATH) => list(request),
            ("POST", PATH) => create(request),
            ("GET", "/api/v1/users/{id}") => item(request),
            ("POST", "/api/v1/auth/login") => session::login(request),
            ("POST", "/api/v1/auth/refresh") => session::refresh(request),
            ("POST", "/api/v1/auth/logout") => session::logout(request),
            ("GET", "/api/v1/auth/me") => account::me(request),
            ("GET", "/api/v1/users/stats" | "/api/v1/stats") => stats(),
            ("GET", "/api/v1/users/health" | "/health") => health(),
            ("GET", DESCRIPTION_PATH) => describe::<Description>(),
            _ => Err(Problem::no_route()),
        }
    }
}

/// Lists users, in the order of their ids.
#[utoipa::path(get, path = PATH, params(Page, Freshness), responses(
    (status = 200, description = "A page of users.", body = [User], headers(
        ("Link" = String, description = "The next page (RFC 8288), if there is one."),
        ("Cache-Status" = String, description = "What the cache had to do with it (RFC 9211)."),
    )),
    QueryProblems,
))]
fn list(request: &Request) -> Result<Response, Problem> {
    let page = Page::of(&request.query()?)?;
    let response = page.cached(request, LIST_KEY, LIST_TTL, || {
        let users = query(
            "SELECT id, username, email, created_at FROM users WHERE id > $1 ORDER BY id LIMIT $2",
            &[page.after().into(), page.rows().into()],
        )?;
        Ok(users.all(User::from_row)?)
    })?;
    Ok(page.link(response, PATH, &[]))
}

problems! { NoSuchUser: Problem::no_such("user", 9999) }

/// Shows a user.
#[utoipa::path(get, path = "/api/v1/users/{id}", params(
    ("id" = i32, Path, description = "The user's key.", minimum = 1, example = 1),
    Freshness,
), responses(
    (status = 200, description = "The user.", body = User, headers(
        ("Cache-Status" = String, description = "What the cache had to do with it (RFC 9211)."),
    )),
    NoSuchUser,
))]
fn item(request: &Request) -> Result<Response, Problem> {
    let id = request.id("user")?;
    cached(request, &item_key(id), ITEM_TTL, || {
        let users = query("SELECT id, username, email, created_at FROM users WHERE id = $1", &[id.into()])?;
        let user = users.first(User::from_row)?.ok_or_else(|| Problem::no_such("user", id))?;
        Ok(Response::json(200, &user)?.body)
    })
}

problems! { Taken: username_taken("alice"), email_taken("alice@example.com") }

/// Makes a user.
#[utoipa::path(post, path = PATH, request_body = NewUser, responses(
    (status = 201, description = "The user that was made.", body = User, headers(
        ("Location" = String, description = "Where the user is."),
    )),
    FormProblems,
    Taken,
))]
fn create(request: &Request) -> Result<Response, Problem> {
    let NewUser { username, email, password } = NewUser::read(request)?;
    if password.is_some() {
        check_free(&username, &email)?;
    }
    let (name, address, keys) = (username.as_str().into(), email.as_str().into(), [LIST_KEY.to_owned()]);
    let written = match password {
        None => write(
            "INSERT INTO users (username, email) VALUES ($1, $2) RETURNING id, username, email, created_at",
            &[name, address],
            &keys,
        ),
        Some(password) => write(
            "WITH made AS (
                 INSERT INTO users (username, email) VALUES ($1, $2) RETURNING id, username, email, created_at
             ), account AS (
                 INSERT INTO accounts (user_id, password_hash) SELECT id, $3 FROM made
             )
             SELECT id, username, email, created_at FROM made",
            &[name, address, password.hash()?.into()],
            &keys,
        ),
    };
    let users = written
        .on_constraint("users_username_key", || username_taken(&username))
        .on_constraint("users_email_key", || email_taken(&email))?;
    let user = users.first(User::from_row)?.ok_or_else(|| Problem::internal("INSERT returned no row"))?;
    invalidate(&[LIST_KEY.to_owned(), item_key(user.id)]);
    Response::created(&format!("{PATH}/{}", user.id), &user)
}

/// A password costs more to hash than anything else a request can ask for: not for a user who
/// cannot be made. Who takes the name in between is met by the constraints.
fn check_free(username: &str, email: &str) -> Result<(), Problem> {
    let found = query(
        "SELECT username = $1 AS is_name FROM users WHERE username = $1 OR email = $2 ORDER BY is_name DESC LIMIT 1",
        &[username.into(), email.into()],
    )?;
    match found.first(|row| row.get("is_name"))? {
        None => Ok(()),
        Some(true) => Err(username_taken(username)),
        Some(false) => Err(email_taken(email)),
    }
}

fn username_taken(username: &str) -> Problem {
    Problem::conflicting_field("username", format!("duplicate username: {username} is taken"))
}

fn email_taken(email: &str) -> Problem {
    Problem::conflicting_field("email", format!("duplicate email: {email} is taken"))
}

/// Tells what the service has done since its host started.
#[utoipa::path(get, path = "/api/v1/users/stats", responses(
    (status = 200, description = "Its numbers.", body = Statistics),
))]
fn stats() -> Result<Response, Problem> {
    wasmyard_guest::statistics("SELECT count(*) AS count FROM users")
}

/// Tells whether the service can do its work.
#[utoipa::path(get, path = "/api/v1/users/health", responses(
    (status = 200, description = "It serves; without Redis it is `degraded`.", body = Health),
    (status = 503, description = "It cannot serve.", body = Health),
))]
fn health() -> Result<Response, Problem> {
    wasmyard_guest::health()
}

fn item_key(id: i32) -> String {
    format!("users:{id}")
}
