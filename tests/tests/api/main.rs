//! The API against its own description: a validator reads the document of a running host,
//! every example in it is held against its schema, and schemathesis makes requests up from it,
//! good ones and bad ones, and checks each answer.
//!
//! `tests/schemathesis.toml` says how. What it finds is printed with a line to reproduce it.
//! Routes to events, whose answers do not end by themselves, are left out: `tests/tests/docs.rs`
//! holds their refusals against the description, and `tests/tests/events/` the rest.

mod report;
mod tools;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;
use wasmyard::manifest::Manifest;
use wasmyard_tests::{Answer, Session, Shop, at_once};

use report::Report;
use tools::Tools;

const DOCUMENT: &str = "/api/docs/openapi.json";
/// Requests to each operation, as all callers together: a run as one of them may end early with an
/// operation.
const CASES_MIN: usize = 200;

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Caller {
    /// Somebody unknown, in the local form, where they may do the most.
    Nobody,
    Customer,
    Admin,
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "it takes minutes, and tools: `make test-api` runs it"]
async fn every_answer_is_as_described() {
    let tools = Arc::new(Tools::of_environment());
    let local = Shop::builder().change(unlimited).start().await;
    let shop = Shop::builder().change(unlimited).tokens_required().start().await;
    let documents = [local.get(DOCUMENT).await, shop.get(DOCUMENT).await, direct(&shop).await];
    let mut failed = Vec::new();
    for document in &documents {
        tools.validate(document).await;
        failed.extend(tools.check_examples(document).await);
    }

    let (customer, admin) = (shop.login("alice").await, shop.login("diana").await);
    let callers = [
        (Caller::Nobody, local.url(DOCUMENT), None),
        (Caller::Customer, shop.url(DOCUMENT), Some(customer.access.clone())),
        (Caller::Admin, shop.url(DOCUMENT), Some(admin.access.clone())),
    ];
    let runs = callers.map(|(caller, document, token)| {
        let tools = tools.clone();
        async move { (caller, tools.try_out(&format!("{caller:?}"), &document, token).await) }
    });
    let described = operations(&documents[0].json());
    let mut requests: BTreeMap<String, usize> = BTreeMap::new();
    for (caller, report) in at_once(runs).join_all().await {
        println!("{report}");
        for (operation, counts) in &report.operations {
            *requests.entry(operation.clone()).or_default() += counts.requests;
        }
        failed.extend(
            faults(caller, &report, &described).into_iter().map(|fault| format!("{caller:?}: {fault}")),
        );
    }
    let few = requests.into_iter().filter(|(_, requests)| *requests < CASES_MIN);
    failed.extend(few.map(|(operation, requests)| format!("{operation}: {requests} requests")));
    assert!(failed.is_empty(), "not as described, see above:\n{}", failed.join("\n"));
    for session in [&customer, &admin] {
        still_good(&shop, session).await;
    }
}

/// What a report must say.
fn faults(caller: Caller, report: &Report, described: &BTreeSet<String>) -> Vec<String> {
    let mut faults = Vec::new();
    if !report.passed {
        faults.push("schemathesis has found something".to_owned());
    }
    let tried: BTreeSet<String> = report.operations.keys().cloned().collect();
    if tried != *described {
        faults.push(format!("described are {described:?}, and tried out {tried:?}"));
    }
    for (operation, counts) in &report.operations {
        if counts.succeeded() == 0 && !never_succeeds(caller, operation) {
            faults.push(format!("{operation}: nothing succeeds"));
        }
    }
    faults
}

/// Operations that refuse whatever can be made up.
fn never_succeeds(caller: Caller, operation: &str) -> bool {
    match operation {
        // A token of 256 random bits is not guessed.
        "POST /api/v1/auth/refresh" => true,
        // Nobody is not anybody.
        "GET /api/v1/auth/me" => caller == Caller::Nobody,
        // These take an admin.
        "POST /api/v1/products"
        | "PATCH /api/v1/products/{id}/stock"
        | "PATCH /api/v1/orders/{id}/status" => caller == Caller::Customer,
        _ => false,
    }
}

/// A token that ran out would have had every request refused, which is as described too.
async fn still_good(shop: &Shop, session: &Session) {
    let bearer = format!("Bearer {}", session.access);
    let answer = shop.send(http::Method::GET, "/api/v1/auth/me", &[("authorization", &bearer)], b"").await;
    assert_eq!(answer.status, 200, "the token has run out: {answer:?}");
}

/// `GET /api/v1/users` for each operation but those that tell events, and the one that
/// schemathesis reads the document from, which it leaves out by itself.
fn operations(document: &Value) -> BTreeSet<String> {
    let paths = document["paths"].as_object().expect("paths").iter();
    let operations = paths.flat_map(|(path, item)| {
        item.as_object().expect("a path").iter().map(move |(method, operation)| (path, method, operation))
    });
    let ends = |operation: &Value| {
        let responses = &operation["responses"];
        responses["101"].is_null() && responses["200"]["content"]["text/event-stream"].is_null()
    };
    operations
        .filter(|(path, _, operation)| path.as_str() != DOCUMENT && ends(operation))
        .map(|(path, method, _)| format!("{} {path}", method.to_uppercase()))
        .collect()
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
