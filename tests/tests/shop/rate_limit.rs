//! Rate limits over real HTTPS: two hosts that share a Redis, what clients are told, whose
//! word counts on where a request comes from, and a Redis that is away.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use wasmyard::manifest::{Manifest, Proxies, RateLimit};
use wasmyard::testing::servers::{TestPostgres, TestRedis};
use wasmyard_tests::{Answer, Session, Shop, at_once, repository, until};

const HOUR: Duration = Duration::from_secs(3_600);
const LIST: &str = "/api/v1/users";

fn limit(requests: u64) -> RateLimit {
    RateLimit { requests, per: HOUR, burst: requests, strict: false, methods: Vec::new() }
}

/// Limits the users, and waits for Redis as long as a busy machine takes.
fn limited(manifest: &mut Manifest, limit: RateLimit) {
    service_limited(manifest, "users", limit);
}

fn service_limited(manifest: &mut Manifest, service: &str, limit: RateLimit) {
    manifest.runtime.rate_limit_wait = Duration::from_secs(60);
    manifest.services.get_mut(service).expect("the service").rate_limit = Some(limit);
}

/// Takes the word of whoever is on this machine on where a request comes from.
fn behind_a_proxy(manifest: &mut Manifest) {
    let loopback = "127.0.0.0/8".parse().expect("a network");
    manifest.server.proxies = Proxies { networks: vec![loopback], ..Proxies::default() };
}

