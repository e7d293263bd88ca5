//! The API against its own description: a validator reads the document of a running host,
//! and schemathesis makes requests up from it, good ones and bad ones, and checks each answer.
//!
//! `tests/schemathesis.toml` says how. What it finds is printed with a line to reproduce it.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use serde_json::Value;
use tempfile::TempDir;
use wasmyard::manifest::Manifest;
use wasmyard_tests::{Answer, Shop, at_once, repository};

const DOCUMENT: &str = "/api/docs/openapi.json";
/// Test cases of each operation and each caller, on the average of all operations: one that
/// takes no parameters has no more than a few that differ.
const CASES_MIN: u64 = 200;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "it takes minutes, and tools: `make test-api` runs it"]
async fn every_answer_is_as_described() {
    let tools = Arc::new(Tools::of_environment());
    // Nobody may do the most in the local form; who must be known, everywhere else.
    let local = Shop::builder().change(unlimited).start().await;
    let shop = Shop::builder().change(unlimited).tokens_required().start().await;
    for document in [local.get(DOCUMENT).await, shop.get(DOCUMENT).await, direct(&shop).await] {
        tools.validate(&document);
    }

    let (customer, admin) = (shop.login("alice").await.access, shop.login("diana").await.access);
    let callers = [
        ("nobody", local.url(DOCUMENT), None),
        ("a customer", shop.url(DOCUMENT), Some(customer)),
        ("an admin", shop.url(DOCUMENT), Some(admin)),
    ];
    let runs = callers.map(|(caller, document, token)| {
        let tools = tools.clone();
        async move { tokio::task::spawn_blocking(move || tools.try_out(caller, &document, token)).await }
    });
    let outcomes = at_once(runs).join_all().await;
    let failed: Vec<&str> = outcomes
        .into_iter()
        .map(|outcome| outcome.expect("a run ends"))
        .filter_map(|(caller, passed)| (!passed).then_some(caller))
        .collect();
    assert!(failed.is_empty(), "not as described, see above: {}", failed.join(", "));
}

/// The document of a service at its own port.
async fn direct(shop: &Shop) -> Answer {
    Answer::to(shop.client().get(format!("http://{}{DOCUMENT}", shop.direct("orders")))).await
}

/// All of it comes from one address, as fast as it goes.
fn unlimited(manifest: &mut Manifest) {
    for service in manifest.services.values_mut() {
        let own = service.routes.iter_mut().filter_map(|route| route.rate_limit.as_mut());
        for limit in own.chain(service.rate_limit.as_mut()) {
            limit.burst = 1_000_000;
        }
    }
}

/// A Python that has the tools, and a folder for what they write.
struct Tools {
    python: std::ffi::OsString,
    folder: TempDir,
}

impl Tools {
    fn of_environment() -> Self {
        let python = std::env::var_os("WASMYARD_API_TOOLS");
        let python = python.expect("WASMYARD_API_TOOLS names a Python with the tools: run `make test-api`");
        Self { python, folder: tempfile::tempdir().expect("a folder") }
    }

    /// Has a document read by somebody who knows the specification.
    fn validate(&self, document: &Answer) {
        let file = self.folder.path().join("openapi.json");
        fs::write(&file, &document.body).expect("it is written");
        let ran = self.run("openapi_spec_validator", |command| command.arg(&file));
        assert!(ran.status.success(), "{}{}", text(&ran.stdout), text(&ran.stderr));
    }

    /// Makes requests up for somebody with this token, and says whether all answers were as
    /// described.
    fn try_out(&self, caller: &'static str, document: &str, token: Option<String>) -> (&'static str, bool) {
        let report = self.folder.path().join(format!("{caller}.json"));
        let ran = self.run("schemathesis.cli", |command| {
            command.arg("--config-file").arg(repository().join("tests/schemathesis.toml"));
            command.args(["run", document, "--no-color", "--report-json-path"]).arg(&report);
            // Answers that do not end by themselves; tests/events has what becomes of them.
            command.args(["--exclude-path-regex", "/(events|ws)$"]);
            if let Some(token) = token {
                command.args(["--header", &format!("Authorization: Bearer {token}")]);
            }
            command
        });
        println!("==== as {caller} ====\n{}{}", text(&ran.stdout), text(&ran.stderr));
        let enough = cases(&report).is_some_and(|(cases, operations)| cases >= operations * CASES_MIN);
        (caller, ran.status.success() && enough)
    }

    fn run(&self, module: &str, form: impl FnOnce(&mut Command) -> &mut Command) -> Output {
        let mut command = Command::new(&self.python);
        // What it remembers between runs would make the next one another one.
        command.args(["-m", module]).current_dir(self.folder.path());
        form(&mut command).output().expect("Python runs")
    }
}

/// How many cases there were, and of how many operations.
fn cases(report: &Path) -> Option<(u64, u64)> {
    let report: Value = serde_json::from_slice(&fs::read(report).ok()?).ok()?;
    let tested = report["operations"]["tested"].as_u64().filter(|tested| *tested > 0)?;
    Some((report["test_cases"]["generated"].as_u64()?, tested))
}

fn text(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}
