use std::sync::Mutex;
use std::time::Duration;

use serde_json::Value;

use super::api::{DeployReport, HostInfo, ParkedSaga, Step};
use super::*;

/// An operator that remembers what it was told, and has one service, `users`.
#[derive(Default)]
struct Scripted {
    done: Mutex<Vec<String>>,
    draining: bool,
}

impl Scripted {
    fn report(&self, what: String) -> DeployReport {
        self.done.lock().unwrap().push(what);
        DeployReport {
            service: "users".into(),
            version: "0123456789ab".into(),
            digest: "0123456789ab".repeat(5),
            previous: None,
            steps: vec![Step { step: "compile".into(), ms: 1.5 }],
            swap_ms: 2.5,
        }
    }
}

fn failure(kind: FailureKind) -> DeployFailure {
    DeployFailure { step: "grants".into(), reason: "it imports redis".into(), kind }
}

fn saga() -> ParkedSaga {
    ParkedSaga {
        service: "orders".into(),
        id: "17".into(),
        step: "undoing".into(),
        attempts: 12,
        since: "2025-01-02T03:04:05Z".parse().unwrap(),
        reason: "products is away".into(),
    }
}

#[async_trait]
impl Operator for Scripted {
    fn readiness(&self) -> Readiness {
        if self.draining { Readiness::Draining } else { Readiness::Serving }
    }

    async fn status(&self) -> HostStatus {
        let started_at = "2025-01-02T03:04:05Z".parse().unwrap();
        HostStatus { host: HostInfo { version: "0.1.0".into(), started_at, pid: 7 }, services: Vec::new() }
    }

    async fn history(&self, service: &str) -> Result<History, UnknownService> {
        match service {
            "users" => Ok(History { service: service.to_owned(), versions: Vec::new() }),
            _ => Err(UnknownService { nearest: Some("users".into()) }),
        }
    }

    async fn keys(&self) -> Result<Keys, KeysFailure> {
        match self.draining {
            true => Err(KeysFailure::Unused),
            false => Ok(Keys { keys: Vec::new() }),
        }
    }

    async fn rotate_keys(&self, revoke: bool) -> Result<Keys, KeysFailure> {
        self.done.lock().unwrap().push(if revoke { "revoke" } else { "rotate" }.into());
        self.keys().await
    }

    async fn parked(&self) -> Result<Parked, SagaFailure> {
        match self.draining {
            true => Err(SagaFailure::Service("orders: The database is not available.".into())),
            false => Ok(Parked { parked: vec![saga()] }),
        }
    }

    async fn retry_parked(&self, service: &str, id: &str) -> Result<Retried, SagaFailure> {
        match (service, id) {
            ("orders", "17") => {
                self.done.lock().unwrap().push("retry orders/17".into());
                Ok(Retried { service: service.into(), id: id.into() })
            }
            ("orders", _) => Err(SagaFailure::NotParked),
            _ => Err(SagaFailure::UnknownService(UnknownService { nearest: Some("orders".into()) })),
        }
    }

    async fn deploy(&self, service: &str, component: Bytes) -> Result<DeployReport, DeployFailure> {
        match &component[..] {
            b"refused" => Err(failure(FailureKind::Refused)),
            b"busy" => Err(failure(FailureKind::Busy)),
            b"disk" => Err(failure(FailureKind::Host)),
            b"panic" => panic!("scripted"),
            _ if service != "users" => {
                Err(failure(FailureKind::UnknownService { nearest: Some("users".into()) }))
            }
            bytes => Ok(self.report(format!("deploy {service} {}", bytes.len()))),
        }
    }

    async fn rollback(&self, service: &str) -> Result<DeployReport, DeployFailure> {
        match service {
            "users" => Ok(self.report("rollback users".into())),
            _ => Err(failure(FailureKind::NothingToRollBack)),
        }
    }
}

/// A request's header fields.
type Fields<'a> = Vec<(&'a str, &'a str)>;

/// A body that is there already.
struct Given(Bytes);

impl Unread for Given {
    fn bytes_max(&self) -> Option<u64> {
        Some(self.0.len() as u64)
    }

    async fn read(self, _: usize, _: Duration) -> Result<Bytes, crate::server::BodyError> {
        Ok(self.0)
    }
}

struct Desk {
    admin: Admin,
    operator: Arc<Scripted>,
    bearer: String,
}

