//! The way of an order: its steps, its history, and stock that goes back.

use std::sync::Arc;

use http::Method;
use serde_json::{Value, json};
use tokio_postgres::error::SqlState;
use wasmyard::capability::postgres::prepare_database;
use wasmyard::testing::servers::TestPostgres;
use wasmyard_tests::{Answer, Shop, at_once, until};

const STATUSES: [&str; 5] = ["pending", "processing", "shipped", "delivered", "cancelled"];

fn allowed(from: &str) -> &'static [&'static str] {
    match from {
        "pending" => &["processing", "cancelled"],
        "processing" => &["shipped", "cancelled"],
        "shipped" => &["delivered"],
        _ => &[],
    }
}

async fn move_to(shop: &Shop, order: i32, status: &str) -> Answer {
    shop.patch(&format!("/api/v1/orders/{order}/status"), &json!({ "status": status })).await
}

/// Where the order has been, as its history tells.
async fn been(shop: &Shop, order: i32) -> Vec<String> {
    let history = shop.get(&format!("/api/v1/orders/{order}/history")).await;
    assert_eq!(history.status, 200, "{history:?}");
    let steps = history.json();
    let steps = steps.as_array().expect("an array").iter();
    steps.map(|step| step["status"].as_str().expect("a status").to_owned()).collect()
}

/// A shop in which so many at once wait for each other, and none for a connection: those
/// that wait too long for one are told 503, which is not what is asked here.
async fn with_connections_for_all(requests: usize) -> Shop {
    let builder = Shop::builder().change(move |manifest| {
        let orders = manifest.services.get_mut("orders").expect("orders");
        orders.grants.postgres.as_mut().expect("a grant").pool_max = requests;
    });
    builder.start().await
}

/// All at once: how many had each status, and the problems of those that were refused.
async fn race(
    shop: &Arc<Shop>,
    order: i32,
    statuses: impl IntoIterator<Item = &'static str>,
) -> (usize, Vec<Value>) {
    let step = |status| {
        let shop = shop.clone();
        async move { move_to(&shop, order, status).await }
    };
    let answers = at_once(statuses.into_iter().map(step)).join_all().await;
    let (won, lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 200);
    (won.len(), lost.iter().map(|answer| answer.problem(409)).collect())
}

