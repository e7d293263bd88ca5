//! An order's way: pending, processing, shipped, delivered.

use wasmyard_guest::{Problem, Request, Response, invalidate, write};

use crate::order::Order;
use crate::{LIST_KEY, find, item_key};

/// The states in their order; each leads to the next one and nowhere else.
const STATUSES: [&str; 4] = ["pending", "processing", "shipped", "delivered"];

/// Answers `PATCH /api/v1/orders/{id}/status`.
pub(crate) fn change(request: &Request) -> Result<Response, Problem> {
    let id = request.id("order")?;
    let wanted = read(request)?;
    let order = find(id)?;
    if order.status == wanted {
        return Response::json(200, &order);
    }
    if !allowed(&order.status).contains(&wanted) {
        return Err(illegal(&order, wanted));
    }

    // The condition makes the step atomic: of two clients that take it at once, one
    // finds the order as it saw it, and the other one learns what has become of it.
    let keys = [LIST_KEY.to_owned(), item_key(id)];
    let written = write(
        "UPDATE orders SET status = $3 WHERE id = $1 AND status = $2
         RETURNING id, user_id, product_id, quantity, total_price, status, created_at",
        &[id.into(), order.status.as_str().into(), wanted.into()],
        &keys,
    )?;
    match written.first(Order::from_row)? {
        Some(order) => {
            invalidate(&keys);
            Response::json(200, &order)
        }
        None => Err(illegal(&find(id)?, wanted)),
    }
}

fn read(request: &Request) -> Result<&'static str, Problem> {
    let mut form = request.form(&["status"])?;
    let status = form.required("status", |field| {
        // As long as the column, so that the answer never repeats a megabyte.
        let given = field.line(1..=20)?;
        let known = STATUSES.into_iter().find(|status| *status == given);
        known.ok_or_else(|| format!("must be one of {}", STATUSES.join(", ")))
    });
    form.finish(status).map_err(|problem| problem.with("valid", STATUSES.to_vec()))
}

/// Where an order may go from here.
fn allowed(current: &str) -> &'static [&'static str] {
    match STATUSES.iter().position(|status| *status == current) {
        Some(index) => STATUSES.get(index + 1..=index + 1).unwrap_or_default(),
        None => &[],
    }
}

fn illegal(order: &Order, wanted: &str) -> Problem {
    let Order { id, status: current, .. } = order;
    Problem::conflicting_field("status", format!("order {id} is {current} and cannot become {wanted}"))
        .with("current", current.as_str())
        .with("allowed", allowed(current).to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_state_leads_to_the_next_and_the_last_nowhere() {
        assert_eq!(allowed("pending"), ["processing"]);
        assert_eq!(allowed("processing"), ["shipped"]);
        assert_eq!(allowed("shipped"), ["delivered"]);
        assert!(allowed("delivered").is_empty());
        assert!(allowed("lost").is_empty());
    }

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
            assert!(answer.contains(r#""valid":["pending","processing","shipped","delivered"]"#), "{answer}");
        }
        assert_eq!(read(&Request::with_json(r#"{"status": "shipped"}"#)), Ok("shipped"));
    }
}
