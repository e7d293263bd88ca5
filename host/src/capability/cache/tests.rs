//! Against a real Redis: no stale value, one fill for many readers, and outages.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::*;
use crate::capability::redis::{Redis, RedisConnection};
use crate::limits::{CACHE_PENDING_MAX, REDIS_KEYS_MAX};
use crate::manifest::KeysGrant;
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

async fn fill(cache: &CacheAside, key: &str) -> Box<dyn Fill> {
    match cache.lookup(key, soon()).await {
        Ok(Lookup::Fill(fill)) => fill,
        other => panic!("{}", shown(&other)),
    }
}

async fn hit(cache: &CacheAside, key: &str) -> Hit {
    match cache.lookup(key, soon()).await {
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

#[tokio::test]
async fn an_old_value_is_never_stored_after_a_write() {
    let server = TestRedis::start();
    let (here, there) = (host(&server).await, host(&server).await);
    for round in 0..1_000_u64 {
        let key = format!("k:{}", round % 10);
        // A reader has missed and read the old value. Then a write is committed and
        // takes the key out, on this host or another, and only then the value is
        // stored.
        let mut reader = fill(&here, &key).await;
        let writer = if round % 2 == 0 { &here } else { &there };
        writer.invalidate(&one(&key)).await.expect("invalidated");
        assert_eq!(reader.store(b"old".to_vec(), MINUTE).await, Stored::Superseded, "round {round}");
        // Who comes now fills with the new value, on both hosts.
        let mut next = fill(&there, &key).await;
        assert_eq!(next.store(b"new".to_vec(), MINUTE).await, Stored::Stored, "round {round}");
        assert_eq!(hit(&here, &key).await.value, b"new", "round {round}");
        here.invalidate(&one(&key)).await.expect("invalidated");
    }
    assert_eq!((here.fills(), there.fills()), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn under_a_storm_of_writes_no_reader_sees_the_past() {
    let server = TestRedis::start();
    let hosts = [host(&server).await, host(&server).await];
    // The database: one number. Whoever reads must not see less than it held when
    // the reading began.
    let database = Arc::new(AtomicU64::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    for reader in 0..8 {
        let (cache, database) = (hosts[reader % 2].clone(), database.clone());
        tasks.spawn(async move {
            for _ in 0..300 {
                let least = database.load(Ordering::SeqCst);
                let seen = match cache.lookup("n", soon()).await {
                    Ok(Lookup::Hit(hit)) => String::from_utf8_lossy(&hit.value).parse().expect("a number"),
                    Ok(Lookup::Fill(mut fill)) => {
                        let value = database.load(Ordering::SeqCst);
                        tokio::task::yield_now().await;
                        fill.store(value.to_string().into_bytes(), MINUTE).await;
                        value
                    }
                    other => panic!("{}", shown(&other)),
                };
                // A write counts once its invalidation is done.
                assert!(seen + 1 >= least, "{seen} was read after {least}");
            }
        });
    }
    let (cache, database) = (hosts[0].clone(), database.clone());
    tasks.spawn(async move {
        for _ in 0..300 {
            database.fetch_add(1, Ordering::SeqCst);
            cache.invalidate(&one("n")).await.expect("invalidated");
        }
    });
    while let Some(done) = tasks.join_next().await {
        done.expect("no reader saw the past");
    }
    assert_eq!((hosts[0].fills(), hosts[1].fills()), (0, 0));
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
            match cache.lookup("k", soon()).await {
                Ok(Lookup::Hit(hit)) => return hit,
                Ok(Lookup::Fill(_)) => queries.fetch_add(1, Ordering::SeqCst),
                other => panic!("{}", shown(&other)),
            };
            panic!("a second fill")
        });
    }
    eventually("all wait", async || cache.0.flights.waiting("k") == 199).await;
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
    let mut gone = Box::pin(cache.lookup("k", soon()));
    let mut waits = Box::pin(cache.lookup("k", soon()));
    let late = cache.lookup("k", Instant::now() + Duration::from_millis(50));
    tokio::select! {
        biased;
        _ = &mut gone => panic!("it waits"),
        _ = &mut waits => panic!("it waits"),
        late = late => assert!(matches!(late, Err(Error::Timeout))),
    }
    assert_eq!(cache.0.flights.waiting("k"), 2, "both have joined, the late one has left");
    drop(gone);
    drop(first);
    let Ok(Lookup::Fill(mut second)) = waits.await else { panic!("the seat") };
    assert_eq!(second.store(b"v".to_vec(), MINUTE).await, Stored::Stored);
    assert_eq!(hit(&cache, "k").await.value, b"v");
    assert_eq!(cache.fills(), 0);

    // A seat that was handed over and never taken goes on as well.
    let first = fill(&cache, "j").await;
    let mut unaware = Box::pin(cache.lookup("j", soon()));
    let mut last = Box::pin(cache.lookup("j", soon()));
    tokio::select! {
        biased;
        _ = &mut unaware => panic!("it waits"),
        _ = &mut last => panic!("it waits"),
        () = eventually("both wait", async || cache.0.flights.waiting("j") == 2) => {}
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
    let mut waits = Box::pin(cache.lookup("k", soon()));
    tokio::select! {
        biased;
        _ = &mut waits => panic!("it waits"),
        () = eventually("it waits", async || cache.0.flights.waiting("k") == 1) => {}
    }
    cache.invalidate(&one("k")).await.expect("invalidated");
    let Ok(Lookup::Fill(mut new)) = waits.await else { panic!("a fill of its own") };
    assert_eq!(old.store(b"old".to_vec(), MINUTE).await, Stored::Superseded);
    assert_eq!(new.store(b"new".to_vec(), MINUTE).await, Stored::Stored);
    assert_eq!(hit(&cache, "k").await.value, b"new");
}

#[tokio::test]
async fn with_redis_gone_everybody_reads_the_source() {
    let server = TestRedis::start();
    let cache = host(&server).await;
    let mut leader = fill(&cache, "k").await;
    let mut waits = Box::pin(cache.lookup("k", soon()));
    tokio::select! {
        biased;
        _ = &mut waits => panic!("it waits"),
        () = eventually("it waits", async || cache.0.flights.waiting("k") == 1) => {}
    }
    server.kill();
    assert_eq!(leader.store(b"v".to_vec(), MINUTE).await, Stored::Unavailable);
    assert!(matches!(waits.await, Ok(Lookup::Bypass)));
    assert!(matches!(cache.lookup("k", soon()).await, Ok(Lookup::Bypass)));
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
        match cache.lookup("k", soon()).await {
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
    let granted = cache.grant(&KeysGrant { keys }, Arc::default());
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
    assert!(matches!(cache.lookup("list", soon()).await, Ok(Lookup::Bypass)), "a key of another type");
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
