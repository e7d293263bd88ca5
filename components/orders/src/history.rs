//! Where an order has been.

use serde::Serialize;
use utoipa::ToSchema;
use wasmyard_guest::{Problem, Request, Response, Row, RowError, Timestamp, query};

use crate::NoSuchOrder;
use crate::workflow::Status;

/// A state that an order has come to.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
struct Step {
    #[schema(value_type = Status)]
    status: String,
    changed_at: Timestamp,
    /// The verified caller's subject; `null` without login.
    #[schema(required, example = "1")]
    changed_by: Option<String>,
}

impl Step {
    /// `None` for an order without a history: one that was made past the service.
    fn from_row(row: Row<'_>) -> Result<Option<Self>, RowError> {
        let Some(status) = row.get("status")? else { return Ok(None) };
        Ok(Some(Self { status, changed_at: row.get("changed_at")?, changed_by: row.get("changed_by")? }))
    }
}

/// Tells where an order has been, the oldest step first.
///
/// A customer sees their own orders alone: somebody else's is answered like one that nobody
/// has made.
#[utoipa::path(get, path = "/api/v1/orders/{id}/history", params(
    ("id" = i32, Path, description = "The order's key.", minimum = 1, example = 1),
), responses(
    (status = 200, description = "The states that it has come to.", body = [Step]),
    NoSuchOrder,
))]
// An order goes through five states at most, so there are no pages.
pub(crate) fn history(request: &Request) -> Result<Response, Problem> {
    let id = request.id("order")?;
    let owner = request.caller()?.filter(|caller| !caller.is_admin).map(|caller| caller.id);
    let rows = query(
        "SELECT order_history.status, changed_at, changed_by
         FROM orders LEFT JOIN order_history ON order_id = orders.id
         WHERE orders.id = $1 AND ($2::int4 IS NULL OR user_id = $2) ORDER BY order_history.id",
        &[id.into(), owner.into()],
    )?;
    let steps = rows.all(Step::from_row)?;
    if steps.is_empty() {
        return Err(Problem::no_such("order", id));
    }
    Response::json(200, &steps.into_iter().flatten().collect::<Vec<_>>())
}
