//! Against a real Redis: bursts across hosts, leases, outages, and a full table.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::*;
use crate::manifest::RateLimit;
use crate::testing::servers::TestRedis;

const HOUR: Duration = Duration::from_secs(3_600);

fn limit(requests: u64, per: Duration, burst: u64) -> Arc<Limit> {
    made(&RateLimit { requests, per, burst, strict: false, methods: Vec::new() })
}

fn strict(requests: u64, per: Duration, burst: u64) -> Arc<Limit> {
    made(&RateLimit { requests, per, burst, strict: true, methods: Vec::new() })
}

fn made(limit: &RateLimit) -> Arc<Limit> {
    Arc::new(Limit::of_service("users", limit))
}

fn client(last: u8) -> Client {
    Client::V4([192, 0, 2, last].into())
}

/// One host, and what it has decided by.
struct Host {
    limiter: Arc<Limiter>,
    counters: Arc<LimitCounters>,
}

impl Host {
    /// One that waits for Redis as long as it takes, on however busy a machine.
    async fn patient(server: &TestRedis, hosts: u32) -> Self {
        let runtime = Runtime { hosts, rate_limit_wait: Duration::from_secs(60), ..Runtime::default() };
        Self::with(server, runtime, limits::RATE_LIMIT_KEYS_MAX).await
    }

    async fn with(server: &TestRedis, runtime: Runtime, keys_max: usize) -> Self {
        let redis = Arc::new(RedisConnection::open(&server.url()).expect("a connection"));
        assert!(redis.wait_until_up(Duration::from_secs(20)).await);
        let limiter = Arc::new(Limiter::with_keys_max(Some(redis), &runtime, keys_max));
        Self { limiter, counters: Arc::default() }
    }

    async fn ask(&self, limit: &Arc<Limit>, client: Client) -> Verdict {
        self.limiter.decide(limit, client, &self.counters).await
    }

    fn decided(&self, by: DecidedBy) -> u64 {
        self.counters.get(by, true) + self.counters.get(by, false)
    }
}

/// Asks so often at the same time, of the hosts in turn; gives how many passed.
async fn at_once(hosts: &[&Host], limit: &Arc<Limit>, times: usize) -> u64 {
    let mut asking = JoinSet::new();
    for host in hosts.iter().cycle().take(times) {
        let (limiter, counters, limit) = (host.limiter.clone(), host.counters.clone(), limit.clone());
        asking.spawn(async move { limiter.decide(&limit, client(1), &counters).await.passed() });
    }
    asking.join_all().await.into_iter().filter(|passed| *passed).count() as u64
}

