//! The metrics, as a real Prometheus reads them, and what the deployment makes of them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use http::Method;
use serde_json::json;
use wasmyard::manifest::Manifest;
use wasmyard_tests::{Collector, Prometheus, Shop, eventually, repository, until};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// A shop that gives its metrics on a port of their own, and its traces to `collector`.
async fn shop(collector: &Collector) -> Shop {
    let endpoint = Some(collector.endpoint());
    let builder = Shop::builder().tokens_required().change(move |manifest: &mut Manifest| {
        manifest.telemetry.endpoint = endpoint;
        manifest.telemetry.sample_ratio = 0.0;
        manifest.telemetry.metrics_port = Some(0);
    });
    builder.start().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prometheus_has_the_numbers_the_exemplars_and_the_rules() {
    let collector = Collector::grpc().await;
    let shop = shop(&collector).await;
    let target = shop.host.addresses().metrics.expect("a port for metrics").to_string();
    let prometheus = Prometheus::start(&[target]).await;

    let parent = format!("00-{TRACE}-00f067aa0ba902b7-01");
    for _ in 0..3 {
        let answer = shop.send(Method::GET, "/api/v1/users/1", &[("traceparent", &parent)], b"").await;
        assert_eq!(answer.status, 200);
    }
    shop.get("/api/v1/orders").await.problem(401);

    for (query, wanted) in [
        (r#"up{job="wasmyard"}"#, 1.0),
        (
            r#"wasmyard_requests_total{service="users", route="/api/v1/users/{id}", method="GET", status="200", origin="client"}"#,
            3.0,
        ),
        (
            r#"wasmyard_request_duration_seconds_count{service="users", route="/api/v1/users/{id}", origin="client"}"#,
            3.0,
        ),
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

/// Whoever renames a metric renames it in the dashboards and rules too.
#[tokio::test(flavor = "multi_thread")]
async fn dashboards_and_rules_name_what_there_is_and_nothing_else() {
    let collector = Collector::grpc().await;
    let shop = shop(&collector).await;
    shop.post("/api/v1/auth/login", &json!({ "username": "alice", "password": "wrong-password" })).await;
    shop.get("/api/v1/users/1").await;
    let scrape = shop.operator().metrics().await.text().to_owned();
    let written: BTreeSet<&str> = scrape
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split(['{', ' ']).next())
        .collect();
    let deploy = repository().join("deploy");
    let rules = fs::read_to_string(deploy.join("prometheus/rules.yml")).expect("the rules");
    let recorded: BTreeSet<&str> =
        rules.lines().filter_map(|line| line.trim().strip_prefix("- record: ")).collect();
    assert!(!recorded.is_empty());

    let mut files = vec![deploy.join("prometheus/rules.yml"), deploy.join("prometheus/rules_test.yml")];
    files.extend(dashboards(&deploy));
    assert!(files.len() >= 6, "{files:?}");
    for file in files {
        let text = fs::read_to_string(&file).expect("a file of the deployment");
        let named = names(&text);
        assert!(!named.is_empty(), "{} names no metric", file.display());
        for name in named {
            let known = written.contains(name) || recorded.contains(name);
            assert!(known, "{}: there is no {name}; there are {written:#?}", file.display());
        }
    }
}

fn dashboards(deploy: &Path) -> Vec<PathBuf> {
    let folder = fs::read_dir(deploy.join("grafana/dashboards")).expect("the dashboards");
    let mut files: Vec<_> = folder.map(|entry| entry.expect("a file").path()).collect();
    files.sort();
    files
}

/// The words of a text that are the names of our metrics, or of what is recorded of them.
fn names(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'));
    words.filter(|word| word.starts_with("wasmyard_") || word.starts_with("wasmyard:")).collect()
}
