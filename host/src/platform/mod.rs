//! Everything that serves, made from a manifest: the engine, the backends, the
//! services and the routes to them; and what changes them while they serve.

mod apply;
mod backends;
mod operator;

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use arc_swap::ArcSwap;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

pub use apply::Applied;
pub use backends::Backends;

use crate::background::Leases;
use crate::capability::redis::RedisConnection;
use crate::events::Topics;
use crate::limits::SERVICES_STARTING_MAX;
use crate::local::Progress;
use crate::manifest::{self, Manifest};
use crate::pages::{CurrentPages, Pages};
use crate::policy::auth::Authority;
use crate::router::{CurrentRouter, Handler, Router, Settings};
use crate::runtime::component::ComponentStore;
use crate::runtime::{Engine, Service, Start, Terms};
use crate::telemetry::ServiceStats;
use crate::telemetry::trace::Tracer;

/// How often idle instances are looked for.
const IDLE_SWEEP: Duration = Duration::from_secs(5);

/// The running services. Shared by the gateway, the operator's API and the watch.
pub struct Platform {
    /// Ticks as long as it is here.
    _engine: Engine,
    store: Arc<ComponentStore>,
    state_dir: PathBuf,
    backends: Backends,
    router: Arc<CurrentRouter>,
    services: ArcSwap<BTreeMap<String, Arc<Service>>>,
    pages: Arc<CurrentPages>,
    /// What the services tell the world. Of no service, so no swap is seen here.
    topics: Arc<Topics>,
    /// The manifest in force.
    manifest: ArcSwap<Manifest>,
    /// The local form, which relieves some routes of tokens.
    local: bool,
    /// Where the public listener is bound, whatever a changed manifest says.
    bind: IpAddr,
    /// Held while a manifest is being put in force.
    applying: Mutex<()>,
    started_at: Timestamp,
    draining: CancellationToken,
}

impl Platform {
    /// Starts every service of the manifest, in the local form or not. `progress` is told
    /// each step.
    ///
    /// # Errors
    /// A backend's address is none, or a component is refused; nothing serves then.
    pub async fn start(
        manifest: Manifest,
        state_dir: &Path,
        backends: Backends,
        local: bool,
        progress: &Progress<'_>,
    ) -> anyhow::Result<Arc<Self>> {
        let started_at = Timestamp::now();
        let engine = Engine::new(manifest.runtime.instances_max).context("cannot start the engine")?;
        let store = Arc::new(ComponentStore::new(engine.wasmtime(), state_dir)?);
        let router = Arc::new(CurrentRouter::default());
        let topics = Arc::new(backends.topics(&manifest)?);
        let platform = Self {
            _engine: engine,
            store,
            state_dir: state_dir.to_owned(),
            backends,
            router,
            services: ArcSwap::default(),
            pages: Arc::new(ArcSwap::from_pointee(load_pages(&manifest)?)),
            topics,
            manifest: ArcSwap::from_pointee(manifest.clone()),
            local,
            bind: manifest.server.bind,
            applying: Mutex::default(),
            started_at,
            draining: CancellationToken::new(),
        };
        progress(&format!("loading {} components", manifest.services.len()));
        let starts = manifest.services.values().map(|service| platform.start_service(service));
        let services = stream::iter(starts).buffered(SERVICES_STARTING_MAX).try_collect().await?;
        platform.put_in_place(&manifest, services)?;
        let kept: HashSet<_> = platform.services.load().values().flat_map(|service| service.kept()).collect();
        platform.store.prune(&kept);
        Ok(Arc::new(platform))
    }

    /// The Redis that the services share, if there is one.
    pub fn redis(&self) -> Option<&Arc<RedisConnection>> {
        self.backends.redis()
    }

    /// Who knows the callers, if anybody has to.
    pub fn authority(&self) -> Option<&Arc<Authority>> {
        self.backends.authority()
    }

    /// The events of the services.
    pub fn topics(&self) -> &Arc<Topics> {
        &self.topics
    }

    /// From now on the host says that it should not be sent requests, and lets go of those
    /// who would listen for ever.
    pub fn begin_drain(&self) {
        self.draining.cancel();
        self.topics.close();
    }

    /// Cancelled when it begins to stop.
    pub fn draining(&self) -> &CancellationToken {
        &self.draining
    }

    /// The services that the manifest in force gives turns in the background.
    pub fn scheduled(&self) -> Vec<String> {
        let manifest = self.manifest.load();
        let scheduled = manifest.services.values().filter(|service| service.background.is_some());
        scheduled.map(|service| service.name.clone()).collect()
    }

