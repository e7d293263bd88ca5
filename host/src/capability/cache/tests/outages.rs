//! Redis goes away, and comes back with what it had.

use std::sync::Arc;

use super::*;
use crate::limits::{CACHE_PENDING_MAX, REDIS_KEYS_MAX};
use crate::manifest::CacheGrant;

#[tokio::test]
async fn with_redis_gone_everybody_reads_the_source() {
    let server = TestRedis::start();
    let cache = host(&server).await;
    let mut leader = fill(&cache, "k").await;
    let mut waits = Box::pin(cache.lookup("k", soon(), None));
    tokio::select! {
        biased;
        _ = &mut waits => panic!("it waits"),
        () = eventually("it waits", async || cache.inner.flights.waiting("k") == 1) => {}
    }
    server.kill();
    assert_eq!(leader.store(b"v".to_vec(), MINUTE).await, Stored::Unavailable);
    assert!(matches!(waits.await, Ok(Lookup::Bypass)));
    assert!(matches!(cache.lookup("k", soon(), None).await, Ok(Lookup::Bypass)));
    assert_eq!(cache.fills(), 0);
}

#[tokio::test]
async fn an_invalidation_survives_an_outage() {
    let server = TestRedis::start();
    let cache = host(&server).await;
    fill(&cache, "k").await.store(b"old".to_vec(), MINUTE).await;
    server.kill();
    cache.invalidate(&one("k")).await.expect("kept for later");
    assert!(!cache.is_trusted());
    server.resume();
    assert!(matches!(server.cli(&["GET", "k"]).as_str(), "old" | ""), "Redis kept its data");
    // Until it has been delivered the old value must not be seen.
    loop {
        match cache.lookup("k", soon(), None).await {
            Ok(Lookup::Bypass) => tokio::task::yield_now().await,
            Ok(Lookup::Fill(_)) => break,
            other => panic!("{}", shown(&other)),
        }
    }
    assert!(cache.is_trusted());
    assert_eq!(server.cli(&["EXISTS", "k"]), "0");
}

#[tokio::test]
async fn too_many_owed_invalidations_empty_the_granted_keys() {
    let server = TestRedis::start();
    let cache = host(&server).await;
    let keys = ["k*[1]:*", "all"].map(str::to_owned).to_vec();
    let granted = cache.grant(&CacheGrant::new(keys), Arc::default());
    server.cli(&[
        "MSET",
        "k*[1]:1",
        "old",
        "all",
        "old",
        "kx1:1",
        "another's",
        "wasmyard:lease:{k*[1]:2}",
        "token",
    ]);
    server.kill();
    let many: Vec<_> = (0..=CACHE_PENDING_MAX).map(|n| format!("k*[1]:{n}")).collect();
    for keys in many.chunks(REDIS_KEYS_MAX) {
        granted.backend.invalidate(keys).await.expect("kept for later");
    }
    server.resume();
    eventually("all is delivered", async || cache.is_trusted()).await;
    assert_eq!(server.cli(&["KEYS", "*"]), "kx1:1");
}
