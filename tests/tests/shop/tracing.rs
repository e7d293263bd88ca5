//! Traces, as a collector receives them over OTLP.

use std::sync::atomic::Ordering::Relaxed;

use http::Method;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use serde_json::json;
use wasmyard::limits::SPANS_WAITING_MAX;
use wasmyard::manifest::{Manifest, OtlpProtocol, PostgresGrant, Proxies, Service};
use wasmyard_tests::component::hostile;
use wasmyard_tests::{Collector, Received, Shop, ShopBuilder, components, until, within};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CLIENT: &str = "00f067aa0ba902b7";

/// A `traceparent` of a client that records its part, or does not.
fn traceparent(is_sampled: bool) -> String {
    format!("00-{TRACE}-{CLIENT}-0{}", u8::from(is_sampled))
}

/// A shop that sends its traces to `collector`, at this ratio.
fn traced(collector: &Collector, protocol: OtlpProtocol, sample_ratio: f64) -> ShopBuilder {
    let endpoint = Some(collector.endpoint());
    Shop::builder().change(move |manifest: &mut Manifest| {
        manifest.telemetry.endpoint = endpoint;
        manifest.telemetry.protocol = protocol;
        manifest.telemetry.sample_ratio = sample_ratio;
        manifest.telemetry.headers = [("x-api-key".to_owned(), "of-the-test".to_owned())].into();
    })
}

/// The spans of a whole trace.
struct Trace(Vec<Received>);

impl Trace {
    /// Those of `id`, once the host has ended and so has sent them all.
    fn of(collector: &Collector, id: &str) -> Self {
        let of_trace = |received: &Received| hex(&received.span.trace_id) == id;
        Self(collector.spans().into_iter().filter(of_trace).collect())
    }

    fn one(&self, service: &str, name: &str) -> &Received {
        let all = self.all(service, name);
        assert_eq!(all.len(), 1, "{service} has not one span {name:?}: {:#?}", self.shown());
        all[0]
    }

    fn all(&self, service: &str, name: &str) -> Vec<&Received> {
        let wanted = |received: &&Received| received.service() == service && received.span.name == name;
        self.0.iter().filter(wanted).collect()
    }

    fn parent(&self, of: &Received) -> &Received {
        let parent = self.0.iter().find(|received| received.span.span_id == of.span.parent_span_id);
        parent.unwrap_or_else(|| panic!("{:?} has no parent in {:#?}", of.span.name, self.shown()))
    }

    /// Service and name of a span and of all those that it came under, from the inside out.
    fn path(&self, from: &Received) -> Vec<String> {
        let mut path = vec![format!("{}: {}", from.service(), from.span.name)];
        let mut at = from;
        while !at.span.parent_span_id.is_empty() && hex(&at.span.parent_span_id) != CLIENT {
            at = self.parent(at);
            path.push(format!("{}: {}", at.service(), at.span.name));
        }
        path
    }

