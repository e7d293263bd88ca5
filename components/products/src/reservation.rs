//! The stock that an order holds, as the ledger has it.

use serde::Serialize;
use wasmyard_guest::{Problem, Request, Response, RowSet, invalidate, write};

use crate::category::Category;
use crate::{LIST_KEY, write_keys};

/// Answers `DELETE /internal/reservations/{id}`, the id being the order's: what the order
/// has taken goes back.
///
/// The ledger's key lets one `release` of an order in and no second, and the stock moves
/// in the same statement. So it goes back once, however often and from how many sides
/// this is asked for; the later ones are told that nothing moved. An order that has taken
/// nothing has nothing to give.
pub(crate) fn release(request: &Request) -> Result<Response, Problem> {
    let order = request.id("order")?;
    let written = write(
        "WITH released AS (
             INSERT INTO stock_movements (order_id, product_id, kind, quantity)
             SELECT order_id, product_id, 'release', quantity FROM stock_movements
             WHERE order_id = $1 AND kind = 'reserve' ORDER BY product_id
             ON CONFLICT DO NOTHING
             RETURNING product_id, quantity
         )
         UPDATE products SET stock = stock + released.quantity FROM released WHERE id = released.product_id
         RETURNING id, released.quantity, lower(category) AS folded",
        &[order.into()],
        &[LIST_KEY.to_owned()],
    )?;
    invalidate_all(&written)?;
    let returned =
        written.all(|row| Ok(Returned { product_id: row.get("id")?, quantity: row.get("quantity")? }))?;
    Response::json(200, &Released { order_id: order, returned })
}

/// What became of a reservation.
#[derive(Serialize)]
struct Released {
    order_id: i32,
    returned: Vec<Returned>,
}

/// Stock of one product that has gone back now.
#[derive(Serialize)]
struct Returned {
    product_id: i32,
    quantity: i32,
}

fn invalidate_all(written: &RowSet) -> Result<(), Problem> {
    let keys = written.all(|row| {
        let folded: Option<&str> = row.get("folded")?;
        Ok(write_keys(Some(row.get("id")?), folded.and_then(Category::named)))
    })?;
    if !keys.is_empty() {
        invalidate(&keys.concat());
    }
    Ok(())
}
