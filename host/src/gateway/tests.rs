//! The gateway with scripted services; over real sockets it is tested elsewhere.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::Value;

use super::script::{Scripted, current, default_limits, entry, respond};
use super::*;
use crate::capability::services::{CallRequest, Caller, Error};
use crate::capability::stats::Reader;
use crate::manifest::{self, AuthLevel, RouteAuth};
use crate::router::Handler;
use crate::runtime::{Failure, Identity, RequestScope};
use crate::telemetry::trace::TraceContext;

/// A body that is there already; one of `None` breaks its deadline.
impl Unread for Option<Bytes> {
    fn bytes_max(&self) -> Option<u64> {
        self.as_ref().map(|bytes| bytes.len() as u64)
    }

    async fn read(self, bytes_max: usize, within: Duration) -> Result<Bytes, crate::server::BodyError> {
        match self {
            Some(bytes) if bytes.len() > bytes_max => Err(crate::server::BodyError::TooLarge { bytes_max }),
            Some(bytes) => Ok(bytes),
            None => Err(crate::server::BodyError::Timeout { within }),
        }
    }
}

fn head(method: &str, path: &str, fields: &[(&str, &str)]) -> Parts {
    let mut request = http::Request::builder().method(method).uri(path);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn peer(listener: ListenerKind) -> Peer {
    Peer { address: ([127, 0, 0, 1], 40_000).into(), listener, secure: true }
}

async fn ask(gateway: &Gateway, method: &str, path: &str, fields: &[(&str, &str)]) -> http::Response<Body> {
    gateway.exchange(head(method, path, fields), Some(Bytes::new()), &peer(ListenerKind::Public)).await
}

fn json(answer: &http::Response<Body>) -> Value {
    serde_json::from_slice(answer.body().bytes()).unwrap()
}

fn users(
    script: impl Fn(&Request) -> Result<Response, Failure> + Send + Sync + 'static,
) -> (Gateway, Arc<Scripted>) {
    let users = Scripted::new("users", script);
    let routes = entry("users", &["GET,POST /users", "GET /users/{id}"], &["GET /stats"]);
    (Gateway::new(current([(routes, users.clone())])), users)
}

#[tokio::test]
async fn a_request_reaches_its_service_clean_and_comes_back_signed() {
    let (gateway, users) = users(|_| {
        let fields = [("content-type", "application/json"), ("server", "x"), ("connection", "close")];
        Ok(respond(200, &fields, "{\"id\":1}"))
    });
    let fields = [("connection", "x-hop"), ("x-hop", "1"), ("x-request-id", "mine"), ("accept", "*/*")];
    let answer = ask(&gateway, "GET", "/users/a%20b?x=1&y", &fields).await;

    let [seen] = &users.seen()[..] else { panic!("asked once") };
    assert_eq!((seen.path(), seen.query(), &*seen.route), ("/users/a%20b", "x=1&y", "/users/{id}"));
    assert_eq!(seen.params, [("id".into(), "a b".to_owned())]);
    assert_eq!(seen.headers.len(), 1);
    assert_eq!(seen.depth, 0);

    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["x-request-id"], seen.id.as_str());
    assert_eq!(answer.headers()["wasmyard-version"], "users@0123456789ab");
    assert_eq!(answer.headers()["server"], "wasmyard");
    assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
    assert!(!answer.headers().contains_key("connection"));
}

#[tokio::test]
async fn the_permit_is_held_until_the_body_is_gone() {
    let (gateway, users) = users(|_| Ok(respond(200, &[], "[]")));
    let before = users.permits_free();
    let answer = ask(&gateway, "GET", "/users", &[]).await;
    assert_eq!(users.permits_free(), before - 1);
    drop(answer);
    assert_eq!(users.permits_free(), before);
}

#[tokio::test]
async fn what_has_no_route_is_a_problem_and_no_service_is_asked() {
    let (gateway, users) = users(|_| Ok(respond(200, &[], "")));
    let cases = [
        ("GET", "/nowhere", 404, "not-found"),
        ("DELETE", "/users", 405, "method-not-allowed"),
        ("GET", "/users/%ff", 400, "malformed"),
        ("GET", "/stats", 404, "not-found"),
    ];
    for (method, path, status, slug) in cases {
        let answer = ask(&gateway, method, path, &[]).await;
        assert_eq!(answer.status(), status, "{method} {path}");
        let problem = json(&answer);
        assert_eq!(problem["type"], format!("urn:wasmyard:problem:{slug}"));
        assert_eq!(problem["instance"], path);
        assert_eq!(problem["request_id"], answer.headers()["x-request-id"].to_str().unwrap());
    }
    let refused = ask(&gateway, "DELETE", "/users", &[]).await;
    assert_eq!(refused.headers()["allow"], "GET, HEAD, POST, OPTIONS");
    let options = ask(&gateway, "OPTIONS", "/users", &[]).await;
    assert_eq!(
        (options.status(), &options.headers()["allow"]),
        (StatusCode::NO_CONTENT, &refused.headers()["allow"])
    );
    assert_eq!(ask(&gateway, "OPTIONS", "*", &[]).await.status(), 204);
    assert!(users.seen().is_empty());
}

