//! The documentation of the API: true for the versions and the manifest that serve.

use std::collections::BTreeSet;

use http::Method;
use serde_json::{Value, json};
use wasmyard::admin::api::Way;
use wasmyard_tests::component::{bytes, rebuilt};
use wasmyard_tests::{Answer, Browser, Shop, components};

const DOCUMENT: &str = "/api/docs/openapi.json";

#[tokio::test(flavor = "multi_thread")]
async fn every_public_route_is_described() {
    let shop = Shop::start().await;
    let answer = shop.get(DOCUMENT).await;
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, Some("application/json")));
    let routed = shop.manifest.services.values().flat_map(|service| &service.routes);
    let routed =
        routed.flat_map(|route| route.methods.iter().map(|method| (method.to_lowercase(), &route.path)));
    let mut expected: BTreeSet<String> = routed.map(|(method, path)| format!("{method} {path}")).collect();
    for own in ["/api/health", "/.well-known/jwks.json", DOCUMENT] {
        expected.insert(format!("get {own}"));
    }
    assert_eq!(operations(&answer.json()), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_lists_the_operations_and_tries_them_out() {
    let shop = Shop::start().await;
    let browser = Browser::open(1280, 900).await;
    browser.goto(&shop.url("/api/docs")).await;
    browser.wait_for("the operations are there", "return document.querySelectorAll('.opblock').length").await;
    let listed = browser
        .run(
            "return [...document.querySelectorAll('.opblock')].map(block => \
             block.querySelector('.opblock-summary-method').textContent.toLowerCase() + ' ' + \
             block.querySelector('.opblock-summary-path').dataset.path)",
            &[],
        )
        .await;
    let listed: BTreeSet<&str> =
        listed.as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    let document = shop.get(DOCUMENT).await.json();
    let described = operations(&document);
    assert_eq!(listed, described.iter().map(String::as_str).collect());

    let list = "#operations-products-products_list";
    browser.click(&format!("{list} .opblock-summary-control")).await;
    browser.click(&format!("{list} .execute")).await;
    let status = format!("{list} .live-responses-table tbody .response-col_status");
    let got = browser
        .wait_for("the answer is there", &format!("return document.querySelector('{status}')?.innerText"))
        .await;
    assert!(got.as_str().is_some_and(|text| text.starts_with("200")), "{got}");
    browser.screenshot("docs-1280").await;

    let requests = browser.requests().await;
    let asked = shop.url("/api/v1/products");
    assert!(requests.iter().any(|url| url.starts_with(&asked)), "{requests:?}");
    assert!(requests.iter().all(|url| url.starts_with(&format!("{}/", shop.origin))), "{requests:?}");
    assert_eq!(browser.complaints().await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_logs_in_on_the_page() {
    let shop = Shop::builder().tokens_required().start().await;
    let alice = shop.login("alice").await;
    let browser = Browser::open(390, 844).await;
    browser.goto(&shop.url("/api/docs")).await;
    browser.click(".auth-wrapper .authorize").await;
    browser.type_into(".auth-container input", &alice.access).await;
    browser.click(".auth-btn-wrapper .authorize").await;
    browser.click(".auth-btn-wrapper .btn-done").await;
    let me = "#operations-users-users_me";
    browser.click(&format!("{me} .opblock-summary-control")).await;
    browser.click(&format!("{me} .execute")).await;
    let body = format!("{me} .live-responses-table .highlight-code");
    let got = browser
        .wait_for("the answer is there", &format!("return document.querySelector('{body}')?.innerText"))
        .await;
    assert!(got.as_str().is_some_and(|text| text.contains("alice@example.com")), "{got}");
    browser.screenshot("docs-390").await;
    assert_eq!(browser.complaints().await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_swap_changes_the_document_and_nothing_else_does() {
    let shop = Shop::start().await;
    let first = shop.get(DOCUMENT).await;
    let tag = first.header("etag").expect("a tag").to_owned();
    let same = shop.send(Method::GET, DOCUMENT, &[("if-none-match", &tag)], b"").await;
    assert_eq!(same.status, 304);

    shop.service("users").deploy(rebuilt(components::USERS, 2).into(), Way::Deploy).await.expect("a deploy");
    let second = shop.send(Method::GET, DOCUMENT, &[("if-none-match", &tag)], b"").await;
    assert_eq!(second.status, 200);
    let versions = |document: &Value| document["x-wasmyard-versions"].clone();
    let (before, after) = (versions(&first.json()), versions(&second.json()));
    assert_ne!(before["users"], after["users"]);
    assert_eq!(before["orders"], after["orders"]);

    // A version without a description is left out, and the others stay.
    shop.service("users").deploy(bytes(components::ECHOES).into(), Way::Deploy).await.expect("a deploy");
    let without = shop.get(DOCUMENT).await.json();
    assert_eq!(without["paths"]["/api/v1/users"], Value::Null);
    assert!(without["paths"]["/api/v1/orders"].is_object());
    shop.service("users").rollback().await.expect("a rollback");
    assert_eq!(shop.get(DOCUMENT).await.header("etag"), second.header("etag"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_manifest_adds_is_in_the_document() {
    let shop = Shop::builder().tokens_required().start().await;
    let document = shop.get(DOCUMENT).await.json();
    let operation = |path: &str, method: &str| document["paths"][path][method].clone();
    let token = json!([{ "access_token": [] }]);
    assert_eq!(operation("/api/v1/orders", "post")["security"], token);
    assert_eq!(operation("/api/v1/users", "get")["security"], Value::Null);
    assert_eq!(operation("/api/v1/products", "get")["security"], Value::Null);
    let stock = operation("/api/v1/products/{id}/stock", "patch");
    assert_eq!(stock["security"], token);
    for status in ["200", "400", "401", "403", "404", "413", "415", "422", "429", "431", "500", "503", "504"]
    {
        assert!(stock["responses"][status].is_object(), "{status}: {stock}");
    }
    assert_eq!(operation("/api/v1/users", "get")["responses"]["401"], Value::Null);

    let local = Shop::start().await;
    let document = local.get(DOCUMENT).await.json();
    let anybody = json!([{ "access_token": [] }, {}]);
    assert_eq!(document["paths"]["/api/v1/orders"]["post"]["security"], anybody);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_services_own_port_describes_it_by_itself() {
    let shop = Shop::start().await;
    let address = format!("http://{}", shop.direct("products"));
    let document = Answer::to(shop.client().get(format!("{address}{DOCUMENT}"))).await.json();
    assert_eq!(document["info"]["title"], "Products");
    for (path, described) in [
        ("/health", true),
        ("/api/v1/stats", true),
        ("/api/v1/products/{id}", true),
        ("/api/v1/users", false),
    ] {
        assert_eq!(document["paths"][path].is_object(), described, "{path}");
    }
    let page = Answer::to(shop.client().get(format!("{address}/api/docs"))).await;
    assert_eq!(page.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_manifest_says_where_the_documentation_is() {
    let shop =
        Shop::builder().change(|manifest| manifest.server.docs_path = Some("/help".to_owned())).start().await;
    assert!(shop.get("/help").await.text().contains("/help/openapi.json"));
    assert!(shop.get("/help/openapi.json").await.json()["paths"]["/help/openapi.json"].is_object());
    assert_eq!(shop.get("/help/").await.header("location"), Some("/help"));
    assert_eq!(shop.get("/help/none").await.status, 404);
    shop.post("/help", &json!({})).await.problem(405);
    shop.get(DOCUMENT).await.problem(404);

    let shop = Shop::builder().change(|manifest| manifest.server.docs_path = None).start().await;
    shop.get("/api/docs").await.problem(404);
}

/// `get /api/v1/users` for each operation.
fn operations(document: &Value) -> BTreeSet<String> {
    let paths = document["paths"].as_object().expect("paths").iter();
    let operations = paths.flat_map(|(path, item)| {
        item.as_object().expect("a path").keys().map(move |method| format!("{method} {path}"))
    });
    operations.collect()
}
