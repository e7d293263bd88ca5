//! The stock that an order holds, as the ledger has it.
//!
//! An order's stock is `held` when it was reserved, then `confirmed`, and `released` when
//! the order came to nothing or was cancelled. Every step may be asked for any number of
//! times and happens once. Whatever may come late is refused: a release leaves its mark
//! even where there is nothing to release, and no reserve gets past it.
//!
//! Who changes stock locks the products first, in the order of their ids and in a statement
//! of its own. So no two wait for each other, and the next statement of the transaction sees
//! what it has locked: one that locked and changed at once would come to a product that
//! others wait for by way of an older version of it, and queue behind those who wait.

use serde::Serialize;
use wasmyard_guest::postgres::{self, Statement};
use wasmyard_guest::{Problem, Request, Response, Row, RowError, RowSet, SqlError, Value, invalidate, query};

use crate::category::Category;
use crate::{LIST_KEY, item_key, write_keys};

/// Lines of one order. Its products are locked together, and each is asked for by itself.
pub const LINES_MAX: usize = 50;

/// Locks the products of a list of ids. Those pass who only refer to a product.
pub const LOCK: &str = "SELECT FROM products WHERE id = ANY($1::int4[]) ORDER BY id FOR NO KEY UPDATE";

/// Takes the stock of all lines, or of none: $1 is the order, $2 and $3 the products, which
/// are locked, and how many of each.
///
/// The row in `reservations` is written only if there is enough, and the stock moves only
/// with it: who finds one there already has taken the stock before, or is too late.
///
/// The answer has a row for each product that there is: `taken` says what became of all.
pub const RESERVE: &str = "
    WITH wanted AS (
        SELECT product_id, wanted FROM unnest($2::int4[], $3::int4[]) AS line (product_id, wanted)
    ), found AS (
        SELECT id, stock, wanted, lower(category) AS folded FROM products JOIN wanted ON id = product_id
    ), opened AS (
        INSERT INTO reservations (order_id, state)
        SELECT $1, 'held' FROM found HAVING count(*) = cardinality($2) AND bool_and(stock >= wanted)
        ON CONFLICT DO NOTHING
        RETURNING order_id
    ), noted AS (
        INSERT INTO stock_movements (order_id, product_id, kind, quantity)
        SELECT order_id, id, 'reserve', wanted FROM opened, found
    ), taken AS (
        UPDATE products SET stock = products.stock - wanted FROM found, opened WHERE products.id = found.id
        RETURNING products.id
    )
    SELECT id, stock, folded, EXISTS (SELECT FROM taken) AS taken FROM found";

/// Makes what is held sold. The row tells the state that it found.
pub const CONFIRM: &str = "
    WITH confirmed AS (
        UPDATE reservations SET state = 'confirmed' WHERE order_id = $1 AND state = 'held'
    )
    SELECT state FROM reservations WHERE order_id = $1";

/// Answers `PUT /internal/reservations/{id}`, the id being the order's: its stock is taken.
///
/// 409 where there is not enough, with the first product that lacks it, and to an order
/// whose stock was released before.
pub(crate) fn reserve(request: &Request) -> Result<Response, Problem> {
    let order = request.id("order")?;
    let lines = read(request)?;
    let (products, quantities): (Vec<i32>, Vec<i32>) =
        lines.iter().map(|line| (line.product_id, line.quantity)).unzip();
    let ids = || Value::from(products.as_slice());
    let keys: Vec<_> =
        [LIST_KEY.to_owned()].into_iter().chain(products.iter().copied().map(item_key)).collect();
    let found = in_turn(
        &[(LOCK, vec![ids()]), (RESERVE, vec![order.into(), ids(), quantities.as_slice().into()])],
        &keys,
    )?;
    if found.first(|row| row.get("taken"))? == Some(true) {
        invalidate_all(&found)?;
        return Response::json(200, &Reservation { order_id: order, state: "held" });
    }
    // Either there is not enough, or the order has been here before, perhaps by a request
    // whose reply was lost before anything was taken out of the cache.
    let state = query("SELECT state FROM reservations WHERE order_id = $1", &[order.into()])?;
    match state.first(|row| row.get::<String>("state"))?.as_deref() {
        Some("released") => {
            Err(Problem::conflict(format!("The stock of order {order} was released."))
                .with("state", "released"))
        }
        Some(_) => {
            invalidate_all(&found)?;
            Response::json(200, &Reservation { order_id: order, state: "held" })
        }
        None => Err(shortage(&lines, &found.all(Stock::from_row)?)),
    }
}

/// Answers `PUT /internal/reservations/{id}/confirmation`: what the order holds is sold.
///
/// 409 to an order whose stock was released, 404 to one that holds none.
pub(crate) fn confirm(request: &Request) -> Result<Response, Problem> {
    let order = request.id("order")?;
    let state = query(CONFIRM, &[order.into()])?.first(|row| row.get::<String>("state"))?;
    match state.as_deref() {
        None => Err(Problem::no_such("reservation", order)),
        Some("released") => {
            Err(Problem::conflict(format!("The stock of order {order} was released."))
                .with("state", "released"))
        }
        Some(_) => Response::json(200, &Reservation { order_id: order, state: "confirmed" }),
    }
}