async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let give_up = Instant::now() + Duration::from_secs(20);
    while !holds().await {
        assert!(Instant::now() < give_up, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_thousand_at_once_on_two_hosts_exactly_the_burst_passes() {
    let server = TestRedis::start();
    let (one, other) = (Host::patient(&server, 2).await, Host::patient(&server, 2).await);
    for (name, limit) in [("small", limit(100, HOUR, 100)), ("strict", strict(100, HOUR, 99))] {
        server.cli(&["FLUSHALL"]);
        let passed = at_once(&[&one, &other], &limit, 1_000).await;
        assert_eq!(passed, limit.rate.burst, "{name}");
        // An hour's tokens come back too slowly to be lent; with leases is the next test.
        assert_eq!(lease_max(&limit, 2), 0, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_leases_no_more_passes_than_the_burst_and_what_came_back() {
    let server = TestRedis::start();
    let (one, other) = (Host::patient(&server, 2).await, Host::patient(&server, 2).await);
    let limit = limit(50, Duration::from_secs(1), 2_000);
    assert_eq!(lease_max(&limit, 2), 250);
    let begun = Instant::now();
    // Two waves: on a busy machine all of one have asked before the first is answered.
    let mut passed = at_once(&[&one, &other], &limit, 3_000).await;
    passed += at_once(&[&one, &other], &limit, 3_000).await;
    let came_back = u64::try_from(begun.elapsed().as_micros()).expect("a test's time") / 20_000 + 1;
    // A lent token is void a moment before Redis has it back, so a few may be missing.
    assert!((1_980..=2_000 + came_back).contains(&passed), "{passed} passed; {came_back} came back");
    let asked = one.decided(DecidedBy::Redis) + other.decided(DecidedBy::Redis);
    let known = one.decided(DecidedBy::Memory) + other.decided(DecidedBy::Memory);
    assert!(known > 0 && asked + known == 6_000, "{asked} asked Redis, {known} knew");
}

#[tokio::test]
async fn requests_in_the_upper_half_of_a_generous_limit_rarely_ask_redis() {
    let server = TestRedis::start();
    let host = Host::patient(&server, 1).await;
    let limit = limit(60_000, Duration::from_secs(60), 10_000);
    let mut left = limit.rate.burst;
    for _ in 0..4_000 {
        let verdict = host.ask(&limit, client(1)).await;
        assert!(verdict.passed());
        left = left.min(verdict.left());
    }
    assert!(host.decided(DecidedBy::Redis) <= 40, "{} asked Redis", host.decided(DecidedBy::Redis));
    assert!(left < limit.rate.burst - 1, "{left} were left");
}

#[tokio::test]
async fn a_refused_client_is_refused_without_redis_until_its_next_token() {
    let server = TestRedis::start();
    let host = Host::patient(&server, 1).await;
    let limit = limit(2, HOUR, 2);
    assert_eq!(host.ask(&limit, client(1)).await.left(), 1);
    assert!(host.ask(&limit, client(1)).await.passed());
    let asked = host.decided(DecidedBy::Redis);
    for _ in 0..100 {
        assert!(!host.ask(&limit, client(1)).await.passed());
    }
    assert_eq!(host.decided(DecidedBy::Redis), asked);
    // Others have buckets of their own, and a key says when it may be forgotten.
    assert!(host.ask(&limit, client(2)).await.passed());
    let key = "wasmyard:limit:users:address:192.0.2.1";
    let ttl: u64 = server.cli(&["PTTL", key]).parse().expect("milliseconds");
    assert!((3_000_000..=3_600_000).contains(&ttl), "{ttl}");
}

#[tokio::test]
async fn a_strict_limit_is_asked_of_redis_each_time() {
    let server = TestRedis::start();
    let host = Host::patient(&server, 1).await;
    let limit = strict(1_000, Duration::from_secs(1), 1_000);
    for asked in 1..=50 {
        assert!(host.ask(&limit, client(1)).await.passed());
        assert_eq!(host.decided(DecidedBy::Redis), asked);
    }
}

#[tokio::test]
async fn a_host_alone_lets_its_share_pass_and_redis_learns_of_it() {
    for freeze in [false, true] {
        let server = TestRedis::start();
        let host = Host::patient(&server, 2).await;
        let (lenient, strict) = (limit(10, HOUR, 10), strict(6, HOUR, 6));
        assert!(host.ask(&lenient, client(1)).await.passed());
        if freeze {
            server.freeze();
        } else {
            server.kill();
        }
        // Half of ten, and half of six.
        for (limit, share) in [(&lenient, 5), (&strict, 3)] {
            let mut passed = 0;
            for _ in 0..50 {
                passed += u64::from(host.ask(limit, client(1)).await.passed());
            }
            assert_eq!(passed, share, "freeze {freeze}, strict {}", limit.strict);
        }
        assert!(host.counters.get(DecidedBy::Host, true) == 8, "freeze {freeze}");
        // Another client has a share of its own, and not all is refused.
        assert!(host.ask(&lenient, client(2)).await.passed());

        if freeze {
            server.thaw();
        } else {
            server.resume();
        }
        eventually("Redis decides again", async || {
            let before = host.decided(DecidedBy::Redis);
            host.ask(&lenient, client(3)).await;
            host.ask(&lenient, client(4)).await;
            host.decided(DecidedBy::Redis) > before
        })
        .await;
        // One passed before by Redis and five alone: four are left of ten.
        let mut passed = 0;
        for _ in 0..20 {
            passed += u64::from(host.ask(&lenient, client(1)).await.passed());
        }
        // A frozen Redis may get to know of the same pass twice, when it reads what was sent
        // to it meanwhile.
        let expected = if freeze { 0..=4 } else { 4..=4 };
        assert!(expected.contains(&passed), "{passed}, freeze {freeze}");
    }
}

#[tokio::test]
async fn a_request_is_decided_while_the_question_to_redis_is_still_on_its_way() {
    // What is left of 50 ms is for the decision itself.
    const { assert!(limits::RATE_LIMIT_WAIT.as_millis() <= 30) };
    let server = TestRedis::start();
    let host = Host::with(&server, Runtime::default(), limits::RATE_LIMIT_KEYS_MAX).await;
    let limit = limit(10, HOUR, 10);
    server.freeze();
    assert!(host.ask(&limit, client(1)).await.passed());
    assert_eq!(host.counters.get(DecidedBy::Host, true), 1);
    // Whoever went for it has neither an answer nor given up: the request alone did.
    assert!(!host.limiter.bucket(&limit, client(1)).begin_probe());
    // From now on nobody waits at all.
    assert!(host.ask(&limit, client(2)).await.passed());
    assert_eq!(host.counters.get(DecidedBy::Host, true), 2);
}

#[tokio::test]
async fn nobody_waits_for_a_redis_that_is_slow_and_what_it_gives_too_late_is_not_lost() {
    let server = TestRedis::start();
    let runtime = Runtime { hosts: 2, rate_limit_wait: Duration::from_millis(1), ..Runtime::default() };
    let host = Host::with(&server, runtime, limits::RATE_LIMIT_KEYS_MAX).await;
    let limit = limit(10, HOUR, 10);
    server.freeze();
    for passed in 1..=5 {
        assert!(host.ask(&limit, client(1)).await.passed());
        assert_eq!(host.counters.get(DecidedBy::Host, true), passed);
    }
    assert!(!host.ask(&limit, client(1)).await.passed());
    // The link to Redis has more patience, so the first question may still be answered: what
    // it gives is for those who have passed.
    server.thaw();
    eventually("Redis has been told of all five", async || {
        host.ask(&limit, client(1)).await;
        let ttl = server.cli(&["PTTL", "wasmyard:limit:users:address:192.0.2.1"]);
        ttl.parse().is_ok_and(|ttl: i64| ttl > 4 * 360_000)
    })
    .await;
}

#[tokio::test]
async fn a_bucket_that_redis_called_empty_is_empty_without_redis_too() {
    let server = TestRedis::start();
    let host = Host::patient(&server, 2).await;
    let limit = limit(20, HOUR, 20);
    while host.ask(&limit, client(1)).await.passed() {}
    server.kill();
    for _ in 0..20 {
        assert!(!host.ask(&limit, client(1)).await.passed());
    }
    assert!(host.ask(&limit, client(2)).await.passed());
}

#[tokio::test]
async fn without_any_redis_the_share_is_the_limit() {
    let limiter = Limiter::new(None, &Runtime::default());
    let limit = limit(3, HOUR, 3);
    let counters = LimitCounters::default();
    for passes in [true, true, true, false] {
        assert_eq!(limiter.decide(&limit, client(1), &counters).await.passed(), passes);
    }
}

#[tokio::test]
async fn a_full_table_forgets_clients_and_redis_does_not() {
    let server = TestRedis::start();
    let host =
        Host::with(&server, Runtime { rate_limit_wait: Duration::from_secs(60), ..Runtime::default() }, 16)
            .await;
    let limit = limit(3, HOUR, 3);
    for round in 0..3 {
        for last in 0..200 {
            assert!(host.ask(&limit, client(last)).await.passed(), "round {round}, client {last}");
        }
    }
    assert!(host.limiter.buckets.len() <= 32, "{}", host.limiter.buckets.len());
    for last in 0..200 {
        assert!(!host.ask(&limit, client(last)).await.passed(), "client {last}");
    }
}

#[tokio::test]
async fn a_changed_limit_shuts_nobody_out_for_longer_than_itself() {
    let server = TestRedis::start();
    let host = Host::patient(&server, 1).await;
    let (before, after) = (limit(10, HOUR * 24, 10), limit(1_000, Duration::from_secs(1), 1_000));
    while host.ask(&before, client(1)).await.passed() {}
    let key = "wasmyard:limit:users:address:192.0.2.1";
    let shut_out = || server.cli(&["PTTL", key]).parse::<i64>().expect("milliseconds");
    assert!(shut_out() > 3_600_000);
    // Empty at worst, and an empty bucket of the new limit is whole in a second.
    host.ask(&after, client(1)).await;
    assert!(shut_out() <= 1_000, "{}", shut_out());
    eventually("a request passes", async || host.ask(&after, client(1)).await.passed()).await;
}

#[tokio::test]
async fn the_script_is_the_same_arithmetic() {
    let server = TestRedis::start();
    let redis = RedisConnection::open(&server.url()).expect("a connection");
    assert!(redis.wait_until_up(Duration::from_secs(20)).await);
    let script = script::BucketScript::new();
    // A minute for each token, so that none comes back within the test.
    let rate = gcra::Rate { interval_us: 60_000_000, burst: 20 };
    let ask = async |asked, spare, debt| {
        let order = script::Order { asked, spare, debt };
        let grant = script.ask(&redis, "bucket", rate, order).await.expect("an answer");
        let left = rate.left(grant.whole_in_us, 0);
        (grant.given, grant.lent, left)
    };
    assert_eq!(ask(1, 4, 0).await, (1, 4, 15));
    // The lower half is never lent.
    assert_eq!(ask(2, 100, 0).await, (2, 3, 10));
    assert_eq!(ask(1, 100, 0).await, (1, 0, 9));
    // A debt comes first, as far as there is something left of the bucket.
    assert_eq!(ask(1, 0, 6).await, (1, 0, 2));
    assert_eq!(ask(5, 5, 1).await, (1, 0, 0));
    assert_eq!(ask(1, 0, 1_000).await, (0, 0, 0));
    assert_eq!(ask(0, 0, 0).await, (0, 0, 0));
    // A moment that lies further ahead than an empty bucket's is of another limit, or of a
    // clock that has been set back since.
    server.cli(&["SET", "bucket", "9000000000000000"]);
    assert_eq!(ask(1, 0, 0).await, (0, 0, 0));
    let ttl: u64 = server.cli(&["PTTL", "bucket"]).parse().expect("milliseconds");
    assert!(ttl <= 20 * 60_000, "{ttl}");
}
