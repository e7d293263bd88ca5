//! Hot swap through the host: deploys, rollbacks and changed files, while requests are
//! being answered.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::Method;
use wasmyard::admin::Operator as _;
use wasmyard::admin::api::{FailureKind, HistoryEntry, VersionState, Way};
use wasmyard::runtime::Service;
use wasmyard_tests::component::{bytes, hostile, rebuilt};
use wasmyard_tests::{Load, Logs, Sample, Shop, components, eventually, within};

/// The state of each entry of a service's history, newest first.
fn states(service: &Service) -> Vec<(String, VersionState)> {
    service.history().into_iter().map(|entry| (entry.version, entry.state)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deploy_is_served_and_remembered_and_a_rollback_undoes_it() {
    let shop = Shop::start().await;
    let operator = shop.operator();
    let first = shop.get("/api/v1/users").await.version().to_owned();

    let second = operator.deployed("users", rebuilt(components::USERS, 2)).await;
    assert_ne!(first, second);
    let answer = shop.get("/api/v1/users").await;
    assert_eq!((answer.status.as_u16(), answer.version()), (200, &*second));
    assert_eq!(answer.json().as_array().expect("a list").len(), 4);
    assert_ne!(shop.get("/api/v1/products").await.version(), second, "the others stay as they are");

    let report = operator.rollback("users").await;
    assert_eq!(report.status, 200, "{}", report.text());
    assert_eq!(
        (report.json()["version"].as_str(), report.json()["previous"].as_str()),
        (Some(&*first), Some(&*second))
    );
    assert_eq!(shop.get("/api/v1/users").await.version(), first);

    let again = operator.rollback("users").await.problem(409);
    assert_eq!(again["type"], "urn:wasmyard:problem:nothing-to-roll-back");

    let service = shop.service("users");
    eventually("the earlier ones have drained", async || {
        let mut earlier = states(&service).into_iter().skip(1);
        earlier.all(|(_, state)| state == VersionState::Retired).then_some(())
    })
    .await;
    let history = operator.history("users").await;
    let told: Vec<_> = history
        .iter()
        .map(|entry| (entry["version"].as_str(), entry["way"].as_str(), entry["state"].as_str()))
        .collect();
    assert_eq!(
        told,
        [
            (Some(&*first), Some("rollback"), Some("active")),
            (Some(&*second), Some("deploy"), Some("retired")),
            (Some(&*first), Some("start"), Some("retired")),
        ]
    );
    assert!(history.iter().all(|entry| entry["swap_ms"].as_f64().is_some_and(|ms| ms > 0.0)), "{history:?}");

    let unknown = operator.deploy("user", bytes(components::USERS)).await.problem(404);
    assert_eq!(unknown["nearest"], "users");
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_deploys_under_load_lose_no_request_and_no_answer_is_of_a_drained_version() {
    let shop = Shop::start().await;
    let platform = shop.host.platform().clone();
    let services = ["users", "products"].map(|name| shop.service(name));
    let builds: Vec<Vec<Bytes>> = [components::USERS, components::PRODUCTS]
        .map(|component| (1..=3).map(|mark| rebuilt(component, mark).into()).collect())
        .to_vec();
    let load =
        Load::start(&shop, &["/api/v1/users", "/api/v1/users/1", "/api/v1/products", "/api/v1/products/2"]);
    let witness = Witness::watch(&services);

    for round in 0..25 {
        for (service, builds) in services.iter().zip(&builds) {
            let build = builds[round % builds.len()].clone();
            let report = within("a deploy", platform.deploy(service.name(), build)).await;
            let report =
                report.unwrap_or_else(|failure| panic!("deploy {round} of {}: {failure}", service.name()));
            // The load goes on with each version: the next one comes when this one has
            // answered.
            let before = service.stats().requests();
            eventually("the new version answers", async || {
                (service.stats().requests() > before).then_some(())
            })
            .await;
            assert_eq!(*service.version(), *report.version);
        }
    }
    let samples = load.stop_unharmed().await;
    let drained = witness.end().await;

    for service in &services {
        assert_eq!(service.stats().swaps(), 25);
        assert!(samples.iter().any(|sample| sample.version.is_some() && belongs(sample, service)));
    }
    for sample in &samples {
        let service = services.iter().find(|service| belongs(sample, service)).expect("a path of a service");
        assert_version_served(sample, &service.history(), &drained);
    }
    shop.stop().await;
}

fn belongs(sample: &Sample, service: &Service) -> bool {
    sample.path.starts_with(&format!("/api/v1/{}", service.name()))
}

/// Some deploy of the answer's version was in force at some moment between the request
/// and its answer.
fn assert_version_served(
    sample: &Sample,
    history: &[HistoryEntry],
    drained: &BTreeMap<SystemTime, SystemTime>,
) {
    let version = sample.version.as_deref().expect("an answer has a version");
    let served = history.iter().filter(|entry| entry.version == version).any(|entry| {
        let began = SystemTime::from(entry.at);
        let not_drained = drained.get(&began).is_none_or(|&drained| sample.sent <= drained);
        began <= sample.answered && not_drained
    });
    assert!(served, "{version} had drained before, or came after, {sample:?}");
}

/// Sees when the history says of a version that its last request has ended.
struct Witness {
    task: tokio::task::JoinHandle<BTreeMap<SystemTime, SystemTime>>,
    stop: tokio::sync::oneshot::Sender<()>,
}

impl Witness {
    fn watch(services: &[Arc<Service>]) -> Self {
        let services = services.to_vec();
        let (stop, mut stopped) = tokio::sync::oneshot::channel();
        let task = tokio::spawn(async move {
            let mut drained = BTreeMap::new();
            while stopped.try_recv().is_err() {
                for entry in services.iter().flat_map(|service| service.history()) {
                    if entry.state == VersionState::Retired {
                        // After the look: the version may have drained no later.
                        drained.entry(SystemTime::from(entry.at)).or_insert_with(SystemTime::now);
                    }
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            drained
        });
        Self { task, stop }
    }

    /// The moments, by those when the versions became active.
    async fn end(self) -> BTreeMap<SystemTime, SystemTime> {
        self.stop.send(()).expect("the witness watches");
        let drained = self.task.await.expect("the witness lives");
        assert!(drained.len() > 25, "only {} versions were seen drained", drained.len());
        drained
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_ends_on_the_version_that_it_began_on() {
    let mut service = hostile(components::ECHOES);
    service.limits.request_timeout = Duration::from_secs(60);
    let shop = Shop::builder().service(service).start().await;
    let operator = shop.operator();
    let service = shop.service("hostile");
    let old = service.version().to_string();
    // Compiled beforehand, so that the swap comes well within the request.
    let new = operator.deployed("hostile", rebuilt(components::ECHOES, 1)).await;
    assert_eq!(operator.rollback("hostile").await.status, 200);

    let slow = {
        let client = shop.new_client();
        let url = format!("https://localhost:{}/work?5000", shop.https().port());
        tokio::spawn(async move {
            wasmyard_tests::Answer::read(client.get(url).send().await.expect("an answer")).await
        })
    };
    eventually("the slow request is in the guest", async || {
        (service.instances().busy.load(Relaxed) == 1).then_some(())
    })
    .await;
    operator.deployed("hostile", rebuilt(components::ECHOES, 1)).await;
    assert_eq!(shop.get("/work").await.version(), new);
    assert!(!slow.is_finished(), "the slow request outlasts the swap");
    let [(_, active), (draining, state), ..] = &states(&service)[..] else { panic!("a history of two") };
    assert_eq!((*active, draining, *state), (VersionState::Active, &old, VersionState::Draining));

    let answer = within("the slow request's answer", slow).await.expect("an answer");
    assert_eq!((answer.status.as_u16(), answer.version()), (200, &*old));
    eventually("the old version is gone", async || {
        (states(&service)[1].1 == VersionState::Retired).then_some(())
    })
    .await;
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_component_leaves_the_old_one_serving_and_names_the_step() {
    let shop = Shop::start().await;
    let operator = shop.operator();
    let version = shop.get("/api/v1/users").await.version().to_owned();
    let load = Load::start(&shop, &["/api/v1/users"]);

    let users = bytes(components::USERS);
    let cases: [(&str, Vec<u8>, &str, &str); 8] = [
        ("nothing", Vec::new(), "compile", "not a WebAssembly file"),
        ("text", b"#!/bin/sh\nexit 0\n".to_vec(), "compile", "not a WebAssembly file"),
        ("a core module", b"\0asm\x01\0\0\0".to_vec(), "compile", "wasm32-wasip2"),
        ("half a component", users[..users.len() / 2].to_vec(), "compile", "invalid component"),
        ("a damaged component", [&users[..], &[0xff; 16]].concat(), "compile", "invalid component"),
        ("an empty component", b"\0asm\x0d\0\x01\0".to_vec(), "grants", "http-handler"),
        ("one that wants more", bytes(components::WANTS_EVERYTHING), "grants", "config = true"),
        ("one that is unwell", bytes(components::IS_UNWELL), "health", "not today"),
    ];
    for (what, component, step, reason) in cases {
        let problem = operator.deploy("users", component).await.problem(422);
        assert_eq!(problem["step"], step, "{what}: {problem}");
        assert!(problem["reason"].as_str().is_some_and(|told| told.contains(reason)), "{what}: {problem}");
        assert_eq!(shop.get("/api/v1/users").await.version(), version, "after {what}");
        let newest = &operator.history("users").await[0];
        assert_eq!(
            (newest["state"].as_str(), newest["way"].as_str()),
            (Some("refused"), Some("deploy")),
            "{what}"
        );
        assert!(newest["note"].as_str().is_some_and(|note| note.contains(reason)), "{what}: {newest}");
    }
    // What was refused is no version to go back to.
    operator.rollback("users").await.problem(409);
    load.stop_unharmed().await;
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_deploy_at_the_same_time_is_refused_as_busy() {
    let shop = Shop::start().await;
    let (operator, platform) = (shop.operator(), shop.host.platform().clone());
    let users = shop.service("users");
    let first = tokio::spawn(async move { operator.deploy("users", rebuilt(components::USERS, 1)).await });
    eventually("the first compiles", async || users.is_deploying().then_some(())).await;
    // In the host's own process, so that it comes within the compilation.
    let second = platform.deploy("users", rebuilt(components::USERS, 2).into()).await;
    let busy = second.expect_err("one at a time");
    assert_eq!((busy.kind, busy.step.as_str()), (FailureKind::Busy, "begin"));
    let rollback = platform.rollback("users").await.expect_err("one at a time");
    assert_eq!(rollback.kind, FailureKind::Busy);
    assert_eq!(first.await.expect("no panic").status, 200);
    assert!(!users.is_deploying());
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_choice_survives_a_restart_until_the_components_file_changes() {
    let shop = Shop::builder().own_files().start().await;
    let database = shop.database.clone();
    let first = shop.service("users").version().to_string();
    let second = shop.operator().deployed("users", rebuilt(components::USERS, 2)).await;
    let third = shop.operator().deployed("users", rebuilt(components::USERS, 3)).await;
    let dir = shop.stop().await;

    let shop = Shop::builder().own_files().resume(dir).postgres(&database).start().await;
    assert_eq!(shop.get("/api/v1/users").await.version(), third, "the version deployed before the restart");
    assert_eq!(shop.operator().rollback("users").await.status, 200, "the history goes on");
    assert_eq!(shop.get("/api/v1/users").await.version(), second);
    let dir = shop.stop().await;

    let shop = Shop::builder().own_files().resume(dir).postgres(&database).start().await;
    assert_eq!(shop.get("/api/v1/users").await.version(), second, "a rollback survives as well");
    let dir = shop.stop().await;

    std::fs::write(dir.path().join("users.wasm"), rebuilt(components::USERS, 4)).expect("another component");
    let shop = Shop::builder().own_files().resume(dir).postgres(&database).start().await;
    let fourth = shop.get("/api/v1/users").await.version().to_owned();
    assert!(![&first, &second, &third].contains(&&fourth), "a changed file wins");
    let entries = shop.service("users").history();
    assert_eq!(entries[0].way, Way::Start);
    assert_eq!(entries.iter().filter(|entry| entry.state == VersionState::Active).count(), 1);
    assert_eq!(shop.operator().rollback("users").await.status, 200);
    assert_eq!(shop.get("/api/v1/users").await.version(), second);
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_component_file_deploys_itself() {
    let shop = Shop::builder().own_files().start().await;
    let file = shop.dir().join("users.wasm");
    let users = shop.service("users");
    let first = users.version().to_string();
    let load = Load::start(&shop, &["/api/v1/users"]);

    replace(&file, &rebuilt(components::USERS, 1));
    let second = eventually("the changed file serves", async || {
        let version = users.version().to_string();
        (version != first).then_some(version)
    })
    .await;
    assert_eq!(users.history()[0].way, Way::Watch);
    assert_eq!(shop.get("/api/v1/users").await.version(), second);

    replace(&file, b"half a file");
    refused(&users, "not a WebAssembly file", 1).await;
    assert_eq!(shop.get("/api/v1/users").await.version(), second, "a refused file changes nothing");
    // Written again, it is looked at again; what it was refused for may be gone.
    replace(&file, b"half a file");
    refused(&users, "not a WebAssembly file", 2).await;

    replace(&file, &bytes(components::USERS));
    eventually("the file as it was at first serves", async || (*users.version() == *first).then_some(()))
        .await;

    // A deploy by hand stays while the file does, even if the file is written anew. The one of
    // the file serves a moment before it has ended.
    let third = rebuilt(components::USERS, 3);
    let third = eventually("no other deploy is running", async || {
        let answer = shop.operator().deploy("users", third.clone()).await;
        (answer.status != 409).then_some(answer)
    })
    .await;
    assert_eq!(third.status, 200, "{}", third.text());
    let third = third.json()["version"].as_str().expect("the new version's label").to_owned();
    let products = shop.service("products");
    let before = products.version();
    replace(&file, &bytes(components::USERS));
    replace(&shop.dir().join("products.wasm"), &rebuilt(components::PRODUCTS, 1));
    eventually("a later change has been noticed", async || (products.version() != before).then_some(()))
        .await;
    assert_eq!(*users.version(), *third);
    load.stop_unharmed().await;
    shop.stop().await;
}

/// Waits until so many entries of the history are refusals for this reason.
async fn refused(service: &Service, reason: &str, times: usize) {
    eventually(reason, async || {
        let entries = service.history();
        let found = entries.iter().filter(|entry| entry.state == VersionState::Refused);
        let found = found.filter(|entry| entry.note.as_ref().is_some_and(|note| note.contains(reason)));
        (found.count() == times).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_manifest_changes_routes_limits_and_grants_without_a_restart() {
    Logs::capture();
    let shop = Shop::builder().own_files().start().await;
    let manifest = shop.dir().join("wasmyard.toml");
    let text = std::fs::read_to_string(&manifest).expect("the manifest");
    let edit = |from: &str, to: &str| {
        assert!(text.contains(from), "the manifest has no {from}");
        replace(&manifest, text.replacen(from, to, 1).as_bytes());
    };
    let load = Load::start(&shop, &["/api/v1/users", "/api/v1/products"]);

    // A route.
    let route = r#"{ path = "/api/v1/users/{id}", methods = ["GET"], cache = "users:{id}" },"#;
    edit(route, "");
    eventually("the route is gone", async || (shop.get("/api/v1/users/1").await.status == 404).then_some(()))
        .await;
    edit(route, route);
    eventually("the route is back", async || (shop.get("/api/v1/users/1").await.status == 200).then_some(()))
        .await;

    // Limits.
    edit("concurrency_max = 256", "concurrency_max = 17\nrequest_body_bytes_max = 10");
    eventually("the limits hold", async || {
        (shop.service("users").limits().concurrency_max == 17).then_some(())
    })
    .await;
    let body = serde_json::json!({ "username": "eve", "email": "eve@example.com" });
    shop.post("/api/v1/users", &body).await.problem(413);

    // A broken one is refused as a whole, and so is one that takes away what is needed.
    edit("memory_mib", "memory_mob");
    let broken = manifest_refused(&manifest, 1).await;
    assert!(broken.contains("memory_mob") && broken.contains("memory_mib"), "{broken}");
    edit("stats = true\n# The only header", "# The only header");
    let needed = manifest_refused(&manifest, 2).await;
    assert!(needed.contains("stats = true"), "{needed}");
    assert_eq!(shop.service("users").limits().concurrency_max, 17, "the old one is in force");
    edit("concurrency_max = 256", "concurrency_max = 18");
    eventually("a good one is put in force", async || {
        (shop.service("users").limits().concurrency_max == 18).then_some(())
    })
    .await;
    assert_eq!(shop.post("/api/v1/users", &body).await.status, 201);

    // Grants: what a component was refused for can be given.
    let users = shop.service("users");
    let version = users.version();
    let component = shop.dir().join("users.wasm");
    replace(&component, &bytes(components::WANTS_EVERYTHING));
    refused(&users, "config = true", 1).await;
    assert_eq!(users.version(), version);
    edit(
        "stats = true\n# The only header",
        "stats = true\nconfig = true\nservices = [\"products\"]\n# The only header",
    );
    eventually("what is granted now serves", async || (users.version() != version).then_some(())).await;
    assert!(shop.get("/api/v1/users/1").await.text().contains("None true"));
    replace(&component, &bytes(components::USERS));
    eventually("the old component serves", async || (users.version() == version).then_some(())).await;
    load.stop_unharmed().await;

    // A service that is new, and one that is gone.
    let echo = format!(
        "{text}\n[services.echo]\ncomponent = {:?}\nroutes = [{{ path = \"/echo\", methods = [\"POST\"] }}]\ngrants = {{ log = true }}\n",
        components::ECHOES
    );
    let orders = echo.find("[services.orders]").expect("orders");
    let end = echo.find("\n[services.echo]").expect("echo");
    replace(&manifest, [&echo[..orders], &echo[end..]].concat().as_bytes());
    let answer = eventually("the new service serves", async || {
        let answer = shop.send(Method::POST, "/echo", &[], b"hello").await;
        (answer.status == 200).then_some(answer)
    })
    .await;
    assert_eq!(answer.text(), "hello");
    shop.get("/api/v1/orders").await.problem(404);
    shop.stop().await;
}

/// Waits until the manifest has been refused so many times; gives the last reason.
async fn manifest_refused(path: &Path, times: usize) -> String {
    eventually("the manifest is refused", async || {
        let mut lines = Logs::capture().with("manifest", &path.display().to_string());
        lines.retain(|line| line.message.contains("refused"));
        (lines.len() == times).then(|| lines.pop().map(|line| line.message).unwrap_or_default())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manifest_that_cannot_be_put_in_force_leaves_the_old_one() {
    let shop = Shop::start().await;
    let platform = shop.host.platform().clone();
    let versions =
        || shop.host.platform().services().values().map(|service| service.active_since()).collect::<Vec<_>>();
    let before = versions();

    // It takes a grant away from one service and gives another limit to a second: neither
    // happens.
    let mut manifest = shop.manifest.clone();
    manifest.services.get_mut("orders").expect("orders").limits.concurrency_max = 3;
    manifest.services.get_mut("users").expect("users").grants.cache = None;
    let refused = platform.apply(manifest).await.expect_err("users needs its cache");
    let refused = format!("{refused:#}");
    assert!(refused.contains("service users") && refused.contains("cache = {"), "{refused}");
    assert_eq!(versions(), before);

    // So does one with a new service whose component is no good.
    let mut manifest = shop.manifest.clone();
    manifest.services.get_mut("orders").expect("orders").limits.concurrency_max = 3;
    manifest.services.insert("hostile".to_owned(), hostile(components::IS_UNWELL));
    platform.apply(manifest).await.expect_err("the new service is unwell");
    assert_eq!(versions(), before);
    assert_eq!(shop.get("/health").await.status, 404, "its routes are not there");

    // Neither keeps the next one out, nor the next deploy.
    let mut manifest = shop.manifest.clone();
    manifest.services.get_mut("orders").expect("orders").limits.concurrency_max = 3;
    let applied = platform.apply(manifest).await.expect("nothing is wrong with it");
    assert_eq!((applied.changed, applied.added.len()), (vec!["orders".to_owned()], 0));
    assert_eq!(shop.service("orders").limits().concurrency_max, 3);
    assert_eq!(shop.service("orders").history()[0].way, Way::Manifest);
    shop.operator().deployed("orders", rebuilt(components::ORDERS, 1)).await;
    assert_eq!(shop.service("orders").limits().concurrency_max, 3, "a deploy keeps the new terms");
    shop.stop().await;
}

/// Replaces a file as a linker or an editor does: at once, by another one.
fn replace(path: &Path, content: &[u8]) {
    let new = path.with_extension("new");
    std::fs::write(&new, content).expect("a new file");
    std::fs::rename(&new, path).expect("it takes the old one's place");
}
