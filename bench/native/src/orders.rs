//! `/api/v1/orders`.

use std::time::Duration;

use orders::create::{INSERT, NewOrder};
use orders::order::Order;
use tokio_postgres::Row;
use wasmyard_guest::{Form, OnConstraint as _, Page, Problem, Query, id};

use crate::answer::Answer;
use crate::route::Head;
use crate::row::{Amount, Time};
use crate::shop::{Kept, Listed, Shop, inserted};
use crate::{products, users};

const ITEM_TTL: Duration = Duration::from_secs(300);

pub(crate) const PATH: &str = "/api/v1/orders";
const LIST_KEY: &str = "orders:all";
const LIST: Kept<'static> = Kept { key: LIST_KEY, ttl: Duration::from_secs(60), empty: true };
const LISTED: Listed<'static> = Listed { path: PATH, filters: &[] };

pub(crate) async fn list(shop: &Shop, head: &Head<'_>) -> Result<Answer, Problem> {
    let page = Page::of(&Query::parse(head.query)?)?;
    let read = async || {
        let sql = "SELECT id, user_id, product_id, quantity, total_price, status, created_at
                   FROM orders WHERE id > $1 ORDER BY id LIMIT $2";
        let rows = shop.database.query(sql, &[&page.after(), &page.rows()]).await?;
        page.write(rows.iter().map(order).collect::<Result<Vec<_>, _>>()?)
    };
    shop.page(head, &page, &LIST, &LISTED, read).await
}

pub(crate) async fn item(shop: &Shop, head: &Head<'_>, text: &str) -> Result<Answer, Problem> {
    let id = id("order", text)?;
    let read = async || {
        let sql = "SELECT id, user_id, product_id, quantity, total_price, status, created_at
                   FROM orders WHERE id = $1";
        let rows = shop.database.query(sql, &[&id]).await?;
        let row = rows.first().ok_or_else(|| Problem::no_such("order", id))?;
        json(&order(row)?)
    };
    let (body, outcome) = shop
        .cached(head.refuses_cache, &Kept { key: &item_key(id), ttl: ITEM_TTL, empty: true }, read)
        .await?;
    Ok(Answer::json(body).cached(outcome))
}

/// The user may come from the cache; the price is the database's own, as the component
/// wants it. The two do not depend on each other, and are read at once.
pub(crate) async fn create(shop: &Shop, head: &Head<'_>, body: &[u8]) -> Result<Answer, Problem> {
    let form = Form::declared(head.content_type, body, NewOrder::FIELDS)?;
    let wanted = NewOrder::of(form)?;
    let (user, price) =
        tokio::join!(users::read(shop, false, wanted.user_id), products::price(shop, wanted.product_id));
    let user_exists = match user {
        Ok(_) => true,
        Err(problem) if problem.status() == 404 => false,
        Err(problem) => return Err(problem),
    };
    let total = wanted.total(user_exists, price?)?;
    let written = shop
        .write(
            INSERT,
            &[
                &wanted.user_id,
                &wanted.product_id,
                &wanted.quantity,
                &total.decimal(),
                &None::<&str>,
                &None::<&str>,
            ],
            LIST_KEY,
        )
        .await
        .on_constraint("orders_user_id_fkey", || Problem::unprocessable(vec![wanted.no_user()]))
        .on_constraint("orders_product_id_fkey", || Problem::unprocessable(vec![wanted.no_product()]))?;
    let order = order(&inserted(written)?)?;
    shop.cache.invalidate(&[LIST_KEY.to_owned(), item_key(order.id)]).await;
    Ok(Answer::created(format!("{PATH}/{}", order.id), json(&order)?))
}

fn order(row: &Row) -> Result<Order, Problem> {
    let read = || {
        let (id, user_id, product_id, quantity) =
            (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
        let Amount(total_price) = row.try_get(4)?;
        let status = row.try_get(5)?;
        let Time(created_at) = row.try_get(6)?;
        Ok::<_, tokio_postgres::Error>(Order {
            id,
            user_id,
            product_id,
            quantity,
            total_price,
            status,
            created_at,
        })
    };
    read().map_err(|error| Problem::internal(error.to_string()))
}

fn json(order: &Order) -> Result<Vec<u8>, Problem> {
    serde_json::to_vec(order).map_err(|error| Problem::internal(error.to_string()))
}

fn item_key(id: i32) -> String {
    format!("orders:{id}")
}
