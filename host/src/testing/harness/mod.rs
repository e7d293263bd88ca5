//! One component, alone: a test hands it a request and reads the answer, with
//! capabilities that the test scripts.

mod answer;
mod builder;
mod call;
mod script;

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use http::Method;

use crate::capability::log::Line;
use crate::capability::services::CallRequest;
use crate::manifest::Service;
use crate::runtime::{InstanceCounts, Parked, Version};

pub use answer::Answer;
pub use builder::HarnessBuilder;
pub use call::Call;
pub use script::reply;
use script::{Journal, ScriptedServices};

/// A component with scripted capabilities, ready for requests.
///
/// The component runs as it does in the host: the same engine, instances, limits,
/// deadlines, checks of keys and checks of the answer. Only what stands behind its
/// capabilities is scripted. What the host does around every service is not here:
/// methods that a route does not have, HEAD, `ETag` and 304, bounds on the request,
/// and the concurrency limit.
///
/// The first test of a component compiles it, which takes seconds; the code is kept in
/// `.wasmyard/` beside the component, and from then on a harness starts in
/// milliseconds and a request takes less than one.
///
/// ```no_run
/// use std::time::Duration;
/// use wasmyard::testing::{FakeRedis, Harness, ScriptedPostgres, rows};
///
/// # /*
/// #[tokio::test]
/// # */
/// async fn a_user_is_cached_for_five_minutes() -> anyhow::Result<()> {
///     // Asked for anything else, or a third time, the database fails the test.
///     let alice = || rows(["id", "username"], [vec![1.into(), "alice".into()]]);
///     let postgres = ScriptedPostgres::new()
///         .expect("FROM users WHERE id = $1", alice())
///         .expect("FROM users WHERE id = $1", alice());
///     let redis = FakeRedis::new();
///     let users = Harness::component("target/wasm32-wasip2/component/users.wasm")
///         .routes(["/api/v1/users/{id}"])
///         .postgres(postgres.clone())
///         .redis(redis.clone())
///         .start()
///         .await?;
///
///     let miss = users.get("/api/v1/users/1").await?;
///     assert_eq!((miss.status.as_u16(), &miss.json()["username"]), (200, &"alice".into()));
///     assert_eq!(redis.value("users:1").as_deref(), Some(&miss.body[..]));
///
///     redis.advance(Duration::from_secs(299));
///     let hit = users.get("/api/v1/users/1").await?;
///     assert_eq!(hit.header("cache-status"), Some("wasmyard; hit; ttl=1"));
///     assert_eq!(postgres.asked().len(), 1);
///
///     redis.advance(Duration::from_secs(1));
///     users.get("/api/v1/users/1").await?;
///     assert_eq!(postgres.asked().len(), 2);
///     assert!(users.logged().is_empty());
///     Ok(())
/// }
/// ```
///
/// A service's routes and grants can be those of its manifest; then the test fails as
/// the host would when the component uses a key that is not granted:
///
/// ```no_run
/// # async fn example() -> anyhow::Result<()> {
/// use wasmyard::manifest::Manifest;
/// use wasmyard::testing::{Harness, reply};
///
/// let environment = |name: &str| std::env::var(name).ok();
/// let manifest = Manifest::load("wasmyard.toml".as_ref(), &environment)?;
/// let orders = Harness::service(&manifest.services["orders"])
///     .peer("users", |_| reply(404, "{}"))
///     .peer("products", |_| reply(200, r#"{"price": 9.99}"#))
///     .start()
///     .await?;
///
/// let refused = orders.post("/api/v1/orders", r#"{"user_id": 7, "product_id": 1, "quantity": 1}"#).await?;
/// assert_eq!(refused.status, 422);
/// assert_eq!(orders.called()[0].1.path, "/api/v1/users/7");
/// # Ok(())
/// # }
/// ```
pub struct Harness {
    version: Version,
    routes: matchit::Router<Arc<str>>,
    services: Arc<ScriptedServices>,
    journal: Arc<Journal>,
    instances: Arc<InstanceCounts>,
}

impl Harness {
    /// Begins with a component's file, granted `log`, `config` and `stats` and nothing
    /// else. It answers `/health` and no other route.
    pub fn component(path: impl AsRef<Path>) -> HarnessBuilder {
        HarnessBuilder::component(path.as_ref())
    }

    /// Begins with a service as its manifest has it: the component, all routes, grants,
    /// limits, isolation and settings. A capability that is granted and not scripted is
    /// an empty one: a [`FakeRedis`](super::FakeRedis) without keys, a
    /// [`ScriptedPostgres`](super::ScriptedPostgres) that expects no statement.
    pub fn service(service: &Service) -> HarnessBuilder {
        HarnessBuilder::service(service)
    }

    /// A GET request for a path, with its query if it has one.
    ///
    /// # Panics
    /// As [`Harness::call`].
    pub fn get(&self, path: &str) -> Call<'_> {
        self.call(Method::GET, path)
    }

    /// A POST request with a JSON body.
    ///
    /// # Panics
    /// As [`Harness::call`].
    pub fn post(&self, path: &str, json: &(impl ToString + ?Sized)) -> Call<'_> {
        self.call(Method::POST, path).json(json)
    }

    /// A PATCH request with a JSON body.
    ///
    /// # Panics
    /// As [`Harness::call`].
    pub fn patch(&self, path: &str, json: &(impl ToString + ?Sized)) -> Call<'_> {
        self.call(Method::PATCH, path).json(json)
    }

    /// A request, to be filled in further and then awaited.
    ///
    /// # Panics
    /// When no route matches the path: a host would not have entered the component.
    pub fn call(&self, method: Method, path: &str) -> Call<'_> {
        Call::new(self, method, path)
    }

    /// Gives the component a turn in the background, with this fencing token.
    ///
    /// # Errors
    /// What the component says, or why it could not.
    pub async fn turn(&self, fencing_token: u64) -> anyhow::Result<Result<(), String>> {
        Ok(self.version.run_background(fencing_token, self.deadline()).await?)
    }

    /// What the component has parked.
    ///
    /// # Errors
    /// As [`Harness::turn`].
    pub async fn parked(&self) -> anyhow::Result<Result<Vec<Parked>, String>> {
        Ok(self.version.parked(self.deadline()).await?)
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.version.limits().request_timeout
    }

    /// What the component has logged and printed since the start, in order.
    pub fn logged(&self) -> Vec<Line> {
        self.journal.lines()
    }

    /// The calls to other services since the start, in order: the service's name and
    /// what it was sent.
    pub fn called(&self) -> Vec<(String, CallRequest)> {
        self.services.called()
    }

    /// The component's instances: warm, at work, and dropped.
    pub fn instances(&self) -> &InstanceCounts {
        &self.instances
    }
}
