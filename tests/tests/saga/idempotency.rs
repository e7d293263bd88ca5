//! Requests that may be repeated.

use std::sync::Arc;

use http::Method;
use serde_json::{Value, json};
use wasmyard_tests::{Answer, Books, Shop, at_once, eventually, until};

use crate::turns::{turn, unscheduled};

const ORDERS: &str = "/api/v1/orders";

async fn order(shop: &Shop, key: &str, quantity: i32) -> Answer {
    send(shop, &[("idempotency-key", key)], &json!({ "user_id": 1, "product_id": 2, "quantity": quantity }))
        .await
}

async fn send(shop: &Shop, headers: &[(&str, &str)], body: &Value) -> Answer {
    let headers: Vec<_> = headers.iter().copied().chain([("content-type", "application/json")]).collect();
    shop.send(Method::POST, ORDERS, &headers, body.to_string().as_bytes()).await
}

async fn count(shop: &Shop) -> i64 {
    shop.sql("SELECT count(*) FROM orders").await.parse().expect("a number")
}

#[tokio::test]
async fn the_same_request_has_the_same_answer_and_another_one_is_refused() {
    let shop = Shop::start().await;
    let first = order(&shop, "k-1", 2).await;
    assert_eq!((first.status.as_u16(), first.header("idempotent-replayed")), (201, None));
    // In either form of the key, and whatever has become of the order and its price.
    assert_eq!(shop.patch("/api/v1/orders/9/status", &json!({ "status": "cancelled" })).await.status, 200);
    shop.sql("UPDATE products SET price = 1, stock = 0 WHERE id = 2").await;
    for key in ["k-1", "\"k-1\""] {
        let again = order(&shop, key, 2).await;
        assert_eq!((again.status, &again.body), (first.status, &first.body), "{again:?}");
        assert_eq!(again.header("location"), first.header("location"));
        assert_eq!(again.header("content-type"), first.header("content-type"));
        assert_eq!(again.header("idempotent-replayed"), Some("true"));
    }
    let other = order(&shop, "k-1", 3).await;
    assert_eq!((other.faults(422), count(&shop).await), (vec![String::new()], 9));
    assert!(other.text().contains("Idempotency-Key"), "{other:?}");
}

#[tokio::test]
async fn a_refused_request_does_not_use_its_key_up() {
    let shop = Shop::start().await;
    let books = Books::open(&shop.database).await;
    // Invalid, unknown, at odds with the total, and too much.
    for body in [
        json!({ "user_id": 1, "product_id": 2 }),
        json!({ "user_id": 1, "product_id": 9999, "quantity": 1 }),
        json!({ "user_id": 1, "product_id": 2, "quantity": 1, "total_price": 1 }),
    ] {
        assert_eq!(send(&shop, &[("idempotency-key", "k-2")], &body).await.status, 422, "{body}");
    }
    order(&shop, "k-2", 101).await.problem(409);
    assert_eq!(order(&shop, "k-2", 1).await.status, 201);
    assert_eq!(order(&shop, "k-2", 1).await.header("idempotent-replayed"), Some("true"));
    assert_eq!(count(&shop).await, 9);
    books.agree().await;
}

