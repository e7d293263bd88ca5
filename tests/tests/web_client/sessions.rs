//! Signing in and out, tabs that share a session, and tokens that run out.

use std::time::Duration;

use http::Method;
use serde_json::json;
use wasmyard_tests::Shop;

use crate::page::Page;

/// How often a token has been renewed, by whichever tab.
async fn renewals(shop: &Shop) -> String {
    let counted = r#"wasmyard_requests_total{service="users",route="/api/v1/auth/refresh",method="POST",status="200",origin="client"} "#;
    let metrics = shop.operator().metrics().await;
    let line = metrics.text().lines().find_map(|line| line.strip_prefix(counted));
    // Nobody has come there yet.
    line.unwrap_or("0").to_owned()
}

async fn open_sessions(shop: &Shop) -> String {
    shop.sql("SELECT count(*) FROM sessions WHERE revoked_at IS NULL").await
}

/// Lets the access token be one that has run out, as the page has noted it.
const OUT_OF_DATE: &str = "
    const entry = JSON.parse(localStorage['wasmyard.session']);
    localStorage['wasmyard.session'] = JSON.stringify({ ...entry, until: 0 })";

/// Connects anew, for which a token is needed.
const RECONNECT: &str = "dispatchEvent(new Event('offline'))";

async fn bring(shop: &Shop, order: i64, status: &str) {
    let admin = shop.login("diana").await;
    let path = format!("/api/v1/orders/{order}/status");
    let answer = admin.send(shop, Method::PATCH, &path, &json!({ "status": status })).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_outlives_a_reload_and_ends_when_it_is_told_to() {
    let shop = Shop::start().await;
    let page = Page::of(&shop).await;
    page.click("#sign-in").await;
    page.type_into("#username", "alice").await;
    page.type_into("#password", "wrong-password").await;
    page.click("#login-submit").await;
    page.says("login-fault", "The username or the password is wrong.").await;
    page.click("#login-cancel").await;
    // It was expected: the browser writes every 401 to the console.
    assert_eq!(page.complaints().await.len(), 1);

    page.sign_in("alice").await;
    page.goto(&shop.url("/")).await;
    page.is_live().await;
    assert_eq!(page.text("#who").await, "alice");
    page.click("#sign-out").await;
    page.wait_for("nobody is signed in", "return document.getElementById('who').hidden").await;
    assert_eq!(page.orders().await, json!([]));
    page.goto(&shop.url("/")).await;
    page.has_products().await;
    assert_eq!(page.run("return document.getElementById('who').hidden", &[]).await, true);
    page.is_clean(&shop).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_that_interrupts_another_needs_no_new_token() {
    let shop = Shop::start().await;
    let page = Page::of(&shop).await;
    page.sign_in("alice").await;
    for _ in 0..3 {
        page.run("setTimeout(() => location.reload())", &[]).await;
        page.goto(&shop.url("/")).await;
    }
    page.is_live().await;
    assert_eq!(page.text("#who").await, "alice");
    assert_eq!((renewals(&shop).await, open_sessions(&shop).await), ("0".to_owned(), "1".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn tabs_share_a_session_and_renew_it_once() {
    let shop = Shop::start().await;
    let page = Page::of(&shop).await;
    page.sign_in("bob").await;
    let tabs = page.open_tab().await;
    page.goto(&shop.url("/")).await;
    page.is_live().await;
    assert_eq!(page.text("#who").await, "bob");
    assert_eq!(renewals(&shop).await, "0");

    // Both need a new token at the same moment; only one of them may use the refresh token.
    page.run(OUT_OF_DATE, &[]).await;
    for tab in &tabs {
        page.switch_to(tab).await;
        page.run(RECONNECT, &[]).await;
    }
    for tab in &tabs {
        page.switch_to(tab).await;
        page.is_live().await;
    }
    assert_eq!(renewals(&shop).await, "1");
    // Had the tabs answered each other's renewals, there would be more by now.
    bring(&shop, 4, "processing").await;
    for tab in &tabs {
        page.switch_to(tab).await;
        page.shows(4, "processing").await;
    }
    // One session is Diana's.
    assert_eq!((renewals(&shop).await.as_str(), open_sessions(&shop).await.as_str()), ("1", "2"));

    // Who signs in or out in one tab does so in all.
    page.click("#sign-out").await;
    page.switch_to(&tabs[0]).await;
    page.wait_for("nobody is signed in", "return document.getElementById('who').hidden").await;
    page.sign_in("alice").await;
    page.switch_to(&tabs[1]).await;
    page.says("who", "alice").await;
    page.is_live().await;
    assert_eq!(page.orders().await, json!([2, 1]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_the_server_no_longer_takes_is_renewed() {
    let shop = Shop::builder().tokens_required().start().await;
    let page = Page::of(&shop).await;
    page.sign_in("diana").await;
    let spoil = "
        const entry = JSON.parse(localStorage['wasmyard.session']);
        localStorage['wasmyard.session'] = JSON.stringify({ ...entry, access: entry.access.slice(0, -4) + 'AAAA' })";
    page.run(spoil, &[]).await;
    page.click("#orders [data-order=\"4\"] .small").await;
    page.shows(4, "processing").await;
    assert_eq!(renewals(&shop).await, "1");

    // One whose session is over is not: then somebody must sign in again, and is told so.
    shop.sql("UPDATE sessions SET revoked_at = now() RETURNING id").await;
    page.run(spoil, &[]).await;
    page.click("#orders [data-order=\"4\"] .small").await;
    page.wait_for("nobody is signed in", "return document.getElementById('who').hidden").await;
    page.says("notices", "Your session has ended.").await;
    assert_eq!(page.orders().await, json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_ends_with_its_token_goes_on_with_the_next() {
    let shop = Shop::builder().tokens_required().start().await;
    let page = Page::of(&shop).await;
    let bob = shop.login("bob").await;
    let authority = shop.host.platform().authority().expect("the shop knows its callers").clone();
    // The page believes that it has a quarter of an hour.
    let access = authority.issue_for("2", "customer", Duration::from_secs(6)).token;
    let user = json!({ "id": 2, "username": "bob", "role": "customer" });
    let entry = json!({ "id": "here", "user": user, "access": access, "refresh": bob.refresh });
    let store =
        "localStorage['wasmyard.session'] = JSON.stringify({ ...arguments[0], until: Date.now() + 9e5 })";
    page.run(store, &[entry]).await;
    page.goto(&shop.url("/")).await;
    let renewed =
        format!("return JSON.parse(localStorage['wasmyard.session']).refresh !== '{}'", bob.refresh);
    page.wait_for("the token is renewed", &renewed).await;
    page.is_live().await;
    bring(&shop, 4, "processing").await;
    page.shows(4, "processing").await;
    assert_eq!(open_sessions(&shop).await, "2");
}
