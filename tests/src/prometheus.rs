//! A real Prometheus, which scrapes a host and evaluates the deployment's rules.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use wasmyard::testing::servers::free_port;

use crate::{eventually, repository};

/// Killed when it is dropped.
pub struct Prometheus {
    child: Child,
    base: String,
    client: reqwest::Client,
    _dir: TempDir,
}

impl Prometheus {
    /// Starts it with the configuration of the deployment, on `targets` instead of the
    /// containers, and once a second.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start(targets: &[String]) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let deployed = |name: &str| {
            let path = repository().join("deploy/prometheus").join(name);
            fs::read_to_string(path).expect("a file of the repository")
        };
        let mut config = deployed("prometheus.yml");
        for (from, to) in [
            ("scrape_interval: 15s", "scrape_interval: 1s".to_owned()),
            ("scrape_timeout: 5s", "scrape_timeout: 1s".to_owned()),
            ("evaluation_interval: 15s", "evaluation_interval: 1s".to_owned()),
            ("targets: [host-1:9902, host-2:9902]", format!("targets: [{}]", targets.join(", "))),
        ] {
            assert!(config.contains(from), "the configuration has no {from}");
            config = config.replace(from, &to);
        }
        fs::write(dir.path().join("prometheus.yml"), config).expect("written");
        fs::write(dir.path().join("rules.yml"), deployed("rules.yml")).expect("written");
        let port = free_port();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", dir.path().join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", dir.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .args(["--enable-feature=exemplar-storage", "--log.level=warn"])
            .stdin(Stdio::null())
            .spawn()
            .expect("prometheus is installed: scripts/setup.sh --for-tests");
        let client = reqwest::Client::builder().timeout(Duration::from_secs(10)).build().expect("a client");
        let prometheus = Self { child, base: format!("http://127.0.0.1:{port}"), client, _dir: dir };
        eventually("Prometheus is ready", async || {
            let ready = prometheus.client.get(format!("{}/-/ready", prometheus.base)).send().await;
            ready.is_ok_and(|ready| ready.status() == 200).then_some(())
        })
        .await;
        prometheus
    }

    /// Asks its API, e.g. `query`, with these parameters; gives `data` of the answer. On a busy
    /// machine it may not answer at once, and is asked again.
    ///
    /// # Panics
    /// When it says that the question is wrong.
    pub async fn ask(&self, what: &str, parameters: &[(&str, &str)]) -> Value {
        let encoded: Vec<String> =
            parameters.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
        let url = format!("{}/api/v1/{what}?{}", self.base, encoded.join("&"));
        let answer = eventually("Prometheus answers", async || {
            self.client.get(&url).send().await.ok()?.bytes().await.ok()
        })
        .await;
        let answer: Value = serde_json::from_slice(&answer).expect("JSON");
        assert_eq!(answer["status"], "success", "{parameters:?}: {answer}");
        answer["data"].clone()
    }

    /// The value of a query that gives one number, or nothing yet.
    pub async fn number(&self, query: &str) -> Option<f64> {
        let data = self.ask("query", &[("query", query)]).await;
        data["result"][0]["value"][1].as_str()?.parse().ok()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn encoded(value: &str) -> String {
    value.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
