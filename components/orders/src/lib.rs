//! The shop's orders service.

mod create;
mod event;
mod history;
mod idempotency;
pub mod new_order;
pub mod order;
pub mod saga;
mod status;
mod workflow;

use std::time::Duration;

use order::Order;
use wasmyard_guest::{
    Guest, Object, Page, Problem, Request, Response, Sort, cached, health, query, statistics,
};

/// The list changes with every order and every step of one.
const LIST_TTL: Duration = Duration::from_secs(60);
/// Whoever changes an order through this service invalidates it; the time bounds
/// what a change in `psql` can leave behind.
const ITEM_TTL: Duration = Duration::from_secs(300);

/// The list's path; an item's follows it.
const PATH: &str = "/api/v1/orders";
/// The list's key in the cache.
const LIST_KEY: &str = "orders:all";

struct Orders;

wasmyard_guest::export!(Orders);
wasmyard_guest::export_background!(Orders);

impl Guest for Orders {
    fn handle(request: &Request) -> Result<Response, Problem> {
        match (request.method.as_str(), request.route.as_str()) {
            ("GET", PATH) => list(request),
            ("POST", PATH) => create::create(request),
            ("GET", "/api/v1/orders/{id}") => item(request),
            ("PATCH", "/api/v1/orders/{id}/status") => status::change(request),
            ("GET", "/api/v1/orders/{id}/history") => history::history(request),
            ("GET", "/api/v1/orders/stats" | "/api/v1/stats") => {
                statistics("SELECT count(*) AS count FROM orders")
            }
            ("GET", "/api/v1/orders/health" | "/health") => health(),
            _ => Err(Problem::no_route()),
        }
    }
}

fn list(request: &Request) -> Result<Response, Problem> {
    let page = Page::sorted(&request.query()?)?;
    // A customer's own orders are not cached: each customer's would take a place, and an
    // index finds them.
    let owner = request.caller()?.filter(|caller| !caller.is_admin).map(|caller| caller.id);
    let response = match owner {
        None => page.cached(request, LIST_KEY, LIST_TTL, || read(&page, None))?,
        Some(_) => Response::json_bytes(200, page.write(read(&page, owner)?)?),
    };
    Ok(page.link(response, PATH, &[]))
}

/// The orders of a page: somebody's own, or all.
fn read(page: &Page, owner: Option<i32>) -> Result<Vec<Order>, Problem> {
    let (range, end) = match page.sort() {
        Sort::Oldest => ("id > $1::int8 ORDER BY id", i64::from(page.after())),
        Sort::Newest => ("id < $1::int8 ORDER BY id DESC", page.before()),
    };
    let owned = if owner.is_some() { "user_id = $3 AND" } else { "" };
    let orders = format!("SELECT {} FROM orders WHERE {owned} {range} LIMIT $2", order_columns!());
    let mut params = vec![end.into(), page.rows().into()];
    params.extend(owner.map(Into::into));
    Ok(query(&orders, &params)?.all(Order::from_row)?)
}

/// An order. To somebody else's, the answer is that of one that nobody has made.
fn item(request: &Request) -> Result<Response, Problem> {
    let (id, caller) = (request.id("order")?, request.caller()?);
    let response = cached(request, &item_key(id), ITEM_TTL, || Ok(Response::json(200, &find(id)?)?.body))?;
    match caller {
        Some(caller) if !caller.may_see(owner(&response.body)?) => Err(Problem::no_such("order", id)),
        _ => Ok(response),
    }
}

/// Whose order it is, as the order itself says.
fn owner(order: &[u8]) -> Result<i32, Problem> {
    let owner = Object::parse(order).ok().and_then(|order| order.field("user_id"));
    let owner = owner.and_then(|field| field.integer(1..=i32::MAX).ok());
    owner.ok_or_else(|| Problem::internal("an order without a user_id"))
}

/// The order as the database has it.
fn find(id: i32) -> Result<Order, Problem> {
    let orders = query(concat!("SELECT ", order_columns!(), " FROM orders WHERE id = $1"), &[id.into()])?;
    orders.first(Order::from_row)?.ok_or_else(|| Problem::no_such("order", id))
}

fn item_key(id: i32) -> String {
    format!("orders:{id}")
}