#[tokio::test]
async fn a_services_own_port_has_its_own_routes_and_no_others() {
    let (gateway, _) = users(|_| Ok(respond(200, &[], "")));
    for (service, path, status) in [
        ("users", "/stats", 200),
        ("users", "/health", 200),
        ("users", "/api/health", 404),
        ("gone", "/stats", 404),
    ] {
        let peer = peer(ListenerKind::Direct(service.into()));
        let answer = gateway.exchange(head("GET", path, &[]), Some(Bytes::new()), &peer).await;
        assert_eq!(answer.status(), status, "{service} {path}");
    }
}

#[tokio::test]
async fn a_failure_is_a_problem_and_is_counted_by_its_kind() {
    let (gateway, users) = users(|_| Err(Failure::Trap("secret place".into())));
    let answer = ask(&gateway, "GET", "/users", &[]).await;
    assert_eq!(answer.status(), 500);
    assert!(!std::str::from_utf8(answer.body().bytes()).unwrap().contains("secret"));
    assert!(users.stats().failures().any(|failure| failure == ("trap", 1)));
    let snapshot = users.stats().read();
    assert_eq!((snapshot.requests, snapshot.in_flight, snapshot.by_status), (1, 0, vec![(500, 1)]));
    assert_eq!(users.stats().abandoned(), 0);
}

#[tokio::test]
async fn a_body_over_the_limit_or_too_late_is_refused_before_the_service() {
    let limits = manifest::ServiceLimits { request_body_bytes_max: 4, ..default_limits() };
    let users = Scripted::with_limits("users", limits, |_| Ok(respond(201, &[], "")));
    let gateway = Gateway::new(current([(entry("users", &["POST /users"], &[]), users.clone())]));
    for (body, status) in [(Some("12345"), 413), (Some("1234"), 201), (None, 408)] {
        let peer = peer(ListenerKind::Public);
        let answer = gateway.exchange(head("POST", "/users", &[]), body.map(Bytes::from), &peer).await;
        assert_eq!(answer.status(), status, "{body:?}");
    }
    assert_eq!(users.seen().len(), 1);
}

#[tokio::test]
async fn a_known_answer_is_not_sent_again() {
    let (gateway, _) = users(|_| Ok(respond(200, &[("content-type", "application/json")], "[1]")));
    let first = ask(&gateway, "GET", "/users", &[]).await;
    let tag = first.headers()["etag"].to_str().unwrap().to_owned();
    let second = ask(&gateway, "GET", "/users", &[("if-none-match", &tag)]).await;
    assert_eq!(second.status(), 304);
    assert!(second.body().bytes().is_empty());
    assert_eq!(second.headers()["etag"], tag.as_str());
    assert!(second.headers().contains_key("wasmyard-version"));
}

#[tokio::test]
async fn a_changed_router_counts_from_the_next_request() {
    let (gateway, _) = users(|_| Ok(respond(200, &[], "")));
    let moved = Scripted::new("users", |_| Ok(respond(200, &[], "")));
    assert_eq!(ask(&gateway, "GET", "/people", &[]).await.status(), 404);
    let router = script::router([(entry("users", &["GET /people"], &[]), moved)]).unwrap();
    gateway.router.store(Arc::new(router));
    assert_eq!(ask(&gateway, "GET", "/people", &[]).await.status(), 200);
    assert_eq!(ask(&gateway, "GET", "/users", &[]).await.status(), 404);
}

