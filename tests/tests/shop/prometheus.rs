//! The metrics, as a real Prometheus reads them, and what the deployment makes of them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use http::Method;
use serde_json::json;
use wasmyard::manifest::Manifest;
use wasmyard_tests::{Collector, Prometheus, Shop, ShopBuilder, eventually, repository, until};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// A shop that gives its metrics on a port of their own, and its traces to `collector`.
fn shop(collector: &Collector) -> ShopBuilder {
    let endpoint = Some(collector.endpoint());
    Shop::builder().change(move |manifest: &mut Manifest| {
        manifest.telemetry.endpoint = endpoint;
        manifest.telemetry.sample_ratio = 0.0;
        manifest.telemetry.metrics_port = Some(0);
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prometheus_has_the_numbers_the_exemplars_and_the_rules() {
    let collector = Collector::grpc().await;
    let shop = shop(&collector).tokens_required().start().await;
    let target = shop.host.addresses().metrics.expect("a port for metrics").to_string();
    let prometheus = Prometheus::start(&[target]).await;

    let parent = format!("00-{TRACE}-00f067aa0ba902b7-01");
    for _ in 0..3 {
        let answer = shop.send(Method::GET, "/api/v1/users/1", &[("traceparent", &parent)], b"").await;
        assert_eq!(answer.status, 200);
    }
    shop.get("/api/v1/orders").await.problem(401);
    let parked = "INSERT INTO order_sagas (order_id, step, parked_at) VALUES (4711, 'undoing', now())";
    shop.sql(parked).await;

    for (query, wanted) in [
        (r#"up{job="wasmyard"}"#, 1.0),
        (
            r#"wasmyard_requests_total{service="users", route="/api/v1/users/{id}", method="GET", status="200", origin="client"}"#,
            3.0,
        ),
        (
            r#"wasmyard_request_duration_seconds_count{service="users", route="/api/v1/users/{id}", method="GET", origin="client"}"#,
            3.0,
        ),
        // Before the first of them, so that the first is seen.
        (
            r#"wasmyard_requests_total{service="users", route="/api/v1/users/{id}", method="GET", status="503", origin="client"}"#,
            0.0,
        ),
        (r#"wasmyard_background_parked{service="orders"}"#, 1.0),
        (r#"wasmyard_requests_denied_total{service="orders", reason="no_token"}"#, 1.0),
        (r#"wasmyard_concurrency_max{service="users"}"#, 256.0),
        (r#"wasmyard_pool_connections_max{service="users"}"#, 8.0),
        (r#"count(wasmyard_version_active)"#, 3.0),
    ] {
        let what = format!("{query} is {wanted}");
        until(&what, async || prometheus.number(query).await == Some(wanted)).await;
    }
    for query in [
        r#"wasmyard_guest_duration_seconds_count{service="users"}"#,
        r#"wasmyard_instance_wait_seconds_count{service="users"}"#,
        r#"wasmyard_pool_wait_seconds_count{service="users"}"#,
        r#"sum(wasmyard_instances{service="users"})"#,
        r#"wasmyard_spans_total{result="exported"}"#,
    ] {
        until(query, async || prometheus.number(query).await.is_some_and(|count| count > 0.0)).await;
    }

    let exemplar = eventually("an exemplar with its trace", async || {
        let query = r#"wasmyard_request_duration_seconds_bucket{service="users"}"#;
        let asked = [("query", query), ("start", "0"), ("end", "9999999999")];
        let data = prometheus.ask("query_exemplars", &asked).await;
        data[0]["exemplars"][0]["labels"]["trace_id"].as_str().map(str::to_owned)
    })
    .await;
    assert_eq!(exemplar, TRACE);

    let rules = eventually("every rule has been evaluated", async || {
        let groups = prometheus.ask("rules", &[]).await;
        let rules: Vec<_> = groups["groups"]
            .as_array()?
            .iter()
            .flat_map(|group| group["rules"].as_array().cloned().unwrap_or_default())
            .collect();
        (!rules.is_empty() && rules.iter().all(|rule| rule["health"] == "ok")).then_some(rules)
    })
    .await;
    assert!(rules.iter().all(|rule| rule["lastError"].is_null()), "{rules:?}");

    // The same numbers in the format from before OpenMetrics.
    let text = shop.operator().get("/metrics").await;
    assert_eq!(text.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert!(text.text().contains("# TYPE wasmyard_requests_total counter\n"), "{}", text.text());
    assert!(!text.text().contains(" # {") && !text.text().contains("# EOF"), "{}", text.text());
}

/// Whoever renames a metric or a label renames it in the dashboards and rules too.
#[tokio::test(flavor = "multi_thread")]
async fn dashboards_and_rules_name_what_there_is_and_nothing_else() {
    let collector = Collector::grpc().await;
    let shop = shop(&collector).start().await;
    shop.post("/api/v1/auth/login", &json!({ "username": "alice", "password": "wrong-password" })).await;
    shop.get("/api/v1/users/1").await;
    shop.get("/api/v1/products/search?q=laptop").await;
    shop.post("/api/v1/users", &json!({ "username": "x" })).await;
    let order = json!({ "user_id": 1, "product_id": 2, "quantity": 1 });
    assert_eq!(shop.post("/api/v1/orders", &order).await.status, 201);
    shop.patch("/api/v1/orders/1/status", &json!({})).await;
    let scrape = shop.operator().metrics().await.text().to_owned();
    let written: Vec<Series> = scrape.lines().filter_map(Series::read).collect();
    let is_bound = |series: &Series| {
        series.name == "wasmyard_request_duration_seconds_bucket" && series.has("le", "0.262144")
    };
    assert!(written.iter().any(is_bound), "the promise is counted by a bucket that there is not");

    let deploy = repository().join("deploy");
    let rules = fs::read_to_string(deploy.join("prometheus/rules.yml")).expect("the rules");
    let recorded: BTreeSet<&str> =
        rules.lines().filter_map(|line| line.trim().strip_prefix("- record: ")).collect();
    assert!(!recorded.is_empty());

    let prometheus = ["rules.yml", "rules_test.yml", "rules_days_test.yml"];
    let mut files: Vec<_> = prometheus.map(|name| deploy.join("prometheus").join(name)).into();
    files.extend(dashboards(&deploy));
    assert!(files.len() >= 7, "{files:?}");
    for file in files {
        let is_test = file.to_string_lossy().ends_with("_test.yml");
        let text = fs::read_to_string(&file).expect("a file of the deployment").replace("\\\"", "\"");
        let named = Selector::all(&text);
        assert!(!named.is_empty(), "{} names no metric", file.display());
        for Selector { name, labels } in named {
            let series: Vec<_> = written.iter().filter(|series| series.name == name).collect();
            let known = !series.is_empty() || recorded.contains(name);
            assert!(known, "{}: there is no {name}", file.display());
            for (label, values) in labels.into_iter().filter(|_| !recorded.contains(name)) {
                let of_prometheus = matches!(label, "instance" | "job");
                let has = series.iter().any(|series| series.labels.iter().any(|(have, _)| *have == label));
                assert!(has || of_prometheus, "{}: {name} has no label {label}", file.display());
                // The tests' series are made up; an event of a service is there once it was.
                for value in values.into_iter().filter(|_| !is_test && label != "status" && label != "event")
                {
                    let has = series.iter().any(|series| series.has(label, value));
                    assert!(has, "{}: {name} has no {label}=\"{value}\"", file.display());
                }
            }
        }
    }
}

/// A line of a scrape.
struct Series<'a> {
    name: &'a str,
    labels: Vec<(&'a str, &'a str)>,
}

impl<'a> Series<'a> {
    fn read(line: &'a str) -> Option<Self> {
        let name = line.split(['{', ' ']).next().filter(|name| name.starts_with("wasmyard_"))?;
        let labels = line[name.len()..].strip_prefix('{').and_then(|rest| rest.split_once("} "));
        let labels = labels.into_iter().flat_map(|(labels, _)| labels.split("\","));
        let labels = labels.filter_map(|label| label.split_once("=\""));
        Some(Self { name, labels: labels.map(|(label, value)| (label, value.trim_matches('"'))).collect() })
    }

    fn has(&self, label: &str, value: &str) -> bool {
        self.labels.contains(&(label, value))
    }
}

/// A metric that a text names, with the labels that it asks for, and their values where they
/// are plain.
struct Selector<'a> {
    name: &'a str,
    labels: Vec<(&'a str, Vec<&'a str>)>,
}

impl<'a> Selector<'a> {
    fn all(text: &'a str) -> Vec<Self> {
        let part_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
        let starts = text.match_indices("wasmyard").map(|(at, _)| at);
        let starts = starts.filter(|at| !text[..*at].ends_with(part_of_name));
        let named = starts.filter_map(|at| {
            let rest = &text[at..];
            let name = &rest[..rest.find(|c: char| !part_of_name(c)).unwrap_or(rest.len())];
            let is_metric = name.starts_with("wasmyard_") || name.starts_with("wasmyard:");
            let braces = rest[name.len()..].strip_prefix('{').and_then(|rest| rest.split_once("\"}"));
            let labels = braces.map(|(labels, _)| labels.split("\",").filter_map(Self::label).collect());
            is_metric.then(|| Self { name, labels: labels.unwrap_or_default() })
        });
        named.collect()
    }

    fn label(written: &'a str) -> Option<(&'a str, Vec<&'a str>)> {
        let (label, value) = written.trim().split_once('=')?;
        let (operator, value) = value.split_once('"')?;
        let is_plain = !label.ends_with('!') && value.chars().all(|c| c != '$' && c != '.' && c != '+');
        let values = match operator {
            "" | "~" if is_plain => value.split('|').filter(|value| !value.is_empty()).collect(),
            _ => Vec::new(),
        };
        Some((label.trim_end_matches(['!', '~']), values))
    }
}

fn dashboards(deploy: &Path) -> Vec<PathBuf> {
    let folder = fs::read_dir(deploy.join("grafana/dashboards")).expect("the dashboards");
    let mut files: Vec<_> = folder.map(|entry| entry.expect("a file").path()).collect();
    files.sort();
    files
}
