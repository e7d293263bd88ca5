//! A network and a server that fail.

use std::time::Duration;

use http::Method;
use serde_json::json;
use wasmyard::manifest::RateLimit;
use wasmyard::testing::servers::TestPostgres;
use wasmyard_tests::{Proxy, Shop};

use crate::page::{Page, SIZES};

const DESKTOP: (u32, u32) = (SIZES[0].1, SIZES[0].2);

/// Lets the page's next order be made, and its answer be another one.
fn instead(answer: &str) -> String {
    format!(
        "const real = window.fetch;
         window.fetch = async (path, options) => {{
             const answer = await real(path, options);
             if (path !== '/api/v1/orders' || options?.method !== 'POST') return answer;
             window.fetch = real;
             {answer}
         }}"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_whose_answer_is_lost_is_made_once() {
    let shop = Shop::start().await;
    let page = Page::of(&shop).await;
    page.sign_in("alice").await;
    let running = "return new Response('{\"detail\": \"still being worked on\"}', { status: 409, headers: { 'content-type': 'application/problem+json', 'retry-after': '1' } })";
    for (times, answer) in [
        "throw new TypeError('Failed to fetch')",
        "return new Response('', { status: 502 })",
        "return new Response('<h1>Too late</h1>', { status: 504 })",
        "return new Response('{}', { status: 503, headers: { 'content-type': 'application/problem+json' } })",
        "return new Response('<h1>Welcome to our WLAN</h1>')",
        running,
    ]
    .into_iter()
    .enumerate()
    {
        page.add(&[10]).await;
        page.run(&instead(answer), &[]).await;
        page.click("#place").await;
        page.says("basket-fault", "Try again: it is ordered only once.").await;
        page.click("#place").await;
        page.wait_for("the basket is empty", "return document.getElementById('place').hidden").await;
        let made = shop.sql("SELECT count(*) FROM orders WHERE product_id = 10 AND user_id = 1").await;
        assert_eq!(made, (times + 1).to_string(), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_put_in_while_an_order_is_under_way_stays() {
    let shop = Shop::start().await;
    let page = Page::of(&shop).await;
    page.sign_in("alice").await;
    page.add(&[9, 10]).await;
    page.run(&instead("await new Promise(go => { window.go = go }); return answer"), &[]).await;
    let before = page.orders().await;
    page.click("#place").await;
    page.add(&[10, 3]).await;
    page.wait_for("the order is made", "return window.go && !window.go()").await;
    page.newer_than(&before).await;
    page.wait_for("what was ordered is out", "return !document.querySelector('[data-line=\"9\"]')").await;
    let left = "return [...document.querySelectorAll('#basket li')].map(row => [+row.dataset.line, +row.querySelector('input').value])";
    assert_eq!(page.run(left, &[]).await, json!([[10, 1], [3, 1]]));
}

#[tokio::test(flavor = "multi_thread")]
async fn offline_is_said_and_ends_by_itself() {
    let shop = Shop::start().await;
    let admin = shop.login("diana").await;
    for (_, width, height) in SIZES {
        let page = Page::open(&shop.url("/"), (width, height)).await;
        page.sign_in("charlie").await;
        let order = json!({ "user_id": 3, "product_id": 10, "quantity": 1 });
        let order = shop.post("/api/v1/orders", &order).await.json()["id"].as_i64().expect("an id");
        page.shows(order, "pending").await;
        page.set_offline(true).await;
        page.is_in_state("offline").await;
        page.type_into("#q", "mat").await;
        page.says("found", "You are offline. Trying again…").await;
        let path = format!("/api/v1/orders/{order}/status");
        admin.send(&shop, Method::PATCH, &path, &json!({ "status": "processing" })).await;
        page.set_offline(false).await;
        page.shows(order, "processing").await;
        page.is_live().await;
        page.wait_for("the mat is found", "return !!document.querySelector('[data-product=\"9\"] mark')")
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_carries_nothing_is_noticed() {
    let shop = Shop::start().await;
    let network = Proxy::start(shop.https().port()).await;
    let page = Page::open(&format!("https://localhost:{}/", network.port()), DESKTOP).await;
    page.sign_in("bob").await;
    network.stall();
    page.wait_for(
        "the stream is given up",
        "return document.getElementById('connection').dataset.state !== 'live'",
    )
    .await;
    page.says("services-note", "The host cannot be reached.").await;
    let admin = shop.login("diana").await;
    admin.send(&shop, Method::PATCH, "/api/v1/orders/4/status", &json!({ "status": "processing" })).await;
    network.mend();
    page.is_live().await;
    page.shows(4, "processing").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shop_that_is_busy_is_asked_again_when_it_says() {
    let few =
        RateLimit { requests: 1, per: Duration::from_secs(3), burst: 1, strict: true, methods: Vec::new() };
    let shop = Shop::builder()
        .change(move |manifest| {
            manifest.services.get_mut("products").expect("the service").rate_limit = Some(few);
        })
        .start()
        .await;
    assert_eq!(shop.get("/api/v1/products?limit=1").await.status, 200);
    let page = Page::begin(&shop.url("/"), DESKTOP).await;
    page.has_products().await;
    let asked = page.requests().await.into_iter().filter(|url| url.contains("/api/v1/products?")).count();
    assert!((1..=10).contains(&asked), "{asked}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_is_opened_while_the_shop_is_down_fills_when_it_is_up() {
    let database = TestPostgres::shared().database();
    let (server, rest) = split(&database);
    let proxy = Proxy::start(server.1).await;
    let shop = Shop::builder().postgres(format!("{}{}{rest}", server.0, proxy.port())).start().await;
    proxy.cut();
    let page = Page::begin(&shop.url("/"), DESKTOP).await;
    page.says("found", "Trying again…").await;
    page.says("services-note", "The shop is").await;
    page.screenshot("down-desktop").await;
    proxy.mend();
    page.has_products().await;
    page.says("found", "10 products.").await;
}

/// A URL in three parts: up to its port, the port, and what is behind it.
fn split(url: &str) -> ((&str, u16), &str) {
    let host = url.rfind('@').unwrap_or_else(|| url.find("//").expect("a URL") + 1) + 1;
    let port = host + url[host..].find(':').expect("a port") + 1;
    let end = port + url[port..].find('/').expect("a database");
    ((&url[..port], url[port..end].parse().expect("a port")), &url[end..])
}
