//! What services are lent: a pool on each one's own role, and the Redis that they
//! share.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;

use crate::background::Leases;
use crate::capability::auth::{HostAuth, PasswordThreads};
use crate::capability::cache::{CacheAside, CacheCounters, RedisStore};
use crate::capability::grants::KeyPatterns;
use crate::capability::postgres::{OwnerSession, PostgresPool, Prepared, prepare_database, role_password};
use crate::capability::redis::{GrantedRedis, RedisConnection};
use crate::capability::{Capabilities, config};
use crate::events::Topics;
use crate::gateway::ServiceCalls;
use crate::manifest::{self, Manifest, PostgresGrant};
use crate::policy::auth::{Authority, PostgresKeys, Seal};
use crate::router::CurrentRouter;
use crate::telemetry::ServiceStats;
use crate::telemetry::trace::Tracer;

/// The backends that all services share.
pub struct Backends {
    /// The owner's connection string; services never see it.
    postgres_url: Option<String>,
    /// What the roles' passwords are derived from.
    secret: Vec<u8>,
    redis: Option<Arc<RedisConnection>>,
    cache: Option<CacheAside>,
    auth: Option<Accounts>,
    leases: Option<Leases>,
    /// Who records traces; nobody unless the manifest names a collector.
    tracer: Option<Arc<Tracer>>,
    /// A service keeps its pool for as long as its grant stays the same.
    pools: Mutex<BTreeMap<String, (PostgresGrant, Arc<PostgresPool>)>>,
}

/// What there is for callers: who knows them, and who hashes their passwords.
struct Accounts {
    authority: Arc<Authority>,
    threads: Arc<PasswordThreads>,
}

impl Backends {
    /// The backends at these addresses. Redis may be down; it is connected to in the
    /// background.
    ///
    /// # Errors
    /// An address is none.
    pub fn new(
        postgres_url: Option<String>,
        redis_url: Option<&str>,
        secret: Vec<u8>,
    ) -> anyhow::Result<Self> {
        let redis = redis_url.map(|url| RedisConnection::open(url).map(Arc::new)).transpose()?;
        let cache = redis.as_ref().map(|redis| CacheAside::new(Arc::new(RedisStore::new(redis.clone()))));
        let owner = postgres_url.as_deref().map(OwnerSession::new).transpose()?;
        let leases = owner.map(Leases::new);
        let (auth, tracer, pools) = (None, None, Mutex::default());
        Ok(Self { postgres_url, secret, redis, cache, auth, leases, tracer, pools })
    }

    /// The same, with somebody who records traces.
    #[must_use]
    pub fn traced_by(self, tracer: Option<Arc<Tracer>>) -> Self {
        Self { tracer, ..self }
    }

    /// Who records traces, if anybody does.
    pub fn tracer(&self) -> Option<&Arc<Tracer>> {
        self.tracer.as_ref()
    }

    /// Opens the keys that access tokens are signed with, encrypted under `secret`. The
    /// first host of a database makes the first key.
    ///
    /// # Errors
    /// There is no database, it cannot be reached, or its keys were encrypted under
    /// another secret.
    pub async fn open_authority(&mut self, settings: &manifest::Auth, secret: &[u8]) -> anyhow::Result<()> {
        let url = self
            .postgres_url
            .as_deref()
            .context("the keys are kept in Postgres, but postgres.url is empty")?;
        let store = PostgresKeys::open(OwnerSession::new(url)?).await?;
        let authority = Arc::new(Authority::open(store, Seal::new(secret)?, settings).await?);
        self.auth = Some(Accounts { authority, threads: Arc::new(PasswordThreads::start()?) });
        Ok(())
    }

    /// Who knows the callers, if anything in the manifest asked for that at the start.
    pub fn authority(&self) -> Option<&Arc<Authority>> {
        self.auth.as_ref().map(|accounts| &accounts.authority)
    }

    /// The events that the manifest's services tell, read and moved from now on.
    ///
    /// # Errors
    /// There are some, and a backend has no address.
    pub(super) fn topics(&self, manifest: &Manifest) -> anyhow::Result<Topics> {
        Topics::start(manifest, self.postgres_url.as_deref(), self.redis.as_ref(), self.tracer())
    }

    /// Whose turn it is in the background, if there is a database to keep that in.
    pub fn leases(&self) -> Option<&Leases> {
        self.leases.as_ref()
    }

