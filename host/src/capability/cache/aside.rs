//! The lookups and invalidations of one host.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::time::timeout_at;

use super::fill::AsideFill;
use super::flight::{Flights, Handed, Joined, Seat};
use super::near::Share;
use super::pending::{Batch, Pending};
use super::store::{CacheStore, Found, Outage, ttl_ms};
use super::{Cache, CacheCounters, Error, GrantedCache, Hit, Lookup, NearEntry};
use crate::capability::grants::KeyPatterns;
use crate::limits::{CACHE_REPLAY_PAUSE_MAX, REDIS_KEYS_MAX};
use crate::manifest::CacheGrant;
use crate::telemetry::trace::carried;

/// The first pause after an invalidation could not be delivered; doubled each time.
const REPLAY_PAUSE_MIN: Duration = Duration::from_millis(10);

/// The real [`Cache`], one for all services of a host: they may share keys.
///
/// A clone that [`CacheAside::grant`] has made for a service keeps values near for it;
/// the one that [`CacheAside::new`] makes does not.
#[derive(Clone)]
pub struct CacheAside {
    pub(super) inner: Arc<Inner>,
    near: Option<Near>,
}

/// Where a service keeps values near, and counts it.
#[derive(Clone)]
struct Near {
    share: Arc<Share>,
    counters: Arc<CacheCounters>,
}

pub(super) struct Inner {
    pub(super) store: Arc<dyn CacheStore>,
    pub(super) flights: Arc<Flights>,
    pub(super) pending: Pending,
    /// Everything that services may cache: what is purged when too many
    /// invalidations are owed.
    granted: Mutex<Granted>,
}

#[derive(Default)]
struct Granted {
    exact: BTreeSet<String>,
    prefixes: BTreeSet<String>,
}

impl CacheAside {
    /// Cache-aside over a store.
    pub fn new(store: Arc<dyn CacheStore>) -> Self {
        let inner =
            Inner { store, flights: Arc::default(), pending: Pending::default(), granted: Mutex::default() };
        Self { inner: Arc::new(inner), near: None }
    }

    /// The cache behind a service's grant, with a near cache of its own if the grant and
    /// the store allow one. The counters outlive a version, so they are the caller's.
    pub fn grant(&self, grant: &CacheGrant, counters: Arc<CacheCounters>) -> GrantedCache {
        let keys = KeyPatterns::new(&grant.keys);
        let mut granted = self.inner.granted.lock().unwrap_or_else(PoisonError::into_inner);
        granted.exact.extend(keys.exact().iter().cloned());
        granted.prefixes.extend(keys.prefixes().iter().cloned());
        drop(granted);
        let share = self.inner.store.tracking().and_then(|tracking| Share::new(grant, tracking));
        let near = share.map(|share| {
            share.tracking.start();
            let share = Arc::new(share);
            counters.near.of(&share);
            Near { share, counters: counters.clone() }
        });
        let backend = Arc::new(Self { inner: self.inner.clone(), near });
        GrantedCache { backend, keys: Arc::new(keys), counters }
    }

    /// The value of a key, if it is in this host's memory, up to date, and certain to be
    /// so. No wait, and nothing is counted.
    pub fn near(&self, key: &str) -> Option<Arc<NearEntry>> {
        let near = self.near.as_ref()?;
        if self.inner.pending.any() { None } else { near.share.get(key) }
    }

    /// Whether lookups are answered from the store: no invalidation is owed to it.
    pub fn is_trusted(&self) -> bool {
        !self.inner.pending.any()
    }

    /// Keys that are being filled on this host.
    pub fn fills(&self) -> usize {
        self.inner.flights.len()
    }

    /// Asks the store, and keeps near what it has.
    async fn ask(&self, key: &str) -> Result<Found, Outage> {
        let Some(near) = self.near.as_ref().filter(|near| near.share.wants(key)) else {
            return self.inner.store.read(key).await;
        };
        let tracking = &near.share.tracking;
        // What is asked for once is hardly worth a place, and tracking it would make Redis
        // tell of the value that a miss is about to be filled with.
        if near.share.note_asked(key)
            && let Some(mut read) = tracking.read(key).await
        {
            let Some(value) = read.value.take() else { return Ok(Found::Nothing) };
            near.share.keep(key, &value, &read);
            return Ok(Found::Value(value, ttl_ms(read.left_ms)));
        }
        let found = self.inner.store.read(key).await?;
        // It may be newer than what a tracked read on its way is about to keep.
        tracking.overtaken(key);
        Ok(found)
    }

