//! The running host: backends, platform, server and watch, started in order and
//! stopped in the opposite one.

mod check;
mod ready;
mod run;
mod watch;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::task::JoinSet;

pub use check::{CheckReport, ServiceCheck, check};
pub use ready::{Ready, ReadyService};
pub use run::{UpOptions, run};

use crate::admin::{Admin, AdminToken};
use crate::background;
use crate::capability::postgres::wait_until_ready;
use crate::capability::redis::RedisConnection;
use crate::gateway::{Doors, Gateway};
use crate::limiter::Limiter;
use crate::limits::SPANS_FLUSH_TIMEOUT;
use crate::local::{self, LocalOptions, Progress};
use crate::manifest::Manifest;
use crate::platform::{Backends, Platform};
use crate::policy::auth::check_exposure;
use crate::secret::{auth_secret, role_secret};
use crate::server::{Addresses, Config, Drained, Server};
use crate::telemetry::trace::Tracer;

/// How to run.
#[derive(Debug, Clone)]
pub struct HostOptions {
    /// Where components, compiled code, history, certificate and secrets are kept.
    pub state_dir: PathBuf,
    /// The local form: backends of its own where none is configured, the services' own
    /// ports, sample data, and deploys when a file changes.
    pub local: bool,
}

/// A host that serves. [`Host::stop`] ends it in order; dropped without it, its
/// connections are cut.
pub struct Host {
    platform: Arc<Platform>,
    server: Server,
    tracer: Option<Arc<Tracer>>,
    tasks: JoinSet<()>,
    /// Turns in the background, which are drained like requests.
    turns: JoinSet<()>,
    local: local::Backends,
    warnings: Vec<String>,
    drain_timeout: Duration,
}

/// Of a database whose locale knows the letters of ASCII alone.
const FOLDS_ASCII_ALONE: &str = "Postgres knows upper and lower case of ASCII alone (lower('É') is not 'é'), so \
     that categories and searches in other letters find only what is written in the same case: a database's \
     locale stays as it was made, so dump the data (pg_dump), make the database anew with the locale C.UTF-8, \
     and restore them; the local form makes it anew when its folder, .wasmyard/data/postgres, is gone";

impl Host {
    /// Starts everything that the manifest says. `progress` is told each step in a few
    /// words.
    ///
    /// # Errors
    /// What could not be started, and why. What was started before is stopped again.
    pub async fn start(
        manifest: Manifest,
        options: HostOptions,
        progress: &Progress<'_>,
    ) -> anyhow::Result<Self> {
        // Before anything is made ready: whoever bound the local form to the world should
        // know at once.
        check_exposure(&manifest, manifest.server.bind, options.local)?;
        let grants = || manifest.services.values().map(|service| &service.grants);
        let wants_postgres = grants().any(|grants| grants.postgres.is_some())
            || manifest.services.values().any(|service| service.events.is_some());
        let wants_redis = grants().any(|grants| grants.redis.is_some() || grants.cache.is_some())
            || manifest.services.values().any(|service| service.events.is_some());
        let local_options = LocalOptions {
            state_dir: options.state_dir.clone(),
            need_postgres: options.local && wants_postgres && manifest.postgres.url.is_none(),
            need_redis: options.local && wants_redis && manifest.redis.url.is_none(),
        };
        let local = local::Backends::start(&local_options, progress).await?;
        match start_over(&manifest, &options, &local, progress).await {
            Ok(Started { platform, server, tracer, tasks, warnings }) => {
                let drain_timeout = manifest.server.limits.drain_timeout;
                let mut turns = JoinSet::new();
                turns.spawn(background::give_turns(&platform));
                Ok(Self { platform, server, tracer, tasks, turns, local, warnings, drain_timeout })
            }
            Err(error) => {
                local.stop(progress).await;
                Err(error)
            }
        }
    }

    /// Where it listens.
    pub fn addresses(&self) -> &Addresses {
        self.server.addresses()
    }

    /// What it serves.
    pub fn platform(&self) -> &Arc<Platform> {
        &self.platform
    }

    /// Who records its traces, if anybody does.
    pub fn tracer(&self) -> Option<&Arc<Tracer>> {
        self.tracer.as_ref()
    }

    /// The Redis that its services share, if there is one.
    pub fn redis(&self) -> Option<&Arc<RedisConnection>> {
        self.platform.redis()
    }

    /// The backends that it started itself.
    pub fn local(&self) -> &local::Backends {
        &self.local
    }

