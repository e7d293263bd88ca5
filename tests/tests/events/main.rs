//! What the shop tells of its orders while they change: from the transaction that changes
//! one to those who listen.
//!
//! One program for all of it: its tests share one Postgres server.

mod ends;
mod failures;
mod opening;
mod outbox;
mod resume;
mod stalled;

use std::ops::Range;

use serde_json::{Value, json};
use wasmyard_tests::Visitor;

/// Where WebSockets are opened.
const WS: &str = "/api/v1/orders/ws";
/// Where server-sent events are read.
const SSE: &str = "/api/v1/orders/events";

/// Orders something for a user; gives the order's id.
async fn ordered(shop: &Visitor, user: i64) -> i64 {
    let made =
        shop.post("/api/v1/orders", &json!({ "user_id": user, "product_id": 10, "quantity": 1 })).await;
    assert_eq!(made.status, 201, "{made:?}");
    made.json()["id"].as_i64().expect("an id")
}

/// Brings an order to another state.
async fn brought(shop: &Visitor, order: i64, status: &str) {
    let changed = shop.patch(&format!("/api/v1/orders/{order}/status"), &json!({ "status": status })).await;
    assert_eq!(changed.status, 200, "{changed:?}");
}

/// Puts so many events into the outbox, each with the number of its order as its key; they
/// belong to these users in turn.
async fn told(shop: &Visitor, orders: Range<i64>, users: &[i64]) {
    told_at_length(shop, orders, users, 0).await;
}

/// The same, with so many bytes in each that say nothing.
async fn told_at_length(shop: &Visitor, orders: Range<i64>, users: &[i64], filler: usize) {
    let users = users.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let sql = format!(
        "INSERT INTO outbox (topic, key, seq, type, subject, payload)
         SELECT 'orders', number, 1, 'order.created',
                (ARRAY[{users}])[1 + number % array_length(ARRAY[{users}], 1)],
                jsonb_build_object('order_id', number, 'status', 'pending')
                || CASE {filler} WHEN 0 THEN '{{}}' ELSE jsonb_build_object('filler', repeat('x', {filler})) END
         FROM generate_series({}, {}) AS number ORDER BY number",
        orders.start,
        orders.end - 1
    );
    shop.sql(&sql).await;
}

/// What an event says of its order.
fn said(event: &Value) -> (&str, i64, i64, &str) {
    let text = |name: &str| event[name].as_str().unwrap_or_else(|| panic!("no {name} in {event}"));
    let number = |name: &str| event[name].as_i64().unwrap_or_else(|| panic!("no {name} in {event}"));
    (text("type"), number("order_id"), number("seq"), text("status"))
}