async fn statuses(shop: &Shop, method: Method, times: usize, headers: &[(&str, &str)]) -> Vec<u16> {
    let mut statuses = Vec::new();
    for _ in 0..times {
        statuses.push(shop.send(method.clone(), LIST, headers, b"{}").await.status.as_u16());
    }
    statuses
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_thousand_at_once_over_two_hosts_exactly_a_hundred_pass() {
    let (database, redis) = (TestPostgres::shared().database(), TestRedis::start());
    let host = || {
        let builder = Shop::builder().postgres(&database).redis(redis.url());
        builder.change(|manifest| {
            manifest.runtime.hosts = 2;
            // On a busy machine Redis is slow; that hosts then decide by themselves is
            // another test's.
            manifest.runtime.rate_limit_wait = Duration::from_secs(30);
            limited(manifest, limit(100));
        })
    };
    let hosts = [Arc::new(host().start().await), Arc::new(host().start().await)];
    let asking = hosts.iter().cycle().take(1_000).map(|host| {
        let host = host.clone();
        async move { host.get(LIST).await }
    });
    let answers = at_once(asking.collect::<Vec<_>>()).join_all().await;
    let (passed, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 200);
    assert_eq!((passed.len(), refused.len()), (100, 900));
    let mut left: Vec<u64> = passed.iter().map(remaining).collect();
    left.sort_unstable();
    assert_eq!((left[0], left[99]), (0, 99));
    for answer in &refused {
        assert_eq!(answer.problem(429)["type"], "urn:wasmyard:problem:rate-limited");
    }
    // The bucket is in Redis, under a key that says whose it is.
    assert_eq!(redis.cli(&["--raw", "KEYS", "wasmyard:limit:*"]), "wasmyard:limit:users:address:127.0.0.1");
    // Other services have no limit of that.
    assert_eq!(hosts[0].get("/api/v1/products").await.status, 200);
}

fn remaining(answer: &Answer) -> u64 {
    answer.header("x-ratelimit-remaining").and_then(|left| left.parse().ok()).expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_told_where_it_stands_by_stored_answers_too() {
    let shop = Shop::builder().change(|manifest| limited(manifest, limit(4))).start().await;
    // Five in all: from the guest, from what is stored, a 304, a 404, and one too many.
    let policy = Some("\"users\";q=4;w=3600");
    let first = shop.get(LIST).await;
    let tag = first.header("etag").expect("a tag").to_owned();
    let unchanged = shop.send(Method::GET, LIST, &[("if-none-match", &tag)], b"").await;
    let others = [shop.get(LIST).await, shop.get("/api/v1/users/9999").await];
    assert_eq!((first.status.as_u16(), unchanged.status.as_u16()), (200, 304));
    assert_eq!((others[0].status.as_u16(), others[1].status.as_u16()), (200, 404));
    for (left, answer) in (0..4).rev().zip([&first, &unchanged, &others[0], &others[1]]) {
        assert_eq!(remaining(answer), left, "{answer:?}");
        assert_eq!(answer.header("ratelimit-policy"), policy);
        assert_eq!(answer.header("x-ratelimit-limit"), Some("4"));
        let state = answer.header("ratelimit").expect("a state");
        assert!(state.starts_with(&format!("\"users\";r={left};t=")), "{state}");
        assert!(
            answer.header("x-ratelimit-reset").is_some_and(|reset| state.ends_with(&format!(";t={reset}")))
        );
        assert_eq!(answer.header("retry-after"), None);
    }

    let refused = shop.get(LIST).await;
    let problem = refused.problem(429);
    assert_eq!(problem["violated-policies"], serde_json::json!(["users"]));
    let wait: u64 = refused.header("retry-after").and_then(|wait| wait.parse().ok()).expect("seconds");
    assert!((1..=900).contains(&wait), "{wait}");
    assert_eq!(refused.header("ratelimit"), Some(&*format!("\"users\";r=0;t={wait}")));
    assert_eq!(refused.header("cache-control"), Some("no-store"));

    // OPTIONS, the health of all, and the service's own health are not refused.
    assert_eq!(shop.send(Method::OPTIONS, LIST, &[], b"").await.status, 204);
    assert_eq!(shop.get("/api/health").await.status, 200);
    let health = format!("http://{}/health", shop.direct("users"));
    assert_eq!(reqwest::get(health).await.expect("an answer").status(), 200);
    let scrape = shop.operator().get("/metrics").await;
    let refusals =
        "wasmyard_rate_limit_decisions_total{service=\"users\",by=\"memory\",result=\"refused\"} 1";
    assert!(scrape.text().contains(refusals), "{}", scrape.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_and_a_method_may_have_a_limit_of_their_own() {
    let builder = Shop::builder().change(|manifest| {
        limited(manifest, limit(3));
        let users = manifest.services.get_mut("users").expect("the service");
        let route = users.routes.iter_mut().find(|route| route.path == LIST).expect("the route");
        route.rate_limit = Some(RateLimit { strict: true, methods: vec!["POST".to_owned()], ..limit(2) });
    });
    let shop = builder.start().await;
    let json = [("content-type", "application/json")];
    assert_eq!(statuses(&shop, Method::POST, 3, &json).await, [422, 422, 429]);
    assert_eq!(statuses(&shop, Method::GET, 4, &[]).await, [200, 200, 200, 429]);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_a_request_comes_from_is_a_trusted_proxys_word_and_nobody_elses() {
    let shop = Shop::builder().change(|manifest| limited(manifest, limit(2))).start().await;
    // Each request claims to be another client's.
    for (claimed, status) in [("198.51.100.1", 200), ("198.51.100.2", 200), ("198.51.100.3", 429)] {
        let forwarded = format!("for={claimed}");
        let claims = [("x-forwarded-for", claimed), ("forwarded", &forwarded), ("x-real-ip", claimed)];
        assert_eq!(shop.send(Method::GET, LIST, &claims, b"").await.status, status, "{claimed}");
    }

    let behind = Shop::builder().change(|manifest| {
        limited(manifest, limit(2));
        behind_a_proxy(manifest);
    });
    let shop = behind.start().await;
    for (said, status) in [
        ("198.51.100.1", 200),
        ("203.0.113.5, 198.51.100.1", 200),
        ("203.0.113.6, 198.51.100.1, 127.0.0.9", 429),
        ("198.51.100.2", 200),
        ("2001:db8:1:2::1", 200),
        ("2001:db8:1:2::2", 200),
        ("2001:db8:1:2::3", 429),
        ("2001:db8:1:3::3", 200),
    ] {
        let claims = [("x-forwarded-for", said), ("forwarded", "for=192.0.2.200")];
        assert_eq!(shop.send(Method::GET, LIST, &claims, b"").await.status, status, "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_has_one_bucket_at_all_addresses_and_neighbours_have_their_own() {
    let builder = Shop::builder().tokens_required().change(|manifest| {
        behind_a_proxy(manifest);
        service_limited(manifest, "orders", limit(3));
        service_limited(manifest, "products", limit(2));
    });
    let shop = builder.start().await;
    let token = |session: &Session| format!("Bearer {}", session.access);
    let (alice, bob) = (token(&shop.login("alice").await), token(&shop.login("bob").await));
    let ask = async |method: Method, path: &str, token: &str, from: &str| {
        let headers = [("x-forwarded-for", from), ("authorization", token)];
        let headers = if token.is_empty() { &headers[..1] } else { &headers[..] };
        shop.send(method, path, headers, b"").await.status.as_u16()
    };
    for (who, from, status) in [
        (&*alice, "198.51.100.1", 200),
        (&alice, "198.51.100.2", 200),
        (&alice, "2001:db8:1:2::1", 200),
        (&alice, "198.51.100.3", 429),
        (&bob, "198.51.100.1", 200),
        // Who is nobody, or only says to be somebody, has what their address has.
        ("Bearer guess", "198.51.100.1", 401),
        ("", "198.51.100.1", 401),
        ("Bearer another", "198.51.100.1", 401),
        ("Bearer the.third.one", "198.51.100.1", 429),
        ("", "198.51.100.1", 429),
        ("", "198.51.100.2", 401),
        (&bob, "198.51.100.1", 200),
    ] {
        assert_eq!(ask(Method::GET, "/api/v1/orders", who, from).await, status, "{who} from {from}");
    }
    // A caller who is known and lacks the role pays for it, and not who shares the address.
    let products = "/api/v1/products";
    for status in [403, 403, 429] {
        assert_eq!(ask(Method::POST, products, &alice, "198.51.100.1").await, status);
    }
    for status in [200, 200, 429] {
        assert_eq!(ask(Method::GET, products, "", "198.51.100.1").await, status);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_each_host_lets_its_share_pass_and_says_so() {
    let (database, redis) = (TestPostgres::shared().database(), TestRedis::start());
    let builder = Shop::builder().postgres(&database).redis(redis.url()).change(|manifest| {
        manifest.runtime.hosts = 2;
        limited(manifest, limit(10));
        let users = manifest.services.get_mut("users").expect("the service");
        let route = users.routes.iter_mut().find(|route| route.path == LIST).expect("the route");
        route.rate_limit = Some(RateLimit { strict: true, methods: vec!["POST".to_owned()], ..limit(6) });
    });
    let shop = builder.start().await;
    redis.kill();
    let passed = |statuses: Vec<u16>| statuses.into_iter().filter(|status| *status != 429).count();
    assert_eq!(passed(statuses(&shop, Method::GET, 20, &[]).await), 5);
    assert_eq!(passed(statuses(&shop, Method::POST, 20, &[]).await), 3);
    let scrape = shop.operator().get("/metrics").await;
    let alone = "wasmyard_rate_limit_decisions_total{service=\"users\",by=\"host\",result=\"passed\"} 8";
    assert!(scrape.text().contains(alone), "{}", scrape.text());

    redis.resume();
    until("the bucket in Redis knows of them", async || {
        shop.get(LIST).await;
        !redis.cli(&["KEYS", "wasmyard:limit:users:address:*"]).is_empty()
    })
    .await;
    let more = passed(statuses(&shop, Method::GET, 20, &[]).await);
    assert!(more <= 5, "{more} more passed");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shops_own_limits_leave_a_thousand_requests_of_ten_clients_untouched() {
    let shop = Arc::new(Shop::start().await);
    assert!(shop.manifest.services.values().all(|service| service.rate_limit.is_some()));
    for path in ["/api/v1/users", "/api/v1/products/1", "/api/v1/orders/1"] {
        let asking = (0..10).map(|_| {
            let shop = shop.clone();
            async move {
                let client = shop.http1();
                let mut passed = 0;
                for _ in 0..100 {
                    passed += u32::from(Answer::to(client.get(shop.url(path))).await.status == 200);
                }
                passed
            }
        });
        let passed = at_once(asking.collect::<Vec<_>>()).join_all().await;
        assert_eq!(passed, [100; 10], "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_guesses_passwords_is_stopped_and_the_shop_is_not() {
    let env = |name: &str| (name == "CARGO_TARGET_DIR").then(|| "target".to_owned());
    let own = Manifest::load(&repository().join("wasmyard.toml"), &env);
    let login = own.as_ref().map(login_limit).expect("the shop's own manifest");
    assert!(login.strict && login.per == Duration::from_secs(60) && login.requests <= 60, "{login:?}");

    let burst = usize::try_from(login.burst).expect("a number");
    let builder = Shop::builder().change(move |manifest| {
        manifest.runtime.rate_limit_wait = Duration::from_secs(60);
        let routes = &mut manifest.services.get_mut("users").expect("the service").routes;
        let route = routes.iter_mut().find(|route| route.path == LOGIN).expect("the route");
        route.rate_limit = Some(RateLimit { per: HOUR, ..login });
    });
    let shop = builder.start().await;
    for guess in 0..burst {
        assert_eq!(shop.try_login("alice", &format!("guess-{guess}-at-it")).await.status, 401);
    }
    // Not even the right one.
    let refused = shop.try_login("alice", "alice-password").await;
    assert_eq!(refused.problem(429)["type"], "urn:wasmyard:problem:rate-limited");
    assert!(refused.header("retry-after").is_some(), "{refused:?}");
    assert_eq!(shop.get(LIST).await.status, 200);
}

const LOGIN: &str = "/api/v1/auth/login";

fn login_limit(manifest: &Manifest) -> RateLimit {
    let mut routes = manifest.services["users"].routes.iter();
    let route = routes.find(|route| route.path == LOGIN).expect("the route");
    route.rate_limit.clone().expect("a limit")
}