    /// The seat's holder takes the key's token and fills, unless another host has
    /// filled the key meanwhile.
    async fn lead(&self, mut seat: Seat) -> Lookup {
        if seat.token.is_none() {
            let fresh = uuid::Uuid::now_v7().simple().to_string();
            match self.inner.store.lease(seat.key(), &fresh).await {
                Ok(Err(token)) => seat.token = Some(token),
                Ok(Ok((value, ttl_ms))) => {
                    seat.superseded();
                    return Lookup::Hit(Hit { value, ttl_ms, collapsed: false });
                }
                Err(outage) => {
                    tracing::debug!(key = seat.key(), %outage, "cache bypassed");
                    seat.lost();
                    return Lookup::Bypass;
                }
            }
        }
        Lookup::Fill(Box::new(AsideFill::new(self.inner.clone(), seat)))
    }
}

#[async_trait]
impl Cache for CacheAside {
    async fn lookup(&self, key: &str, deadline: Instant, read: Option<Found>) -> Result<Lookup, Error> {
        let mut read = read;
        loop {
            if self.inner.pending.any() {
                return Ok(Lookup::Bypass);
            }
            if let Some(entry) = self.near(key) {
                return Ok(self.near_hit(&entry));
            }
            let found = match read.take() {
                Some(found) => Ok(found),
                None => self.ask(key).await,
            };
            match found {
                Ok(Found::Value(value, ttl_ms)) => {
                    return Ok(Lookup::Hit(Hit { value, ttl_ms, collapsed: false }));
                }
                Ok(Found::Nothing) => {}
                Err(outage) => {
                    tracing::debug!(key, %outage, "cache bypassed");
                    return Ok(Lookup::Bypass);
                }
            }
            let handed = match self.inner.flights.join(key) {
                Joined::Leader(seat) => return Ok(self.lead(seat).await),
                Joined::Waiter(handed) => timeout_at(deadline.into(), handed).await,
            };
            match handed {
                Err(_) => return Err(Error::Timeout),
                Ok(Ok(Handed::Value(value, ttl_ms))) => {
                    return Ok(Lookup::Hit(Hit { value: value.to_vec(), ttl_ms, collapsed: true }));
                }
                Ok(Ok(Handed::Seat(seat))) => return Ok(self.lead(seat).await),
                Ok(Ok(Handed::Bypass)) => return Ok(Lookup::Bypass),
                Ok(Ok(Handed::Again) | Err(_)) if Instant::now() >= deadline => return Err(Error::Timeout),
                Ok(Ok(Handed::Again) | Err(_)) => {}
            }
        }
    }

    async fn read(&self, key: &str) -> Option<Found> {
        if self.inner.pending.any() { None } else { self.ask(key).await.ok() }
    }

    fn near(&self, key: &str) -> Option<Arc<NearEntry>> {
        Self::near(self, key)
    }

    async fn invalidate(&self, keys: &[String]) -> Result<(), Error> {
        if keys.is_empty() {
            return Ok(());
        }
        // Readers that come after a write do not wait for a fill from before it.
        self.inner.flights.detach(keys);
        let (inner, keys) = (self.inner.clone(), keys.to_vec());
        // In a task of its own: a request that is ended now has made its write.
        let delivery = tokio::spawn(carried(async move {
            if let Err(outage) = inner.store.invalidate(&keys).await {
                tracing::debug!(%outage, "invalidation kept for later");
                inner.owe(&keys);
            }
        }));
        // It fails only when the runtime is shutting down.
        let _ = delivery.await;
        Ok(())
    }
}

impl CacheAside {
    fn near_hit(&self, entry: &NearEntry) -> Lookup {
        if let Some(near) = &self.near {
            near.counters.near.hit();
        }
        Lookup::Hit(Hit { value: entry.value.to_vec(), ttl_ms: entry.ttl_ms(), collapsed: false })
    }
}

impl Inner {
    fn owe(self: &Arc<Self>, keys: &[String]) {
        if self.pending.add(keys) {
            tracing::warn!("cache: invalidations are owed, bypassing the cache until they are delivered");
            tokio::spawn(self.clone().deliver());
        }
    }

    /// Delivers what is owed, for as long as it takes.
    async fn deliver(self: Arc<Self>) {
        let mut pause = REPLAY_PAUSE_MIN;
        while let Some(batch) = self.pending.next() {
            let delivered = match &batch {
                Batch::Keys(keys, _) => self.store.invalidate(keys).await,
                Batch::Everything(_) => self.purge().await,
            };
            if delivered.is_ok() {
                self.pending.delivered(batch);
                pause = REPLAY_PAUSE_MIN;
            } else {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(CACHE_REPLAY_PAUSE_MAX);
            }
        }
        tracing::info!("cache: all invalidations are delivered, trusting the cache again");
    }

    async fn purge(&self) -> Result<(), Outage> {
        let (exact, prefixes) = {
            let granted = self.granted.lock().unwrap_or_else(PoisonError::into_inner);
            (Vec::from_iter(granted.exact.clone()), granted.prefixes.clone())
        };
        for keys in exact.chunks(REDIS_KEYS_MAX) {
            self.store.invalidate(keys).await?;
        }
        for prefix in &prefixes {
            self.store.purge(prefix).await?;
        }
        Ok(())
    }
}
