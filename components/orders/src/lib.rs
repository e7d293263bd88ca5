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
use utoipa::OpenApi;
use wasmyard_guest::{
    AlsoAt, DESCRIPTION_PATH, Freshness, Guest, Health, Object, Page, Problem, QueryProblems, Request,
    Response, Sort, Statistics, cached, describe, problems, query,
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
    components(schemas(Sort)),
    modifiers(&ALSO_AT)
)]
struct Description;

/// At the service's own port, beside the paths that all services share.
const ALSO_AT: AlsoAt =
    AlsoAt(&[("/api/v1/orders/stats", "/api/v1/stats"), ("/api/v1/orders/health", "/health")]);

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
            ("GET", "/api/v1/orders/stats" | "/api/v1/stats") => stats(),
            ("GET", "/api/v1/orders/health" | "/health") => health(),
            ("GET", DESCRIPTION_PATH) => describe::<Description>(),
            _ => Err(Problem::no_route()),
        }
    }
}

/// Lists orders, in the order of their ids or the other way round.
///
/// A customer sees their own, an admin all.
#[utoipa::path(get, path = PATH, params(
    Page,
    ("sort" = Option<Sort>, Query, description = "Which come first: the oldest, unless it says so."),
    Freshness,
), responses(
    (status = 200, description = "A page of orders.", body = [Order], headers(
        ("Link" = String, description = "The next page (RFC 8288), if there is one."),
        ("Cache-Status" = String, description = "What the cache had to do with it (RFC 9211)."),
    )),
    QueryProblems,
))]
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
    let owned = if owner.is_some() { "user_id = $3 AND " } else { "" };
    let orders = format!("SELECT {} FROM orders WHERE {owned}{range} LIMIT $2", order_columns!());
    let mut params = vec![end.into(), page.rows().into()];
    params.extend(owner.map(Into::into));
    Ok(query(&orders, &params)?.all(Order::from_row)?)
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
    let orders = query(concat!("SELECT ", order_columns!(), " FROM orders WHERE id = $1"), &[id.into()])?;
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
