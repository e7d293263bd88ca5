//! The operator's port of a running host: probes, metrics, and requests that are not the
//! operator's.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use http::Method;
use wasmyard_tests::component::{hostile, rebuilt};
use wasmyard_tests::{Answer, Shop, components, eventually, within};

/// The header fields of a request.
type Fields<'a> = &'a [(&'a str, &'a str)];

/// One line of a scrape.
#[derive(Debug)]
struct Reading {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

/// Reads a scrape as a collector does, and fails where one would.
fn scrape(answer: &Answer) -> Vec<Reading> {
    assert_eq!(answer.status, 200);
    let text = answer.text();
    assert!(text.ends_with("\n# EOF\n"), "the end of a scrape is marked");
    text.lines().filter(|line| !line.starts_with("# ")).map(reading).collect()
}

fn reading(line: &str) -> Reading {
    let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value: {line}"));
    let value = value.parse().unwrap_or_else(|error| panic!("{error}: {line}"));
    let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
    let mut rest = labels.strip_suffix('}').unwrap_or_else(|| panic!("no end of labels: {line}"));
    let mut labels = BTreeMap::new();
    while let Some((label, after)) = rest.split_once("=\"") {
        let (value, after) = after.split_once('"').unwrap_or_else(|| panic!("no end of a value: {line}"));
        labels.insert(label.to_owned(), value.to_owned());
        rest = after.strip_prefix(',').unwrap_or(after);
    }
    assert!(rest.is_empty(), "{rest} in {line}");
    Reading { name: name.to_owned(), labels, value }
}

/// The sum of the readings that have all of these labels.
fn sum(readings: &[Reading], name: &str, labels: &[(&str, &str)]) -> f64 {
    let has = |reading: &&Reading| {
        reading.name == name
            && labels.iter().all(|(label, value)| reading.labels.get(*label).is_some_and(|has| has == value))
    };
    readings.iter().filter(has).map(|reading| reading.value).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_metrics_count_what_was_asked_and_answered() {
    let shop = Shop::builder().service(hostile(components::PANICS)).start().await;
    for _ in 0..3 {
        assert_eq!(shop.get("/api/v1/users/1").await.status, 200);
    }
    assert_eq!(shop.get("/api/v1/users/999999").await.status, 404);
    assert_eq!(shop.send(Method::DELETE, "/api/v1/users/1", &[], b"").await.status, 405);
    assert_eq!(shop.get("/no/such/path").await.status, 404);
    assert_eq!(
        shop.post("/api/v1/orders", &serde_json::json!({ "user_id": 1, "product_id": 2, "quantity": 1 }))
            .await
            .status,
        201
    );
    shop.get("/work").await.problem(500);
    shop.operator().deployed("users", rebuilt(components::USERS, 1)).await;

    let readings = scrape(&shop.operator().metrics().await);
    let requests = |labels: &[(&str, &str)]| sum(&readings, "wasmyard_requests_total", labels);
    let item = ("route", "/api/v1/users/{id}");
    let from_outside = ("origin", "client");
    assert_eq!(
        requests(&[("service", "users"), item, ("method", "GET"), ("status", "200"), from_outside]),
        3.0
    );
    assert_eq!(requests(&[("service", "users"), item, ("method", "GET"), ("status", "404")]), 1.0);
    assert_eq!(requests(&[("service", "users"), item, ("method", "DELETE"), ("status", "405")]), 1.0);
    assert_eq!(requests(&[("service", ""), ("route", ""), ("status", "404")]), 1.0);
    assert_eq!(requests(&[("service", "orders"), ("method", "POST"), ("status", "201")]), 1.0);
    // The order asked the two other services: for the user; for the price, the stock and its
    // confirmation.
    for (service, count) in [("users", 1.0), ("products", 3.0)] {
        assert_eq!(
            requests(&[("service", service), ("status", "200"), ("origin", "service")]),
            count,
            "{service}"
        );
    }
    assert_eq!(requests(&[("service", "hostile"), ("route", "/work"), ("status", "500")]), 1.0);
    let of_hostile = |name: &str| sum(&readings, name, &[("service", "hostile")]);
    assert_eq!(
        sum(&readings, "wasmyard_guest_failures_total", &[("service", "hostile"), ("kind", "trap")]),
        1.0
    );
    assert_eq!(of_hostile("wasmyard_instances_retired_total"), 1.0);
    assert_eq!(sum(&readings, "wasmyard_swaps_total", &[("service", "users")]), 1.0);
    let version = shop.service("users").version();
    assert_eq!(
        sum(&readings, "wasmyard_version_active", &[("service", "users"), ("version", &version)]),
        1.0
    );
    assert!(sum(&readings, "wasmyard_request_duration_seconds_count", &[("service", "users")]) >= 5.0);

    // No path that a client made up becomes a label.
    assert!(readings.iter().all(|reading| reading.labels.values().all(|value| !value.contains("such"))));
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_probes_answer_and_a_draining_host_is_not_ready() {
    let mut service = hostile(components::ECHOES);
    service.limits.request_timeout = Duration::from_secs(60);
    let shop = Shop::builder().service(service).start().await;
    let operator = shop.operator();
    for probe in ["/livez", "/readyz"] {
        let answer = operator.get(probe).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("cache-control")),
            (200, Some("no-store")),
            "{probe}"
        );
    }
    let status = operator.get("/v1/status").await.json();
    let names: Vec<_> =
        status["services"].as_array().expect("services").iter().map(|service| &service["name"]).collect();
    assert_eq!(names, ["hostile", "orders", "products", "users"]);

    // A request holds the drain up; until it is answered the host says that it drains.
    let slow = {
        let client = shop.new_client();
        let url = format!("https://localhost:{}/work?3000", shop.https().port());
        tokio::spawn(async move { client.get(url).send().await })
    };
    let service = shop.service("hostile");
    eventually("the request is in the guest", async || {
        (service.instances().busy.load(Relaxed) == 1).then_some(())
    })
    .await;
    drop(service);
    let stopped = tokio::spawn(shop.stop());
    eventually("the host is not ready any more", async || {
        let answer = operator.get("/readyz").await;
        (answer.status == 503 && answer.json()["status"] == "draining").then_some(())
    })
    .await;
    assert_eq!(operator.get("/livez").await.status, 200, "it is alive all the same");
    let slow = within("the slow request", slow).await.expect("no panic").expect("an answer");
    assert_eq!(slow.status(), 200, "what has begun is answered");
    within("the stop", stopped).await.expect("no panic");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_are_not_the_operators_change_nothing() {
    let shop = Shop::start().await;
    let operator = shop.operator();
    let version = shop.service("users").version();
    let (deploy, rollback) = ("/v1/services/users/deploy", "/v1/services/users/rollback");
    let (token, wasm) = (operator.authorization(), ("content-type", "application/wasm"));
    let token = ("authorization", token.as_str());
    let wrong = ("authorization", "Bearer 0000000000000000000000000000000000000000000000000000000000000000");

    let forged: [(&str, Fields<'_>, u16); 9] = [
        ("no token", &[wasm], 401),
        ("a wrong token", &[wasm, wrong], 401),
        ("another scheme", &[wasm, ("authorization", "Basic YTpi")], 401),
        ("a page's origin", &[wasm, token, ("origin", "https://evil.example")], 403),
        ("no origin to speak of", &[wasm, token, ("origin", "null")], 403),
        ("a page of another site", &[wasm, token, ("sec-fetch-site", "cross-site")], 403),
        ("a name of somebody else's", &[wasm, token, ("host", "evil.example")], 403),
        ("a form", &[token, ("content-type", "application/x-www-form-urlencoded")], 415),
        ("no type", &[token], 415),
    ];
    for (what, headers, status) in forged {
        let answer = operator.send(Method::POST, deploy, headers, rebuilt(components::USERS, 1)).await;
        answer.problem(status);
        assert_eq!(answer.header("access-control-allow-origin"), None, "{what}");
        assert_eq!(answer.header("connection"), Some("close"), "{what}: its component was left unread");
        if status != 415 {
            operator.send(Method::POST, rollback, headers, Vec::new()).await.problem(status);
        }
    }
    // A name that was bound to loopback afterwards may not even read.
    for path in ["/metrics", "/v1/status", "/v1/services/users/history"] {
        operator.send(Method::GET, path, &[("host", "evil.example:9901")], Vec::new()).await.problem(403);
        operator
            .send(Method::GET, path, &[("origin", "https://evil.example")], Vec::new())
            .await
            .problem(403);
    }
    operator.get(deploy).await.problem(405);
    // Nor does the public port know any of it.
    shop.get("/v1/status").await.problem(404);
    shop.get("/metrics").await.problem(404);

    assert_eq!(shop.service("users").version(), version);
    assert_eq!(operator.history("users").await.len(), 1, "nothing was even tried");
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_operator_is_heard_when_the_public_ports_are_full() {
    let shop = Shop::builder().change(|manifest| manifest.server.limits.connections_max = 2).start().await;
    let hold = || tokio::net::TcpStream::connect(shop.https());
    let held = [hold().await.expect("a connection"), hold().await.expect("a connection")];
    let url = format!("https://localhost:{}/api/v1/users", shop.https().port());
    eventually("a third is turned away", async || shop.new_client().get(&url).send().await.err().map(drop))
        .await;

    let readings = scrape(&shop.operator().metrics().await);
    assert!(sum(&readings, "wasmyard_connections_turned_away_total", &[]) >= 1.0);
    assert!(sum(&readings, "wasmyard_connections_open", &[]) >= 3.0, "two of clients, one of the operator");
    drop(held);
    eventually("there is room again", async || shop.new_client().get(&url).send().await.ok().map(drop)).await;
    shop.stop().await;
}