    /// One of them, the time between its turns, and the time that one may last.
    ///
    /// That is a request's, and then the longest that a call may take: a service whose
    /// neighbour hangs is to hear of it, and to have time left to note it down.
    pub fn background(&self, service: &str) -> Option<(Arc<Service>, Duration, Duration)> {
        let manifest = self.manifest.load();
        let entry = manifest.services.get(service)?;
        let called = entry.grants.services.iter().filter_map(|name| manifest.services.get(name));
        let call_max = called.map(|called| called.limits.request_timeout).max().unwrap_or_default();
        let running = self.services.load().get(service)?.clone();
        Some((running, entry.background?.every, entry.limits.request_timeout + call_max))
    }

    /// Who records traces, if anybody does.
    pub fn tracer(&self) -> Option<&Arc<Tracer>> {
        self.backends.tracer()
    }

    /// Whose turn it is; `None` without a database.
    pub fn leases(&self) -> Option<&Leases> {
        self.backends.leases()
    }

    /// The routes in use.
    pub fn router(&self) -> &Arc<CurrentRouter> {
        &self.router
    }

    /// The services by name.
    pub fn services(&self) -> Arc<BTreeMap<String, Arc<Service>>> {
        self.services.load_full()
    }

    /// The files that are served as they are.
    pub fn pages(&self) -> &Arc<CurrentPages> {
        &self.pages
    }

    /// Drops instances that nobody needs, again and again. Ends when the platform does.
    pub fn sweep_idle(self: &Arc<Self>) -> impl Future<Output = ()> + Send + 'static {
        let platform = Arc::downgrade(self);
        async move {
            let mut tick = tokio::time::interval(IDLE_SWEEP);
            loop {
                tick.tick().await;
                let Some(platform) = platform.upgrade() else { return };
                // To free a thousand instances takes tens of milliseconds, which requests
                // would wait for on a worker thread.
                let sweep = move || {
                    platform.services.load().values().for_each(|service| service.drop_idle_instances());
                };
                if tokio::task::spawn_blocking(sweep).await.is_err() {
                    return;
                }
            }
        }
    }

    async fn start_service(&self, service: &manifest::Service) -> anyhow::Result<Arc<Service>> {
        let (stats, terms) = self.terms(service, None)?;
        let start = Start {
            name: &service.name,
            component: &service.component,
            terms,
            stats,
            store: &self.store,
            state_dir: &self.state_dir,
        };
        let started = Service::start(start).await;
        started.with_context(|| format!("service {} ({})", service.name, service.component.display()))
    }

    /// What a service's versions get by its manifest entry. `stats` are those it has
    /// already, if it is running.
    fn terms(
        &self,
        service: &manifest::Service,
        stats: Option<&Arc<ServiceStats>>,
    ) -> anyhow::Result<(Arc<ServiceStats>, Terms)> {
        let stats = stats
            .cloned()
            .unwrap_or_else(|| Arc::new(ServiceStats::new(service.name.as_str().into(), Arc::default())));
        let capabilities =
            self.backends.capabilities(service, &stats, stats.cache_counters(), &self.router)?;
        let terms = Terms {
            grants: service.grants.clone(),
            capabilities: Arc::new(capabilities),
            limits: Arc::new(service.limits.clone()),
            isolation: service.isolation,
            background: service.background.is_some(),
        };
        Ok((stats, terms))
    }

    /// Makes the routes of `manifest` lead to `services`.
    fn put_in_place(&self, manifest: &Manifest, services: Vec<Arc<Service>>) -> anyhow::Result<()> {
        let services: BTreeMap<_, _> =
            services.into_iter().map(|service| (service.name().to_string(), service)).collect();
        let ends = manifest.services.values().filter_map(|entry| {
            let service = services.get(&entry.name)?.clone();
            Some((entry, service as Arc<dyn Handler>))
        });
        let router = Router::new(Settings::of(&manifest.server, self.local), ends)?;
        self.services.store(Arc::new(services));
        self.router.store(Arc::new(router));
        Ok(())
    }
}

/// Reads the folder of pages, if there is one.
fn load_pages(manifest: &Manifest) -> anyhow::Result<Pages> {
    let folder = manifest.pages.as_deref();
    folder.map_or_else(|| Ok(Pages::default()), Pages::load).context("pages.folder")
}
