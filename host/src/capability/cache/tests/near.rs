//! Values in the host's memory: found without Redis, and gone when they change.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::*;
use crate::capability::redis::Redis as _;
use crate::limits::{KIB, NEAR_ENTRY_BYTES};

/// Commands that Redis has been sent, the looking included.
fn commands(server: &TestRedis) -> u64 {
    let stats = server.cli(&["INFO", "commandstats"]);
    let gets = stats.lines().find_map(|line| line.strip_prefix("cmdstat_get:calls="));
    gets.map_or(0, |rest| rest.split(',').next().and_then(|calls| calls.parse().ok()).expect("a number"))
}

/// Waits until the old value is given out no more.
async fn changes(cache: &GrantedCache, key: &str) {
    eventually("the change is seen", async || cache.near(key).is_none()).await;
}

#[tokio::test]
async fn a_value_that_was_read_once_costs_no_more_round_trips() {
    let server = TestRedis::start();
    let cache = near_host(&server, &any()).await;
    fill(&*cache.backend, "users:1").await.store(b"{\"id\":1}".to_vec(), MINUTE).await;
    let entry = nearby(&cache, "users:1").await;
    assert_eq!(&entry.value[..], b"{\"id\":1}");
    assert!((1..60_000).contains(&entry.ttl_ms()), "{}", entry.ttl_ms());

    let (before, near_before) = (commands(&server), cache.counters.near.hits.load(Ordering::Relaxed));
    for _ in 0..100 {
        let found = hit(&*cache.backend, "users:1").await;
        assert_eq!(found.value, b"{\"id\":1}");
        assert!(!found.collapsed && (1..60_000).contains(&found.ttl_ms), "{found:?}");
    }
    assert_eq!(commands(&server), before, "Redis was asked");
    assert_eq!(cache.counters.near.hits.load(Ordering::Relaxed) - near_before, 100);

    // The way of a caller that needs no wait; it counts what it makes use of.
    let hits =
        || (cache.counters.hits.load(Ordering::Relaxed), cache.counters.near.hits.load(Ordering::Relaxed));
    let before = hits();
    assert!(cache.near("users:1").is_some() && cache.near("users:2").is_none());
    assert_eq!(hits(), before);
    cache.counters.near_hit();
    assert_eq!(hits(), (before.0 + 1, before.1 + 1));
    let usage = usage(&cache);
    assert_eq!((usage.entries, usage.bytes), (1, (NEAR_ENTRY_BYTES + "users:1".len() + 8) as u64));
}

#[tokio::test]
async fn a_change_from_anywhere_ends_the_entry() {
    let server = TestRedis::start();
    let cache = near_host(&server, &any()).await;
    let other = near_host(&server, &any()).await;
    let is = async |value: &str| hit(&*cache.backend, "k").await.value == value.as_bytes();
    server.cli(&["SET", "k", "1"]);
    assert_eq!(nearby(&cache, "k").await.ttl_ms(), TTL_NEVER_MS);

    server.cli(&["SET", "k", "2"]);
    changes(&cache, "k").await;
    assert!(is("2").await);

    // A time to live that is given, or shortened, later.
    nearby(&cache, "k").await;
    server.cli(&["EXPIRE", "k", "1000"]);
    changes(&cache, "k").await;
    assert!(nearby(&cache, "k").await.ttl_ms() <= 1_000_000);

    server.cli(&["DEL", "k"]);
    changes(&cache, "k").await;
    fill(&*cache.backend, "k").await.store(b"3".to_vec(), MINUTE).await;

    // Another host, whose own entry is gone when its invalidation returns.
    nearby(&cache, "k").await;
    nearby(&other, "k").await;
    other.backend.invalidate(&one("k")).await.expect("invalidated");
    assert!(other.near("k").is_none());
    changes(&cache, "k").await;
    fill(&*other.backend, "k").await.store(b"4".to_vec(), MINUTE).await;
    assert!(is("4").await);

    // Everything at once.
    nearby(&cache, "k").await;
    server.cli(&["SET", "j", "1"]);
    nearby(&cache, "j").await;
    let flushes = usage(&cache).flushes;
    server.cli(&["FLUSHALL"]);
    changes(&cache, "k").await;
    assert!(cache.near("j").is_none(), "a flush is one push");
    assert!(usage(&cache).flushes > flushes);
    assert_eq!(usage(&cache).entries, 0);
}

