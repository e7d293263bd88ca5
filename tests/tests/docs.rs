//! The documentation of the API: true for the versions and the manifest that serve.

use std::collections::BTreeSet;

use http::Method;
use serde_json::{Value, json};
use wasmyard::admin::api::Way;
use wasmyard::manifest::Manifest;
use wasmyard_tests::component::{bytes, rebuilt};
use wasmyard_tests::{Answer, Browser, Shop, components, eventually};

const DOCUMENT: &str = "/api/docs/openapi.json";
/// The key, as WebDriver has it.
const ENTER: &str = "\u{E007}";

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

    let got = try_out(&browser, "#operations-products-products_list").await;
    assert!(got.starts_with("200"), "{got}");
    browser.screenshot("docs-1280").await;
    // The form has the example of the description in it, which is an order that can be made.
    let got = try_out(&browser, "#operations-orders-orders_create").await;
    assert!(got.starts_with("201"), "{got}");

    let requests = browser.requests().await;
    for asked in [shop.url("/api/v1/products"), shop.url("/api/v1/orders")] {
        assert!(requests.iter().any(|url| url.starts_with(&asked)), "{requests:?}");
    }
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
    try_out(&browser, me).await;
    let body = format!("{me} .live-responses-table .highlight-code");
    let got = browser
        .wait_for("the answer is there", &format!("return document.querySelector('{body}')?.innerText"))
        .await;
    assert!(got.as_str().is_some_and(|text| text.contains("alice@example.com")), "{got}");
    browser.screenshot("docs-390").await;
    assert_eq!(browser.complaints().await, [""; 0]);
}

