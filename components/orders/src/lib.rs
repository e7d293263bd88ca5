//! The shop's orders service.

pub mod create;
mod history;
pub mod order;
mod returns;
mod status;
mod workflow;

use std::time::Duration;

use order::Order;
use utoipa::OpenApi;
use wasmyard_guest::{
    AlsoAt, DESCRIPTION_PATH, Freshness, Guest, Health, Object, Page, Problem, QueryProblems, Request,
    Response, Statistics, cached, describe, problems, query,
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

#[derive(OpenApi)]
#[openapi(
    info(title = "Orders", description = "Orders, and the way that they take."),
    paths(list, create::create, item, status::change, history::history, stats, health),
    modifiers(&ALSO_AT)
)]
struct Description;

/// At the service's own port, beside the paths that all services share.
const ALSO_AT: AlsoAt =
    AlsoAt(&[("/api/v1/orders/stats", "/api/v1/stats"), ("/api/v1/orders/health", "/health")]);

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
            ("GET", "/api/v1/orders/stats" | "/api/v1/stats") => stats(),
            ("GET", "/api/v1/orders/health" | "/health") => health(),
            ("GET", DESCRIPTION_PATH) => describe::<Description>(),
            _ => Err(Problem::no_route()),
        }
    }
}

/// Lists orders, in the order of their ids.
///
/// A customer sees their own, an admin all.
#[utoipa::path(get, path = PATH, params(Page, Freshness), responses(
    (status = 200, description = "A page of orders.", body = [Order], headers(
        ("Link" = String, description = "The next page (RFC 8288), if there is one."),
        ("Cache-Status" = String, description = "What the cache had to do with it (RFC 9211)."),
    )),
    QueryProblems,
))]
fn list(request: &Request) -> Result<Response, Problem> {
    let page = Page::of(&request.query()?)?;
    if let Some(caller) = request.caller()?.filter(|caller| !caller.is_admin) {
        return own(&page, caller.id);
    }
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

/// A customer's own orders. They are not cached: each customer's would take a place, and
/// an index finds them.
fn own(page: &Page, user: i32) -> Result<Response, Problem> {
    let orders = query(
        "SELECT id, user_id, product_id, quantity, total_price, status, created_at
         FROM orders WHERE user_id = $1 AND id > $2 ORDER BY id LIMIT $3",
        &[user.into(), page.after().into(), page.rows().into()],
    )?;
    let response = Response::json_bytes(200, page.write(orders.all(Order::from_row)?)?);
    Ok(page.link(response, PATH, &[]))
}

problems! { pub(crate) NoSuchOrder: Problem::no_such("order", 9999) }

/// Shows an order.
///
/// A customer sees their own orders alone: somebody else's is answered like one that nobody
/// has made.
#[utoipa::path(get, path = "/api/v1/orders/{id}", params(
    ("id" = i32, Path, description = "The order's key.", minimum = 1, example = 1),
    Freshness,
), responses(
    (status = 200, description = "The order.", body = Order, headers(
        ("Cache-Status" = String, description = "What the cache had to do with it (RFC 9211)."),
    )),
    NoSuchOrder,
))]
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
    let orders = query(
        "SELECT id, user_id, product_id, quantity, total_price, status, created_at FROM orders WHERE id = $1",
        &[id.into()],
    )?;
    orders.first(Order::from_row)?.ok_or_else(|| Problem::no_such("order", id))
}

/// Tells what the service has done since its host started.
#[utoipa::path(get, path = "/api/v1/orders/stats", responses(
    (status = 200, description = "Its numbers.", body = Statistics),
))]
fn stats() -> Result<Response, Problem> {
    wasmyard_guest::statistics("SELECT count(*) AS count FROM orders")
}

/// Tells whether the service can do its work.
#[utoipa::path(get, path = "/api/v1/orders/health", responses(
    (status = 200, description = "It serves; without Redis it is `degraded`.", body = Health),
    (status = 503, description = "It cannot serve.", body = Health),
))]
fn health() -> Result<Response, Problem> {
    wasmyard_guest::health()
}

fn item_key(id: i32) -> String {
    format!("orders:{id}")
}