    /// The Redis, if there is one.
    pub fn redis(&self) -> Option<&Arc<RedisConnection>> {
        self.redis.as_ref()
    }

    /// Makes the database ready: migrations, the services' roles, sample data where
    /// `sample` says so. `None` where there is none.
    ///
    /// # Errors
    /// The database cannot be reached, or a file was refused.
    pub async fn prepare_database(
        &self,
        manifest: &Manifest,
        sample: bool,
    ) -> anyhow::Result<Option<Prepared>> {
        let Some(url) = &self.postgres_url else { return Ok(None) };
        let settings = &manifest.postgres;
        let sample = settings.sample_data.as_deref().filter(|_| sample);
        let roles = self.roles(manifest);
        prepare_database(url, settings.migrations.as_deref(), &roles, sample).await.map(Some)
    }

    /// Makes the roles of a changed manifest ready, if it has new ones.
    pub(super) async fn prepare_roles(&self, manifest: &Manifest) -> anyhow::Result<()> {
        let known: Vec<String> = self.lock_pools().values().map(|(grant, _)| grant.role.clone()).collect();
        let roles: Vec<_> =
            self.roles(manifest).into_iter().filter(|(role, _)| !known.contains(role)).collect();
        if let (Some(url), false) = (&self.postgres_url, roles.is_empty()) {
            prepare_database(url, None, &roles, None).await?;
        }
        Ok(())
    }

    /// What the manifest grants a service, ready for use.
    pub(super) fn capabilities(
        &self,
        service: &manifest::Service,
        stats: &Arc<ServiceStats>,
        counters: &Arc<CacheCounters>,
        router: &Arc<CurrentRouter>,
    ) -> anyhow::Result<Capabilities> {
        let grants = &service.grants;
        let named = || format!("service {}", service.name);
        let mut capabilities = Capabilities {
            stats: Some(stats.clone()),
            settings: Arc::new(config::readable(&service.settings, &service.limits)),
            ..Capabilities::default()
        };
        if let Some(grant) = &grants.postgres {
            let pool = self.pool(&service.name, grant).with_context(named)?;
            stats.borrows_from(&pool);
            capabilities.postgres = Some(pool);
        }
        let no_redis = "grants Redis keys, but redis.url is empty";
        if let Some(grant) = &grants.redis {
            let backend = self.redis.clone().context(no_redis).with_context(named)?;
            let keys = Arc::new(KeyPatterns::new(&grant.keys));
            capabilities.redis = Some(GrantedRedis { backend, keys });
        }
        if let Some(grant) = &grants.cache {
            let cache = self.cache.as_ref().context(no_redis).with_context(named)?;
            capabilities.cache = Some(cache.grant(grant, counters.clone()));
        }
        if grants.auth {
            let accounts =
                self.auth.as_ref().context("grants auth, but there are no keys").with_context(named)?;
            let auth = HostAuth::new(accounts.authority.clone(), accounts.threads.clone());
            capabilities.auth = Some(Arc::new(auth));
        }
        if !grants.services.is_empty() {
            capabilities.services =
                Some(Arc::new(ServiceCalls::new(router, grants.services.iter().cloned())));
        }
        Ok(capabilities)
    }

    /// Closes the pools of services that are gone.
    pub(super) fn forget(&self, services: &[String]) {
        self.lock_pools().retain(|name, _| !services.contains(name));
    }

    fn pool(&self, service: &str, grant: &PostgresGrant) -> anyhow::Result<Arc<PostgresPool>> {
        let url = self.postgres_url.as_deref().context("grants Postgres, but postgres.url is empty")?;
        let mut pools = self.lock_pools();
        if let Some((_, pool)) = pools.get(service).filter(|(known, _)| known == grant) {
            return Ok(pool.clone());
        }
        let password = role_password(&self.secret, &grant.role);
        let pool = Arc::new(PostgresPool::new(service, url, &password, grant)?);
        pools.insert(service.to_owned(), (grant.clone(), pool.clone()));
        Ok(pool)
    }

    fn roles(&self, manifest: &Manifest) -> Vec<(String, String)> {
        let grants = manifest.services.values().filter_map(|service| service.grants.postgres.as_ref());
        grants.map(|grant| (grant.role.clone(), role_password(&self.secret, &grant.role))).collect()
    }

    fn lock_pools(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, (PostgresGrant, Arc<PostgresPool>)>> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
