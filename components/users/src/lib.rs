//! The shop's users service.

mod account;
mod email;
pub mod password;
mod session;
pub mod user;

use std::time::Duration;

use user::{NewUser, User};
use wasmyard_guest::{
    Guest, OnConstraint, Page, Problem, Request, Response, cached, health, invalidate, query, statistics,
    write,
};

/// The list changes with every new user, and a change in `psql` should show soon.
const LIST_TTL: Duration = Duration::from_secs(60);
/// A user hardly ever changes.
const ITEM_TTL: Duration = Duration::from_secs(300);

/// The list's path; an item's follows it.
const PATH: &str = "/api/v1/users";
/// The list's key in the cache.
const LIST_KEY: &str = "users:all";

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
            ("GET", "/api/v1/users/stats" | "/api/v1/stats") => {
                statistics("SELECT count(*) AS count FROM users")
            }
            ("GET", "/api/v1/users/health" | "/health") => health(),
            _ => Err(Problem::no_route()),
        }
    }
}

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

fn item(request: &Request) -> Result<Response, Problem> {
    let id = request.id("user")?;
    cached(request, &item_key(id), ITEM_TTL, || {
        let users = query("SELECT id, username, email, created_at FROM users WHERE id = $1", &[id.into()])?;
        let user = users.first(User::from_row)?.ok_or_else(|| Problem::no_such("user", id))?;
        Ok(Response::json(200, &user)?.body)
    })
}

fn create(request: &Request) -> Result<Response, Problem> {
    let NewUser { username, email, password } = NewUser::read(request)?;
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
        .on_constraint("users_username_key", || {
            Problem::conflicting_field("username", format!("duplicate username: {username} is taken"))
        })
        .on_constraint("users_email_key", || {
            Problem::conflicting_field("email", format!("duplicate email: {email} is taken"))
        })?;
    let user = users.first(User::from_row)?.ok_or_else(|| Problem::internal("INSERT returned no row"))?;
    invalidate(&[LIST_KEY.to_owned(), item_key(user.id)]);
    Response::created(&format!("{PATH}/{}", user.id), &user)
}

fn item_key(id: i32) -> String {
    format!("users:{id}")
}
