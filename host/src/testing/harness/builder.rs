//! What a component under test will have.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use anyhow::Context as _;

use super::Harness;
use super::script::{FixedStats, Journal, ScriptedServices};
use crate::bindings::wasmyard::platform::http_types::Response;
use crate::capability::postgres::Postgres;
use crate::capability::services::{CallRequest, Error};
use crate::capability::stats::Snapshot;
use crate::capability::{Capabilities, config};
use crate::limits::{INSTANCES_MAX, POSTGRES_STATEMENT_TIMEOUT};
use crate::manifest::{CacheGrant, Grants, Isolation, KeysGrant, PostgresGrant, Service, ServiceLimits};
use crate::runtime::component::{Compiled, ComponentStore};
use crate::runtime::deploy::HEALTH_PATH;
use crate::runtime::{Engine, InstanceCounts, Terms, Version};
use crate::testing::{FakeAuth, FakeRedis, ScriptedPostgres};

/// What a component under test will have. Made by [`Harness::component`] and
/// [`Harness::service`].
pub struct HarnessBuilder {
    component: PathBuf,
    name: String,
    routes: Vec<String>,
    grants: Grants,
    limits: ServiceLimits,
    isolation: Isolation,
    settings: BTreeMap<String, String>,
    postgres: Option<Arc<dyn Postgres>>,
    redis: Option<FakeRedis>,
    services: ScriptedServices,
    stats: FixedStats,
    auth: FakeAuth,
}

impl HarnessBuilder {
    pub(super) fn component(path: &Path) -> Self {
        let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or("component");
        Self {
            component: path.to_owned(),
            name: name.to_owned(),
            routes: vec![HEALTH_PATH.to_owned()],
            grants: Grants { log: true, config: true, stats: true, ..Grants::default() },
            limits: ServiceLimits::default(),
            isolation: Isolation::default(),
            settings: BTreeMap::new(),
            postgres: None,
            redis: None,
            services: ScriptedServices::default(),
            stats: FixedStats::new(name),
            auth: FakeAuth::default(),
        }
    }

    pub(super) fn service(service: &Service) -> Self {
        let direct = service.direct.iter().flat_map(|direct| &direct.routes);
        let routes = service.routes.iter().chain(direct).chain(&service.internal);
        let routes = routes.map(|route| route.path.as_str());
        Self {
            grants: service.grants.clone(),
            limits: service.limits.clone(),
            isolation: service.isolation,
            settings: service.settings.clone(),
            ..Self::component(&service.component).named(&service.name).routes(routes)
        }
    }

