//! Searching, ordering, and moving orders along.

use serde_json::json;
use wasmyard_tests::Shop;

use crate::page::{Page, SIZES};

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_searches_orders_and_sees_the_order() {
    let shop = Shop::start().await;
    for (name, width, height) in SIZES {
        let page = Page::open(&shop.url("/"), (width, height)).await;
        page.search("laptop").await;
        let only = "const cards = document.querySelectorAll('.card'); return cards.length === 1 && !!cards[0].querySelector('mark')";
        page.wait_for("the laptop alone is shown, marked", only).await;
        page.add(&[1]).await;
        page.search("yoga").await;
        page.add(&[9, 9]).await;

        // The page asks for a login first, and keeps the basket.
        assert_eq!(page.text("#place").await, "Sign in to order");
        page.sign_in("alice").await;
        page.wait_for(
            "the basket can be ordered",
            "return document.getElementById('place').textContent === 'Place the order'",
        )
        .await;
        let before = page.orders().await;
        page.click("#place").await;
        let order = page.newer_than(&before).await;
        page.shows(order, "pending").await;
        let row = format!("#orders [data-order=\"{order}\"]");
        page.wait_for(
            "the lines have names",
            &format!(
                "return document.querySelector('{row}').textContent.includes('1 × Laptop, 2 × Yoga Mat')"
            ),
        )
        .await;
        let stored =
            shop.sql(&format!("SELECT user_id || ' ' || total_price FROM orders WHERE id = {order}")).await;
        assert_eq!(stored, "1 1359.97");
        assert!(
            page.run("return document.getElementById('place').hidden", &[]).await == true,
            "the basket is empty"
        );
        page.screenshot(&format!("ordered-{name}")).await;
        page.is_clean(&shop).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_shop_refuses_is_said_and_the_basket_stays() {
    let shop = Shop::start().await;
    let page = Page::of(&shop).await;
    page.sign_in("bob").await;
    page.add(&[2]).await;
    shop.sql("UPDATE products SET stock = 0 WHERE id = 2 RETURNING id").await;
    page.click("#place").await;
    page.wait_for("the fault is shown", "return !document.getElementById('basket-fault').hidden").await;
    assert_eq!(page.text("#basket-fault").await, "Only 0 of Smartphone left.");
    assert_eq!(page.run("return document.querySelectorAll('#basket li').length", &[]).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_moves_an_order_along_and_its_customer_sees_it() {
    let shop = Shop::start().await;
    let (customer, admin) = (Page::of(&shop).await, Page::of(&shop).await);
    customer.sign_in("bob").await;
    admin.sign_in("diana").await;
    // The sample order of bob's that is pending.
    customer.shows(4, "pending").await;
    let step = "#orders [data-order=\"4\"] .small";
    assert_eq!(customer.run("return document.querySelectorAll('.small').length", &[]).await, 0);
    admin.resize(SIZES[1].1, SIZES[1].2).await;
    for status in ["processing", "shipped", "delivered"] {
        admin.click(step).await;
        admin.shows(4, status).await;
        customer.shows(4, status).await;
    }
    customer.click("#orders [data-order=\"4\"] summary").await;
    let steps = "const steps = [...document.querySelectorAll('[data-order=\"4\"] .history li')].map(step => step.textContent); return steps.length && steps";
    let steps = customer.wait_for("the history is shown", steps).await;
    let steps: Vec<_> = steps.as_array().expect("a list").iter().filter_map(|step| step.as_str()).collect();
    assert_eq!(steps.len(), 4, "{steps:?}");
    assert!(steps[3].starts_with("delivered") && steps[3].ends_with("by user 4"), "{steps:?}");
    // Others' orders are the admin's alone to see.
    assert_eq!(customer.orders().await, json!([4, 3]));
    assert_eq!(admin.orders().await, json!([8, 7, 6, 5, 4, 3, 2, 1]));
    customer.is_clean(&shop).await;
    admin.is_clean(&shop).await;
}
