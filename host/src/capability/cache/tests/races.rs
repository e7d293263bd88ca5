//! Reads and writes at the same time, on one host and on two.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

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
async fn a_near_value_is_gone_when_an_invalidation_returns() {
    let server = TestRedis::start();
    let cache = near_host(&server, &any()).await;
    for round in 0..1_000_u64 {
        let key = format!("k:{}", round % 10);
        fill(&*cache.backend, &key).await.store(round.to_string().into_bytes(), MINUTE).await;
        if round % 2 == 0 {
            nearby(&cache, &key).await;
        }
        // Some of these ask Redis before the value is taken away, and are answered after.
        let mut readers = tokio::task::JoinSet::new();
        for _ in 0..4 {
            let (cache, key) = (cache.clone(), key.clone());
            readers.spawn(async move { drop(cache.backend.lookup(&key, soon(), None).await) });
        }
        cache.backend.invalidate(&one(&key)).await.expect("invalidated");
        assert!(cache.near(&key).is_none(), "round {round}");
        while let Some(read) = readers.join_next().await {
            read.expect("it has read");
        }
        assert!(cache.near(&key).is_none(), "round {round}: a late reply was kept");
    }
}

/// How a storm looked to one host's readers.
#[derive(Default)]
struct Seen {
    /// The newest value that was found in the cache.
    newest: AtomicU64,
    hits: AtomicU64,
}

/// 300 writes on `hosts[0]`, with readers on each of them. The database is one number.
/// A host that is `strict` must not show less than it held when a reading began; and
/// none may show less than it has shown already.
async fn storm(hosts: &[Arc<dyn Cache>], strict: fn(usize) -> bool) {
    let database = Arc::new(AtomicU64::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    for (number, cache) in hosts.iter().enumerate() {
        let so_far = Arc::new(Seen::default());
        for _ in 0..8 / hosts.len() {
            let (cache, database, so_far) = (cache.clone(), database.clone(), so_far.clone());
            tasks.spawn(async move {
                while database.load(Ordering::SeqCst) < 300 || so_far.hits.load(Ordering::SeqCst) < 300 {
                    let least = database.load(Ordering::SeqCst);
                    let newest = so_far.newest.load(Ordering::SeqCst);
                    let seen = match cache.lookup("n", soon(), None).await {
                        Ok(Lookup::Hit(hit)) => {
                            let seen = String::from_utf8_lossy(&hit.value).parse().expect("a number");
                            assert!(seen >= newest, "{seen} was found after {newest}");
                            so_far.newest.fetch_max(seen, Ordering::SeqCst);
                            so_far.hits.fetch_add(1, Ordering::SeqCst);
                            seen
                        }
                        Ok(Lookup::Fill(mut fill)) => {
                            let value = database.load(Ordering::SeqCst);
                            tokio::task::yield_now().await;
                            fill.store(value.to_string().into_bytes(), MINUTE).await;
                            value
                        }
                        other => panic!("{}", shown(&other)),
                    };
                    // A write counts once its invalidation is done.
                    assert!(!strict(number) || seen + 1 >= least, "{seen} was read after {least}");
                    tokio::task::yield_now().await;
                }
            });
        }
    }
    let (cache, written) = (hosts[0].clone(), database.clone());
    tasks.spawn(async move {
        for _ in 0..300 {
            written.fetch_add(1, Ordering::SeqCst);
            cache.invalidate(&one("n")).await.expect("invalidated");
        }
    });
    while let Some(done) = tasks.join_next().await {
        done.expect("no reader saw the past");
    }
    for cache in hosts {
        eventually("the last write is seen", async || match cache.lookup("n", soon(), None).await {
            Ok(Lookup::Hit(hit)) => hit.value == b"300",
            Ok(Lookup::Fill(mut fill)) => fill.store(b"300".to_vec(), MINUTE).await == Stored::Superseded,
            other => panic!("{}", shown(&other)),
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn under_a_storm_of_writes_no_reader_sees_the_past() {
    let server = TestRedis::start();
    let hosts = [host(&server).await, host(&server).await];
    storm(&hosts.clone().map(|host| Arc::new(host) as Arc<dyn Cache>), |_| true).await;
    assert_eq!((hosts[0].fills(), hosts[1].fills()), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn under_a_storm_of_its_own_writes_a_host_with_a_near_cache_does_not_either() {
    let server = TestRedis::start();
    let cache = near_host(&server, &any()).await;
    storm(std::slice::from_ref(&cache.backend), |_| true).await;
    assert_ne!(cache.counters.near.hits.load(Ordering::SeqCst), 0, "the near cache had a part in it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn under_a_storm_from_another_host_what_is_seen_never_goes_back() {
    let server = TestRedis::start();
    let hosts = [near_host(&server, &any()).await, near_host(&server, &any()).await];
    // What the other host has written may be seen a moment late; one's own may not.
    storm(&hosts.each_ref().map(|host| host.backend.clone()), |host| host == 0).await;
    for host in hosts {
        assert_ne!(host.counters.near.hits.load(Ordering::SeqCst), 0, "the near cache had a part in it");
    }
}
