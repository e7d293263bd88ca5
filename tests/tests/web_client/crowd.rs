//! More than fits the page: many products, many orders, many events.

use http::Method;
use serde_json::json;
use wasmyard_tests::Shop;

use crate::page::Page;

/// Another thirty products, of which every other one is sold out.
const MORE_PRODUCTS: &str = "
    WITH made AS (
        INSERT INTO products (name, price, stock, category)
        SELECT 'Part ' || number, 1, number % 2 * 50, 'Parts' FROM generate_series(1, 30) AS number RETURNING id
    ) SELECT count(*) FROM made";

const CARDS: &str = "return document.querySelectorAll('.card').length";

async fn shop() -> Shop {
    let shop = Shop::start().await;
    assert_eq!(shop.sql(MORE_PRODUCTS).await, "30");
    shop
}

#[tokio::test(flavor = "multi_thread")]
async fn new_stock_changes_figures_and_nothing_else() {
    let shop = shop().await;
    let page = Page::of(&shop).await;
    page.sign_in("alice").await;
    page.run("const more = document.getElementById('more-products'); more.click(); more.click()", &[]).await;
    page.wait_for("a second page is shown", &format!("{CARDS} === 24")).await;
    page.run("document.querySelector('[data-product=\"1\"] button').focus()", &[]).await;
    // Somebody buys: a product of the first page, and one of the second until none is left.
    for (product, quantity) in [(1, 3), (21, 50)] {
        let order = json!({ "user_id": 1, "product_id": product, "quantity": quantity });
        assert_eq!(shop.post("/api/v1/orders", &order).await.status, 201);
    }
    let stock = "return document.querySelector('[data-product=\"1\"]').textContent.includes('47 in stock')
        && document.querySelector('[data-product=\"21\"]').textContent.includes('Sold out')";
    page.wait_for("there are fewer", stock).await;
    assert_eq!(page.run(CARDS, &[]).await, 24);
    assert_eq!(page.focus().await, "Add Laptop to the basket");
    // What is sold out cannot be added.
    page.click("[data-product=\"21\"] button").await;
    assert_eq!(page.run("return document.querySelectorAll('#basket li').length", &[]).await, 0);
    page.run("document.getElementById('more-products').focus()", &[]).await;
    page.click("#more-products").await;
    page.wait_for("the third page is shown", &format!("{CARDS} === 36")).await;
    page.click("#more-products").await;
    page.wait_for("all is shown", &format!("{CARDS} === 40")).await;
    page.wait_for("there is no more", "return document.getElementById('more-products').hidden").await;
    assert_eq!(page.focus().await, "Add Part 27 to the basket");
    page.is_clean(&shop).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_stock_means_all_pages() {
    let shop = shop().await;
    let page = Page::of(&shop).await;
    page.click("#in-stock").await;
    page.says("found", "25 products.").await;
    assert_eq!(page.run("return document.querySelectorAll('.out').length", &[]).await, 0);
    assert_eq!(page.run(CARDS, &[]).await, 25);
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_events_are_a_few_requests_and_a_bounded_list() {
    let shop = Shop::start().await;
    let page = Page::of(&shop).await;
    page.sign_in("diana").await;
    page.shows(1, "processing").await;
    let orders = "
        WITH made AS (
            INSERT INTO orders (user_id, product_id, quantity, total_price, status)
            SELECT 1, 10, 1, 12.95, 'pending' FROM generate_series(1, 10000) RETURNING id
        ) SELECT max(id) FROM made";
    let last: i64 = shop.sql(orders).await.parse().expect("an id");
    page.requests().await;
    // As the stream tells them to somebody who has been away.
    let catch_up = "
        const { take } = await import('/orders.js');
        for (let id = arguments[0] - 9999; id <= arguments[0]; id += 1) {
            take({ type: 'order.created', order_id: id, status: 'pending', occurred_at: '2026-01-01T00:00:00Z' });
        }";
    page.run(
        &format!("return (async () => {{ {catch_up} }})()").replace("arguments[0]", &last.to_string()),
        &[],
    )
    .await;
    page.shows(last, "pending").await;
    page.says("activity", &format!("Order {last} is pending")).await;
    let rows = page.orders().await;
    let rows = rows.as_array().expect("a list");
    assert!(rows.len() <= 200, "{}", rows.len());
    // Nothing is left out between two that are shown.
    assert!(rows.windows(2).all(|pair| pair[0].as_i64() == pair[1].as_i64().map(|id| id + 1)), "{rows:?}");
    assert_eq!(page.run("return document.querySelectorAll('#activity li').length", &[]).await, 50);
    let asked = page.requests().await;
    let asked: Vec<_> = asked.iter().filter(|url| url.contains("/api/v1/orders")).collect();
    assert!(asked.len() <= 5 && asked.iter().all(|url| url.contains("/orders?")), "{asked:?}");

    // The older ones are there for who wants them.
    page.click("#more-orders").await;
    page.shows(last - 30, "pending").await;
    // After a gap all that is shown is read again, not only the newest.
    let status = format!("UPDATE orders SET status = 'cancelled' WHERE id = {} RETURNING id", last - 30);
    shop.sql(&status).await;
    page.run("return import('/orders.js').then(({ take }) => { take({ type: 'gap' }) })", &[]).await;
    page.shows(last - 30, "cancelled").await;
    page.screenshot("crowd-desktop").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_write_is_text() {
    let shop = Shop::start().await;
    let admin = shop.login("diana").await;
    let name = "<script>window.hit = 1</script><img src=x onerror=\"window.hit = 2\"> lamp";
    let product = json!({ "name": name, "description": format!("{name} <b>cheap</b> lamp"), "price": 1, "stock": 5, "category": "<i>Traps</i>" });
    let made = admin.send(&shop, Method::POST, "/api/v1/products", &product).await;
    assert_eq!(made.status, 201, "{made:?}");
    let id = made.json()["id"].as_i64().expect("an id");
    let page = Page::of(&shop).await;
    page.sign_in("alice").await;
    for searched in [false, true] {
        if searched {
            page.search("lamp").await;
        }
        let card = format!("[data-product=\"{id}\"]");
        assert_eq!(page.text(&format!("{card} h3")).await, name);
        assert!(page.text(&format!("{card} .text")).await.contains("<b>cheap</b>"));
    }
    assert_eq!(page.run("return document.querySelectorAll('.card mark').length > 1", &[]).await, true);
    page.click(&format!("[data-product=\"{id}\"] button")).await;
    assert!(page.text("#basket li").await.contains(name));
    let before = page.orders().await;
    page.click("#place").await;
    let order = page.newer_than(&before).await;
    page.wait_for(
        "the order names it",
        &format!("return document.querySelector('#orders [data-order=\"{order}\"]').textContent.includes('<script>')"),
    )
    .await;
    let harm =
        "return [window.hit ?? 0, document.querySelectorAll('main script, main img, main b, main i').length]";
    assert_eq!(page.run(harm, &[]).await, json!([0, 0]));
    page.is_clean(&shop).await;
}
