//! The shop's products service.

pub mod category;
pub mod product;
pub mod reservation;
pub mod search;

use std::time::Duration;

use category::Category;
use product::{NewProduct, NewStock, Product};
use reservation::{LOCK, in_turn};
use utoipa::OpenApi;
use wasmyard_guest::{
    AlsoAt, DESCRIPTION_PATH, FormProblems, Freshness, Guest, Health, Page, Problem, QueryProblems, Request,
    Response, RowSet, Statistics, cached, describe, invalidate, problems, query, write,
};

/// The lists change with every new product and every change of stock.
const LIST_TTL: Duration = Duration::from_secs(60);
/// Whoever changes a product through this service invalidates it; the time bounds
/// what a change in `psql` can leave behind.
const ITEM_TTL: Duration = Duration::from_secs(300);

/// The list's path; an item's follows it.
const PATH: &str = "/api/v1/products";
/// The list's key in the cache.
const LIST_KEY: &str = "products:all";

#[derive(OpenApi)]
#[openapi(
    info(title = "Products", description = "What the shop sells, and how much of it there is."),
    paths(list, create, item, set_stock, search::search, stats, health),
    modifiers(&ALSO_AT)
)]
struct Description;

/// At the service's own port, beside the paths that all services share.
const ALSO_AT: AlsoAt =
    AlsoAt(&[("/api/v1/products/stats", "/api/v1/stats"), ("/api/v1/products/health", "/health")]);

struct Products;

wasmyard_guest::export!(Products);

impl Guest for Products {
    fn handle(request: &Request) -> Result<Response, Problem> {
        match (request.method.as_str(), request.route.as_str()) {
            ("GET", PATH) => list(request),
            ("POST", PATH) => create(request),
            ("GET", search::PATH) => search::search(request),
            ("GET", "/api/v1/products/{id}") => item(request),
            ("PATCH", "/api/v1/products/{id}/stock") => set_stock(request),
            ("PUT", "/internal/reservations/{id}") => reservation::reserve(request),
            ("DELETE", "/internal/reservations/{id}") => reservation::release(request),
            ("PUT", "/internal/reservations/{id}/confirmation") => reservation::confirm(request),
            ("GET", "/api/v1/products/stats" | "/api/v1/stats") => stats(),
            ("GET", "/api/v1/products/health" | "/health") => health(),
            ("GET", DESCRIPTION_PATH) => describe::<Description>(),
            _ => Err(Problem::no_route()),
        }
    }
}

/// What narrows a list.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct Filter<'a> {
    /// Only products of this category, in upper or lower case; an empty one is none.
    #[param(schema_with = category::schema, required = false)]
    category: Option<&'a str>,
}

/// Lists products, in the order of their ids.
#[utoipa::path(get, path = PATH, params(Filter<'_>, Page, Freshness), responses(
    (status = 200, description = "A page of products.", body = [Product], headers(
        ("Link" = String, description = "The next page (RFC 8288), if there is one."),
        ("Cache-Status" = String, description = "What the cache had to do with it (RFC 9211)."),
    )),
    QueryProblems,
))]
fn list(request: &Request) -> Result<Response, Problem> {
    let parameters = request.query()?;
    let page = Page::of(&parameters)?;
    // `?category=`, as an empty form field sends it, asks for no category.
    match (Filter { category: parameters.given("category") }) {
        Filter { category: None } => list_all(request, &page),
        Filter { category: Some(name) } => list_category(request, &page, name),
    }
}

fn list_all(request: &Request, page: &Page) -> Result<Response, Problem> {
    let response = page.cached(request, LIST_KEY, LIST_TTL, || {
        let products = query(
            "SELECT id, name, description, price, stock, category, created_at
             FROM products WHERE id > $1 ORDER BY id LIMIT $2",
            &[page.after().into(), page.rows().into()],
        )?;
        Ok(products.all(Product::from_row)?)
    })?;
    Ok(page.link(response, PATH, &[]))
}

fn list_category(request: &Request, page: &Page, name: &str) -> Result<Response, Problem> {
    // A name that no product can have needs neither the database nor a key.
    let Some(category) = Category::named(name) else { return Ok(Response::json_bytes(200, b"[]".to_vec())) };
    // Categories without products are not kept: whoever makes names up must not fill the
    // cache with them.
    let response = page.cached_unless_empty(request, &category.key(), LIST_TTL, || {
        let products = query(
            "SELECT id, name, description, price, stock, category, created_at
             FROM products WHERE lower(category) = $1 AND id > $2 ORDER BY id LIMIT $3",
            &[category.folded().into(), page.after().into(), page.rows().into()],
        )?;
        Ok(products.all(Product::from_row)?)
    })?;
    Ok(page.link(response, PATH, &[("category", name)]))
}

problems! { NoSuchProduct: Problem::no_such("product", 9999) }

