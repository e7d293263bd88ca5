//! `/api/v1/users`.

use std::time::Duration;

use tokio_postgres::Row;
use users::user::{NewUser, User};
use wasmyard_guest::{Form, OnConstraint as _, Page, Problem, Query, id};

use crate::answer::Answer;
use crate::cache::Outcome;
use crate::route::Head;
use crate::row::Time;
use crate::shop::{Kept, Listed, Shop, inserted};

const ITEM_TTL: Duration = Duration::from_secs(300);

pub(crate) const PATH: &str = "/api/v1/users";
const LIST_KEY: &str = "users:all";
const LIST: Kept<'static> = Kept { key: LIST_KEY, ttl: Duration::from_secs(60), empty: true };
const LISTED: Listed<'static> = Listed { path: PATH, filters: &[] };

pub(crate) async fn list(shop: &Shop, head: &Head<'_>) -> Result<Answer, Problem> {
    let page = Page::of(&Query::parse(head.query)?)?;
    let read = async || {
        let rows = shop
            .database
            .query(
                "SELECT id, username, email, created_at FROM users WHERE id > $1 ORDER BY id LIMIT $2",
                &[&page.after(), &page.rows()],
            )
            .await?;
        page.write(rows.iter().map(user).collect::<Result<Vec<_>, _>>()?)
    };
    shop.page(head, &page, &LIST, &LISTED, read).await
}

pub(crate) async fn item(shop: &Shop, head: &Head<'_>, text: &str) -> Result<Answer, Problem> {
    let id = id("user", text)?;
    let (body, outcome) = read(shop, head.refuses_cache, id).await?;
    Ok(Answer::json(body).cached(outcome))
}

/// A user's JSON, from the cache where it is.
pub(crate) async fn read(
    shop: &Shop,
    refuses_cache: bool,
    id: i32,
) -> Result<(bytes::Bytes, Outcome), Problem> {
    let read = async || {
        let sql = "SELECT id, username, email, created_at FROM users WHERE id = $1";
        let rows = shop.database.query(sql, &[&id]).await?;
        let row = rows.first().ok_or_else(|| Problem::no_such("user", id))?;
        json(&user(row)?)
    };
    shop.cached(refuses_cache, &Kept { key: &item_key(id), ttl: ITEM_TTL, empty: true }, read).await
}

pub(crate) async fn create(shop: &Shop, head: &Head<'_>, body: &[u8]) -> Result<Answer, Problem> {
    let form = Form::declared(head.content_type, body, NewUser::FIELDS)?;
    let NewUser { username, email, .. } = NewUser::of(form)?;
    let written = shop
        .write(
            "INSERT INTO users (username, email) VALUES ($1, $2) RETURNING id, username, email, created_at",
            &[&username, &email],
            LIST_KEY,
        )
        .await
        .on_constraint("users_username_key", || {
            Problem::conflicting_field("username", format!("duplicate username: {username} is taken"))
        })
        .on_constraint("users_email_key", || {
            Problem::conflicting_field("email", format!("duplicate email: {email} is taken"))
        })?;
    let user = user(&inserted(written)?)?;
    shop.cache.invalidate(&[LIST_KEY.to_owned(), item_key(user.id)]).await;
    Ok(Answer::created(format!("{PATH}/{}", user.id), json(&user)?))
}

fn user(row: &Row) -> Result<User, Problem> {
    let read = || {
        let (id, username, email) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let Time(created_at) = row.try_get(3)?;
        Ok::<_, tokio_postgres::Error>(User { id, username, email, created_at })
    };
    read().map_err(|error| Problem::internal(error.to_string()))
}

fn json(user: &User) -> Result<Vec<u8>, Problem> {
    serde_json::to_vec(user).map_err(|error| Problem::internal(error.to_string()))
}

fn item_key(id: i32) -> String {
    format!("users:{id}")
}
