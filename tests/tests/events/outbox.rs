//! What the services write down in the transaction of a change.

use serde_json::json;
use tokio_postgres::error::SqlState;
use wasmyard_tests::{Shop, at_once};

use crate::ordered;

/// What has been told of an order.
async fn told(shop: &Shop, order: i64) -> String {
    let rows = "SELECT seq, type, subject, payload FROM outbox
                WHERE topic = 'orders' AND key = ($1::int)::text ORDER BY id";
    shop.sql(&rows.replace("$1", &order.to_string())).await
}

/// A shop in which nobody moves the rows.
async fn quiet() -> Shop {
    let quiet = Shop::builder().change(|manifest| {
        let orders = manifest.services.get_mut("orders").expect("the service");
        orders.events = None;
        orders.routes.retain(|route| route.events.is_none());
    });
    quiet.start().await
}

#[tokio::test]
async fn an_order_and_each_of_its_steps_are_told_in_the_transaction_that_makes_them() {
    let shop = quiet().await;
    let order = ordered(&shop, 2).await;
    let path = format!("/api/v1/orders/{order}/status");
    for status in ["processing", "cancelled"] {
        assert_eq!(shop.patch(&path, &json!({ "status": status })).await.status, 200);
    }
    // What is refused is not told.
    assert_eq!(shop.patch(&path, &json!({ "status": "shipped" })).await.status, 409);
    let event = |seq: i32, kind: &str, status: &str| {
        format!(r#"{seq}|order.{kind}|2|{{"status": "{status}", "order_id": {order}}}"#)
    };
    let expected = [
        event(1, "created", "pending"),
        event(2, "status_changed", "processing"),
        event(3, "status_changed", "cancelled"),
    ];
    assert_eq!(told(&shop, order).await, expected.join("\n"));

    // An order that was there before the outbox goes on from where its history is.
    let path = "/api/v1/orders/4/status";
    assert_eq!(shop.patch(path, &json!({ "status": "processing" })).await.status, 200);
    assert!(told(&shop, 4).await.starts_with("2|order.status_changed|2|"));
}

#[tokio::test]
async fn of_those_who_take_a_step_at_once_one_is_told() {
    let shop = std::sync::Arc::new(quiet().await);
    let order = ordered(&shop, 2).await;
    let step = |status: &'static str| {
        let shop = shop.clone();
        async move {
            let path = format!("/api/v1/orders/{order}/status");
            shop.patch(&path, &json!({ "status": status })).await.status == 200
        }
    };
    let won = at_once(["processing", "cancelled"].into_iter().cycle().take(40).map(step)).join_all().await;
    let won = won.into_iter().filter(|won| *won).count();
    let seqs: Vec<String> = (1..=won + 1).map(|seq| seq.to_string()).collect();
    let rows = told(&shop, order).await;
    let told: Vec<_> = rows.lines().map(|row| row.split('|').next().expect("a seq")).collect();
    assert_eq!(told, seqs, "{rows}");
}

#[tokio::test]
async fn what_is_told_has_a_plain_type_and_a_bounded_length_as_text() {
    let shop = quiet().await;
    let session = shop.session().await;
    let insert = async |kind: &str, payload: &str| {
        let row = format!("'orders', '1', 1, E'{kind}', {payload}");
        let sql = format!("INSERT INTO outbox (topic, key, seq, type, payload) VALUES ({row})");
        session.batch_execute(&sql).await
    };
    // As text: {"x": "…"}
    let long = |bytes: usize| format!("jsonb_build_object('x', repeat('y', {}))", bytes - 9);
    for (kind, payload) in [
        ("order.created", "'[]'"),
        ("order.created", &*long(4_097)),
        // A few bytes as the table has them, and 131,000 digits for who reads them.
        ("order.created", r#"'{"x": 1e131071}'"#),
        (r"order.created\ndata: {}\n\n", "'{}'"),
        (r"order.created\r", "'{}'"),
        ("order created", "'{}'"),
        ("", "'{}'"),
    ] {
        let refused = insert(kind, payload).await.expect_err(payload);
        assert_eq!(refused.code(), Some(&SqlState::CHECK_VIOLATION), "{kind}: {payload}");
    }
    insert("order.status_changed", &long(4_096)).await.expect("the longest");
}

#[tokio::test]
async fn a_service_tells_of_its_own_topic_and_takes_nothing_back() {
    let shop = quiet().await;
    ordered(&shop, 2).await;
    let insert = |topic: &str| {
        format!(
            "INSERT INTO outbox (topic, key, seq, type, payload) VALUES ('{topic}', '1', 1, 'order.created', '{{}}')"
        )
    };
    let session = shop.session().await;
    for (role, sql) in [
        ("orders_service", insert("users")),
        ("users_service", insert("orders")),
        ("orders_service", "SELECT * FROM outbox".to_owned()),
        ("orders_service", "DELETE FROM outbox".to_owned()),
        ("orders_service", "UPDATE outbox SET subject = '1'".to_owned()),
        ("orders_service", "UPDATE outbox_streams SET fence = 0".to_owned()),
    ] {
        let tried = session.batch_execute(&format!("SET ROLE {role}; {sql}")).await;
        let refused = tried.expect_err(&sql);
        assert_eq!(refused.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{role}: {sql}");
        session.batch_execute("RESET ROLE").await.expect("the owner again");
    }
    let own = format!("SET ROLE orders_service; {}; RESET ROLE", insert("orders"));
    session.batch_execute(&own).await.expect("its own topic");
}