#[tokio::test]
async fn an_entry_does_not_outlive_the_key() {
    let server = TestRedis::start();
    // Redis would tell of it when it notices; here it never does.
    server.cli(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"]);
    let cache = near_host(&server, &any()).await;
    fill(&*cache.backend, "k").await.store(b"v".to_vec(), Duration::from_millis(700)).await;
    let entry = nearby(&cache, "k").await;
    let expires = entry.expires.expect("a time");
    assert!(entry.ttl_ms() <= 700);
    let left = entry.ttl_ms();
    eventually("it expires", async || cache.near("k").is_none()).await;
    assert!(Instant::now() >= expires, "not before its time, and {left} ms were left");
    assert_eq!(entry.ttl_ms(), 0);
}

#[tokio::test]
async fn private_keys_and_other_services_keys_are_never_near() {
    let server = TestRedis::start();
    let grant = CacheGrant { private: one("users:session:*"), ..CacheGrant::new(one("users:*")) };
    let cache = near_host(&server, &grant).await;
    server.cli(&["MSET", "users:session:1", "secret", "users:1", "open", "orders:1", "another's"]);
    nearby(&cache, "users:1").await;
    for _ in 0..10 {
        assert_eq!(hit(&*cache.backend, "users:session:1").await.value, b"secret");
        assert_eq!(hit(&*cache.backend, "orders:1").await.value, b"another's");
        assert!(cache.near("users:session:1").is_none());
    }
    assert!(cache.near("orders:1").is_none(), "it is not granted");

    let off = CacheGrant { near_kib: 0, ..any() };
    let far = host(&server).await.grant(&off, Arc::default());
    for _ in 0..10 {
        hit(&*far.backend, "users:1").await;
        assert!(far.near("users:1").is_none());
    }
    assert_eq!(far.counters.near.usage(), None);
    let tracking =
        server.cli(&["CLIENT", "LIST"]).lines().filter(|client| client.contains("flags=t")).count();
    assert_eq!(tracking, 1, "the service without a near cache opened no connection for it");
}

#[tokio::test]
async fn services_of_one_host_have_their_own_bounds_and_hear_the_same_changes() {
    let server = TestRedis::start();
    let host = host(&server).await;
    let small = host.grant(&CacheGrant { near_kib: 128, ..any() }, Arc::default());
    let large = host.grant(&any(), Arc::default());
    trusted(&small).await;
    let value = "x".repeat(2 * KIB);
    for n in 0..200 {
        let key = format!("k:{n}");
        server.cli(&["SET", &key, &value]);
        // The first time it is only remembered as asked for.
        for cache in [&small, &large, &small] {
            hit(&*cache.backend, &key).await;
        }
        nearby(&large, &key).await;
        assert!(usage(&small).bytes <= 128 * KIB as u64, "after {n}");
    }
    assert!((1..50).contains(&usage(&small).entries), "{:?}", usage(&small));
    // Now and then a key shares its counter with a later one, whose first read drops it.
    assert!(usage(&large).entries >= 190, "one service's need is not the other's: {:?}", usage(&large));

    // A value of more than an eighth of the bound is not kept.
    server.cli(&["SET", "big", &"x".repeat(16 * KIB)]);
    for _ in 0..10 {
        hit(&*small.backend, "big").await;
        assert!(small.near("big").is_none());
    }
    nearby(&large, "big").await;

    server.cli(&["SET", "k:0", "v"]);
    nearby(&small, "k:0").await;
    nearby(&large, "k:0").await;
    small.backend.invalidate(&one("k:0")).await.expect("invalidated");
    assert!(small.near("k:0").is_none() && large.near("k:0").is_none());
}

#[tokio::test]
async fn what_is_asked_for_once_is_neither_kept_nor_tracked() {
    let server = TestRedis::start();
    let cache = near_host(&server, &any()).await;
    for n in 0..50 {
        let key = format!("once:{n}");
        server.cli(&["SET", &key, "v"]);
        hit(&*cache.backend, &key).await;
    }
    assert_eq!(usage(&cache).entries, 0);
    let tracked = server.cli(&["INFO", "clients"]);
    assert!(tracked.lines().any(|line| line.trim() == "tracking_clients:1"), "{tracked}");
    let keys = server.cli(&["INFO", "stats"]);
    assert!(keys.lines().any(|line| line.trim() == "tracking_total_keys:0"), "{keys}");
}

#[tokio::test]
async fn what_a_service_writes_by_the_redis_capability_is_seen_at_once() {
    let server = TestRedis::start();
    let redis = Arc::new(RedisConnection::open(&server.url()).expect("a connection"));
    assert!(redis.wait_until_up(Duration::from_secs(20)).await);
    let cache = CacheAside::new(Arc::new(RedisStore::new(redis.clone()))).grant(&any(), Arc::default());
    trusted(&cache).await;
    redis.set("k", b"0".to_vec(), None, crate::capability::redis::Condition::Always).await.expect("set");
    for round in 1..=100_i64 {
        nearby(&cache, "k").await;
        match round % 2 {
            0 => drop(redis.incr("k", 1).await.expect("incr")),
            _ => drop(redis.eval("return redis.call('INCR', KEYS[1])", &one("k"), &[]).await.expect("eval")),
        }
        assert_eq!(hit(&*cache.backend, "k").await.value, round.to_string().as_bytes());
    }
    nearby(&cache, "k").await;
    redis.del(&one("k")).await.expect("del");
    assert!(cache.near("k").is_none());
}

#[tokio::test]
async fn an_entry_keeps_what_a_guest_made_of_it_and_takes_it_along() {
    let server = TestRedis::start();
    let cache = near_host(&server, &any()).await;
    server.cli(&["SET", "k", "1"]);
    let entry = nearby(&cache, "k").await;
    assert!(entry.rendition.load().is_none());
    let headers = http::HeaderMap::from_iter([(http::header::ETAG, http::HeaderValue::from_static("\"1\""))]);
    entry.rendition.store(Some(Arc::new(Rendition { version: "v".into(), route: "/k".into(), headers })));
    let again = cache.near("k").expect("it is near");
    assert_eq!(again.rendition.load().as_ref().expect("a rendition").headers["etag"], "\"1\"");
    server.cli(&["SET", "k", "2"]);
    changes(&cache, "k").await;
    assert!(nearby(&cache, "k").await.rendition.load().is_none(), "the headers were those of another value");
}
