//! The shop's products service.

pub mod category;
pub mod product;
pub mod reservation;
pub mod search;

use std::time::Duration;

use category::Category;
use product::{NewProduct, Product};
use wasmyard_guest::{
    Guest, Page, Problem, Request, Response, RowSet, cached, health, invalidate, query, statistics, write,
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
            ("GET", "/api/v1/products/stats" | "/api/v1/stats") => {
                statistics("SELECT count(*) AS count FROM products")
            }
            ("GET", "/api/v1/products/health" | "/health") => health(),
            _ => Err(Problem::no_route()),
        }
    }
}

fn list(request: &Request) -> Result<Response, Problem> {
    let parameters = request.query()?;
    let page = Page::of(&parameters)?;
    // `?category=`, as an empty form field sends it, asks for no category.
    match parameters.get("category").filter(|name| !name.is_empty()) {
        None => list_all(request, &page),
        Some(name) => list_category(request, &page, name),
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

fn set_stock(request: &Request) -> Result<Response, Problem> {
    let id = request.id("product")?;
    let stock = product::read_stock(request)?;
    // Where the statement's fate is unknown so is the category, whose list may then
    // show the old stock for its 60 s.
    let written = write(
        "UPDATE products SET stock = $2 WHERE id = $1
         RETURNING id, name, description, price, stock, category, created_at, lower(category) AS folded",
        &[id.into(), stock.into()],
        &write_keys(Some(id), None),
    )?;
    let product = changed(&written)?.ok_or_else(|| Problem::no_such("product", id))?;
    Response::json(200, &product)
}

/// The product that a statement has written, its keys taken out of the cache. The
/// category's key comes from the database's own folding, which is what decides in
/// which list the product appears.
fn changed(written: &RowSet) -> Result<Option<Product>, Problem> {
    let Some(product) = written.first(Product::from_row)? else { return Ok(None) };
    let folded = written.first(|row| row.get::<Option<String>>("folded"))?.flatten();
    invalidate(&write_keys(Some(product.id), folded.as_deref().and_then(Category::named)));
    Ok(Some(product))
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
