//! The stock of cancelled orders, on its way back to products.
//!
//! The two services share no transaction. So the cancellation leaves a debt behind in its
//! own, and the debt goes when products has confirmed; products gives an order's stock
//! back once, however often it is asked. Whatever breaks off in between, the debt is
//! there, and the next cancellation settles it.

use wasmyard_guest::log::{self, Level};
use wasmyard_guest::{Peer, Problem, Reply, execute, query};

/// Debts of one request: its own, and what earlier ones had to leave, within its time.
const SETTLED_MAX: i32 = 10;

/// Settles the debt of an order, if it has one, and then some of the oldest others.
///
/// A failure ends it and is no error of the caller's: the order is cancelled.
pub(crate) fn settle(order: i32) {
    let settled = owed(order).and_then(|orders| orders.into_iter().try_for_each(give_back));
    if let Err(problem) = settled {
        let fields = [
            ("order".to_owned(), order.to_string()),
            ("cause".to_owned(), format!("{} {}", problem.detail(), problem.cause())),
        ];
        log::write(Level::Warn, "stock of cancelled orders has yet to go back", &fields);
    }
}

fn owed(order: i32) -> Result<Vec<i32>, Problem> {
    let owed = query(
        "SELECT order_id FROM stock_returns ORDER BY order_id = $1 DESC, owed_since, order_id LIMIT $2",
        &[order.into(), SETTLED_MAX.into()],
    )?;
    Ok(owed.all(|row| row.get("order_id"))?)
}

fn give_back(order: i32) -> Result<(), Problem> {
    match Peer("products").delete(&format!("/internal/reservations/{order}"))? {
        Reply::Found(_) => {}
        Reply::Absent => return Err(Problem::internal("products has no way to take stock back")),
    }
    execute("DELETE FROM stock_returns WHERE order_id = $1", &[order.into()])?;
    Ok(())
}