    /// The service's name; without this, the file's.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        name.clone_into(&mut self.stats.0.service);
        self
    }

    /// Templates that the component answers, beside those that it has.
    #[must_use]
    pub fn routes<'a>(mut self, templates: impl IntoIterator<Item = &'a str>) -> Self {
        for template in templates {
            if !self.routes.iter().any(|known| known == template) {
                self.routes.push(template.to_owned());
            }
        }
        self
    }

    /// Grants `postgres`, with this behind it.
    #[must_use]
    pub fn postgres(mut self, postgres: impl Postgres + 'static) -> Self {
        self.grants.postgres.get_or_insert_with(|| PostgresGrant {
            role: "test".to_owned(),
            pool_max: 1,
            statement_timeout: POSTGRES_STATEMENT_TIMEOUT,
        });
        self.postgres = Some(Arc::new(postgres));
        self
    }

    /// Grants `redis` and `cache`, with this behind both: for the manifest's keys, or
    /// for any key where there is no manifest.
    #[must_use]
    pub fn redis(mut self, redis: FakeRedis) -> Self {
        if self.grants.redis.is_none() && self.grants.cache.is_none() {
            let any = vec!["*".to_owned()];
            self.grants.redis = Some(KeysGrant { keys: any.clone() });
            self.grants.cache = Some(CacheGrant::new(any));
        }
        self.redis = Some(redis);
        self
    }

    /// Grants calls to a service, which `answer` plays. It may answer with
    /// [`reply`](super::reply), or fail as the host's calls do.
    #[must_use]
    pub fn peer(
        mut self,
        name: &str,
        answer: impl Fn(&CallRequest) -> Result<Response, Error> + Send + Sync + 'static,
    ) -> Self {
        if !self.grants.services.iter().any(|granted| granted == name) {
            self.grants.services.push(name.to_owned());
        }
        self.services.peers.insert(name.to_owned(), Box::new(answer));
        self
    }

    /// Grants `auth`, with this behind it.
    #[must_use]
    pub fn auth(mut self, auth: FakeAuth) -> Self {
        self.grants.auth = true;
        self.auth = auth;
        self
    }

    /// The numbers that `stats` gives. Before the change they are 0, but for the one
    /// request that is under way; `version` is the component's own.
    #[must_use]
    pub fn stats(mut self, change: impl FnOnce(&mut Snapshot)) -> Self {
        change(&mut self.stats.0);
        self
    }

    /// A setting, as from the manifest.
    #[must_use]
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Other limits than the defaults, or than the manifest's.
    #[must_use]
    pub fn limits(mut self, change: impl FnOnce(&mut ServiceLimits)) -> Self {
        change(&mut self.limits);
        self
    }

    /// Other grants than those that the manifest has, or that the capabilities given
    /// here imply.
    #[must_use]
    pub fn grants(mut self, change: impl FnOnce(&mut Grants)) -> Self {
        change(&mut self.grants);
        self
    }

    /// Whether instances are reused.
    #[must_use]
    pub fn isolation(mut self, isolation: Isolation) -> Self {
        self.isolation = isolation;
        self
    }

    /// Checks and links the component.
    ///
    /// # Errors
    /// The file cannot be read, a route is no template, or the component is refused:
    /// then the error is a
    /// [`Refusal`](crate::runtime::Refusal).
    pub async fn start(mut self) -> anyhow::Result<Harness> {
        let mut routes = matchit::Router::new();
        for template in &self.routes {
            let inserted = routes.insert(template, template.as_str().into());
            inserted.with_context(|| format!("the route {template}"))?;
        }
        let component = self.component.clone();
        let compiled = tokio::task::spawn_blocking(move || compiled(&component)).await??;

        self.services.granted.clone_from(&self.grants.services);
        let (services, journal) = (Arc::new(self.services), Arc::<Journal>::default());
        let redis = self.redis.unwrap_or_default();
        let capabilities = Capabilities {
            postgres: Some(self.postgres.unwrap_or_else(|| Arc::new(ScriptedPostgres::new()))),
            redis: self.grants.redis.as_ref().map(|grant| redis.grant(grant).0),
            cache: self
                .grants
                .cache
                .as_ref()
                .map(|grant| redis.grant(&KeysGrant { keys: grant.keys.clone() }).1),
            services: Some(services.clone()),
            stats: Some(Arc::new(self.stats)),
            auth: Some(Arc::new(self.auth)),
            settings: Arc::new(config::readable(&self.settings, &self.limits)),
            log: Some(journal.clone()),
        };
        let terms = Terms {
            grants: self.grants,
            capabilities: Arc::new(capabilities),
            limits: Arc::new(self.limits),
            isolation: self.isolation,
            background: false,
        };
        let instances = Arc::<InstanceCounts>::default();
        let version = Version::link(&self.name.into(), &compiled, &terms, instances.clone())?;
        Ok(Harness { version, routes, services, journal, instances })
    }
}

/// The code of a component's file: kept in a folder of its own beside it, and dropped
/// there when the component has changed.
fn compiled(path: &Path) -> anyhow::Result<Compiled> {
    // Tests of a process start together; one compiles and the others find the code.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);

    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let name = path.file_stem().with_context(|| format!("{} has no name", path.display()))?;
    let folder = path.with_file_name(".wasmyard").join(name);
    let store = ComponentStore::new(engine().wasmtime(), &folder)?;
    let compiled = store.load(&bytes)?;
    store.prune(&HashSet::from([compiled.digest.clone()]));
    Ok(compiled)
}

/// One engine for all tests of a process: it reserves address space for every instance
/// that there may be.
fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| {
        Engine::new(INSTANCES_MAX).expect("the engine starts on a machine that can run tests")
    })
}
