//! A service: the pointer to its active version, and everything that moves it.

mod start;
mod swap;

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub use start::Start;
pub use swap::Prepared;

use super::component::{ComponentStore, Digest};
use super::description::Description;
use super::failure::Failure;
use super::history::History;
use super::instance::{InstanceCounts, SharedCounts};
use super::message::{Request, Response, VersionName};
use super::version::{Terms, Version};
use crate::admin::api::HistoryEntry;
use crate::manifest::{Isolation, ServiceLimits};
use crate::router::{Near, Read};
use crate::telemetry::ServiceStats;

/// One service. It outlives its versions.
pub struct Service {
    name: Arc<str>,
    stats: Arc<ServiceStats>,
    counts: SharedCounts,
    /// The only pointer that moves. A request loads it once, and keeps what it loaded.
    active: ArcSwap<Active>,
    /// One permit for each request at once; another semaphore when the limit changes.
    permits: ArcSwap<Semaphore>,
    store: Arc<ComponentStore>,
    history: Mutex<History>,
    /// Held while the history's file is written, so that an older state of it never
    /// replaces a newer one.
    saving: Mutex<()>,
    /// Its one permit is held for as long as a deploy takes.
    deploying: Arc<Semaphore>,
    /// What a new version gets. Changed only by who holds the permit.
    terms: ArcSwap<Terms>,
}

struct Active {
    version: Arc<Version>,
    /// Also tells its entry in the history from others of the same component.
    since: Timestamp,
}

/// A guest's answer with what the way back needs.
pub struct Answer {
    /// The answer, checked.
    pub response: Response,
    /// The version that gave it.
    pub version: VersionName,
    /// Counts towards the service's concurrency until it is dropped: keep it until
    /// the response's body has been sent.
    pub permit: OwnedSemaphorePermit,
}

impl Service {
    /// The service's name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// What is counted for it.
    pub fn stats(&self) -> &Arc<ServiceStats> {
        &self.stats
    }

    /// Its instances at this moment.
    pub fn instances(&self) -> &InstanceCounts {
        &self.counts
    }

    /// Its limits at this moment; a changed manifest changes them.
    pub fn limits(&self) -> Arc<ServiceLimits> {
        self.active.load().version.limits().clone()
    }

    /// Whether instances are reused.
    pub fn isolation(&self) -> Isolation {
        self.active.load().version.isolation()
    }

    /// The active version's label.
    pub fn version(&self) -> Arc<str> {
        self.active.load().version.label().clone()
    }

    /// When the active version became active.
    pub fn active_since(&self) -> Timestamp {
        self.active.load().since
    }

    /// Whether a deploy is running.
    pub fn is_deploying(&self) -> bool {
        self.deploying.available_permits() == 0
    }

    /// What was deployed, newest first.
    pub fn history(&self) -> Vec<HistoryEntry> {
        self.lock_history().entries()
    }

    /// The digests that a rollback may ask for.
    pub fn kept(&self) -> Vec<Digest> {
        self.lock_history().kept().collect()
    }

    /// Asks the active version. The request's deadline is the caller's to set, from
    /// `limits().request_timeout`.
    ///
    /// # Errors
    /// [`Failure`]; at once when the service is saturated, never by waiting for a permit.
    pub async fn handle(&self, request: Request) -> Result<Answer, Failure> {
        let version = self.active.load().version.clone();
        let limits = version.limits();
        if request.depth > limits.call_depth_max {
            return Err(Failure::TooDeep { limit: limits.call_depth_max });
        }
        let permit = self.permits.load_full().try_acquire_owned();
        let permit = permit.map_err(|_| Failure::Saturated { limit: limits.concurrency_max })?;
        let response = version.answer(request).await?;
        Ok(Answer { response, version: version.name().clone(), permit })
    }

    /// What stands under a key of its cache in this host's memory, with the version that
    /// serves at the same moment.
    pub fn near(&self, key: &str) -> Option<Near> {
        let active = self.active.load();
        let cache = active.version.cache()?;
        let entry = cache.near(key)?;
        Some(Near { entry, counters: cache.counters.clone(), version: active.version.name().clone() })
    }

    /// The same of what the cache's store has under the key.
    pub async fn read(&self, key: &str) -> Option<Read> {
        let version = self.active.load().version.clone();
        let cache = version.cache()?;
        let found = cache.read(key).await?;
        Some(Read { found, counters: cache.counters.clone(), version: version.name().clone() })
    }

    /// The version that new work goes to.
    pub(in crate::runtime) fn active_version(&self) -> Arc<Version> {
        self.active.load().version.clone()
    }

    /// What the active version says of its own API.
    pub async fn description(&self) -> Option<Arc<Description>> {
        self.active_version().description().await
    }

    /// Drops instances that have been idle for long.
    pub fn drop_idle_instances(&self) {
        self.active.load().version.drop_idle();
    }

    fn lock_history(&self) -> std::sync::MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