#[tokio::test]
async fn what_is_no_key_is_told() {
    let shop = Shop::start().await;
    let body = json!({ "user_id": 1, "product_id": 2, "quantity": 1 });
    for key in ["\"\"", "a b", "a,b", "\"a", "a\\b"].map(str::to_owned).into_iter().chain(["x".repeat(256)]) {
        let refused = send(&shop, &[("idempotency-key", &key)], &body).await;
        assert!(refused.problem(400)["detail"].to_string().contains("Idempotency-Key"), "{key}");
    }
    let two = [("idempotency-key", "a"), ("idempotency-key", "a")];
    assert_eq!(send(&shop, &two, &body).await.status, 400);
    assert_eq!(send(&shop, &[("idempotency-key", &"x".repeat(255))], &body).await.status, 201);
    assert_eq!(count(&shop).await, 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_fifty_identical_requests_one_makes_an_order() {
    let shop = Arc::new(Shop::start().await);
    let books = Books::open(&shop.database).await;
    let one = |_| {
        let shop = shop.clone();
        async move { order(&shop, "k-50", 1).await }
    };
    let answers = at_once((0..50).map(one)).join_all().await;
    let (made, waiting): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 201);
    assert!(made.iter().all(|answer| answer.body == made[0].body), "{made:?}");
    assert_eq!(made.iter().filter(|answer| answer.header("idempotent-replayed").is_none()).count(), 1);
    for answer in waiting {
        answer.problem(409);
        assert_eq!(answer.header("retry-after"), Some("1"));
    }
    assert_eq!(count(&shop).await, 9);
    books.agree().await;
}

/// Sessions of a service that wait for a lock.
async fn waiting(shop: &Shop, role: &str) -> bool {
    let waiting = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
         AND wait_event_type = 'Lock' AND usename = '{role}'"
    );
    shop.sql(&waiting).await != "0"
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_first_is_being_worked_on_the_others_are_told_to_wait() {
    let shop = Arc::new(Shop::start().await);
    let row = shop.session().await;
    // All of it has to happen while the first waits for its lock, which is for three seconds. On
    // a machine that needs more there is another first.
    let first = eventually("it all happens in time", async || {
        // Its stock is what it waits for.
        row.batch_execute("BEGIN; SELECT FROM products WHERE id = 2 FOR UPDATE").await.expect("it is held");
        let first = tokio::spawn({
            let shop = shop.clone();
            async move { order(&shop, "k-3", 1).await }
        });
        until("it waits", async || first.is_finished() || waiting(&shop, "products_service").await).await;
        let second = order(&shop, "k-3", 1).await;
        let another = order(&shop, "k-3", 2).await;
        row.batch_execute("ROLLBACK").await.expect("the row is let go");
        let first = first.await.expect("an answer");
        if first.status != 201 {
            return None;
        }
        second.problem(409);
        assert_eq!(second.header("retry-after"), Some("1"));
        assert_eq!(another.status, 422, "another body is one at once");
        Some(first)
    })
    .await;
    assert_eq!(order(&shop, "k-3", 1).await.body, first.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_made_frees_its_key_before_it_is_undone() {
    // No sweep: what is given up stays there.
    let shop = Shop::builder().change(unscheduled).start().await;
    let books = Books::open(&shop.database).await;
    // Somebody has the stock locked for longer than a request waits.
    let row = shop.session().await;
    row.batch_execute("BEGIN; SELECT FROM products WHERE id = 2 FOR UPDATE").await.expect("the row is held");
    order(&shop, "k-6", 1).await.problem(503);
    row.batch_execute("ROLLBACK").await.expect("the row is let go");
    assert_eq!(order(&shop, "k-6", 2).await.status, 201, "with another body, as the first was no order");

    // Or the user goes, whom a cache still knows.
    shop.sql("INSERT INTO users (id, username, email) VALUES (77, 'gone', 'gone@example.com')").await;
    assert_eq!(shop.get("/api/v1/users/77").await.status, 200);
    shop.sql("DELETE FROM users WHERE id = 77").await;
    let of = |user: i32| json!({ "user_id": user, "product_id": 2, "quantity": 1 });
    assert_eq!(send(&shop, &[("idempotency-key", "k-7")], &of(77)).await.faults(422), ["/user_id"]);
    assert_eq!(send(&shop, &[("idempotency-key", "k-7")], &of(1)).await.status, 201);

    assert_eq!(shop.sql("SELECT DISTINCT step FROM order_sagas").await, "undoing");
    turn(&shop, 1).await;
    books.agree().await;
    assert_eq!(books.read().await[&2].stock, 97);
}

#[tokio::test]
async fn what_a_sweep_takes_over_frees_its_key_even_if_it_cannot_be_undone() {
    // Orders may not call products, so nothing is undone.
    let builder = Shop::builder().change(unscheduled).change(|manifest| {
        let orders = manifest.services.get_mut("orders").expect("orders");
        orders.grants.services.retain(|name| name != "products");
    });
    let shop = builder.start().await;
    shop.sql(
        "INSERT INTO order_sagas (order_id, step, caller, key)
         VALUES (100, 'reserving', '', 'a'), (101, 'confirming', '', 'b'), (102, 'undoing', '', 'c')",
    )
    .await;
    // The third key has been taken by another request since.
    shop.sql(
        "INSERT INTO idempotency_keys (caller, key, digest, order_id)
         VALUES ('', 'a', '', 100), ('', 'b', '', 101), ('', 'c', '', 103)",
    )
    .await;
    turn(&shop, 1).await;
    assert_eq!(shop.sql("SELECT key FROM idempotency_keys ORDER BY key").await, "b\nc");
    let left = shop.sql("SELECT order_id, step, attempts FROM order_sagas ORDER BY order_id").await;
    assert_eq!(left, "100|undoing|1\n101|confirming|1\n102|undoing|1");
}

#[tokio::test]
async fn a_key_is_its_callers_alone() {
    let shop = Shop::start().await;
    let body = json!({ "product_id": 2, "quantity": 1 });
    let mut orders = Vec::new();
    for name in ["alice", "bob"] {
        let login = json!({ "username": name, "password": format!("{name}-password") });
        let token = shop.post("/api/v1/auth/login", &login).await.json()["access_token"].clone();
        let token = format!("Bearer {}", token.as_str().expect("a token"));
        let headers = [("idempotency-key", "k-4"), ("authorization", token.as_str())];
        let (first, again) = (send(&shop, &headers, &body).await, send(&shop, &headers, &body).await);
        assert_eq!((first.status.as_u16(), &first.body), (201, &again.body), "{name}");
        orders.push(first.json()["id"].clone());
    }
    assert_ne!(orders[0], orders[1]);
    // Nor is it that of those who have not logged in.
    assert_eq!(order(&shop, "k-4", 1).await.header("idempotent-replayed"), None);
    assert_eq!(count(&shop).await, 11);
}

#[tokio::test]
async fn a_key_is_free_again_after_a_day() {
    let shop = Shop::start().await;
    assert_eq!(order(&shop, "k-5", 1).await.status, 201);
    let back = "UPDATE idempotency_keys SET claimed_at = claimed_at - interval";
    shop.sql(&format!("{back} '23 hours 59 minutes'")).await;
    assert_eq!(order(&shop, "k-5", 1).await.header("idempotent-replayed"), Some("true"));
    shop.sql(&format!("{back} '2 minutes'")).await;
    // Whether or not the sweep has been there.
    let later = order(&shop, "k-5", 2).await;
    assert_eq!((later.status.as_u16(), later.header("idempotent-replayed")), (201, None), "{later:?}");
    assert_eq!(count(&shop).await, 10);
    shop.sql(&format!("{back} '25 hours'")).await;
    until("old keys are forgotten", async || shop.sql("SELECT count(*) FROM idempotency_keys").await == "0")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_claimed_anew_while_old_ones_are_forgotten_stays() {
    let shop = Arc::new(Shop::builder().change(unscheduled).start().await);
    let old = "clock_timestamp() - interval '25 hours'";
    shop.sql(&format!(
        "INSERT INTO idempotency_keys (caller, key, digest, order_id, claimed_at)
         VALUES ('', 'anew', '', 100, {old}), ('', 'old', '', 101, {old})"
    ))
    .await;
    // What a request does that has found it to be old, and not yet committed.
    let request = shop.session().await;
    let claim = "BEGIN; UPDATE idempotency_keys SET claimed_at = clock_timestamp() WHERE key = 'anew'";
    request.batch_execute(claim).await.expect("it is claimed");
    let forgetting = tokio::spawn({
        let shop = shop.clone();
        async move { turn(&shop, 1).await }
    });
    until("it has found the key", async || waiting(&shop, "orders_service").await).await;
    request.batch_execute("COMMIT").await.expect("it is claimed");
    forgetting.await.expect("a turn");
    assert_eq!(shop.sql("SELECT key FROM idempotency_keys").await, "anew");
}
