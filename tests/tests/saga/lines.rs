//! Orders of several lines.

use std::sync::Arc;

use serde_json::{Value, json};
use wasmyard_tests::{Answer, Books, Shop, at_once};

async fn order(shop: &Shop, items: &Value) -> Answer {
    shop.post("/api/v1/orders", &json!({ "user_id": 1, "items": items })).await
}

#[tokio::test]
async fn several_lines_are_ordered_listed_and_given_back_together() {
    let shop = Shop::start().await;
    let books = Books::open(&shop.database).await;
    let lines = json!([{ "product_id": 9, "quantity": 3 }, { "product_id": 2, "quantity": 1 }]);
    let made = order(&shop, &lines).await;
    assert_eq!((made.status.as_u16(), made.header("location")), (201, Some("/api/v1/orders/9")), "{made:?}");
    let start = r#"{"id":9,"user_id":1,"product_id":null,"quantity":null,"total_price":1088.97,"status":"pending","created_at":"20"#;
    let end = r#"Z","items":[{"product_id":9,"quantity":3},{"product_id":2,"quantity":1}]}"#;
    assert!(made.text().starts_with(start) && made.text().ends_with(end), "{made:?}");
    assert_eq!(shop.get("/api/v1/orders/9").await.body, made.body);
    assert_eq!(shop.get("/api/v1/orders").await.json()[8], made.json());
    books.agree().await;
    for (product, stock) in [(9, 197), (2, 99)] {
        assert_eq!(shop.get(&format!("/api/v1/products/{product}")).await.json()["stock"], stock);
    }

    let cancelled = shop.patch("/api/v1/orders/9/status", &json!({ "status": "cancelled" })).await;
    assert_eq!((cancelled.status.as_u16(), &cancelled.json()["items"]), (200, &lines));
    for (product, stock) in [(9, 200), (2, 100)] {
        assert_eq!(shop.get(&format!("/api/v1/products/{product}")).await.json()["stock"], stock);
    }
    books.agree().await;
}

#[tokio::test]
async fn one_line_is_the_labs_own_order_in_either_form() {
    let shop = Shop::start().await;
    let lab = shop.post("/api/v1/orders", &json!({ "user_id": 1, "product_id": 2, "quantity": 2 })).await;
    let list = order(&shop, &json!([{ "product_id": 2, "quantity": 2 }])).await;
    let told = |answer: &Answer| {
        let mut order = answer.json();
        let members = order.as_object_mut().expect("an object");
        members.remove("id");
        members.remove("created_at");
        order
    };
    assert_eq!(told(&lab), told(&list));
    let lines = "SELECT order_id, product_id, quantity FROM order_lines WHERE order_id > 8 ORDER BY order_id";
    assert_eq!(shop.sql(lines).await, "9|2|2\n10|2|2");
    assert_eq!(shop.sql("SELECT count(*) FROM order_items").await, "0");
}

#[tokio::test]
async fn all_lines_or_none_are_taken() {
    let shop = Shop::start().await;
    let books = Books::open(&shop.database).await;
    let lines = json!([{ "product_id": 9, "quantity": 1 }, { "product_id": 5, "quantity": 41 }]);
    let short = order(&shop, &lines).await;
    let problem = short.problem(409);
    let told = (&problem["product"], &problem["requested"], &problem["available"]);
    assert_eq!(told, (&json!(5), &json!(41), &json!(40)));
    assert_eq!(short.faults(409), ["/items/1/quantity"]);
    let lab = shop.post("/api/v1/orders", &json!({ "user_id": 1, "product_id": 5, "quantity": 41 })).await;
    assert_eq!(lab.faults(409), ["/quantity"]);
    assert_eq!(books.read().await[&9].stock, 200);
    books.agree().await;

    // The very last ones.
    assert_eq!(order(&shop, &json!([{ "product_id": 5, "quantity": 40 }])).await.status, 201);
    assert_eq!(order(&shop, &json!([{ "product_id": 5, "quantity": 1 }])).await.problem(409)["available"], 0);
    books.agree().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stock_that_is_set_while_some_is_held_is_accounted_for() {
    let shop = Arc::new(Shop::start().await);
    let books = Books::open(&shop.database).await;
    assert_eq!(order(&shop, &json!([{ "product_id": 2, "quantity": 3 }])).await.status, 201);
    books.settle().await;
    // As between its first two steps.
    books.sql("UPDATE reservations SET state = 'held' WHERE order_id = 9").await;
    for (stock, adjusted) in [(7, -90), (7, -90), (500, 403), (0, -97), (40, -57)] {
        let set = shop.patch("/api/v1/products/2/stock", &json!({ "stock": stock })).await;
        assert_eq!((set.status.as_u16(), &set.json()["stock"]), (200, &json!(stock)));
        let now = books.read().await[&2];
        assert_eq!((now.stock, now.reserved, now.adjusted), (stock, 3, adjusted));
        books.balance().await;
    }
    books.sql("UPDATE reservations SET state = 'confirmed' WHERE order_id = 9").await;
    let cancelled = shop.patch("/api/v1/orders/9/status", &json!({ "status": "cancelled" })).await;
    assert_eq!(cancelled.status, 200);
    books.agree().await;
    assert_eq!(books.read().await[&2].stock, 43);

    // And while others buy it.
    let steps = (0..40).map(|step| {
        let shop = shop.clone();
        async move {
            match step % 2 {
                0 => shop.patch("/api/v1/products/2/stock", &json!({ "stock": 100 + step })).await,
                _ => order(&shop, &json!([{ "product_id": 2, "quantity": 1 }])).await,
            }
        }
    });
    at_once(steps.collect::<Vec<_>>()).join_all().await;
    books.agree().await;
}

#[tokio::test]
async fn what_is_wrong_with_a_line_is_told_where_it_stands() {
    let shop = Shop::start().await;
    for (items, faults) in [
        (json!([]), vec!["/items"]),
        (
            json!([{ "product_id": 1, "quantity": 1 }, { "product_id": 9999, "quantity": 1 }]),
            vec!["/items/1/product_id"],
        ),
        (
            json!([{ "product_id": 1, "quantity": 1 }, { "product_id": 1, "quantity": 1 }]),
            vec!["/items/1/product_id"],
        ),
        (
            json!([{ "product_id": 1, "quantity": 0 }, { "quantity": 1, "colour": "red" }]),
            vec!["/items/0/quantity", "/items/1/colour", "/items/1/product_id"],
        ),
    ] {
        assert_eq!(order(&shop, &items).await.faults(422), faults, "{items}");
    }
    assert_eq!(shop.sql("SELECT count(*) FROM orders").await, "8");
}