    fn shown(&self) -> Vec<String> {
        self.0.iter().map(|received| format!("{}: {}", received.service(), received.span.name)).collect()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn code(received: &Received) -> StatusCode {
    received
        .span
        .status
        .as_ref()
        .map_or(StatusCode::Unset, opentelemetry_proto::tonic::trace::v1::Status::code)
}

async fn order_is_traced(collector: Collector, protocol: OtlpProtocol) {
    let shop = traced(&collector, protocol, 0.0).start().await;
    let (parent, order) = (traceparent(true), json!({ "user_id": 1, "product_id": 2, "quantity": 2 }));
    let headers = [
        ("content-type", "application/json"),
        ("traceparent", &*parent),
        ("tracestate", "vendor=of-the-client"),
    ];
    let ordered =
        shop.send(Method::POST, "/api/v1/orders?note=secret", &headers, order.to_string().as_bytes()).await;
    assert_eq!(ordered.status, 201, "{ordered:?}");
    // The last of all: the event that comes of it.
    let of_event = |received: &Received| received.span.name == "process orders";
    collector.span("the event is read", of_event).await;
    collector.span("the request has ended", |received| received.span.name == "POST /api/v1/orders").await;
    shop.stop().await;

    let trace = Trace::of(&collector, TRACE);
    let request = trace.one("orders", "POST /api/v1/orders");
    assert_eq!(hex(&request.span.parent_span_id), CLIENT);
    assert_eq!(request.span.kind(), SpanKind::Server);
    assert_eq!(request.span.trace_state, "vendor=of-the-client");
    assert_eq!(code(request), StatusCode::Unset);
    for (name, value) in [
        ("http.request.method", "POST"),
        ("http.route", "/api/v1/orders"),
        ("http.response.status_code", "201"),
        ("url.path", "/api/v1/orders"),
        ("url.scheme", "https"),
        ("server.address", "localhost"),
        ("client.address", "127.0.0.1"),
        ("network.peer.address", "127.0.0.1"),
        ("network.protocol.version", "2"),
        ("wasmyard.request_id", ordered.request_id()),
    ] {
        assert_eq!(request.attribute(name).as_deref(), Some(value), "{name}");
    }

    // The edges from service to service.
    for (service, route) in [("users", "/api/v1/users/{id}"), ("products", "/api/v1/products/{id}")] {
        let name = format!("GET {route}");
        let serving = trace.one(service, &name);
        let path = [
            format!("{service}: {name}"),
            format!("orders: {name}"),
            "orders: guest".to_owned(),
            "orders: POST /api/v1/orders".to_owned(),
        ];
        assert_eq!(trace.path(serving), path);
        assert_eq!(
            (serving.span.kind(), trace.parent(serving).span.kind()),
            (SpanKind::Server, SpanKind::Client)
        );
        let call = trace.parent(serving);
        for (received, name, value) in [
            (call, "server.address", service),
            (call, "server.port", "80"),
            (serving, "url.scheme", "http"),
            (serving, "http.route", route),
        ] {
            assert_eq!(received.attribute(name).as_deref(), Some(value), "{name}");
        }
        let url = call.attribute("url.full").expect("an address");
        assert!(url.starts_with(&format!("http://{service}/api/v1/{service}/")), "{url}");
        assert_eq!(serving.attribute("url.path").as_deref(), url.strip_prefix(&format!("http://{service}")));
        // What that service did for it is its own, and under its own guest.
        let read = trace.0.iter().find(|received| {
            received.service() == service
                && received.attribute("db.system.name").as_deref() == Some("postgresql")
        });
        let path = trace.path(read.unwrap_or_else(|| panic!("{service} read nothing: {:#?}", trace.shown())));
        assert_eq!(path[1..3], [format!("{service}: guest"), format!("{service}: {name}")], "{path:?}");
    }

    // Statements, with the wait for their connections, and commands.
    let statements: Vec<_> =
        trace.0.iter().filter(|received| received.attribute("db.query.text").is_some()).collect();
    assert!(statements.iter().any(|received| {
        received.service() == "orders"
            && received
                .attribute("db.query.text")
                .is_some_and(|text| text.contains("INTO orders") && text.contains("$1"))
    }));
    for statement in &statements {
        let text = statement.attribute("db.query.text").unwrap_or_default();
        assert!(!text.contains('\''), "a value: {text}");
        assert_eq!(statement.span.kind(), SpanKind::Client);
        assert!(statement.attribute("db.operation.name").is_some(), "{text}");
        for name in ["db.namespace", "server.address", "server.port"] {
            assert!(statement.attribute(name).is_some(), "{name}: {text}");
        }
        let batch = statement.attribute("db.operation.batch.size");
        assert!(batch.is_none_or(|size| size.parse::<u32>().is_ok_and(|size| size > 1)), "{text}");
    }
    let pool = trace.0.iter().find(|received| received.span.name == "pool").expect("a wait for a connection");
    assert_eq!(trace.parent(pool).attribute("db.system.name").as_deref(), Some("postgresql"));
    let redis = |received: &&Received| received.attribute("db.system.name").as_deref() == Some("redis");
    assert!(trace.0.iter().any(|received| redis(&received)), "{:#?}", trace.shown());
    for received in trace.0.iter().filter(redis) {
        let said = format!("{:?}", received.span.attributes);
        assert!(!said.contains("users:1") && !said.contains("orders:"), "a key: {said}");
    }
    // The row of the outbox, and the event that comes of it.
    let (sent, processed) = (trace.one("orders", "send orders"), trace.one("orders", "process orders"));
    let path = ["process orders", "send orders", "guest", "POST /api/v1/orders"];
    assert_eq!(trace.path(processed), path.map(|name| format!("orders: {name}")));
    assert_eq!((sent.span.kind(), processed.span.kind()), (SpanKind::Producer, SpanKind::Consumer));
    let links = |received: &Received| received.span.links.iter().map(|link| hex(&link.span_id)).collect();
    let (of_sent, of_processed): (Vec<_>, Vec<_>) = (links(sent), links(processed));
    assert_eq!(of_sent, [hex(&trace.parent(sent).span.span_id)]);
    assert_eq!(of_processed, [hex(&sent.span.span_id)]);
    assert_eq!(processed.attribute("messaging.destination.name").as_deref(), Some("orders"));

    let everything = format!("{:?}", trace.0);
    assert!(!everything.contains("secret"), "the query of an address");

    for headers in collector.headers() {
        assert_eq!(headers.get("x-api-key").map(http::HeaderValue::as_bytes), Some(&b"of-the-test"[..]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_one_trace_across_the_services_over_grpc() {
    order_is_traced(Collector::grpc().await, OtlpProtocol::Grpc).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_one_trace_across_the_services_over_http() {
    order_is_traced(Collector::http().await, OtlpProtocol::HttpProtobuf).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_says_so_where_it_failed() {
    let collector = Collector::grpc().await;
    let shop = traced(&collector, OtlpProtocol::Grpc, 1.0).service(hostile(components::PANICS)).start().await;
    let user = json!({ "username": "alice", "email": "other@example.com" });
    assert_eq!(shop.post("/api/v1/users", &user).await.status, 409);
    let order = json!({ "user_id": 99_999, "product_id": 2, "quantity": 2 });
    shop.post("/api/v1/orders", &order).await;
    shop.get("/work").await.problem(500);
    shop.get("/no/such/path?token=hidden").await.problem(404);
    let brew = Method::from_bytes(b"BREW").expect("a method");
    let shown = [("x-forwarded-for", "198.51.100.1")];
    assert_eq!(shop.send(brew, "/api/v1/users/1", &shown, b"").await.status, 405);
    let unrouted = |received: &Received| received.span.name == "GET";
    collector.span("the request without a route", unrouted).await;
    let invented =
        |received: &Received| received.attribute("http.request.method").as_deref() == Some("_OTHER");
    let invented = collector.span("the request with a method of its own", invented).await;
    assert_eq!(invented.attribute("http.request.method_original").as_deref(), Some("BREW"));
    assert_eq!(invented.attribute("client.address").as_deref(), Some("127.0.0.1"), "nobody's word");
    shop.stop().await;

    let all = Trace(collector.spans());
    // The statement failed; a conflict is no error of the server.
    let statement = all.0.iter().find(|received| received.attribute("db.response.status_code").is_some());
    let statement = statement.expect("a refused statement");
    assert_eq!(statement.attribute("db.response.status_code").as_deref(), Some("23505"));
    assert_eq!(
        (code(statement), statement.attribute("error.type").as_deref()),
        (StatusCode::Error, Some("23505"))
    );
    let request = all.one("users", "POST /api/v1/users");
    assert_eq!(
        (code(request), request.attribute("http.response.status_code").as_deref()),
        (StatusCode::Unset, Some("409"))
    );

    // Nobody of that number: an error for who called, and none for who was called.
    let calls = all.all("orders", "GET /api/v1/users/{id}");
    let served = all.all("users", "GET /api/v1/users/{id}");
    assert_eq!((code(calls[0]), code(served[0])), (StatusCode::Error, StatusCode::Unset));

    // A trap: of the guest, and so of its request.
    for name in ["guest", "GET /work"] {
        let trapped = all.one("hostile", name);
        assert_eq!(
            (code(trapped), trapped.attribute("error.type").as_deref()),
            (StatusCode::Error, Some("trap"))
        );
    }

    // What no service has is the host's own.
    let unrouted = all.one("wasmyard", "GET");
    assert_eq!(unrouted.attribute("http.response.status_code").as_deref(), Some("404"));
    assert_eq!(unrouted.attribute("url.path").as_deref(), Some("/no/such/path"));
    let said = format!("{:?}", all.0);
    assert!(!said.contains("hidden") && !said.contains("other@example.com"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_decides_for_its_own_traces_and_the_ratio_for_all_others() {
    for (ratio, is_sampled) in [(1.0, false), (0.0, true)] {
        let collector = Collector::grpc().await;
        let shop = traced(&collector, OtlpProtocol::Grpc, ratio).start().await;
        let parent = traceparent(is_sampled);
        assert_eq!(
            shop.send(Method::GET, "/api/v1/users/1", &[("traceparent", &parent)], b"").await.status,
            200
        );
        assert_eq!(shop.get("/api/v1/products/1").await.status, 200);
        collector.span("one of both", |received| received.span.name.starts_with("GET /api/")).await;
        shop.stop().await;
        let of_requests = collector.spans().into_iter().filter(|received| received.service() != "orders");
        let services: Vec<_> = of_requests.map(|received| received.service().to_owned()).collect();
        let recorded = if is_sampled { "users" } else { "products" };
        assert!(!services.is_empty() && services.iter().all(|service| service == recorded), "{services:?}");
        assert_eq!(Trace::of(&collector, TRACE).0.is_empty(), !is_sampled);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stored_answer_and_policies_have_spans_and_no_guest() {
    let collector = Collector::grpc().await;
    let shop = traced(&collector, OtlpProtocol::Grpc, 0.0).start().await;
    until("the answer is stored", async || {
        let answer = shop.get("/api/v1/users/1").await;
        answer.header("cache-status").is_some_and(|status| status.contains("hit"))
    })
    .await;
    let is_hit = |received: &Received| {
        received.span.name == "stored answer"
            && received.attribute("wasmyard.cache.result").as_deref() == Some("hit")
    };
    until("it comes without the guest", async || {
        shop.send(Method::GET, "/api/v1/users/1", &[("traceparent", &traceparent(true))], b"").await;
        collector.spans().iter().any(is_hit)
    })
    .await;
    let orders = [("traceparent", &*traceparent(true)), ("authorization", "Bearer not.a.token")];
    shop.send(Method::GET, "/api/v1/orders", &orders, b"").await.problem(401);
    collector.span("the refused one", |received| received.span.name == "GET /api/v1/orders").await;
    shop.stop().await;
    let trace = Trace::of(&collector, TRACE);
    let limited = trace.all("users", "rate limit");
    assert!(!limited.is_empty(), "{:#?}", trace.shown());
    assert_eq!(limited[0].attribute("wasmyard.rate_limit.result").as_deref(), Some("passed"));
    let auth = trace.one("orders", "auth");
    assert_eq!(auth.attribute("wasmyard.auth.result").as_deref(), Some("invalid_token"));
    assert_eq!(trace.path(auth), ["orders: auth", "orders: GET /api/v1/orders"]);
    assert!(!format!("{:?}", trace.0).contains("not.a.token"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_adds_to_its_own_span_and_knows_its_place() {
    let collector = Collector::grpc().await;
    let mut service = hostile(components::WANTS_EVERYTHING);
    let grants = &mut service.grants;
    (grants.config, grants.stats, grants.auth) = (true, true, true);
    let keys = vec!["hostile:*".to_owned()];
    grants.redis = Some(wasmyard::manifest::KeysGrant { keys: keys.clone() });
    grants.cache = Some(wasmyard::manifest::CacheGrant::new(keys));
    grants.postgres = Some(own_role());
    grants.services = vec!["users".to_owned()];
    let service = Service { ..service };
    let shop = traced(&collector, OtlpProtocol::Grpc, 0.0).service(service).start().await;
    let answer = shop.send(Method::GET, "/work", &[("traceparent", &traceparent(true))], b"").await;
    let said = answer.json().as_str().map(str::to_owned).expect("text");
    collector.span("the request", |received| received.span.name == "GET /work").await;
    shop.stop().await;

    let trace = Trace::of(&collector, TRACE);
    let guest = trace.one("hostile", "guest");
    assert_eq!(guest.attribute("test.rows").as_deref(), Some("true"));
    assert_eq!(guest.span.events[0].name, "all of it");
    let place = said.rsplit(' ').next().expect("a traceparent");
    assert_eq!(place[3..52], format!("{TRACE}-{}", hex(&guest.span.span_id)));
    for name in ["PING", "SELECT", "cache invalidation"] {
        assert_eq!(trace.parent(trace.one("hostile", name)).span.span_id, guest.span.span_id, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_trusted_proxy_the_client_is_the_one_that_it_names() {
    let collector = Collector::grpc().await;
    let behind = traced(&collector, OtlpProtocol::Grpc, 1.0).change(|manifest: &mut Manifest| {
        let loopback = "127.0.0.0/8".parse().expect("a network");
        manifest.server.proxies = Proxies { networks: vec![loopback], ..Proxies::default() };
    });
    let shop = behind.start().await;
    let said = [("x-forwarded-for", "198.51.100.1"), ("traceparent", &*traceparent(true))];
    assert_eq!(shop.send(Method::GET, "/api/v1/users/1", &said, b"").await.status, 200);
    let request = |received: &Received| received.span.name == "GET /api/v1/users/{id}";
    let request = collector.span("the request", request).await;
    assert_eq!(request.attribute("client.address").as_deref(), Some("198.51.100.1"));
    assert_eq!(request.attribute("network.peer.address").as_deref(), Some("127.0.0.1"));
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_in_the_background_is_a_trace_if_it_does_something() {
    let collector = Collector::grpc().await;
    let shop = traced(&collector, OtlpProtocol::Grpc, 1.0).start().await;
    let turns = async || {
        let turns = shop.service("orders");
        turns.stats().turns().outcomes().map(|(_, count)| count).sum::<u64>()
    };
    until("there are turns with nothing to do", async || turns().await >= 2).await;
    shop.sql("INSERT INTO order_sagas (order_id, step, due_at) VALUES (4711, 'undoing', clock_timestamp())")
        .await;
    let root = collector.span("a turn", |received| received.span.name == "background").await;
    shop.stop().await;
    assert_eq!((root.service(), root.span.kind()), ("orders", SpanKind::Internal));
    let roots: Vec<_> =
        collector.spans().into_iter().filter(|received| received.span.name == "background").collect();
    assert_eq!(roots.len(), 1, "the others did nothing");
    let trace = Trace::of(&collector, &hex(&root.span.trace_id));
    let released = trace
        .0
        .iter()
        .find(|received| received.service() == "products" && received.span.kind() == SpanKind::Server);
    let path = trace.path(released.unwrap_or_else(|| panic!("no call to products: {:#?}", trace.shown())));
    assert_eq!(path[2..], ["orders: guest", "orders: background"]);
}

fn own_role() -> PostgresGrant {
    PostgresGrant {
        role: "traced_service".to_owned(),
        pool_max: 1,
        statement_timeout: wasmyard::limits::POSTGRES_STATEMENT_TIMEOUT / 10,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_collector_away_spans_are_lost_and_nothing_else() {
    let collector = Collector::grpc().await;
    let builder = traced(&collector, OtlpProtocol::Grpc, 1.0);
    drop(collector);
    let shop = builder.start().await;
    let counters = shop.host.tracer().expect("a tracer").counters().clone();
    until("spans are lost", async || {
        for _ in 0..100 {
            assert_eq!(shop.get("/api/v1/users/1").await.status, 200);
        }
        counters.failed.load(Relaxed) + counters.dropped.load(Relaxed) > 0
    })
    .await;
    assert_eq!(counters.exported.load(Relaxed), 0);
    assert!(counters.failed.load(Relaxed) < 2 * SPANS_WAITING_MAX as u64, "no more than there were");
    within("the host ends all the same", shop.stop()).await;
}