#[tokio::test]
async fn every_step_is_allowed_or_refused_as_the_workflow_has_it() {
    let shop = Shop::start().await;
    for from in STATUSES {
        for to in STATUSES {
            let order = "INSERT INTO orders (user_id, product_id, quantity, total_price, status)";
            let order = shop.sql(&format!("{order} VALUES (1, 1, 1, 1, '{from}') RETURNING id")).await;
            let order: i32 = order.parse().expect("an id");
            let path = format!("/api/v1/orders/{order}");
            assert_eq!(shop.get(&path).await.json()["status"], from);

            let answer = move_to(&shop, order, to).await;
            if allowed(from).contains(&to) {
                assert_eq!(
                    (answer.status.as_u16(), &answer.json()["status"]),
                    (200, &json!(to)),
                    "{from} {to}"
                );
                assert_eq!(shop.get(&path).await.json(), answer.json(), "what was cached is gone");
                assert_eq!(been(&shop, order).await, [to]);
            } else {
                let problem = answer.problem(409);
                let told = (&problem["current"], &problem["allowed"]);
                assert_eq!(told, (&json!(from), &json!(allowed(from))), "{from} {to}");
                assert_eq!(answer.faults(409), ["/status"]);
                assert_eq!(shop.get(&path).await.json()["status"], from);
                assert_eq!(been(&shop, order).await, [""; 0]);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_fifty_who_take_the_same_step_at_once_one_wins() {
    let shop = Arc::new(with_connections_for_all(50).await);
    for (status, next) in [("processing", json!(["shipped", "cancelled"])), ("shipped", json!(["delivered"]))]
    {
        let (won, lost) = race(&shop, 4, [status; 50]).await;
        assert_eq!((won, lost.len()), (1, 49));
        for problem in lost {
            assert_eq!((&problem["current"], &problem["allowed"]), (&json!(status), &next), "{problem}");
        }
    }
    assert_eq!(been(&shop, 4).await, ["pending", "processing", "shipped"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_cancel_at_once_and_the_stock_goes_back_once() {
    let shop = Arc::new(with_connections_for_all(20).await);
    // What is in the cache must go with it. Order 6 holds two of product 9.
    for path in
        ["/api/v1/products", "/api/v1/products/9", "/api/v1/products?category=sports", "/api/v1/orders"]
    {
        shop.get(path).await;
    }
    let (won, lost) = race(&shop, 6, ["cancelled"; 20]).await;
    assert_eq!((won, lost.len()), (1, 19));
    assert!(lost.iter().all(|problem| problem["current"] == "cancelled" && problem["allowed"] == json!([])));

    stock_is_back(&shop).await;
    assert_eq!(shop.get("/api/v1/products/9").await.json()["stock"], 202);
    assert_eq!(shop.get("/api/v1/products").await.json()[8]["stock"], 202);
    assert_eq!(shop.get("/api/v1/products?category=sports").await.json()[1]["stock"], 202);
    assert_eq!(shop.get("/api/v1/orders").await.json()[5]["status"], "cancelled");
    assert_eq!(shop.sql("SELECT sum(stock) FROM products").await, "1177", "and nothing else has moved");
    assert_eq!(
        shop.sql("SELECT kind, quantity FROM stock_movements WHERE order_id = 6 ORDER BY kind DESC").await,
        "reserve|2\nrelease|2"
    );
    assert_eq!(been(&shop, 6).await, ["pending", "cancelled"]);

    // Once more, later.
    move_to(&shop, 6, "cancelled").await.problem(409);
    assert_eq!(shop.get("/api/v1/products/9").await.json()["stock"], 202);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_cancelled_or_shipped_and_never_both() {
    let shop = Arc::new(with_connections_for_all(40).await);
    let steps = (0..40).map(|n| if n % 2 == 0 { "cancelled" } else { "shipped" });
    let (won, lost) = race(&shop, 8, steps).await;
    assert_eq!((won, lost.len()), (1, 39));
    let now = shop.get("/api/v1/orders/8").await.json()["status"].clone();
    stock_is_back(&shop).await;
    // Order 8 holds three of product 10, of which 300 are left.
    let stock = if now == "cancelled" { 303 } else { 300 };
    assert_eq!(shop.get("/api/v1/products/10").await.json()["stock"], stock, "{now}");
    assert_eq!(been(&shop, 8).await, ["pending", "processing", now.as_str().expect("a status")]);
}

#[tokio::test]
async fn what_an_order_has_not_taken_does_not_go_back() {
    let shop = Shop::start().await;
    let stock = shop.get("/api/v1/products/2").await.json()["stock"].as_i64().expect("a number");
    let made = shop.post("/api/v1/orders", &json!({ "user_id": 1, "product_id": 2, "quantity": 2 })).await;
    let order = made.json()["id"].as_i64().and_then(|id| i32::try_from(id).ok()).expect("an id");
    // As if it had been made before orders took stock.
    for table in ["stock_movements", "reservations"] {
        shop.sql(&format!("DELETE FROM {table} WHERE order_id = {order}")).await;
    }
    assert_eq!(move_to(&shop, order, "cancelled").await.status, 200);
    stock_is_back(&shop).await;
    let left = shop.sql("SELECT stock FROM products WHERE id = 2").await;
    assert_eq!(left, (stock - 2).to_string(), "what it took stays taken, since nobody knows of it");
    assert_eq!(
        shop.sql(&format!("SELECT count(*) FROM stock_movements WHERE order_id = {order}")).await,
        "0"
    );
}

/// Waits until no order owes any stock: what a request cannot give back in its time, the
/// sweep does.
async fn stock_is_back(shop: &Shop) {
    until("the stock goes back", async || shop.sql("SELECT count(*) FROM order_sagas").await == "0").await;
}

#[tokio::test]
async fn stock_that_could_not_go_back_goes_by_itself() {
    // Orders may not call products: to a client as if products were away.
    let builder = Shop::builder().change(|manifest| {
        manifest
            .services
            .get_mut("orders")
            .expect("orders")
            .grants
            .services
            .retain(|name| name != "products");
    });
    let shop = builder.start().await;
    let cancelled = move_to(&shop, 4, "cancelled").await;
    assert_eq!((cancelled.status.as_u16(), &cancelled.json()["status"]), (200, &json!("cancelled")));
    let owed = shop.sql("SELECT order_id, step FROM order_sagas").await;
    assert_eq!(owed, "4|returning", "the order owes its stock");
    assert_eq!(shop.get("/api/v1/products/5").await.json()["stock"], 40);

    let database = shop.database.clone();
    let dir = shop.stop().await;
    let shop = Shop::builder().postgres(database).resume(dir).start().await;
    stock_is_back(&shop).await;
    assert_eq!(shop.get("/api/v1/products/5").await.json()["stock"], 41);
}

#[tokio::test]
async fn the_history_tells_when_and_in_which_order() {
    let shop = Shop::start().await;
    let made =
        shop.post("/api/v1/orders", &json!({ "user_id": 1, "product_id": 2, "quantity": 1 })).await.json();
    let path = format!("/api/v1/orders/{}/history", made["id"]);
    let first = shop.get(&path).await.json();
    assert_eq!(first, json!([{ "status": "pending", "changed_at": made["created_at"], "changed_by": null }]));

    for status in ["processing", "shipped"] {
        assert_eq!(move_to(&shop, 9, status).await.status, 200);
        move_to(&shop, 9, "pending").await.problem(409);
    }
    // Who comes with a token is named.
    let diana = shop.login("diana").await;
    let delivered = json!({ "status": "delivered" });
    let moved = diana.send(&shop, Method::PATCH, "/api/v1/orders/9/status", &delivered).await;
    assert_eq!(moved.status, 200, "{moved:?}");
    let history = shop.get(&path).await.json();
    let steps = history.as_array().expect("an array");
    assert_eq!(steps.len(), 4, "a refused step is none: {history}");
    assert!(
        steps.iter().map(|step| step["status"].as_str()).eq([
            "pending",
            "processing",
            "shipped",
            "delivered"
        ]
        .map(Some))
    );
    let who: Vec<_> = steps.iter().map(|step| &step["changed_by"]).collect();
    assert_eq!(who, [&Value::Null, &Value::Null, &Value::Null, &json!("4")]);
    let rows = "SELECT bool_and(later.changed_at > earlier.changed_at)
                FROM order_history AS earlier JOIN order_history AS later
                ON later.order_id = earlier.order_id AND later.id > earlier.id WHERE later.order_id = 9";
    assert_eq!(shop.sql(rows).await, "t");

    assert_eq!(been(&shop, 2).await, ["pending", "processing", "shipped", "delivered"]);
    for id in ["10", "0", "abc", "99999999999"] {
        shop.get(&format!("/api/v1/orders/{id}/history")).await.problem(404);
    }
    assert_eq!(shop.send(Method::POST, &path, &[], b"").await.status, 405);
}

#[tokio::test]
async fn nobody_but_the_services_reaches_ledger_and_history() {
    let shop = Shop::start().await;
    let client = shop.new_client();
    for origin in [shop.url(""), format!("http://{}", shop.direct("products"))] {
        let address = format!("{origin}/internal/reservations/4");
        assert_eq!(Answer::to(client.delete(address)).await.status, 404);
    }
    assert_eq!(shop.sql("SELECT stock FROM products WHERE id = 5").await, "40");

    for (role, statement) in [
        ("products_service", "UPDATE stock_movements SET quantity = 1000"),
        ("products_service", "DELETE FROM stock_movements"),
        ("products_service", "SELECT * FROM orders"),
        ("products_service", "SELECT * FROM order_sagas"),
        ("orders_service", "SELECT * FROM reservations"),
        ("users_service", "SELECT * FROM idempotency_keys"),
        ("orders_service", "UPDATE order_items SET quantity = 1"),
        ("orders_service", "UPDATE order_history SET changed_by = 'nobody'"),
        ("orders_service", "DELETE FROM order_history"),
        ("orders_service", "SELECT * FROM stock_movements"),
        ("orders_service", "UPDATE products SET stock = stock + 1"),
        ("users_service", "SELECT * FROM order_history"),
    ] {
        let session = shop.session().await;
        let refused = session.batch_execute(&format!("SET ROLE {role}; {statement}")).await;
        let code = refused.as_ref().err().and_then(tokio_postgres::Error::code).map(SqlState::code);
        assert_eq!(code, Some("42501"), "{role}: {statement}");
    }
}

#[tokio::test]
async fn orders_of_before_the_history_have_one_from_then_on() {
    let url = TestPostgres::shared().database();
    let folder = tempfile::tempdir().expect("a folder");
    let migrations = concat!(env!("CARGO_MANIFEST_DIR"), "/../migrations");
    let (before, now): (Vec<_>, Vec<_>) = std::fs::read_dir(migrations)
        .expect("the migrations")
        .map(|entry| entry.expect("a file"))
        .partition(|entry| version(entry) < 4);
    let copy = |files: &[std::fs::DirEntry]| {
        for file in files {
            std::fs::copy(file.path(), folder.path().join(file.file_name())).expect("a copy");
        }
    };
    copy(&before);
    prepare_database(&url, Some(folder.path()), &[], None).await.expect("the old schema");
    let (session, connection) =
        tokio_postgres::connect(&url, tokio_postgres::NoTls).await.expect("the database");
    tokio::spawn(connection);
    let orders = "INSERT INTO users (username, email) VALUES ('ann', 'ann@example.com');
         INSERT INTO products (name, price, stock) VALUES ('Pen', 1, 5);
         INSERT INTO orders (user_id, product_id, quantity, total_price, status, created_at)
         VALUES (1, 1, 1, 1, 'pending', '2025-01-31T12:00'), (1, 1, 1, 1, 'shipped', '2025-01-31T13:00')";
    session.batch_execute(orders).await.expect("orders");

    copy(&now);
    prepare_database(&url, Some(folder.path()), &[], None).await.expect("the new schema");
    let rows = "SELECT order_id, status, changed_at = timestamptz '2025-01-31T12:00Z' + (order_id - 1) * interval '1 h'
                FROM order_history ORDER BY id";
    let rows = session.query(rows, &[]).await.expect("the history");
    let told: Vec<(i32, String, bool)> =
        rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect();
    let expected = [(1, "pending", true), (2, "pending", true), (2, "shipped", false)];
    assert_eq!(told, expected.map(|(order, status, then)| (order, status.to_owned(), then)));
}

/// The number in the name of a migration.
fn version(migration: &std::fs::DirEntry) -> u32 {
    let name = migration.file_name().into_string().expect("a name");
    let number = name.strip_prefix('V').and_then(|name| name.split_once("__")).expect("V<n>__<what>").0;
    number.parse().expect("a number")
}
