//! The shop's orders service.

pub mod create;
mod history;
pub mod order;
mod returns;
mod status;
mod workflow;

use std::time::Duration;

use order::Order;
use wasmyard_guest::{Guest, Page, Problem, Request, Response, cached, health, query, statistics};

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
    let page = Page::of(&request.query()?)?;
    let response = page.cached(request, LIST_KEY, LIST_TTL, || {
        let orders = query(
            "SELECT id, user_id, product_id, quantity, total_price, status, created_at
             FROM orders WHERE id > $1 ORDER BY id LIMIT $2",
            &[page.after().into(), page.rows().into()],
        )?;
        Ok(orders.all(Order::from_row)?)
    })?;
    Ok(page.link(response, PATH, &[]))
}

fn item(request: &Request) -> Result<Response, Problem> {
    let id = request.id("order")?;
    cached(request, &item_key(id), ITEM_TTL, || Ok(Response::json(200, &find(id)?)?.body))
}

/// The order as the database has it.
fn find(id: i32) -> Result<Order, Problem> {
    let orders = query(
        "SELECT id, user_id, product_id, quantity, total_price, status, created_at FROM orders WHERE id = $1",
        &[id.into()],
    )?;
    orders.first(Order::from_row)?.ok_or_else(|| Problem::no_such("order", id))
}

fn item_key(id: i32) -> String {
    format!("orders:{id}")
}
