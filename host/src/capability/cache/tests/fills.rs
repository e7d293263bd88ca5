//! One reader fills a key, and the others wait for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::capability::redis::{Redis as _, RedisConnection};

#[tokio::test]
async fn what_is_stored_is_what_redis_cli_shows() {
    let server = TestRedis::start();
    let cache = host(&server).await;
    let mut first = fill(&cache, "users:1").await;
    assert_eq!(first.store(b"{\"id\":1}".to_vec(), MINUTE).await, Stored::Stored);
    assert_eq!(first.store(b"again".to_vec(), MINUTE).await, Stored::Superseded);
    assert_eq!(server.cli(&["KEYS", "*"]), "users:1", "no token is left behind");
    assert_eq!(server.cli(&["GET", "users:1"]), "{\"id\":1}");
    let found = hit(&cache, "users:1").await;
    assert_eq!(found.value, b"{\"id\":1}");
    assert!(!found.collapsed && (1..=60_000).contains(&found.ttl_ms), "{found:?}");

    assert_eq!(server.cli(&["DEL", "users:1"]), "1");
    drop(fill(&cache, "users:1").await);
    server.cli(&["SET", "users:1", "by hand"]);
    assert_eq!(hit(&cache, "users:1").await.ttl_ms, TTL_NEVER_MS);
    assert_eq!(cache.fills(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_reader_fills_for_two_hundred() {
    let server = TestRedis::start();
    let cache = host(&server).await;
    let queries = Arc::new(AtomicU64::new(0));
    let mut leader = fill(&cache, "k").await;
    let mut readers = tokio::task::JoinSet::new();
    for _ in 0..199 {
        let (cache, queries) = (cache.clone(), queries.clone());
        readers.spawn(async move {
            match cache.lookup("k", soon(), None).await {
                Ok(Lookup::Hit(hit)) => return hit,
                Ok(Lookup::Fill(_)) => queries.fetch_add(1, Ordering::SeqCst),
                other => panic!("{}", shown(&other)),
            };
            panic!("a second fill")
        });
    }
    eventually("all wait", async || cache.inner.flights.waiting("k") == 199).await;
    assert_eq!(leader.store(b"v".to_vec(), MINUTE).await, Stored::Stored);
    while let Some(reader) = readers.join_next().await {
        let hit = reader.expect("a hit");
        assert!(hit.value == b"v" && hit.collapsed);
    }
    assert_eq!(queries.load(Ordering::SeqCst), 0);
    assert_eq!(cache.fills(), 0);
}

#[tokio::test]
async fn a_dropped_fill_goes_to_the_next_who_still_waits() {
    let server = TestRedis::start();
    let cache = host(&server).await;
    let first = fill(&cache, "k").await;
    let mut gone = Box::pin(cache.lookup("k", soon(), None));
    let mut waits = Box::pin(cache.lookup("k", soon(), None));
    let late = cache.lookup("k", Instant::now() + Duration::from_millis(50), None);
    tokio::select! {
        biased;
        _ = &mut gone => panic!("it waits"),
        _ = &mut waits => panic!("it waits"),
        late = late => assert!(matches!(late, Err(Error::Timeout))),
    }
    assert_eq!(cache.inner.flights.waiting("k"), 2, "both have joined, the late one has left");
    drop(gone);
    drop(first);
    let Ok(Lookup::Fill(mut second)) = waits.await else { panic!("the seat") };
    assert_eq!(second.store(b"v".to_vec(), MINUTE).await, Stored::Stored);
    assert_eq!(hit(&cache, "k").await.value, b"v");
    assert_eq!(cache.fills(), 0);

    // A seat that was handed over and never taken goes on as well.
    let first = fill(&cache, "j").await;
    let mut unaware = Box::pin(cache.lookup("j", soon(), None));
    let mut last = Box::pin(cache.lookup("j", soon(), None));
    tokio::select! {
        biased;
        _ = &mut unaware => panic!("it waits"),
        _ = &mut last => panic!("it waits"),
        () = eventually("both wait", async || cache.inner.flights.waiting("j") == 2) => {}
    }
    drop(first);
    drop(unaware);
    assert!(matches!(last.await, Ok(Lookup::Fill(_))));
    assert_eq!(cache.fills(), 0);
}

#[tokio::test]
async fn a_write_sends_those_who_wait_to_look_again() {
    let server = TestRedis::start();
    let cache = host(&server).await;
    let mut old = fill(&cache, "k").await;
    let mut waits = Box::pin(cache.lookup("k", soon(), None));
    tokio::select! {
        biased;
        _ = &mut waits => panic!("it waits"),
        () = eventually("it waits", async || cache.inner.flights.waiting("k") == 1) => {}
    }
    cache.invalidate(&one("k")).await.expect("invalidated");
    let Ok(Lookup::Fill(mut new)) = waits.await else { panic!("a fill of its own") };
    assert_eq!(old.store(b"old".to_vec(), MINUTE).await, Stored::Superseded);
    assert_eq!(new.store(b"new".to_vec(), MINUTE).await, Stored::Stored);
    assert_eq!(hit(&cache, "k").await.value, b"new");
}

#[tokio::test]
async fn what_cannot_be_stored_keeps_nobody_waiting() {
    let server = TestRedis::start();
    let cache = host(&server).await;
    let mut too_large = fill(&cache, "k").await;
    let value = vec![0; crate::limits::REDIS_VALUE_BYTES_MAX + 1];
    assert_eq!(too_large.store(value, MINUTE).await, Stored::Unavailable);
    let mut too_short = fill(&cache, "k").await;
    assert_eq!(too_short.store(b"v".to_vec(), Duration::ZERO).await, Stored::Unavailable);
    server.cli(&["LPUSH", "list", "x"]);
    assert!(matches!(cache.lookup("list", soon(), None).await, Ok(Lookup::Bypass)), "a key of another type");
    assert_eq!(cache.fills(), 0);
}

#[tokio::test]
async fn the_redis_capability_sees_what_the_cache_stores() {
    let server = TestRedis::start();
    let redis = Arc::new(RedisConnection::open(&server.url()).expect("a connection"));
    assert!(redis.wait_until_up(Duration::from_secs(20)).await);
    let cache = CacheAside::new(Arc::new(RedisStore::new(redis.clone())));
    fill(&cache, "k").await.store(b"v".to_vec(), MINUTE).await;
    assert_eq!(redis.get("k").await.expect("get"), Some(b"v".to_vec()));
}
