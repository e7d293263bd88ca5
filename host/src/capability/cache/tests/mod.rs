//! Against a real Redis: no stale value, one fill for many readers, values kept near,
//! and outages.

mod fills;
mod near;
mod outages;
mod races;
mod trust;

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;
use crate::capability::redis::RedisConnection;
use crate::manifest::CacheGrant;
use crate::testing::servers::TestRedis;

const MINUTE: Duration = Duration::from_secs(60);

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

fn one(key: &str) -> Vec<String> {
    vec![key.to_owned()]
}

/// A host of its own on the server.
async fn host(server: &TestRedis) -> CacheAside {
    let redis = Arc::new(RedisConnection::open(&server.url()).expect("a connection"));
    assert!(redis.wait_until_up(Duration::from_secs(20)).await);
    CacheAside::new(Arc::new(RedisStore::new(redis)))
}

/// A service on a host of its own, with a near cache that is in use.
async fn near_host(server: &TestRedis, grant: &CacheGrant) -> GrantedCache {
    let granted = host(server).await.grant(grant, Arc::default());
    trusted(&granted).await;
    granted
}

/// Any key, and the default bound.
fn any() -> CacheGrant {
    CacheGrant::new(one("*"))
}

async fn trusted(cache: &GrantedCache) {
    eventually("the near cache is in use", async || usage(cache).trusted).await;
}

fn usage(cache: &GrantedCache) -> NearUsage {
    cache.counters.near.usage().expect("a near cache")
}

/// Reads a key until it is near.
async fn nearby(cache: &GrantedCache, key: &str) -> Arc<NearEntry> {
    eventually("it is near", async || {
        hit(&*cache.backend, key).await;
        cache.near(key).is_some()
    })
    .await;
    cache.near(key).expect("it is near")
}

async fn fill(cache: &dyn Cache, key: &str) -> Box<dyn Fill> {
    match cache.lookup(key, soon(), None).await {
        Ok(Lookup::Fill(fill)) => fill,
        other => panic!("{}", shown(&other)),
    }
}

async fn hit(cache: &dyn Cache, key: &str) -> Hit {
    match cache.lookup(key, soon(), None).await {
        Ok(Lookup::Hit(hit)) => hit,
        other => panic!("{}", shown(&other)),
    }
}

fn shown(lookup: &Result<Lookup, Error>) -> String {
    match lookup {
        Ok(Lookup::Hit(hit)) => format!("{hit:?}"),
        Ok(Lookup::Fill(_)) => "a fill".to_owned(),
        Ok(Lookup::Bypass) => "a bypass".to_owned(),
        Err(error) => format!("{error:?}"),
    }
}

async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let give_up = soon();
    while !holds().await {
        assert!(Instant::now() < give_up, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
