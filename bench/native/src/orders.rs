//! `/api/v1/orders`.

use std::time::Duration;

use orders::new_order::NewOrder;
use orders::order::{Order, lines};
use orders::order_columns;
use orders::saga::{BEGIN, END, WRITE};
use tokio_postgres::Row;
use wasmyard_guest::{Form, OnConstraint as _, Page, Problem, Query, Timestamp, id};

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
/// As the component has it by default: the time of a request and a second more.
const SAGA_TIME_MS: i32 = 6_000;

pub(crate) async fn list(shop: &Shop, head: &Head<'_>) -> Result<Answer, Problem> {
    let page = Page::of(&Query::parse(head.query)?)?;
    let read = async || {
        let sql = concat!("SELECT ", order_columns!(), " FROM orders WHERE id > $1 ORDER BY id LIMIT $2");
        let rows = shop.database.query(sql, &[&page.after(), &page.rows()]).await?;
        page.write(rows.iter().map(order).collect::<Result<Vec<_>, _>>()?)
    };
    shop.page(head, &page, &LIST, &LISTED, read).await
}

pub(crate) async fn item(shop: &Shop, head: &Head<'_>, text: &str) -> Result<Answer, Problem> {
    let id = id("order", text)?;
    let read = async || {
        let sql = concat!("SELECT ", order_columns!(), " FROM orders WHERE id = $1");
        let rows = shop.database.query(sql, &[&id]).await?;
        let row = rows.first().ok_or_else(|| Problem::no_such("order", id))?;
        json(&order(row)?)
    };
    let (body, outcome) = shop
        .cached(head.refuses_cache, &Kept { key: &item_key(id), ttl: ITEM_TTL, empty: true }, read)
        .await?;
    Ok(Answer::json(body).cached(outcome))
}

/// The user may come from the cache; the prices are the database's own, as the component
/// wants them. The two do not depend on each other, and are read at once.
///
/// The same steps as the component's saga, each in a transaction of its own: begin, reserve,
/// write, confirm, end. What is not here is who would go on after a crash, and
/// `Idempotency-Key`.
pub(crate) async fn create(shop: &Shop, head: &Head<'_>, body: &[u8]) -> Result<Answer, Problem> {
    let form = Form::declared(head.content_type, body, NewOrder::FIELDS)?;
    let wanted = NewOrder::of(form)?;
    let prices = async {
        let mut prices = Vec::with_capacity(wanted.lines.len());
        for line in &wanted.lines {
            prices.push(products::price(shop, line.product_id).await?);
        }
        Ok::<_, Problem>(prices)
    };
    let (user, prices) = tokio::join!(users::read(shop, false, wanted.user_id), prices);
    let user_exists = match user {
        Ok(_) => true,
        Err(problem) if problem.status() == 404 => false,
        Err(problem) => return Err(problem),
    };
    let total_price = wanted.total(user_exists, &prices?)?;

    let begun = shop.database.query(BEGIN, &[&SAGA_TIME_MS]).await?;
    let (id, created_at) =
        begun.first().map_or_else(|| Err(Problem::internal("INSERT returned no row")), begin)?;
    products::reserve(shop, id, &wanted.lines).await?;
    let single = wanted.single();
    let order = Order {
        id,
        user_id: wanted.user_id,
        product_id: single.map(|line| line.product_id),
        quantity: single.map(|line| line.quantity),
        total_price,
        status: "pending".to_owned(),
        created_at,
        items: single.is_none().then(|| wanted.lines.clone()),
    };
    let answer = json(&order)?;
    write(shop, &wanted, &order, &answer).await?;
    shop.cache.invalidate(&[LIST_KEY.to_owned(), item_key(id)]).await;
    products::confirm(shop, id).await?;
    shop.database.query(END, &[&id]).await?;
    Ok(Answer::created(format!("{PATH}/{id}"), answer))
}

async fn write(shop: &Shop, wanted: &NewOrder, order: &Order, answer: &[u8]) -> Result<(), Problem> {
    let (products, quantities): (Vec<i32>, Vec<i32>) =
        order.items.iter().flatten().map(|line| (line.product_id, line.quantity)).unzip();
    let written = shop
        .write(
            WRITE,
            &[
                &order.id,
                &order.user_id,
                &order.product_id,
                &order.quantity,
                &order.total_price.decimal(),
                &Time(order.created_at),
                &products,
                &quantities,
                &None::<&str>,
                &std::str::from_utf8(answer).ok(),
                &None::<&str>,
                &SAGA_TIME_MS,
            ],
            LIST_KEY,
        )
        .await
        .on_constraint("orders_user_id_fkey", || Problem::unprocessable(vec![wanted.no_user()]))
        .on_constraint("orders_product_id_fkey", || Problem::unprocessable(vec![wanted.no_product(0)]))?;
    inserted(written).map(|_| ())
}

fn begin(row: &Row) -> Result<(i32, Timestamp), Problem> {
    let id = row.try_get(0).map_err(|error| unreadable(&error))?;
    let Time(started_at) = row.try_get(1).map_err(|error| unreadable(&error))?;
    Ok((id, started_at))
}

fn order(row: &Row) -> Result<Order, Problem> {
    let read = || {
        let (id, user_id, product_id, quantity) =
            (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
        let Amount(total_price) = row.try_get(4)?;
        let status = row.try_get(5)?;
        let Time(created_at) = row.try_get(6)?;
        let items: Option<&str> = row.try_get(7)?;
        Ok::<_, tokio_postgres::Error>(Order {
            id,
            user_id,
            product_id,
            quantity,
            total_price,
            status,
            created_at,
            items: items.and_then(lines),
        })
    };
    read().map_err(|error| unreadable(&error))
}

fn json(order: &Order) -> Result<Vec<u8>, Problem> {
    serde_json::to_vec(order).map_err(|error| unreadable(&error))
}

fn item_key(id: i32) -> String {
    format!("orders:{id}")
}

fn unreadable(error: &impl ToString) -> Problem {
    Problem::internal(error.to_string())
}
