//! `/api/v1/products`.

use std::time::Duration;

use orders::order::Line;
use products::category::Category;
use products::product::{NewProduct, Product};
use products::reservation::{CONFIRM, LOCK, RESERVE};
use tokio_postgres::Row;
use wasmyard_guest::{Form, Money, Page, Problem, Query, id};

use crate::answer::Answer;
use crate::route::Head;
use crate::row::{Amount, Time};
use crate::shop::{Kept, Listed, Shop, inserted};

const ITEM_TTL: Duration = Duration::from_secs(300);

pub(crate) const PATH: &str = "/api/v1/products";
const LIST_KEY: &str = "products:all";
const LIST: Kept<'static> = Kept { key: LIST_KEY, ttl: Duration::from_secs(60), empty: true };
const LISTED: Listed<'static> = Listed { path: PATH, filters: &[] };

pub(crate) async fn list(shop: &Shop, head: &Head<'_>) -> Result<Answer, Problem> {
    let parameters = Query::parse(head.query)?;
    let page = Page::of(&parameters)?;
    let Some(name) = parameters.get("category").filter(|name| !name.is_empty()) else {
        let read = async || {
            let sql = "SELECT id, name, description, price, stock, category, created_at
                       FROM products WHERE id > $1 ORDER BY id LIMIT $2";
            let rows = shop.database.query(sql, &[&page.after(), &page.rows()]).await?;
            page.write(rows.iter().map(product).collect::<Result<Vec<_>, _>>()?)
        };
        return shop.page(head, &page, &LIST, &LISTED, read).await;
    };
    let Some(category) = Category::named(name) else { return Ok(Answer::json("[]")) };
    let read = async || {
        let sql = "SELECT id, name, description, price, stock, category, created_at
                   FROM products WHERE lower(category) = $1 AND id > $2 ORDER BY id LIMIT $3";
        let rows = shop.database.query(sql, &[&category.folded(), &page.after(), &page.rows()]).await?;
        page.write(rows.iter().map(product).collect::<Result<Vec<_>, _>>()?)
    };
    let kept = Kept { key: &category.key(), ttl: LIST.ttl, empty: false };
    let listed = Listed { path: PATH, filters: &[("category", name)] };
    shop.page(head, &page, &kept, &listed, read).await
}

pub(crate) async fn item(shop: &Shop, head: &Head<'_>, text: &str) -> Result<Answer, Problem> {
    let id = id("product", text)?;
    let read = async || {
        let sql = "SELECT id, name, description, price, stock, category, created_at
                   FROM products WHERE id = $1";
        let rows = shop.database.query(sql, &[&id]).await?;
        let row = rows.first().ok_or_else(|| Problem::no_such("product", id))?;
        json(&product(row)?)
    };
    let (body, outcome) = shop
        .cached(head.refuses_cache, &Kept { key: &item_key(id), ttl: ITEM_TTL, empty: true }, read)
        .await?;
    Ok(Answer::json(body).cached(outcome))
}

/// A product's price as the database has it at this moment; `None` without the product.
pub(crate) async fn price(shop: &Shop, id: i32) -> Result<Option<Money>, Problem> {
    let rows = shop.database.query("SELECT price FROM products WHERE id = $1", &[&id]).await?;
    let price = rows.first().map(|row| row.try_get::<_, Amount>(0)).transpose();
    Ok(price.map_err(|error| Problem::internal(error.to_string()))?.map(|Amount(price)| price))
}

/// Takes an order's stock, as the component does. A shortage is the client's to know.
pub(crate) async fn reserve(shop: &Shop, order: i32, lines: &[Line]) -> Result<(), Problem> {
    let (ids, quantities): (Vec<i32>, Vec<i32>) =
        lines.iter().map(|line| (line.product_id, line.quantity)).unzip();
    let rows = shop.database.in_turn((LOCK, &[&ids]), (RESERVE, &[&order, &ids, &quantities])).await?;
    let taken = rows.first().is_some_and(|row| row.try_get(3).unwrap_or(false));
    if !taken {
        return Err(Problem::conflict("There is not enough stock."));
    }
    let changed = |row: &Row| {
        let category = row.try_get::<_, Option<&str>>(2)?.and_then(Category::named);
        let keys = [Some(item_key(row.try_get(0)?)), category.map(|category| category.key())];
        Ok::<_, tokio_postgres::Error>(keys.into_iter().flatten())
    };
    let changed: Result<Vec<_>, _> = rows.iter().map(changed).collect();
    let changed = changed.map_err(|error| Problem::internal(error.to_string()))?;
    let keys: Vec<_> = changed.into_iter().flatten().chain([LIST_KEY.to_owned()]).collect();
    shop.cache.invalidate(&keys).await;
    Ok(())
}

/// Makes it sold.
pub(crate) async fn confirm(shop: &Shop, order: i32) -> Result<(), Problem> {
    shop.database.query(CONFIRM, &[&order]).await?;
    Ok(())
}

pub(crate) async fn create(shop: &Shop, head: &Head<'_>, body: &[u8]) -> Result<Answer, Problem> {
    let form = Form::declared(head.content_type, body, NewProduct::FIELDS)?;
    let NewProduct { name, description, price, stock, category } = NewProduct::of(form)?;
    let row = shop
        .write(
            "INSERT INTO products (name, description, price, stock, category) VALUES ($1, $2, $3, $4, $5)
             RETURNING id, name, description, price, stock, category, created_at, lower(category)",
            &[&name, &description, &price.decimal(), &stock, &category],
            LIST_KEY,
        )
        .await?;
    let row = inserted(row)?;
    let product = product(&row)?;
    let folded: Option<String> = row.try_get(7).map_err(|error| Problem::internal(error.to_string()))?;
    let category = folded.as_deref().and_then(Category::named).map(|category| category.key());
    let keys: Vec<_> = [LIST_KEY.to_owned(), item_key(product.id)].into_iter().chain(category).collect();
    shop.cache.invalidate(&keys).await;
    Ok(Answer::created(format!("{PATH}/{}", product.id), json(&product)?))
}

fn product(row: &Row) -> Result<Product, Problem> {
    let read = || {
        let (id, name, description) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let Amount(price) = row.try_get(3)?;
        let (stock, category) = (row.try_get(4)?, row.try_get(5)?);
        let Time(created_at) = row.try_get(6)?;
        Ok::<_, tokio_postgres::Error>(Product { id, name, description, price, stock, category, created_at })
    };
    read().map_err(|error| Problem::internal(error.to_string()))
}

fn json(product: &Product) -> Result<Vec<u8>, Problem> {
    serde_json::to_vec(product).map_err(|error| Problem::internal(error.to_string()))
}

fn item_key(id: i32) -> String {
    format!("products:{id}")
}
