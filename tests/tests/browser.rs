//! The browser that other tests drive, tried out itself.

use serde_json::json;
use wasmyard_tests::{Browser, Shop, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_page_can_be_used_and_tells_what_it_did() {
    let browser = Browser::open(800, 600).await;
    browser
        .goto(
            "data:text/html,<meta name=viewport content=width=device-width><input><button onclick=\"this.textContent = 'Hello, ' + this.previousSibling.value\">Go</button>",
        )
        .await;
    assert_eq!(browser.run("return [innerWidth, innerHeight]", &[]).await, json!([800, 600]));
    browser.type_into("input", "Ida").await;
    browser.click("button").await;
    assert_eq!(browser.text("button").await, "Hello, Ida");
    assert_eq!(browser.requests().await, [""; 0]);

    browser.resize(390, 844).await;
    assert_eq!(browser.run("return innerWidth + arguments[0]", &[10.into()]).await, 400);
    let picture = browser.screenshot("browser").await;
    assert!(std::fs::metadata(&picture).is_ok_and(|file| file.len() > 1_000), "{}", picture.display());
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_and_complaints_of_a_page_are_seen() {
    let shop = Shop::start().await;
    let browser = Browser::open(800, 600).await;
    browser.goto(&shop.url("/api/v1/users/1")).await;
    // A browser asks for a page's icon by itself, when it likes.
    let mut requests = browser.requests().await;
    until("the icon is asked for", async || {
        requests.extend(browser.requests().await);
        requests.len() >= 2
    })
    .await;
    assert_eq!(requests, [shop.url("/api/v1/users/1"), shop.url("/favicon.ico")]);
    let asked = "return fetch('/api/v1/users/99').then(answer => answer.status)";
    assert_eq!(browser.run(asked, &[]).await, 404);
    assert_eq!(browser.requests().await, [shop.url("/api/v1/users/99")]);
    let complaints = browser.complaints().await;
    assert!(
        complaints.iter().any(|line| line.contains("users/99") && line.contains("404")),
        "{complaints:?}"
    );
    assert_eq!(browser.complaints().await, [""; 0]);
}