    /// What its start found to be not as it should be, beside what its parts say of themselves.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Drains, then stops what it started. Requests that have arrived are answered,
    /// within `server.limits.drain_timeout_ms`.
    pub async fn stop(mut self, progress: &Progress<'_>) -> Drained {
        progress("draining");
        self.platform.begin_drain();
        let turns = tokio::time::timeout(self.drain_timeout, self.turns.join_next());
        let (drained, turns) = tokio::join!(self.server.drain(self.drain_timeout), turns);
        if turns.is_err() {
            tracing::warn!("a turn in the background was cut off at the drain deadline");
        }
        self.turns.shutdown().await;
        if let Some(tracer) = &self.tracer
            && !tracer.flush(SPANS_FLUSH_TIMEOUT).await
        {
            tracing::warn!("traces: not every span could be sent before the end");
        }
        self.tasks.shutdown().await;
        drop(self.platform);
        self.local.stop(progress).await;
        drained
    }
}

/// What is started over the backends.
struct Started {
    platform: Arc<Platform>,
    server: Server,
    tracer: Option<Arc<Tracer>>,
    tasks: JoinSet<()>,
    warnings: Vec<String>,
}

async fn start_over(
    manifest: &Manifest,
    options: &HostOptions,
    local: &local::Backends,
    progress: &Progress<'_>,
) -> anyhow::Result<Started> {
    let files = options.local.then(|| watch::files(manifest));
    let postgres_url = manifest.postgres.url.as_deref().or(local.postgres_url());
    let redis_url = manifest.redis.url.as_deref().or(local.redis_url());
    let secret = role_secret(&options.state_dir)?;
    let (tracer, export) = Tracer::start(&manifest.telemetry)?.unzip();
    let backends = Backends::new(postgres_url.map(str::to_owned), redis_url, secret)?;
    let mut backends = backends.traced_by(tracer.clone());

    if let Some(url) = postgres_url {
        progress("preparing the database");
        let waiting = |why: &str| progress(&format!("waiting for the database: {why}"));
        wait_until_ready(url, waiting).await.context("preparing the database")?;
    }
    let mut warnings = Vec::new();
    if let Some(prepared) =
        backends.prepare_database(manifest, options.local).await.context("preparing the database")?
    {
        if !prepared.migrations.is_empty() {
            progress(&format!("applied {}", prepared.migrations.join(", ")));
        }
        if !prepared.folds_case {
            tracing::warn!("{FOLDS_ASCII_ALONE}");
            warnings.push(FOLDS_ASCII_ALONE.to_owned());
        }
    }
    if manifest.needs_auth() {
        let secret = auth_secret(manifest.auth.key.as_deref(), &options.state_dir, options.local)?;
        backends.open_authority(&manifest.auth, &secret).await.context("opening the signing keys")?;
    }
    if let Some(redis) = backends.redis() {
        progress("connecting to Redis");
        // A shop without Redis serves from Postgres, so this waits only as long as a
        // healthy Redis would need.
        redis.wait_until_up(crate::limits::REDIS_CONNECT_TIMEOUT).await;
    }
    let platform =
        Platform::start(manifest.clone(), &options.state_dir, backends, options.local, progress).await?;

    progress("opening the ports");
    let limiter = Limiter::new(platform.redis().cloned(), &manifest.runtime);
    let gateway = Gateway::new(platform.router().clone())
        .limited_by(limiter)
        .traced_by(tracer.clone())
        .with_authority(platform.authority().cloned())
        .with_pages(platform.pages().clone())
        .with_topics(platform.topics().clone());
    let token = AdminToken::read_or_create(&options.state_dir)?;
    let unrouted = gateway.unrouted().clone();
    let spans = tracer.as_ref().map(|tracer| tracer.counters().clone());
    let admin = Admin::new(platform.clone(), token, platform.router().clone(), unrouted);
    let admin = Arc::new(admin.counting_spans(spans).with_topics(platform.topics().clone()));
    let direct = manifest
        .services
        .values()
        .filter(|_| options.local)
        .filter_map(|service| Some((service.name.as_str().into(), service.direct.as_ref()?.port)));
    let config = Config {
        server: &manifest.server,
        admin_port: manifest.admin.port,
        metrics_port: manifest.telemetry.metrics_port,
        direct: direct.collect(),
        state_dir: &options.state_dir,
    };
    let server = Server::start(&config, Arc::new(Doors::new(gateway, admin.clone()))).await?;
    admin.count_connections(server.stats());

    let mut tasks = JoinSet::new();
    if let Some(export) = export {
        tasks.spawn(export);
    }
    tasks.spawn(platform.sweep_idle());
    if let Some(authority) = platform.authority() {
        tasks.spawn(authority.follow(crate::limits::SIGNING_KEYS_PERIOD));
    }
    if let Some(files) = files {
        tasks.spawn(watch::watch(platform.clone(), files, manifest.path.clone()));
    }
    Ok(Started { platform, server, tracer, tasks, warnings })
}