/// Clicked before the page has read its part of the document, Swagger UI's button would ask for
/// nothing, and do nothing ever after.
#[tokio::test(flavor = "multi_thread")]
async fn an_operation_is_tried_out_only_when_the_page_knows_it() {
    let shop = Shop::start().await;
    let browser = Browser::open(1280, 900).await;
    browser.goto(&shop.url("/api/docs")).await;
    let list = "#operations-products-products_list";
    browser.wait_for("the operation is there", &format!("return !!document.querySelector('{list}')")).await;
    // All that happens before the page's timer for its part of the document.
    let early = browser
        .run(
            "document.querySelector(`${arguments[0]} .opblock-summary-control`).click();
             for (let turn = 0; turn < 100; turn++) await null;
             const body = document.querySelector(`${arguments[0]} .opblock-body`);
             const button = body.querySelector('.execute');
             return [!!body.querySelector('.opblock-loading-animation'), getComputedStyle(button).visibility];",
            &[list.into()],
        )
        .await;
    assert_eq!(early, json!([true, "hidden"]));
    browser.click(&format!("{list} .execute")).await;
    let got = answered(&browser, list).await;
    assert!(got.starts_with("200"), "{got}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_follows_a_swap_and_a_services_own_has_its_direct_routes() {
    let shop = Shop::start().await;
    let browser = Browser::open(1280, 900).await;
    let listed = async |address: &str| {
        browser.goto(address).await;
        browser
            .wait_for("the operations are there", "return document.querySelectorAll('.opblock').length")
            .await;
        let paths =
            "return [...document.querySelectorAll('.opblock-summary-path')].map(path => path.dataset.path)";
        let paths = browser.run(paths, &[]).await;
        paths
            .as_array()
            .expect("a list")
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let (page, users) = (shop.url("/api/docs"), "/api/v1/users".to_owned());
    assert!(listed(&page).await.contains(&users));
    shop.service("users").deploy(bytes(components::ECHOES).into(), Way::Deploy).await.expect("a deploy");
    assert!(!listed(&page).await.contains(&users));
    shop.service("users").rollback().await.expect("a rollback");
    assert!(listed(&page).await.contains(&users));

    let own = listed(&format!("http://{}/api/docs", shop.direct("products"))).await;
    assert!(own.contains(&"/health".to_owned()) && !own.contains(&users), "{own:?}");
    // The first operation at that path has no id of its own to be found by.
    let got = try_out(&browser, "#operations-products-get_health").await;
    assert!(got.starts_with("200"), "{got}");
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
    // The next one has operations that it had not.
    shop.service("users").rollback().await.expect("a rollback");
    let third = shop.get(DOCUMENT).await;
    assert!(third.json()["paths"]["/api/v1/users"]["post"].is_object());
    assert_eq!(third.header("etag"), second.header("etag"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_manifest_changes_the_document_of_a_running_host() {
    let shop = Shop::builder().own_files().start().await;
    let before = shop.get(DOCUMENT).await;
    let file = shop.dir().join("wasmyard.toml");
    let text = std::fs::read_to_string(&file).expect("the manifest");
    let route = r#"{ path = "/api/v1/users/stats", methods = ["GET"] }"#;
    let changed = text.replacen(route, &route.replace(" }", ", auth = \"required\" }"), 1);
    assert_ne!(text, changed);
    let new = shop.dir().join("new.toml");
    std::fs::write(&new, changed).expect("a file");
    std::fs::rename(&new, &file).expect("it takes the old one's place");
    let after = eventually("the document has changed", async || {
        let after = shop.get(DOCUMENT).await;
        (after.header("etag") != before.header("etag")).then_some(after)
    })
    .await;
    let security = |answer: &Answer| answer.json()["paths"]["/api/v1/users/stats"]["get"]["security"].clone();
    assert_eq!((security(&before), security(&after)), (Value::Null, json!([{ "access_token": [] }])));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_fails_leaves_the_others_described() {
    let shop = Shop::start().await;
    shop.service("users").deploy(bytes(components::PANICS).into(), Way::Deploy).await.expect("a deploy");
    for _ in 0..2 {
        let document = shop.get(DOCUMENT).await.json();
        assert_eq!(document["paths"]["/api/v1/users"], Value::Null);
        assert!(document["paths"]["/api/v1/orders"].is_object(), "the others do not suffer");
    }
}

/// The answers that refuse somebody, at each route to events.
#[tokio::test(flavor = "multi_thread")]
async fn what_refuses_a_subscriber_is_described() {
    let one = |manifest: &mut Manifest| {
        let events = manifest.services.get_mut("orders").and_then(|orders| orders.events.as_mut());
        events.expect("orders have events").subscribers_per_client_max = 1;
    };
    let shop = Shop::builder().tokens_required().change(one).start().await;
    let document = shop.get(DOCUMENT).await.json();
    let alice = shop.login("alice").await;
    let token = format!("Bearer {}", alice.access);
    let (known, unknown) = (("authorization", token.as_str()), ("authorization", "Bearer nonsense"));
    let upgrade = [
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    // Has the one place that there is.
    let mut listener = shop.event_source("/api/v1/orders/events", &[known]).await;
    assert_eq!(listener.next().await.expect("an event").kind, "ready");
    for (path, opening) in [("/api/v1/orders/events", &[][..]), ("/api/v1/orders/ws", &upgrade[..])] {
        let described = &document["paths"][path]["get"]["responses"];
        let mut cases = vec![
            ("", vec![], 401),
            ("", vec![unknown], 401),
            ("?order_id=abc", vec![known], 400),
            ("?order_id=1&order_id=1", vec![known], 400),
            ("?after=yesterday", vec![known], 400),
            ("?nothing=1", vec![known], 400),
            ("", vec![known, ("origin", "https://elsewhere.example")], 403),
            ("", vec![known], 429),
        ];
        if opening.is_empty() {
            cases.push(("", vec![known, ("last-event-id", "yesterday")], 400));
        }
        let mut answers = Vec::new();
        for (query, fields, status) in cases {
            let mut request = shop.http1().get(shop.url(&format!("{path}{query}")));
            for (name, value) in fields.iter().chain(opening) {
                request = request.header(*name, *value);
            }
            answers.push((Answer::to(request).await, status));
        }
        if !opening.is_empty() {
            answers.push((Answer::to(shop.http1().get(shop.url(path)).header(known.0, known.1)).await, 426));
        }
        for (answer, status) in answers {
            let problem = answer.problem(status);
            let described = &described[status.to_string()];
            let described = match described["$ref"].as_str() {
                Some(reference) => document.pointer(&reference[1..]).expect("a component"),
                None => described,
            };
            // Every field that is promised is there, and the example is the problem itself.
            for name in described["headers"].as_object().expect("fields").keys() {
                assert!(answer.headers.contains_key(name), "{path} {status}: {name} in {answer:?}");
            }
            let examples = &described["content"]["application/problem+json"]["examples"];
            let kinds: Vec<_> = examples
                .as_object()
                .expect("examples")
                .values()
                .map(|example| &example["value"]["type"])
                .collect();
            assert!(kinds.contains(&&problem["type"]), "{path} {status}: {problem}: {kinds:?}");
        }
        for impossible in ["404", "408", "413", "415", "500", "504"] {
            assert_eq!(
                described[impossible],
                Value::Null,
                "no body is read, and no component entered: {path}"
            );
        }
    }
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

/// Opens an operation on the page and tries it out; gives the status of the answer.
async fn try_out(browser: &Browser, operation: &str) -> String {
    browser.click(&format!("{operation} .opblock-summary-control")).await;
    let known = format!(
        "const block = document.querySelector('{operation}');
         return block.querySelector('.opblock-section') && !block.querySelector('.opblock-loading-animation');"
    );
    browser.wait_for("the page knows the operation", &known).await;
    // By the keyboard: answers are described in tables wider than a phone, and where such a page
    // has been moved a mouse of the driver's misses.
    browser.run("document.querySelector(`${arguments[0]} .execute`).focus()", &[operation.into()]).await;
    browser.press(ENTER).await;
    answered(browser, operation).await
}

async fn answered(browser: &Browser, operation: &str) -> String {
    let status = format!("{operation} .live-responses-table tbody .response-col_status");
    let status = format!("return document.querySelector('{status}')?.innerText");
    let status = browser.wait_for("the answer is there", &status).await;
    status.as_str().expect("a status").to_owned()
}

/// `get /api/v1/users` for each operation.
fn operations(document: &Value) -> BTreeSet<String> {
    let paths = document["paths"].as_object().expect("paths").iter();
    let operations = paths.flat_map(|(path, item)| {
        item.as_object().expect("a path").keys().map(move |method| format!("{method} {path}"))
    });
    operations.collect()
}
