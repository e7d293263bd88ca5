//! The connection for tracked reads breaks, falls silent, or cannot be had.

use super::*;
use crate::limits::NEAR_TRUST_MAX;

/// The ids of the connections that are tracked.
fn tracked(server: &TestRedis) -> Vec<String> {
    let clients = server.cli(&["CLIENT", "LIST"]);
    let tracked = clients.lines().filter(|client| client.contains(" flags=t "));
    tracked.filter_map(|client| client.strip_prefix("id=")?.split(' ').next().map(str::to_owned)).collect()
}

#[tokio::test]
async fn a_connection_that_is_cut_takes_everything_with_it() {
    let server = TestRedis::start();
    let cache = near_host(&server, &any()).await;
    for round in 0..5 {
        let value = round.to_string();
        server.cli(&["SET", "k", &value]);
        eventually("it is near", async || {
            hit(&*cache.backend, "k").await.value == value.as_bytes() && cache.near("k").is_some()
        })
        .await;
        let before = tracked(&server);
        assert_eq!(before.len(), 1);
        let flushes = usage(&cache).flushes;
        // What changes from here on until there is a new connection is told to nobody.
        server.cli(&["CLIENT", "KILL", "ID", &before[0]]);
        eventually("the loss is noticed", async || usage(&cache).flushes > flushes).await;
        assert!(cache.near("k").is_none());
        server.cli(&["SET", "k", "changed"]);
        assert_eq!(hit(&*cache.backend, "k").await.value, b"changed");
        trusted(&cache).await;
        assert_ne!(tracked(&server), before);
    }
}

#[tokio::test]
async fn after_a_crash_of_redis_nothing_from_before_is_near() {
    let server = TestRedis::start();
    let cache = near_host(&server, &any()).await;
    server.cli(&["SET", "k", "old"]);
    nearby(&cache, "k").await;
    let flushes = usage(&cache).flushes;
    server.kill();
    eventually("the loss is noticed", async || usage(&cache).flushes > flushes).await;
    assert!(cache.near("k").is_none() && !usage(&cache).trusted);
    assert!(matches!(cache.backend.lookup("k", soon(), None).await, Ok(Lookup::Bypass)));
    server.resume();
    server.cli(&["SET", "k", "new"]);
    trusted(&cache).await;
    eventually("the cache is back", async || {
        matches!(cache.backend.lookup("k", soon(), None).await, Ok(Lookup::Hit(hit)) if hit.value == b"new")
    })
    .await;
    assert_eq!(&nearby(&cache, "k").await.value[..], b"new");
}

#[tokio::test]
async fn a_connection_that_falls_silent_is_not_believed_for_long() {
    let server = TestRedis::start();
    let cache = near_host(&server, &any()).await;
    server.cli(&["SET", "k", "old"]);
    nearby(&cache, "k").await;
    server.freeze();
    let frozen = Instant::now();
    eventually("nothing was heard for too long", async || cache.near("k").is_none()).await;
    assert!(!usage(&cache).trusted);
    // Whatever was asked before the server fell silent was asked before `frozen`: the
    // trust in it ends by its own clock, and not because something came.
    let spent = Instant::now();
    assert!(spent >= frozen);
    assert!(matches!(cache.backend.lookup("k", soon(), None).await, Ok(Lookup::Bypass)));
    server.thaw();
    trusted(&cache).await;
    eventually("the cache is back", async || {
        matches!(cache.backend.lookup("k", soon(), None).await, Ok(Lookup::Hit(hit)) if hit.value == b"old")
    })
    .await;
    server.cli(&["SET", "k", "new"]);
    eventually("and hears of changes", async || hit(&*cache.backend, "k").await.value == b"new").await;
}

#[tokio::test]
async fn a_redis_that_answers_nobody_is_not_believed_either() {
    let server = TestRedis::start();
    let cache = near_host(&server, &any()).await;
    server.cli(&["SET", "k", "old"]);
    nearby(&cache, "k").await;
    let pause = (NEAR_TRUST_MAX * 4).as_millis().to_string();
    server.cli(&["CLIENT", "PAUSE", &pause, "ALL"]);
    eventually("nothing was heard for too long", async || cache.near("k").is_none()).await;
    trusted(&cache).await;
    assert_eq!(hit(&*cache.backend, "k").await.value, b"old");
}

#[tokio::test]
async fn a_redis_that_refuses_to_track_is_a_cache_without_memory() {
    let server = TestRedis::start();
    server.cli(&["ACL", "SETUSER", "default", "-client|tracking"]);
    let cache = host(&server).await.grant(&any(), Arc::default());
    fill(&*cache.backend, "k").await.store(b"v".to_vec(), MINUTE).await;
    for _ in 0..20 {
        assert_eq!(hit(&*cache.backend, "k").await.value, b"v");
        assert!(cache.near("k").is_none() && !usage(&cache).trusted);
    }
    cache.backend.invalidate(&one("k")).await.expect("invalidated");
    drop(fill(&*cache.backend, "k").await);
}

#[tokio::test]
async fn while_invalidations_are_owed_nothing_near_is_given_out() {
    let server = TestRedis::start();
    let cache = near_host(&server, &any()).await;
    server.cli(&["MSET", "k", "old", "j", "1"]);
    nearby(&cache, "k").await;
    nearby(&cache, "j").await;
    server.freeze();
    cache.backend.invalidate(&one("k")).await.expect("kept for later");
    assert!(cache.near("k").is_none() && cache.near("j").is_none());
    server.thaw();
    loop {
        match cache.backend.lookup("k", soon(), None).await {
            Ok(Lookup::Bypass) => tokio::task::yield_now().await,
            Ok(Lookup::Fill(_)) => break,
            other => panic!("{}", shown(&other)),
        }
    }
}

#[tokio::test]
async fn a_host_that_is_gone_leaves_no_connection_behind() {
    let server = TestRedis::start();
    let cache = near_host(&server, &any()).await;
    assert_eq!(tracked(&server).len(), 1);
    drop(cache);
    eventually("it is closed", async || tracked(&server).is_empty()).await;
}