impl Desk {
    fn new(operator: Scripted) -> Self {
        let state = tempfile::tempdir().unwrap();
        let token = AdminToken::read_or_create(state.path()).unwrap();
        let bearer = format!("Bearer {}", token.as_str());
        let operator = Arc::new(operator);
        let admin = Admin::new(operator.clone(), token, Arc::default(), Arc::default());
        Self { admin, operator, bearer }
    }

    async fn ask(&self, line: &str, fields: &[(&str, &str)], body: &'static str) -> (u16, HeaderMap, Value) {
        self.ask_at(&ListenerKind::Admin, line, fields, body).await
    }

    async fn ask_at(
        &self,
        door: &ListenerKind,
        line: &str,
        fields: &[(&str, &str)],
        body: &'static str,
    ) -> (u16, HeaderMap, Value) {
        let (method, target) = line.split_once(' ').unwrap();
        let mut request = http::Request::builder().method(method).uri(target);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let head = request.body(()).unwrap().into_parts().0;
        let answer = self.admin.exchange(head, Given(Bytes::from_static(body.as_bytes())), door).await;
        let json = serde_json::from_slice(answer.body().bytes()).unwrap_or_default();
        (answer.status().as_u16(), answer.headers().clone(), json)
    }

    async fn deploy(&self, service: &str, component: &'static str) -> (u16, Value) {
        let fields =
            [("host", "localhost"), ("content-type", "application/wasm"), ("authorization", &self.bearer)];
        let (status, _, json) =
            self.ask(&format!("POST /v1/services/{service}/deploy"), &fields, component).await;
        (status, json)
    }

    fn done(&self) -> Vec<String> {
        self.operator.done.lock().unwrap().clone()
    }
}

#[tokio::test]
async fn keys_are_listed_for_everybody_here_and_rotated_for_the_operator() {
    let desk = Desk::new(Scripted::default());
    let (host, bearer) = (("host", "localhost"), desk.bearer.clone());
    let allowed = [host, ("authorization", bearer.as_str())];
    for (line, fields, status) in [
        ("GET /v1/keys", &[host][..], 200),
        ("POST /v1/keys", &allowed, 405),
        ("GET /v1/keys/rotate", &allowed, 405),
        ("POST /v1/keys/rotate", &[host], 401),
        ("POST /v1/keys/revoke", &[host], 401),
        ("POST /v1/keys/rotate", &allowed, 200),
        ("POST /v1/keys/revoke", &allowed, 200),
    ] {
        let (answered, _, json) = desk.ask(line, fields, "").await;
        assert_eq!(answered, status, "{line}: {json}");
    }
    assert_eq!(*desk.operator.done.lock().unwrap(), ["rotate", "revoke"]);
    let none = Desk::new(Scripted { draining: true, ..Scripted::default() });
    let (status, _, problem) = none.ask("GET /v1/keys", &[host], "").await;
    assert_eq!((status, &problem["type"]), (404, &"urn:wasmyard:problem:no-keys".into()));
}

#[tokio::test]
async fn parked_sagas_are_listed_for_everybody_here_and_retried_for_the_operator() {
    let desk = Desk::new(Scripted::default());
    let (host, bearer) = (("host", "localhost"), desk.bearer.clone());
    let allowed = [host, ("authorization", bearer.as_str())];
    let (_, _, parked) = desk.ask("GET /v1/sagas", &[host], "").await;
    assert_eq!(parked["parked"][0]["since"], "2025-01-02T03:04:05Z", "{parked}");
    for (line, fields, status) in [
        ("POST /v1/sagas", &allowed[..], 405),
        ("GET /v1/services/orders/sagas/17/retry", &allowed, 405),
        ("POST /v1/services/orders/sagas/17/retry", &[host], 401),
        ("POST /v1/services/orders/sagas/17/retry", &allowed, 200),
        ("POST /v1/services/orders/sagas/18/retry", &allowed, 404),
        ("POST /v1/services/ordres/sagas/17/retry", &allowed, 404),
    ] {
        let (answered, _, json) = desk.ask(line, fields, "").await;
        assert_eq!(answered, status, "{line}: {json}");
    }
    assert_eq!(desk.done(), ["retry orders/17"]);
    let away = Desk::new(Scripted { draining: true, ..Scripted::default() });
    let (status, _, problem) = away.ask("GET /v1/sagas", &[host], "").await;
    assert_eq!((status, &problem["detail"]), (500, &"orders: The database is not available.".into()));
}

