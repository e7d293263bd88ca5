//! A Redis in memory, with a clock that a test moves.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use crate::capability::cache::{
    CacheAside, CacheCounters, CacheStore, Found, GrantedCache, Outage, TTL_NEVER_MS, lease_key, lease_prefix,
};
use crate::capability::grants::KeyPatterns;
use crate::capability::redis::{Condition, Error, GrantedRedis, Redis, Reply};
use crate::limits::CACHE_LEASE_TTL;
use crate::manifest::{CacheGrant, KeysGrant};

/// A fake [`Redis`], and the store of a real [`CacheAside`]. Time stands still until
/// [`advance`](FakeRedis::advance) is called. Clones share everything.
#[derive(Clone)]
pub struct FakeRedis {
    keys: Keyspace,
    aside: CacheAside,
    counters: Arc<CacheCounters>,
}

#[derive(Clone, Default)]
struct Keyspace(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    entries: HashMap<String, Entry>,
    now: Duration,
    down: bool,
    published: Vec<(String, Vec<u8>)>,
    scripts: Vec<(String, Reply)>,
}

struct Entry {
    value: Vec<u8>,
    expires: Option<Duration>,
}

impl FakeRedis {
    /// An empty Redis.
    pub fn new() -> Self {
        let keys = Keyspace::default();
        let aside = CacheAside::new(Arc::new(keys.clone()));
        Self { keys, aside, counters: Arc::default() }
    }

    /// What a service with this grant is given, for `redis` and for `cache`.
    pub fn grant(&self, grant: &KeysGrant) -> (GrantedRedis, GrantedCache) {
        let keys = Arc::new(KeyPatterns::new(&grant.keys));
        let redis = GrantedRedis { backend: Arc::new(self.clone()), keys };
        (redis, self.aside.grant(&CacheGrant::new(grant.keys.clone()), self.counters.clone()))
    }

    /// Hits and misses of the cache.
    pub fn counters(&self) -> &CacheCounters {
        &self.counters
    }

    /// Moves the clock: what expires meanwhile is gone.
    pub fn advance(&self, by: Duration) {
        self.keys.lock().now += by;
    }

    /// While it is down, every command fails with [`Error::Unavailable`].
    pub fn set_down(&self, down: bool) {
        self.keys.lock().down = down;
    }

    /// The value under a key.
    pub fn value(&self, key: &str) -> Option<Vec<u8>> {
        self.keys.lock().get(key).map(|entry| entry.value.clone())
    }

    /// Puts a value under a key, as someone else would.
    pub fn put(&self, key: &str, value: impl Into<Vec<u8>>, ttl: Option<Duration>) {
        self.keys.lock().set(key, value.into(), ttl);
    }

    /// What was published, in order: channel and message.
    pub fn published(&self) -> Vec<(String, Vec<u8>)> {
        self.keys.lock().published.clone()
    }

    /// Answers every script that contains `part` so. It runs no Lua itself, and
    /// refuses any other script.
    pub fn script(&self, part: &str, reply: Reply) {
        self.keys.lock().scripts.push((part.to_owned(), reply));
    }
}

impl Default for FakeRedis {
    fn default() -> Self {
        Self::new()
    }
}

impl Keyspace {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn redis(&self) -> Result<MutexGuard<'_, State>, Error> {
        let state = self.lock();
        if state.down { Err(Error::Unavailable("the fake Redis is down".to_owned())) } else { Ok(state) }
    }

    fn store(&self) -> Result<MutexGuard<'_, State>, Outage> {
        self.redis().map_err(|_| Outage("the fake Redis is down".to_owned()))
    }
}

impl State {
    fn get(&mut self, key: &str) -> Option<&mut Entry> {
        let now = self.now;
        if self.entries.get(key).is_some_and(|entry| entry.expires.is_some_and(|at| at <= now)) {
            self.entries.remove(key);
        }
        self.entries.get_mut(key)
    }

    fn set(&mut self, key: &str, value: Vec<u8>, ttl: Option<Duration>) {
        let expires = ttl.map(|ttl| self.now + ttl);
        self.entries.insert(key.to_owned(), Entry { value, expires });
    }

    fn remove(&mut self, key: &str) -> bool {
        self.get(key).is_some() && self.entries.remove(key).is_some()
    }

    fn ttl(&mut self, key: &str) -> Option<Duration> {
        let now = self.now;
        self.get(key)?.expires.map(|at| at - now)
    }

    fn found(&mut self, key: &str) -> Option<(Vec<u8>, u64)> {
        let left = self.ttl(key);
        let value = self.get(key)?.value.clone();
        let left = left.map_or(TTL_NEVER_MS, |left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX));
        Some((value, left))
    }
}