#[tokio::test]
async fn the_health_of_all_is_that_of_the_worst() {
    let well =
        || Ok(respond(200, &[], r#"{"status":"ok","version":"x","redis":{"status":"ok","latency_ms":1}}"#));
    let weak = || Ok(respond(200, &[], r#"{"status":"degraded","redis":{"status":"down"}}"#));
    let ill = || Ok(respond(503, &[], r#"{"status":"down","database":{"status":"down"}}"#));
    let dead = || Err(Failure::Trap("no".into()));
    type Health = fn() -> Result<Response, Failure>;
    let cases: [(Health, u16, &str, &str); 4] = [
        (well, 200, "ok", "ok"),
        (weak, 200, "degraded", "degraded"),
        (ill, 503, "down", "down"),
        (dead, 503, "down", "down"),
    ];
    for (other, status, overall, others) in cases {
        let router = current([
            (entry("orders", &["GET /orders"], &[]), Scripted::new("orders", move |_| other())),
            (entry("users", &["GET /users"], &[]), Scripted::new("users", move |_| well())),
        ]);
        let answer = ask(&Gateway::new(router), "GET", "/api/health", &[]).await;
        let report = json(&answer);
        assert_eq!((answer.status().as_u16(), report["status"].as_str().unwrap()), (status, overall));
        assert_eq!(report["services"]["orders"]["status"], others);
        assert_eq!(report["services"]["users"]["version"], "0123456789ab");
        assert_eq!(report["services"]["users"]["redis"]["latency_ms"], 1);
    }
    let router = current([]);
    assert_eq!(ask(&Gateway::new(router.clone()), "POST", "/api/health", &[]).await.status(), 405);
}

#[tokio::test]
async fn a_limit_is_told_and_kept_for_each_client_by_itself() {
    let users = Scripted::new("users", |_| Ok(respond(200, &[("ratelimit", "mine")], "[]")));
    let limit = manifest::RateLimit {
        requests: 2,
        per: Duration::from_secs(3_600),
        burst: 2,
        strict: false,
        methods: Vec::new(),
    };
    let mut routes = entry("users", &["GET,POST /users", "GET /users/{id}"], &["GET /stats"]);
    routes.rate_limit = Some(limit.clone());
    routes.routes[0].rate_limit =
        Some(manifest::RateLimit { burst: 1, methods: vec!["POST".to_owned()], ..limit });
    let gateway = Gateway::new(current([(routes, users.clone())]));
    let standing = |answer: &http::Response<Body>| {
        let field =
            |name: &str| answer.headers().get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
        (answer.status().as_u16(), field("ratelimit"), field("ratelimit-policy"))
    };
    let told = |status: u16, state: &str, policy: &str| (status, state.to_owned(), policy.to_owned());

    // Both routes, and HEAD as GET, count towards the service's limit.
    let policy = r#""users";q=2;w=3600"#;
    let first = ask(&gateway, "GET", "/users", &[]).await;
    assert_eq!(standing(&first), told(200, r#""users";r=1;t=1800"#, policy));
    let second = ask(&gateway, "HEAD", "/users/1", &[]).await;
    assert_eq!(standing(&second), told(200, r#""users";r=0;t=3600"#, policy));
    let refused = ask(&gateway, "GET", "/users", &[]).await;
    assert_eq!(standing(&refused), told(429, r#""users";r=0;t=1800"#, policy));
    assert_eq!(refused.headers()["retry-after"], "1800");
    let problem = json(&refused);
    assert_eq!(problem["type"], "urn:wasmyard:problem:rate-limited");
    assert_eq!(problem["violated-policies"], serde_json::json!(["users"]));
    assert_eq!(users.seen().len(), 2);

    // A method with a limit of its own, which a service's own port counts towards too.
    let policy = r#""users:POST:/users";q=1;w=1800"#;
    let posted = ask(&gateway, "POST", "/users", &[]).await;
    assert_eq!(standing(&posted), told(200, r#""users:POST:/users";r=0;t=1800"#, policy));
    let own_port = peer(ListenerKind::Direct("users".into()));
    let posted = gateway.exchange(head("POST", "/users", &[]), Some(Bytes::new()), &own_port).await;
    assert_eq!(posted.status(), 429);

    // What the host answers itself, and what tells of health, costs nothing.
    for (method, path, status) in [
        ("OPTIONS", "/users", 204),
        ("GET", "/api/health", 200),
        ("DELETE", "/users", 405),
        ("GET", "/nowhere", 404),
    ] {
        let answer = ask(&gateway, method, path, &[]).await;
        assert_eq!(standing(&answer), told(status, "", ""), "{method} {path}");
    }
    let health = gateway.exchange(head("GET", "/health", &[]), Some(Bytes::new()), &own_port).await;
    assert_eq!(standing(&health), told(200, "mine", ""));

    // Another address is another client, whatever either of them claims.
    let other = Peer { address: ([192, 0, 2, 1], 40_000).into(), ..peer(ListenerKind::Public) };
    let claim = [("x-forwarded-for", "198.51.100.1"), ("forwarded", "for=198.51.100.1")];
    assert_eq!(ask(&gateway, "GET", "/users", &claim).await.status(), 429);
    let answer = gateway.exchange(head("GET", "/users", &claim), Some(Bytes::new()), &other).await;
    assert_eq!(standing(&answer).1, r#""users";r=1;t=1800"#);
    assert!(users.stats().limits().iter().any(|counted| counted == ("host", "refused", 3)));
}

#[tokio::test]
async fn a_refused_body_is_not_read() {
    let users = Scripted::new("users", |_| Ok(respond(201, &[], "")));
    let mut routes = entry("users", &["POST /users"], &[]);
    let (requests, per) = (1, Duration::from_secs(60));
    routes.rate_limit =
        Some(manifest::RateLimit { requests, per, burst: 1, strict: true, methods: Vec::new() });
    let gateway = Gateway::new(current([(routes, users.clone())]));
    // The body of the second one would break its deadline.
    for (body, status) in [(Some(Bytes::new()), 201), (None, 429)] {
        let peer = peer(ListenerKind::Public);
        let answer = gateway.exchange(head("POST", "/users", &[]), body, &peer).await;
        assert_eq!(answer.status(), status);
    }
}

fn call(method: &str, path: &str) -> CallRequest {
    CallRequest {
        method: method.to_owned(),
        path: path.to_owned(),
        query: String::new(),
        headers: vec![("connection".to_owned(), b"x-hop".to_vec()), ("x-hop".to_owned(), b"1".to_vec())],
        body: Vec::new(),
    }
}

fn scope(depth: u8) -> RequestScope {
    RequestScope {
        id: RequestId::new(),
        depth,
        deadline: Instant::now() + Duration::from_secs(1),
        identity: Some(Identity { subject: "alice".to_owned(), roles: Vec::new(), expires_at: None }),
        trace: TraceContext::new(),
        read: None,
        transactions_open: 0,
    }
}

#[tokio::test]
async fn a_call_carries_the_caller_along() {
    let users = Scripted::new("users", |_| Ok(respond(200, &[("server", "x")], "{}")));
    let router = current([(entry("users", &["GET /users/{id}"], &[]), users.clone())]);
    let calls = ServiceCalls::new(&router, ["users".to_owned()]);
    let scope = scope(1);
    let answer = calls.call("users", call("GET", "/users/1"), &scope).await.unwrap();
    assert_eq!((answer.status, answer.body.as_slice()), (200, b"{}".as_slice()));
    assert!(answer.headers.is_empty());

    let [seen] = &users.seen()[..] else { panic!("asked once") };
    assert_eq!((&seen.id, &seen.identity, seen.depth), (&scope.id, &scope.identity, 2));
    assert_eq!(seen.deadline, scope.deadline);
    assert!(seen.headers.is_empty());
    assert_eq!(users.permits_free(), limits::CONCURRENCY_MAX);
    assert_eq!(users.stats().read().requests, 1);
}

/// The users service with a route that wants a token, and one that wants the role admin.
fn guarded() -> (manifest::Service, Arc<Scripted>) {
    let mut routes = entry("users", &["GET,POST /users", "GET /admins"], &[]);
    let levels = |method: &str| [(method.to_owned(), AuthLevel::Required)].into();
    routes.routes[0].auth = RouteAuth { levels: levels("POST"), ..RouteAuth::default() };
    routes.routes[1].auth =
        RouteAuth { levels: levels("GET"), role: Some("admin".to_owned()), local_optional: false };
    (routes, Scripted::new("users", |_| Ok(respond(200, &[], "[]"))))
}

#[tokio::test]
async fn a_caller_is_verified_before_the_service_and_handed_over_without_the_token() {
    let (routes, users) = guarded();
    let authority = Arc::new(policy::auth::tests::alone().await);
    let gateway = Gateway::new(current([(routes, users.clone())])).with_authority(Some(authority.clone()));
    let token = format!("Bearer {}", authority.issue("7", "customer").token);
    let fields = [("authorization", token.as_str()), ("accept", "*/*")];

    // One that would be told to wait for its body is told at once that it is not wanted.
    let unread = gateway.exchange(head("POST", "/users", &[]), None, &peer(ListenerKind::Public)).await;
    assert_eq!(
        (unread.status().as_u16(), &unread.headers()["www-authenticate"]),
        (401, &"Bearer".parse().unwrap())
    );
    assert_eq!(ask(&gateway, "GET", "/admins", &fields).await.status(), 403);
    assert!(users.seen().is_empty());

    assert_eq!(ask(&gateway, "POST", "/users", &fields).await.status(), 200);
    assert_eq!(ask(&gateway, "GET", "/users", &fields).await.status(), 200);
    let [known, nobody] = &users.seen()[..] else { panic!("asked twice") };
    let identity = known.identity.as_ref().expect("a caller");
    assert_eq!((identity.subject.as_str(), identity.roles.as_slice()), ("7", &["customer".to_owned()][..]));
    assert!(identity.expires_at.is_some(), "as long as the token");
    assert_eq!(known.headers.len(), 1);
    // A route that asks nobody looks at no token; a guest sees what came only if it asks for
    // it by name (`runtime/entry.rs`).
    assert_eq!((&nobody.identity, nobody.headers.len()), (&None, 2));
}

#[tokio::test]
async fn a_call_between_services_is_asked_for_its_caller_too() {
    let (routes, users) = guarded();
    let router = current([(routes, users.clone())]);
    let calls = ServiceCalls::new(&router, ["users".to_owned()]);
    let caller = |roles: &[&str]| {
        let roles = roles.iter().map(|role| (*role).to_owned()).collect();
        Some(Identity { subject: "7".to_owned(), roles, expires_at: None })
    };
    for (identity, method, path, status) in [
        (None, "POST", "/users", 401),
        (None, "GET", "/users", 200),
        (caller(&[]), "POST", "/users", 200),
        (None, "GET", "/admins", 401),
        (caller(&["customer"]), "GET", "/admins", 403),
        (caller(&["admin"]), "GET", "/admins", 200),
    ] {
        let scope = RequestScope { identity, ..scope(0) };
        // Whatever a service writes into a header, it speaks for nobody else.
        let mut call = call(method, path);
        call.headers.push(("authorization".to_owned(), b"Bearer x".to_vec()));
        let answer = calls.call("users", call, &scope).await.unwrap();
        assert_eq!(answer.status, status, "{method} {path} {:?}", scope.identity);
    }
}

#[tokio::test]
async fn a_call_without_a_route_is_an_answer_and_one_without_a_grant_an_error() {
    let users = Scripted::new("users", |_| Ok(respond(200, &[], "")));
    let router = current([(entry("users", &["GET /users/{id}"], &[]), users.clone())]);
    let calls = ServiceCalls::new(&router, ["users".to_owned(), "gone".to_owned()]);
    for (method, path, status) in [
        ("GET", "/nowhere", 404),
        ("PUT", "/users/1", 405),
        ("GET", "/users/%ff", 400),
        ("GET", "/users/1?x", 400),
        ("GET", "/users/a b", 400),
        ("G T", "/users/1", 400),
        ("GET", "/health", 200),
    ] {
        let answer = calls.call("users", call(method, path), &scope(0)).await.unwrap();
        assert_eq!(answer.status, status, "{method} {path}");
    }
    for service in ["gone", "orders"] {
        let error = calls.call(service, call("GET", "/health"), &scope(0)).await.unwrap_err();
        assert!(matches!(error, Error::NotGranted(name) if name == service));
    }
    let deep = calls.call("users", call("GET", "/users/1"), &scope(limits::CALL_DEPTH_MAX)).await;
    assert!(matches!(deep, Err(Error::TooDeep)));
    let mut large = call("GET", "/users/1");
    large.body = vec![0; limits::REQUEST_BODY_BYTES_MAX + 1];
    assert_eq!(calls.call("users", large, &scope(0)).await.unwrap().status, 413);

    drop(router);
    assert!(calls.call("users", call("GET", "/users/1"), &scope(0)).await.is_err());
}

#[tokio::test]
async fn a_callees_failure_is_told_without_its_inside() {
    let script = |request: &Request| match request.method {
        Method::GET => Err(Failure::Trap("secret".into())),
        Method::POST => Err(Failure::Saturated { limit: 1 }),
        _ => Err(Failure::Timeout { limit_ms: 1 }),
    };
    let users = Scripted::new("users", script);
    let router = current([(entry("users", &["GET,POST,PUT /users"], &[]), users.clone())]);
    let calls = ServiceCalls::new(&router, ["users".to_owned()]);
    let trap = calls.call("users", call("GET", "/users"), &scope(0)).await.unwrap_err();
    assert!(matches!(trap, Error::Failed(text) if !text.contains("secret")));
    let saturated = calls.call("users", call("POST", "/users"), &scope(0)).await.unwrap_err();
    assert!(matches!(saturated, Error::Saturated(1_000)));
    let timeout = calls.call("users", call("PUT", "/users"), &scope(0)).await.unwrap_err();
    assert!(matches!(timeout, Error::Timeout));
    assert_eq!(users.stats().read().by_status, [(500, 1), (503, 1), (504, 1)]);
}
