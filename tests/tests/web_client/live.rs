//! The page while connections break and versions change.

use http::Method;
use serde_json::json;
use wasmyard_tests::{Proxy, Session, Shop, component, components};

use crate::page::{Page, SIZES};

async fn bring(shop: &Shop, admin: &Session, order: i64, status: &str) {
    let path = format!("/api/v1/orders/{order}/status");
    let answer = admin.send(shop, Method::PATCH, &path, &json!({ "status": status })).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// What the page tells of an order, the oldest first, without the time.
async fn told(page: &Page, order: i64) -> Vec<String> {
    let script =
        "return [...document.querySelectorAll('#activity li')].reverse().map(line => line.firstChild.data)";
    let lines = page.run(script, &[]).await;
    let lines = lines.as_array().expect("a list").iter().filter_map(|line| line.as_str());
    lines.filter(|line| line.starts_with(&format!("Order {order} "))).map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_cut_the_page_catches_up_with_each_event_once() {
    let shop = Shop::start().await;
    let admin = shop.login("diana").await;
    for (name, width, height) in SIZES {
        let order = json!({ "user_id": 2, "product_id": 10, "quantity": 1 });
        let order = shop.post("/api/v1/orders", &order).await.json()["id"].as_i64().expect("an id");
        let network = Proxy::start(shop.https().port()).await;
        let page = Page::open(&format!("https://localhost:{}/", network.port()), (width, height)).await;
        page.sign_in("bob").await;
        page.shows(order, "pending").await;
        bring(&shop, &admin, order, "processing").await;
        page.shows(order, "processing").await;

        network.cut();
        page.is_in_state("waiting").await;
        page.screenshot(&format!("cut-{name}")).await;
        bring(&shop, &admin, order, "shipped").await;
        bring(&shop, &admin, order, "delivered").await;
        network.mend();

        page.shows(order, "delivered").await;
        page.is_live().await;
        let states = ["processing", "shipped", "delivered"];
        let expected: Vec<_> = states.iter().map(|status| format!("Order {order} is {status}")).collect();
        page.wait_for(
            "the last event is told",
            &format!("return document.getElementById('activity').textContent.includes('{}')", expected[2]),
        )
        .await;
        assert_eq!(told(&page, order).await, expected);
        page.screenshot(&format!("caught-up-{name}")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_web_socket_gets_through_the_events_come_all_the_same() {
    let shop = Shop::start().await;
    let admin = shop.login("diana").await;
    let page = Page::of(&shop).await;
    // As a proxy does that knows nothing of upgrades: the handshake fails.
    page.run(
        "const Real = WebSocket; window.WebSocket = function (url, protocols) { return new Real(String(url).replace('/ws', '/nowhere'), protocols) }",
        &[],
    )
    .await;
    page.sign_in("bob").await;
    bring(&shop, &admin, 4, "processing").await;
    page.shows(4, "processing").await;
    let requests = page.requests().await;
    assert!(requests.iter().any(|url| url.ends_with("/api/v1/orders/events")), "{requests:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_swap_is_shown_and_cuts_nothing() {
    let shop = Shop::start().await;
    let admin = shop.login("diana").await;
    let page = Page::of(&shop).await;
    page.sign_in("bob").await;
    // How the services are may take its time here: a machine that compiles is busy, and a page
    // that is not answered in time connects anew.
    page.run(
        "const real = window.fetch; window.fetch = (path, options) => real(path, path === '/api/health' ? {} : options)",
        &[],
    )
    .await;
    let version = "return document.querySelector('[data-service=orders]')?.dataset.version";
    let before = page.wait_for("the version is shown", version).await;
    page.requests().await;

    let other = component::rebuilt(components::ORDERS, 1);
    let label = shop.operator().deployed("orders", other).await;
    assert_ne!(before, label.as_str());
    page.wait_for(
        "the other version is shown",
        &format!("return document.querySelector('[data-service=orders]')?.dataset.version === '{label}'"),
    )
    .await;
    bring(&shop, &admin, 4, "processing").await;
    page.shows(4, "processing").await;
    page.run("document.getElementById('services').scrollIntoView({ block: 'center' })", &[]).await;
    page.screenshot("swap-desktop").await;
    // The same connection all along: no other was opened.
    let opened: Vec<_> = page.requests().await.into_iter().filter(|url| url.contains("/ws")).collect();
    assert_eq!(opened, [""; 0]);
    page.is_clean(&shop).await;
}