#[tokio::test]
async fn whoever_cannot_read_the_token_changes_nothing() {
    let desk = Desk::new(Scripted::default());
    let (wasm, right) = (("content-type", "application/wasm"), desk.bearer.clone());
    let right = ("authorization", right.as_str());
    let short = &right.1[..right.1.len() - 1];
    let basic = right.1.replace("Bearer", "Basic");
    let host = ("host", "127.0.0.1:9901");
    let cases: Vec<(&str, Fields, u16)> = vec![
        ("no token", vec![host, wasm], 401),
        ("an empty one", vec![host, wasm, ("authorization", "Bearer ")], 401),
        ("a wrong one", vec![host, wasm, ("authorization", "Bearer 00")], 401),
        ("most of it", vec![host, wasm, ("authorization", short)], 401),
        ("another scheme", vec![host, wasm, ("authorization", &basic)], 401),
        ("two of them", vec![host, wasm, right, right], 401),
        ("a form of a page", vec![host, ("content-type", "text/plain"), right], 415),
        ("no type", vec![host, right], 415),
        ("a page", vec![host, wasm, right, ("origin", "https://evil.example")], 403),
        ("a sandboxed page", vec![host, wasm, right, ("origin", "null")], 403),
        ("a page on loopback", vec![host, wasm, right, ("origin", "http://localhost:3000")], 403),
        ("a page of another site", vec![host, wasm, right, ("sec-fetch-site", "cross-site")], 403),
        ("a page of the same site", vec![host, wasm, right, ("sec-fetch-site", "same-site")], 403),
        ("a rebound name", vec![("host", "evil.example:9901"), wasm, right], 403),
        ("a name like loopback's", vec![("host", "localhost.evil.example"), wasm, right], 403),
        ("an address like it", vec![("host", "127.0.0.1.evil.example"), wasm, right], 403),
        ("a user at loopback", vec![("host", "evil@localhost"), wasm, right], 403),
        ("any address", vec![("host", "0.0.0.0:9901"), wasm, right], 403),
        ("no host", vec![wasm, right], 403),
        ("two hosts", vec![host, ("host", "evil.example"), wasm, right], 403),
    ];
    for (who, fields, status) in cases {
        let (got, headers, problem) = desk.ask("POST /v1/services/users/deploy", &fields, "wasm").await;
        assert_eq!(got, status, "{who}: {problem}");
        assert_eq!(headers["content-type"], "application/problem+json", "{who}");
        assert_eq!(headers.contains_key("www-authenticate"), status == 401, "{who}");
    }
    let bare = desk.ask("POST /v1/services/users/rollback", &[host], "").await;
    assert_eq!(bare.0, 401);
    assert!(desk.done().is_empty());

    let small_letters = desk.bearer.replace("Bearer", "bearer");
    for name in ["localhost", "LOCALHOST:9901", "127.0.0.1", "127.9.9.9:1", "[::1]:9901"] {
        let fields =
            [("host", name), wasm, ("authorization", small_letters.as_str()), ("sec-fetch-site", "none")];
        assert_eq!(desk.ask("POST /v1/services/users/deploy", &fields, "wasm").await.0, 200, "{name}");
    }
    assert_eq!(desk.done().len(), 5);
}

#[tokio::test]
async fn the_metrics_own_port_has_the_metrics_for_everybody_and_nothing_else() {
    let desk = Desk::new(Scripted::default());
    let elsewhere = [("host", "host-1:9902")];
    let metrics = async |line: &str, fields: &[(&str, &str)]| {
        let (status, headers, _) = desk.ask_at(&ListenerKind::Metrics, line, fields, "").await;
        (status, headers["content-type"].to_str().unwrap().to_owned())
    };
    let (status, kind) = metrics("GET /metrics", &elsewhere).await;
    assert_eq!((status, &*kind), (200, "text/plain; version=0.0.4; charset=utf-8"));
    let openmetrics =
        [elsewhere[0], ("accept", "application/openmetrics-text;version=1.0.0;q=0.5,*/*;q=0.1")];
    let (status, kind) = metrics("GET /metrics", &openmetrics).await;
    assert_eq!((status, &*kind), (200, "application/openmetrics-text; version=1.0.0; charset=utf-8"));
    assert_eq!(metrics("POST /metrics", &elsewhere).await.0, 405);
    for line in ["GET /v1/status", "GET /livez", "GET /", "POST /v1/services/users/rollback"] {
        let local = [("host", "localhost"), ("authorization", &*desk.bearer)];
        assert_eq!(metrics(line, &local).await.0, 404, "{line}");
    }
}