/// Answers `DELETE /internal/reservations/{id}`: what the order has taken goes back.
///
/// The row of `reservations` comes first, so that the next statements see what a reserve has
/// written that came just before. The ledger's key lets one `release` of an order in and no
/// second, and the stock moves in the same statement: it goes back once, however often and
/// from how many sides this is asked for. Whoever asks again takes the products out of the
/// cache again: the one before may have lost its reply, and left them there.
pub(crate) fn release(request: &Request) -> Result<Response, Problem> {
    let order = request.id("order")?;
    let given =
        in_turn(&[MARK, LOCK_TAKEN, GIVE_BACK].map(|sql| (sql, vec![order.into()])), &[LIST_KEY.to_owned()])?;
    invalidate_all(&given)?;
    let returned = given.all(|row| {
        let line = Line { product_id: row.get("id")?, quantity: row.get("quantity")? };
        Ok(row.get::<bool>("moved")?.then_some(line))
    })?;
    Response::json(200, &Released { order_id: order, returned: returned.into_iter().flatten().collect() })
}

const MARK: &str = "
    INSERT INTO reservations (order_id, state) VALUES ($1, 'released')
    ON CONFLICT (order_id) DO UPDATE SET state = 'released'";

const LOCK_TAKEN: &str = "
    SELECT FROM products
    WHERE id IN (SELECT product_id FROM stock_movements WHERE order_id = $1 AND kind = 'reserve')
    ORDER BY id FOR NO KEY UPDATE";

/// The answer has a row for each product that the order had taken, and says whether it has
/// `moved` now.
const GIVE_BACK: &str = "
    WITH released AS (
        INSERT INTO stock_movements (order_id, product_id, kind, quantity)
        SELECT order_id, product_id, 'release', quantity FROM stock_movements
        WHERE order_id = $1 AND kind = 'reserve'
        ON CONFLICT DO NOTHING
        RETURNING product_id, quantity
    ), given AS (
        UPDATE products SET stock = stock + quantity FROM released WHERE id = product_id
        RETURNING id
    )
    SELECT id, quantity, lower(category) AS folded, id IN (SELECT id FROM given) AS moved
    FROM stock_movements JOIN products ON id = product_id
    WHERE order_id = $1 AND kind = 'reserve' ORDER BY id";

/// Runs statements in one transaction, and gives the rows of the last. When it fails and may
/// have taken effect in spite of that, `keys` go out of the cache as if it had.
pub(crate) fn in_turn(statements: &[(&str, Vec<Value>)], keys: &[String]) -> Result<RowSet, Problem> {
    let statements: Vec<_> = statements
        .iter()
        .map(|(sql, params)| Statement { sql: (*sql).to_owned(), params: params.clone() })
        .collect();
    let outcomes = postgres::batch(&statements).map_err(SqlError::from).inspect_err(|error| {
        if error.leaves_doubt() {
            invalidate(keys);
        }
    })?;
    let last = outcomes.into_iter().last();
    last.map(|outcome| outcome.rows).ok_or_else(|| Problem::internal("the batch has no outcome"))
}

/// So many of one product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
struct Line {
    product_id: i32,
    quantity: i32,
}

/// What is left of a product.
struct Stock {
    product_id: i32,
    stock: i32,
}

impl Stock {
    fn from_row(row: Row<'_>) -> Result<Self, RowError> {
        Ok(Self { product_id: row.get("id")?, stock: row.get("stock")? })
    }
}

/// What an order holds.
#[derive(Serialize)]
struct Reservation {
    order_id: i32,
    state: &'static str,
}

/// What has gone back now.
#[derive(Serialize)]
struct Released {
    order_id: i32,
    returned: Vec<Line>,
}

fn read(request: &Request) -> Result<Vec<Line>, Problem> {
    let mut form = request.form(&["items"])?;
    let lines = form.list("items", 1..=LINES_MAX, &["product_id", "quantity"], |line| {
        let product_id = line.required("product_id", |field| field.integer(1..=i32::MAX));
        let quantity = line.required("quantity", |field| field.integer(1..=i32::MAX));
        Some(Line { product_id: product_id?, quantity: quantity? })
    });
    form.finish(lines.flatten())
}

/// The first line that cannot be had. A product that is gone has nothing left.
fn shortage(lines: &[Line], stocks: &[Stock]) -> Problem {
    let left = |line: &Line| {
        let stock = stocks.iter().find(|stock| stock.product_id == line.product_id);
        stock.map_or(0, |stock| stock.stock)
    };
    let Some((line, available)) =
        lines.iter().map(|line| (line, left(line))).find(|(line, left)| *left < line.quantity)
    else {
        // Somebody gave stock back between the two statements.
        return Problem::unavailable("The stock has just changed.", "a shortage that is none any more");
    };
    let Line { product_id, quantity } = line;
    Problem::conflict(format!("There are {available} of product {product_id}, and {quantity} are wanted."))
        .with("product", *product_id)
        .with("requested", *quantity)
        .with("available", available)
}

/// Takes what has changed out of the cache.
fn invalidate_all(changed: &RowSet) -> Result<(), Problem> {
    let keys = changed.all(|row| {
        let folded: Option<&str> = row.get("folded")?;
        Ok(write_keys(Some(row.get("id")?), folded.and_then(Category::named)))
    })?;
    if !keys.is_empty() {
        invalidate(&keys.concat());
    }
    Ok(())
}
