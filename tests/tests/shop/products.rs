//! `/api/v1/products`.

use http::Method;
use serde_json::{Value, json};
use wasmyard_tests::{Answer, Shop, Visitor, on_both};

on_both!(
    products_are_listed_filtered_read_and_made,
    a_price_is_exact_to_the_cent,
    every_fault_of_a_product_is_named_in_one_answer,
);

fn ids(answer: &Answer) -> Vec<i64> {
    assert_eq!(answer.status, 200, "{answer:?}");
    let list = answer.json();
    list.as_array().expect("an array").iter().map(|item| item["id"].as_i64().expect("an id")).collect()
}

/// A product as the client writes it: numbers keep their digits.
async fn post(shop: &Visitor, body: &str) -> Answer {
    shop.send(Method::POST, "/api/v1/products", &[("content-type", "application/json")], body.as_bytes())
        .await
}

async fn products_are_listed_filtered_read_and_made(shop: &Visitor) {
    assert_eq!(ids(&shop.get("/api/v1/products").await), (1..=10).collect::<Vec<_>>());

    // The lab's way, and any other way to write it.
    for category in ["Electronics", "electronics", "ELECTRONICS", "eLeCtRoNiCs"] {
        let answer = shop.get(&format!("/api/v1/products?category={category}")).await;
        assert_eq!(ids(&answer), [1, 2, 3, 4], "{category}");
    }
    for category in ["Home%20%26%20Kitchen", "home+%26+kitchen"] {
        assert_eq!(ids(&shop.get(&format!("/api/v1/products?category={category}")).await), [5, 6, 7]);
    }
    assert_eq!(ids(&shop.get("/api/v1/products?category=Nothing").await), [0_i64; 0]);
    assert_eq!(ids(&shop.get(&format!("/api/v1/products?category={}", "x".repeat(500))).await), [0_i64; 0]);
    assert_eq!(ids(&shop.get("/api/v1/products?category=").await).len(), 10);

    let phone = shop.get("/api/v1/products/2").await;
    assert!(phone.text().starts_with(r#"{"id":2,"name":"Smartphone","description":"Phone"#), "{phone:?}");
    assert!(
        phone.text().contains(r#","price":999.00,"stock":100,"category":"Electronics","created_at":"#),
        "{phone:?}"
    );

    let body = r#"{"name": "Smart Watch", "description": "Fitness tracking smartwatch", "price": 299.99, "stock": 75, "category": "Electronics"}"#;
    let made = post(shop, body).await;
    assert_eq!(
        (made.status.as_u16(), made.header("location")),
        (201, Some("/api/v1/products/11")),
        "{made:?}"
    );
    assert!(made.text().contains(r#""price":299.99,"stock":75"#), "{made:?}");
    assert_eq!(shop.get("/api/v1/products/11").await.body, made.body);
    assert_eq!(ids(&shop.get("/api/v1/products?category=electronics").await), [1, 2, 3, 4, 11]);

    // What may be left out.
    let bare = post(shop, r#"{"name": "Bare", "price": 1}"#).await.json();
    assert_eq!(
        (&bare["stock"], &bare["description"], &bare["category"]),
        (&json!(0), &Value::Null, &Value::Null)
    );
    shop.get("/api/v1/products/13").await.problem(404);
}

async fn a_price_is_exact_to_the_cent(shop: &Visitor) {
    for (given, kept) in [
        ("0", "0.00"),
        ("-0.00", "0.00"),
        ("0.01", "0.01"),
        ("0.1", "0.10"),
        ("0.30", "0.30"),
        ("1.10", "1.10"),
        ("19.990", "19.99"),
        ("1e3", "1000.00"),
        ("12345e-2", "123.45"),
        ("70368744.17", "70368744.17"),
        ("99999999.99", "99999999.99"),
    ] {
        let made = post(shop, &format!(r#"{{"name": "p", "price": {given}}}"#)).await;
        assert_eq!(made.status, 201, "{given}: {made:?}");
        assert!(made.text().contains(&format!(r#""price":{kept},"#)), "{given}: {made:?}");
        let id = made.json()["id"].to_string();
        assert_eq!(shop.sql(&format!("SELECT price FROM products WHERE id = {id}")).await, kept);
        let read = shop.get(&format!("/api/v1/products/{id}")).await;
        assert!(read.text().contains(&format!(r#""price":{kept},"#)), "{given}: {read:?}");
    }
}

async fn every_fault_of_a_product_is_named_in_one_answer(shop: &Visitor) {
    let long_name = format!(r#"{{"name": "{}", "price": 1}}"#, "é".repeat(101));
    let long_category = format!(r#"{{"name": "p", "price": 1, "category": "{}"}}"#, "c".repeat(51));
    let long_description = format!(r#"{{"name": "p", "price": 1, "description": "{}"}}"#, "d".repeat(2_001));
    for (body, faults) in [
        ("{}", &["/name", "/price"][..]),
        (
            r#"{"name": " ", "price": -0.01, "stock": -1, "category": "", "description": 5, "colour": "red"}"#,
            &["/category", "/colour", "/description", "/name", "/price", "/stock"],
        ),
        (r#"{"name": "p", "price": "9.99"}"#, &["/price"]),
        (r#"{"name": "p", "price": 9.999}"#, &["/price"]),
        (r#"{"name": "p", "price": 100000000}"#, &["/price"]),
        (r#"{"name": "p", "price": 1e999999999999}"#, &["/price"]),
        (r#"{"name": "p", "price": 1e-999999999999}"#, &["/price"]),
        (r#"{"name": "p", "price": null}"#, &["/price"]),
        (r#"{"name": "p", "price": 1, "stock": 1.5}"#, &["/stock"]),
        (r#"{"name": "p", "price": 1, "stock": 2147483648}"#, &["/stock"]),
        (r#"{"name": "p", "price": 1, "stock": "many"}"#, &["/stock"]),
        (r#"{"name": "p", "price": 1, "category": " Books"}"#, &["/category"]),
        (&long_name, &["/name"]),
        (&long_category, &["/category"]),
        (&long_description, &["/description"]),
    ] {
        let mut named = post(shop, body).await.faults(422);
        named.sort();
        assert_eq!(named, faults, "{body}");
    }
    assert_eq!(shop.sql("SELECT count(*) FROM products").await, "10");
}

#[tokio::test]
async fn stock_is_set_within_its_range() {
    let shop = Shop::start().await;
    let answer = shop.patch("/api/v1/products/1/stock", &json!({ "stock": 45 })).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["stock"]), (200, &json!(45)));
    assert_eq!(shop.get("/api/v1/products/1").await.json(), answer.json());
    for stock in [0, 1_000_000_000] {
        assert_eq!(
            shop.patch("/api/v1/products/1/stock", &json!({ "stock": stock })).await.json()["stock"],
            stock
        );
    }

    for (body, faults) in [
        (json!({}), &["/stock"][..]),
        (json!({ "stock": -1 }), &["/stock"]),
        (json!({ "stock": 1_000_000_001 }), &["/stock"]),
        (json!({ "stock": 2_147_483_648_i64 }), &["/stock"]),
        (json!({ "stock": null }), &["/stock"]),
        (json!({ "stock": "45" }), &["/stock"]),
        (json!({ "stock": 45, "price": 0.01 }), &["/price"]),
    ] {
        assert_eq!(shop.patch("/api/v1/products/1/stock", &body).await.faults(422), faults, "{body}");
    }
    for id in ["11", "0", "abc", "99999999999"] {
        shop.patch(&format!("/api/v1/products/{id}/stock"), &json!({ "stock": 1 })).await.problem(404);
    }
    assert_eq!(shop.sql("SELECT price, stock FROM products WHERE id = 1").await, "1299.99|1000000000");
}
