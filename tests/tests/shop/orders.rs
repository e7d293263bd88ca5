//! `/api/v1/orders`, which asks the other two.

use std::sync::Arc;

use http::Method;
use serde_json::{Value, json};
use wasmyard_tests::{Answer, NativePeer, Shop, Visitor, at_once, eventually, on_both};

on_both!(
    orders_are_listed_read_and_made,
    a_total_is_price_times_quantity_to_the_cent,
    every_fault_of_an_order_is_named_in_one_answer,
);

/// An order as the client writes it: numbers keep their digits.
async fn post(shop: &Visitor, body: &str) -> Answer {
    shop.send(Method::POST, "/api/v1/orders", &[("content-type", "application/json")], body.as_bytes()).await
}

async fn move_to(shop: &Shop, order: i32, status: &str) -> Answer {
    shop.patch(&format!("/api/v1/orders/{order}/status"), &json!({ "status": status })).await
}

async fn orders_are_listed_read_and_made(shop: &Visitor) {
    let list = shop.get("/api/v1/orders").await.json();
    let ids: Vec<_> = list.as_array().expect("an array").iter().map(|order| order["id"].as_i64()).collect();
    assert_eq!(ids, (1..=8).map(Some).collect::<Vec<_>>());
    let first = shop.get("/api/v1/orders/1").await;
    let start = r#"{"id":1,"user_id":1,"product_id":1,"quantity":1,"total_price":1299.99,"status":"processing","created_at":"20"#;
    assert!(first.text().starts_with(start), "{first:?}");

    let made = post(shop, r#"{"user_id": 1, "product_id": 2, "quantity": 2, "total_price": 1998.00}"#).await;
    assert_eq!((made.status.as_u16(), made.header("location")), (201, Some("/api/v1/orders/9")), "{made:?}");
    assert!(made.text().contains(r#""total_price":1998.00,"status":"pending""#), "{made:?}");
    assert_eq!(shop.get("/api/v1/orders/9").await.body, made.body);
    assert_eq!(shop.get("/api/v1/orders").await.json()[8], made.json());
    for id in ["10", "0", "abc"] {
        shop.get(&format!("/api/v1/orders/{id}")).await.problem(404);
    }
}

async fn a_total_is_price_times_quantity_to_the_cent(shop: &Visitor) {
    shop.sql("UPDATE products SET stock = 1000000").await;
    // 0.1 + 0.1 + 0.1 and the like, where a float would be off.
    for (price, quantity, total) in [
        ("0.10", 3, "0.30"),
        ("1.10", 3, "3.30"),
        ("19.99", 3, "59.97"),
        ("0.07", 100, "7.00"),
        ("9999.99", 10_000, "99999900.00"),
    ] {
        shop.sql(&format!("UPDATE products SET price = {price} WHERE id = 7")).await;
        for claim in ["", &format!(r#", "total_price": {total}"#), r#", "total_price": null"#] {
            let made =
                post(shop, &format!(r#"{{"user_id": 1, "product_id": 7, "quantity": {quantity}{claim}}}"#))
                    .await;
            assert_eq!(made.status, 201, "{price} x {quantity}{claim}: {made:?}");
            assert!(made.text().contains(&format!(r#""total_price":{total},"#)), "{made:?}");
        }
        // One cent off is refused, and the right total said.
        let wrong = post(
            shop,
            &format!(r#"{{"user_id": 1, "product_id": 7, "quantity": {quantity}, "total_price": 0.01}}"#),
        )
        .await;
        assert_eq!(wrong.faults(422), ["/total_price"]);
        assert!(wrong.json()["errors"][0]["detail"].to_string().contains(total), "{wrong:?}");
    }
    // What was ordered at a price stays at it.
    shop.sql("UPDATE products SET price = 5 WHERE id = 7").await;
    assert_eq!(
        shop.sql("SELECT min(total_price), max(total_price) FROM orders WHERE product_id = 7").await,
        "0.30|99999900.00"
    );
    let too_much = post(shop, r#"{"user_id": 1, "product_id": 1, "quantity": 10000}"#).await;
    assert_eq!(too_much.status, 201, "{too_much:?}");
    shop.sql("UPDATE products SET price = 99999999.99 WHERE id = 7").await;
    let too_much = post(shop, r#"{"user_id": 1, "product_id": 7, "quantity": 2}"#).await;
    assert_eq!(too_much.faults(422), ["/quantity"]);
}

async fn every_fault_of_an_order_is_named_in_one_answer(shop: &Visitor) {
    for (body, faults) in [
        (json!({}), &["/product_id", "/quantity", "/user_id"][..]),
        (
            json!({ "user_id": "1", "product_id": 0, "quantity": 0, "total_price": -1, "status": "shipped" }),
            &["/product_id", "/quantity", "/status", "/total_price", "/user_id"],
        ),
        (json!({ "user_id": 1, "product_id": 1, "quantity": -1 }), &["/quantity"]),
        (json!({ "user_id": 1, "product_id": 1, "quantity": 1.5 }), &["/quantity"]),
        (json!({ "user_id": 1, "product_id": 1, "quantity": 10_001 }), &["/quantity"]),
        (json!({ "user_id": 1, "product_id": 1, "quantity": 1e30 }), &["/quantity"]),
        (
            json!({ "user_id": 1, "product_id": 1, "quantity": 1, "total_price": "1299.99" }),
            &["/total_price"],
        ),
        (json!({ "user_id": 1, "product_id": 1, "quantity": 1, "total_price": 1299.98 }), &["/total_price"]),
        (json!({ "user_id": 1, "product_id": 1, "quantity": 1, "total_price": 1299.991 }), &["/total_price"]),
        // What only the other services know; the lab's own two first.
        (json!({ "user_id": 9999, "product_id": 1, "quantity": 1, "total_price": 1299.99 }), &["/user_id"]),
        (json!({ "user_id": 1, "product_id": 9999, "quantity": 1, "total_price": 99.99 }), &["/product_id"]),
        (json!({ "user_id": 9999, "product_id": 9999, "quantity": 1 }), &["/product_id", "/user_id"]),
        (json!({ "user_id": 2_147_483_648_i64, "product_id": 1, "quantity": 1 }), &["/user_id"]),
    ] {
        let answer = shop.post("/api/v1/orders", &body).await;
        let mut named = answer.faults(422);
        named.sort();
        assert_eq!(named, faults, "{body}");
    }
    let unknown =
        shop.post("/api/v1/orders", &json!({ "user_id": 9999, "product_id": 1, "quantity": 1 })).await;
    assert!(unknown.json()["detail"].to_string().contains("invalid user_id"), "{unknown:?}");
    // A fault is not an order.
    assert_eq!(shop.sql("SELECT count(*) FROM orders").await, "8");
}

#[tokio::test]
async fn an_order_moves_one_step_at_a_time() {
    let shop = Shop::start().await;
    for (order, steps) in [(1, &["shipped", "delivered"][..]), (4, &["processing", "shipped", "delivered"])] {
        for status in steps {
            let moved = move_to(&shop, order, status).await;
            assert_eq!((moved.status.as_u16(), &moved.json()["status"]), (200, &json!(status)), "{moved:?}");
            assert_eq!(shop.get(&format!("/api/v1/orders/{order}")).await.json(), moved.json());
        }
    }
    for (order, wanted, current, allowed) in [
        (6, "shipped", "pending", json!(["processing", "cancelled"])),
        (6, "delivered", "pending", json!(["processing", "cancelled"])),
        (8, "pending", "processing", json!(["shipped", "cancelled"])),
        (3, "processing", "shipped", json!(["delivered"])),
        (2, "pending", "delivered", json!([])),
    ] {
        let answer = move_to(&shop, order, wanted).await;
        let problem = answer.problem(409);
        assert_eq!((&problem["current"], &problem["allowed"]), (&json!(current), &allowed), "{problem}");
        assert_eq!(answer.faults(409), ["/status"]);
    }
    for status in ["invalid_status", "Shipped", "", " shipped", "canceled", "shipped\n"] {
        let answer = move_to(&shop, 8, status).await;
        assert_eq!(answer.faults(422), ["/status"], "{status:?}");
        assert_eq!(answer.json()["valid"], json!(["processing", "shipped", "delivered", "cancelled"]));
    }
    for body in [json!({}), json!({ "status": null }), json!({ "status": 3 })] {
        assert_eq!(shop.patch("/api/v1/orders/8/status", &body).await.faults(422), ["/status"]);
    }
    assert_eq!(move_to(&shop, 9, "shipped").await.problem(404)["type"], "urn:wasmyard:problem:not-found");
    assert_eq!(shop.sql("SELECT status FROM orders WHERE id = 8").await, "processing");
}

#[tokio::test]
async fn the_status_that_an_order_has_already_changes_nothing() {
    let shop = Shop::start().await;
    let before = shop.get("/api/v1/orders/4").await;
    shop.get("/api/v1/orders").await;
    let row = "SELECT xmin, * FROM orders WHERE id = 4";
    let stored = shop.sql(row).await;

    // Whoever finds it there did not bring it there, and is told so.
    let same = move_to(&shop, 4, "pending").await.problem(409);
    assert_eq!(
        (&same["current"], &same["allowed"]),
        (&json!("pending"), &json!(["processing", "cancelled"]))
    );
    assert_eq!(shop.get("/api/v1/orders/4").await.body, before.body);
    // Not even the same values again, and what is cached stays.
    assert_eq!(shop.sql(row).await, stored);
    assert_eq!(shop.redis_cli(&["EXISTS", "orders:4", "orders:all"]), "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_steps_at_the_same_moment_one_wins_and_the_other_learns_what_became_of_it() {
    let shop = Arc::new(Shop::start().await);
    let mut answers = two_that_waited_for_the_row(&shop).await;
    answers.sort_by_key(|answer| answer.status);
    assert_eq!((answers[0].status.as_u16(), &answers[0].json()["status"]), (200, &json!("processing")));
    let problem: Value = answers[1].problem(409);
    let told = (&problem["current"], &problem["allowed"]);
    assert_eq!(told, (&json!("processing"), &json!(["shipped", "cancelled"])));
}

/// What two are told who took the same step of an order that both had read as pending before
/// either might write. On a busy machine one may wait too long for a lock by the time that
/// the other is there; then it is two others, of another order.
async fn two_that_waited_for_the_row(shop: &Arc<Shop>) -> Vec<Answer> {
    for _ in 0..20 {
        let order = "INSERT INTO orders (user_id, product_id, quantity, total_price) VALUES (1, 1, 1, 1) RETURNING id";
        let order: i32 = shop.sql(order).await.parse().expect("an id");
        let row = shop.session().await;
        let held = format!("BEGIN; SELECT * FROM orders WHERE id = {order} FOR UPDATE");
        row.batch_execute(&held).await.expect("the row is held");
        let step = || {
            let shop = shop.clone();
            async move { move_to(&shop, order, "processing").await }
        };
        let mut both = at_once([step(), step()]);
        let waiting = "SELECT count(*) FROM pg_stat_activity
                       WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%UPDATE orders%'";
        let queued = eventually("both steps wait for the row, or one does no more", async || {
            if both.try_join_next().is_some() {
                return Some(false);
            }
            (shop.sql(waiting).await == "2").then_some(true)
        });
        let queued = queued.await;
        row.batch_execute("ROLLBACK").await.expect("the row is let go");
        let answers = both.join_all().await;
        if queued && answers.iter().all(|answer| !answer.status.is_server_error()) {
            return answers;
        }
    }
    panic!("two steps never waited for a row together");
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_made_at_once_are_all_made_on_wasmyard() {
    // Half of them have a connection at once. Those that wait too long for one are told 503,
    // which is not what is asked here.
    let builder = Shop::builder().change(|manifest| {
        let grants = manifest.services.values_mut().filter_map(|service| service.grants.postgres.as_mut());
        grants.for_each(|grant| grant.pool_max = 25);
    });
    let shop = builder.start().await;
    orders_made_at_once_are_all_made(&shop).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_made_at_once_are_all_made_on_native() {
    let native = NativePeer::start().await;
    orders_made_at_once_are_all_made(&native).await;
}

async fn orders_made_at_once_are_all_made(shop: &Visitor) {
    let order = |n: i32| {
        let shop = shop.clone();
        async move {
            shop.post(
                "/api/v1/orders",
                &json!({ "user_id": n % 4 + 1, "product_id": n % 10 + 1, "quantity": 2 }),
            )
            .await
        }
    };
    for answer in at_once((0..50).map(order)).join_all().await {
        assert_eq!(answer.status, 201, "{answer:?}");
    }
    let right = "SELECT count(*) FROM orders JOIN products p ON p.id = product_id WHERE total_price = quantity * p.price";
    assert_eq!(shop.sql(right).await, "58");
}