/// Shows a product.
#[utoipa::path(get, path = "/api/v1/products/{id}", params(
    ("id" = i32, Path, description = "The product's key.", minimum = 1, example = 1),
    Freshness,
), responses(
    (status = 200, description = "The product.", body = Product, headers(
        ("Cache-Status" = String, description = "What the cache had to do with it (RFC 9211)."),
    )),
    NoSuchProduct,
))]
fn item(request: &Request) -> Result<Response, Problem> {
    let id = request.id("product")?;
    cached(request, &item_key(id), ITEM_TTL, || {
        let products = query(
            "SELECT id, name, description, price, stock, category, created_at FROM products WHERE id = $1",
            &[id.into()],
        )?;
        let product = products.first(Product::from_row)?.ok_or_else(|| Problem::no_such("product", id))?;
        Ok(Response::json(200, &product)?.body)
    })
}

/// Makes a product.
#[utoipa::path(post, path = PATH, request_body = NewProduct, responses(
    (status = 201, description = "The product that was made.", body = Product, headers(
        ("Location" = String, description = "Where the product is."),
    )),
    FormProblems,
))]
fn create(request: &Request) -> Result<Response, Problem> {
    let NewProduct { name, description, price, stock, category } = NewProduct::read(request)?;
    let keys = write_keys(None, category.as_deref().and_then(Category::named));
    let written = write(
        "INSERT INTO products (name, description, price, stock, category) VALUES ($1, $2, $3, $4, $5)
         RETURNING id, name, description, price, stock, category, created_at, lower(category) AS folded",
        &[name.into(), description.into(), price.into(), stock.into(), category.into()],
        &keys,
    )?;
    let product = changed(&written)?.ok_or_else(|| Problem::internal("INSERT returned no row"))?;
    Response::created(&format!("{PATH}/{}", product.id), &product)
}

/// Sets how many of a product there are.
#[utoipa::path(patch, path = "/api/v1/products/{id}/stock", request_body = NewStock, params(
    ("id" = i32, Path, description = "The product's key.", minimum = 1, example = 1),
), responses(
    (status = 200, description = "The product as it is now.", body = Product),
    FormProblems,
    NoSuchProduct,
))]
fn set_stock(request: &Request) -> Result<Response, Problem> {
    let id = request.id("product")?;
    let NewStock { stock } = NewStock::read(request)?;
    // Where the statements' fate is unknown so is the category, whose list may then
    // show the old stock for its 60 s.
    let written = in_turn(
        &[(LOCK, vec![[id].as_slice().into()]), (SET_STOCK, vec![id.into(), stock.into()])],
        &write_keys(Some(id), None),
    )?;
    let product = changed(&written)?.ok_or_else(|| Problem::no_such("product", id))?;
    Response::json(200, &product)
}

/// Sets the stock of a product that is locked, and notes the difference: without it the ledger
/// would not tell where the pieces have come from, or gone.
const SET_STOCK: &str = "
    WITH before AS (
        SELECT id, stock FROM products WHERE id = $1
    ), changed AS (
        UPDATE products SET stock = $2 WHERE id = $1
        RETURNING id, name, description, price, stock, category, created_at
    ), noted AS (
        INSERT INTO stock_adjustments (product_id, quantity)
        SELECT id, changed.stock - before.stock FROM changed JOIN before USING (id)
        WHERE changed.stock <> before.stock
    )
    SELECT *, lower(category) AS folded FROM changed";

/// The product that a statement has written, its keys taken out of the cache. The
/// category's key comes from the database's own folding, which is what decides in
/// which list the product appears.
fn changed(written: &RowSet) -> Result<Option<Product>, Problem> {
    let Some(product) = written.first(Product::from_row)? else { return Ok(None) };
    let folded = written.first(|row| row.get::<Option<String>>("folded"))?.flatten();
    invalidate(&write_keys(Some(product.id), folded.as_deref().and_then(Category::named)));
    Ok(Some(product))
}

/// Tells what the service has done since its host started.
#[utoipa::path(get, path = "/api/v1/products/stats", responses(
    (status = 200, description = "Its numbers.", body = Statistics),
))]
fn stats() -> Result<Response, Problem> {
    wasmyard_guest::statistics("SELECT count(*) AS count FROM products")
}

/// Tells whether the service can do its work.
#[utoipa::path(get, path = "/api/v1/products/health", responses(
    (status = 200, description = "It serves; without Redis it is `degraded`.", body = Health),
    (status = 503, description = "It cannot serve.", body = Health),
))]
fn health() -> Result<Response, Problem> {
    wasmyard_guest::health()
}

fn write_keys(id: Option<i32>, category: Option<Category>) -> Vec<String> {
    let item = id.map(item_key);
    [LIST_KEY.to_owned()].into_iter().chain(item).chain(category.map(|category| category.key())).collect()
}

fn item_key(id: i32) -> String {
    format!("products:{id}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_touches_the_list_the_item_and_the_category() {
        assert_eq!(
            write_keys(Some(1), Category::named("electronics")),
            ["products:all", "products:1", "products:category:Electronics"]
        );
        assert_eq!(write_keys(Some(1), None), ["products:all", "products:1"]);
    }
}
