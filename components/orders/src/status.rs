//! Bringing an order to another state.

use utoipa::ToSchema;
use wasmyard_guest::{FormProblems, Problem, Request, Response, invalidate, problems, trace, write};

use crate::event::told;
use crate::order::Order;
use crate::workflow::{Status, names};
use crate::{LIST_KEY, NoSuchOrder, find, item_key, order_columns, saga};

/// A change of state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewStatus {
    status: Status,
}

problems! { IllegalStep: illegal(1, "shipped", &[Status::Delivered], Status::Cancelled) }

/// Brings an order to another state.
///
/// From `pending` to `processing`, `shipped` and `delivered`, and from the first two to
/// `cancelled`, which gives its stock back.
#[utoipa::path(patch, path = "/api/v1/orders/{id}/status", request_body = NewStatus, params(
    ("id" = i32, Path, description = "The order's key.", minimum = 1, example = 1),
), responses(
    (status = 200, description = "The order as it is now.", body = Order),
    FormProblems,
    NoSuchOrder,
    IllegalStep,
))]
pub(crate) fn change(request: &Request) -> Result<Response, Problem> {
    let id = request.id("order")?;
    let NewStatus { status: wanted } = read(request)?;
    let changed = bring(&find(id)?, wanted, request.subject())?;
    if wanted == Status::Cancelled {
        saga::return_or_leave(id);
    }
    Response::json(200, &changed)
}

/// The step itself. Its condition makes it atomic: of those who take it at once, one
/// finds the order as it saw it, and the others learn what has become of it. The history
/// is part of the same statement, and so are the event and the stock that a cancelled order
/// owes.
fn bring(order: &Order, wanted: Status, by: Option<&str>) -> Result<Order, Problem> {
    if !allowed(order).contains(&wanted) {
        return Err(cannot_become(order, wanted));
    }
    let keys = [LIST_KEY.to_owned(), item_key(order.id)];
    let written = write(
        BRING,
        &[
            order.id.into(),
            order.status.as_str().into(),
            wanted.name().into(),
            by.into(),
            trace::traceparent().into(),
            saga::time(),
        ],
        &keys,
    )?;
    match written.first(Order::from_row)? {
        Some(order) => {
            invalidate(&keys);
            Ok(order)
        }
        None => Err(overtaken(&find(order.id)?, wanted)),
    }
}

const BRING: &str = concat!(
    "WITH changed AS (
         UPDATE orders SET status = $3, event_seq = event_seq + 1 WHERE id = $1 AND status = $2
         RETURNING id, user_id, product_id, quantity, total_price, status, created_at, event_seq
     ), noted AS (
         INSERT INTO order_history (order_id, status, changed_by) SELECT id, status, $4 FROM changed
     ), owed AS (
         INSERT INTO order_sagas AS saga (order_id, step, due_at)
         SELECT id, 'returning', clock_timestamp() + $6::int4 * interval '1 ms'
         FROM changed WHERE status = 'cancelled'
         ON CONFLICT (order_id) DO UPDATE
         SET step = 'returning', due_at = excluded.due_at, attempts = 0, reason = NULL, parked_at = NULL
     ), told AS (",
    told!("order.status_changed", "changed", "$5::text"),
    ") SELECT ",
    order_columns!(),
    " FROM changed AS orders"
);

fn read(request: &Request) -> Result<NewStatus, Problem> {
    let mut form = request.form(&["status"])?;
    let status = form.required("status", |field| {
        // As long as the column, so that the answer never repeats a megabyte.
        let given = field.line(1..=20)?;
        let reachable = || format!("must be one of {}", names(&Status::REACHABLE).join(", "));
        Status::named(&given).ok_or_else(reachable)
    });
    form.finish(status.map(|status| NewStatus { status }))
        .map_err(|problem| problem.with("valid", names(&Status::REACHABLE)))
}

/// Where an order may go from where it is; a state that is none of ours leads nowhere.
fn allowed(order: &Order) -> &'static [Status] {
    Status::named(&order.status).map_or(&[], Status::allowed)
}

fn cannot_become(order: &Order, wanted: Status) -> Problem {
    illegal(order.id, &order.status, allowed(order), wanted)
}

/// Somebody else's step came first. It may have led to where this one is still allowed, and
/// yet whoever asked for it did not know of the other.
fn overtaken(order: &Order, wanted: Status) -> Problem {
    if !allowed(order).contains(&wanted) {
        return cannot_become(order, wanted);
    }
    refused(format!("order {} has just become {}", order.id, order.status), &order.status, allowed(order))
}

fn illegal(id: i32, current: &str, allowed: &[Status], wanted: Status) -> Problem {
    refused(format!("order {id} is {current} and cannot become {}", wanted.name()), current, allowed)
}

fn refused(detail: String, current: &str, allowed: &[Status]) -> Problem {
    Problem::conflicting_field("status", detail).with("current", current).with("allowed", names(allowed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_status_is_told_the_valid_ones() {
        for body in [
            r#"{"status": "invalid_status"}"#,
            r#"{"status": "Shipped"}"#,
            r#"{"status": ""}"#,
            r#"{"status": 1}"#,
            "{}",
        ] {
            let request = Request::with_json(body);
            let response = read(&request).expect_err(body).answer(&request);
            let answer = String::from_utf8(response.body).expect("UTF-8");
            assert_eq!(response.status, 422, "{body}");
            assert!(
                answer.contains(r#""valid":["processing","shipped","delivered","cancelled"]"#),
                "{answer}"
            );
        }
        let read = |body| read(&Request::with_json(body)).map(|read| read.status);
        assert_eq!(read(r#"{"status": "shipped"}"#), Ok(Status::Shipped));
        // A state of an order, though none to go to: the order's own state tells more.
        assert_eq!(read(r#"{"status": "pending"}"#), Ok(Status::Pending));
    }
}