#[tokio::test]
async fn reading_is_for_this_machine_only_too() {
    let desk = Desk::new(Scripted::default());
    for path in ["/livez", "/readyz", "/metrics", "/v1/status", "/v1/services/users/history"] {
        let line = format!("GET {path}");
        assert_eq!(desk.ask(&line, &[("host", "localhost")], "").await.0, 200, "{path}");
        assert_eq!(desk.ask(&line, &[("host", "evil.example")], "").await.0, 403, "{path}");
        let page = [("host", "localhost"), ("origin", "https://evil.example")];
        assert_eq!(desk.ask(&line, &page, "").await.0, 403, "{path}");
        let (status, headers, _) = desk.ask(&format!("POST {path}"), &[("host", "localhost")], "").await;
        assert_eq!((status, headers["allow"].to_str().unwrap()), (405, "GET, HEAD"), "{path}");
    }
    // The absolute form and HTTP/2 name the host in the target.
    assert_eq!(desk.ask("GET http://localhost:9901/livez", &[], "").await.0, 200);
    assert_eq!(desk.ask("GET http://evil.example/livez", &[("host", "localhost")], "").await.0, 403);
}

#[tokio::test]
async fn a_deploy_says_what_was_done_or_which_step_failed() {
    let desk = Desk::new(Scripted::default());
    let (status, report) = desk.deploy("users", "wasm").await;
    assert_eq!(status, 200);
    assert_eq!(report["steps"][0]["step"], "compile");
    assert_eq!(desk.done(), ["deploy users 4"]);

    let cases = [
        ("users", "refused", 422, "component-refused"),
        ("users", "busy", 409, "deploy-running"),
        ("users", "disk", 500, "host-failed"),
        ("user", "wasm", 404, "unknown-service"),
    ];
    for (service, component, status, slug) in cases {
        let (got, problem) = desk.deploy(service, component).await;
        assert_eq!(got, status, "{component}");
        assert_eq!(problem["type"], format!("urn:wasmyard:problem:{slug}"));
        assert_eq!((&problem["step"], &problem["reason"]), (&"grants".into(), &"it imports redis".into()));
        let read: api::ProblemReport = serde_json::from_value(problem).unwrap();
        assert_eq!((read.status, read.step.as_deref()), (status, Some("grants")));
        assert_eq!(read.nearest.as_deref(), (status == 404).then_some("users"));
    }
    assert_eq!(desk.deploy("users", "panic").await.0, 500);
}

#[tokio::test]
async fn the_rest_of_the_api() {
    let desk = Desk::new(Scripted { draining: true, ..Scripted::default() });
    let host = ("host", "localhost");
    let (status, headers, ready) = desk.ask("GET /readyz", &[host], "").await;
    assert_eq!((status, &ready["status"]), (503, &"draining".into()));
    assert_eq!(headers["cache-control"], "no-store");
    assert_eq!(desk.ask("GET /livez", &[host], "").await.0, 200);

    let (_, _, status) = desk.ask("GET /v1/status", &[host], "").await;
    assert_eq!(status["host"]["started_at"], "2025-01-02T03:04:05Z");
    let (missing, _, problem) = desk.ask("GET /v1/services/user/history", &[host], "").await;
    assert_eq!((missing, &problem["nearest"]), (404, &"users".into()));

    let token = ("authorization", desk.bearer.as_str());
    assert_eq!(desk.ask("POST /v1/services/users/rollback", &[host, token], "").await.0, 200);
    let (status, _, problem) = desk.ask("POST /v1/services/orders/rollback", &[host, token], "").await;
    assert_eq!((status, &problem["type"]), (409, &"urn:wasmyard:problem:nothing-to-roll-back".into()));
    assert_eq!(desk.ask("GET /v1/services/users/rollback", &[host, token], "").await.0, 405);
    assert_eq!(desk.ask("GET /v1/nothing", &[host], "").await.0, 404);
    assert_eq!(desk.ask("GET /v1/status/", &[host], "").await.0, 404);
}