#[async_trait]
impl Redis for FakeRedis {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.keys.redis()?.get(key).map(|entry| entry.value.clone()))
    }

    async fn mget(&self, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>, Error> {
        let mut state = self.keys.redis()?;
        Ok(keys.iter().map(|key| state.get(key).map(|entry| entry.value.clone())).collect())
    }

    async fn set(
        &self,
        key: &str,
        value: Vec<u8>,
        ttl: Option<Duration>,
        condition: Condition,
    ) -> Result<bool, Error> {
        let mut state = self.keys.redis()?;
        let exists = state.get(key).is_some();
        let holds = match condition {
            Condition::Always => true,
            Condition::IfAbsent => !exists,
            Condition::IfPresent => exists,
        };
        if holds {
            state.set(key, value, ttl);
        }
        Ok(holds)
    }

    async fn del(&self, keys: &[String]) -> Result<u64, Error> {
        let mut state = self.keys.redis()?;
        Ok(keys.iter().filter(|key| state.remove(key)).count() as u64)
    }

    async fn incr(&self, key: &str, by: i64) -> Result<i64, Error> {
        let mut state = self.keys.redis()?;
        let refused = || Error::Refused("ERR value is not an integer or out of range".to_owned());
        let Some(entry) = state.get(key) else {
            state.set(key, by.to_string().into_bytes(), None);
            return Ok(by);
        };
        let before: Option<i64> = std::str::from_utf8(&entry.value).ok().and_then(|text| text.parse().ok());
        let after = before.and_then(|before| before.checked_add(by)).ok_or_else(refused)?;
        entry.value = after.to_string().into_bytes();
        Ok(after)
    }

    async fn expire(&self, key: &str, ttl: Duration) -> Result<bool, Error> {
        let mut state = self.keys.redis()?;
        let at = state.now + ttl;
        Ok(state.get(key).map(|entry| entry.expires = Some(at)).is_some())
    }

    async fn ttl(&self, key: &str) -> Result<Option<Duration>, Error> {
        Ok(self.keys.redis()?.ttl(key))
    }

    async fn publish(&self, channel: &str, message: Vec<u8>) -> Result<u64, Error> {
        self.keys.redis()?.published.push((channel.to_owned(), message));
        Ok(0)
    }

    async fn eval(&self, script: &str, _: &[String], _: &[Vec<u8>]) -> Result<Reply, Error> {
        let state = self.keys.redis()?;
        let known = state.scripts.iter().find(|(part, _)| script.contains(part.as_str()));
        let unknown = || Error::Refused("the fake Redis was given no reply for this script".to_owned());
        known.map(|(_, reply)| reply.clone()).ok_or_else(unknown)
    }

    async fn ping(&self) -> Result<(), Error> {
        self.keys.redis().map(drop)
    }
}

#[async_trait]
impl CacheStore for Keyspace {
    async fn read(&self, key: &str) -> Result<Found, Outage> {
        Ok(self.store()?.found(key).map_or(Found::Nothing, |(value, left)| Found::Value(value, left)))
    }

    async fn lease(&self, key: &str, fresh: &str) -> Result<Result<(Vec<u8>, u64), String>, Outage> {
        let mut state = self.store()?;
        if let Some(found) = state.found(key) {
            return Ok(Ok(found));
        }
        let lease = lease_key(key);
        let shared = state.get(&lease).map(|entry| String::from_utf8_lossy(&entry.value).into_owned());
        let token = shared.unwrap_or_else(|| fresh.to_owned());
        state.set(&lease, token.clone().into_bytes(), Some(CACHE_LEASE_TTL));
        Ok(Err(token))
    }

    async fn fill(&self, key: &str, token: &str, value: &[u8], ttl: Duration) -> Result<bool, Outage> {
        let mut state = self.store()?;
        let lease = lease_key(key);
        if state.get(&lease).is_none_or(|entry| entry.value != token.as_bytes()) {
            return Ok(false);
        }
        state.set(key, value.to_vec(), Some(ttl));
        state.remove(&lease);
        Ok(true)
    }

    async fn invalidate(&self, keys: &[String]) -> Result<(), Outage> {
        let mut state = self.store()?;
        for key in keys {
            state.remove(key);
            state.remove(&lease_key(key));
        }
        Ok(())
    }

    async fn purge(&self, prefix: &str) -> Result<(), Outage> {
        let lease = lease_prefix(prefix);
        self.store()?.entries.retain(|key, _| !key.starts_with(prefix) && !key.starts_with(&lease));
        Ok(())
    }
}
