//! `wasmyard:platform/cache`: cache-aside, done by the host.
//!
//! [`Cache`] is the seam for the host functions; [`CacheAside`] implements it over a
//! [`CacheStore`], which is Redis ([`RedisStore`]) or a test's
//! [`crate::testing::FakeRedis`].
//!
//! A stale value is never stored: whoever misses takes the key's *lease token* from
//! the store before the source is read; a write takes the token away together with
//! the value; and a store is refused when its token is no longer there. The scheme is
//! that of leases in "Scaling Memcache at Facebook" (NSDI 2013, section 3.2.1).
//!
//! A value that has been read is kept in the host's memory too, the *near cache*, and
//! Redis tells the host when its key changes, whoever changes it (`near.rs`, and
//! [`Tracking`](super::redis::Tracking) for the how and for its limits):
//!
//! - On this host nothing is different from asking Redis each time: after a write has
//!   returned, no lookup gives an older value.
//! - A write of *another* host, or of `redis-cli`, is seen here when Redis' push has
//!   arrived: well under a millisecond on a network that works, and at the latest after
//!   [`NEAR_TRUST_MAX`](crate::limits::NEAR_TRUST_MAX) on one that does not. Until then
//!   a lookup may give the value from before; it never gives one that is older than what
//!   a lookup on this host has given already.
//! - Keys for which that is too late are named `private` in the manifest, or the service
//!   sets `near_kib = 0`.
//!
//! - `aside.rs`: look up, wait or fill, invalidate
//! - `flight.rs`: one reader of this host fills a key while the others wait
//! - `near.rs`: values in the host's memory
//! - `pending.rs`: invalidations that could not be delivered yet
//! - `store.rs`: the scripts in Redis

mod aside;
mod fill;
mod flight;
mod host;
mod near;
mod pending;
mod store;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;

pub use crate::bindings::wasmyard::platform::cache::{Error, Hit, Stored};
pub use aside::CacheAside;
pub use host::FillHandle;
pub use near::{NearCounters, NearEntry, NearUsage, Rendition};
pub use store::{CacheStore, Found, Outage, RedisStore};
pub(crate) use store::{lease_key, lease_prefix};

use super::grants::KeyPatterns;

/// What [`Hit::ttl_ms`] says for a value that never expires (one that was set by
/// hand): some 49 days, so that arithmetic with it stays harmless.
pub const TTL_NEVER_MS: u64 = u32::MAX as u64;

/// Cache-aside, real or scripted. Keys have been checked before it is asked.
#[async_trait]
pub trait Cache: Send + Sync {
    /// Looks a key up. While another reader of this host fills it, waits for that at
    /// most until `deadline`, and then says [`Error::Timeout`].
    ///
    /// `read` is what [`Cache::read`] gave for the same request a moment ago, if it was
    /// asked: the store is then not asked again.
    async fn lookup(&self, key: &str, deadline: Instant, read: Option<Found>) -> Result<Lookup, Error>;

    /// What the store has under a key. `None` when it cannot be asked, or not trusted. It
    /// counts as nothing, and waits for no fill.
    async fn read(&self, _key: &str) -> Option<Found> {
        None
    }

    /// Takes keys out of the cache and voids every fill of them that has begun. Once
    /// begun it is finished even if the caller goes away.
    async fn invalidate(&self, keys: &[String]) -> Result<(), Error>;

    /// The value of a key that is in this host's memory and up to date. It counts as
    /// nothing, and waits for nothing.
    fn near(&self, _key: &str) -> Option<Arc<NearEntry>> {
        None
    }
}

/// What a lookup found.
pub enum Lookup {
    /// The value.
    Hit(Hit),
    /// Nothing; it is this reader's turn to fill the key.
    Fill(Box<dyn Fill>),
    /// The store cannot be reached, or cannot be trusted yet: read the source and
    /// store nothing.
    Bypass,
}

/// The right to fill a key. Dropped without a store, it passes to the next reader
/// that waits.
#[async_trait]
pub trait Fill: Send {
    /// Stores the value and hands it to the readers that wait. A second call is
    /// [`Stored::Superseded`].
    async fn store(&mut self, value: Vec<u8>, ttl: Duration) -> Stored;
}

/// The cache behind a service's key patterns.
#[derive(Clone)]
pub struct GrantedCache {
    /// Whom to ask.
    pub backend: Arc<dyn Cache>,
    /// The keys that the service may name.
    pub keys: Arc<KeyPatterns>,
    /// The service's hits and misses.
    pub counters: Arc<CacheCounters>,
}

/// Lookups of one service since it was first loaded.
#[derive(Debug, Default)]
pub struct CacheCounters {
    /// Lookups that found a value, waiting for another reader's included.
    pub hits: AtomicU64,
    /// Lookups after which the source had to be read.
    pub misses: AtomicU64,
    /// What was answered from this host's memory.
    pub near: NearCounters,
}

impl GrantedCache {
    /// What the store has under a key, if the service may name it; not counted.
    pub async fn read(&self, key: &str) -> Option<Found> {
        if self.keys.allow(key) { self.backend.read(key).await } else { None }
    }

    /// The value of a key, if the service may name it and it is near; not counted. Whoever
    /// answers with it counts it with [`CacheCounters::near_hit`].
    pub fn near(&self, key: &str) -> Option<Arc<NearEntry>> {
        if self.keys.allow(key) { self.backend.near(key) } else { None }
    }
}

impl CacheCounters {
    /// Counts a hit that was answered from this host's memory.
    pub fn near_hit(&self) {
        self.hits.fetch_add(1, Ordering::Relaxed);
        self.near.hit();
    }

    /// Counts a hit that was answered from what the store had.
    pub fn hit(&self) {
        self.hits.fetch_add(1, Ordering::Relaxed);
    }

    fn count(&self, lookup: &Lookup) {
        let counter = if matches!(lookup, Lookup::Hit(_)) { &self.hits } else { &self.misses };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}
