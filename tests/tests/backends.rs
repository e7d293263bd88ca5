//! Backends that go away and come back: Redis is missed, Postgres is needed.

use std::time::Duration;

use serde_json::{Value, json};
use wasmyard::testing::servers::{TestPostgres, TestRedis};
use wasmyard_tests::component::rebuilt;
use wasmyard_tests::{Answer, Proxy, Shop, components, eventually};

/// In which way a backend goes away.
#[derive(Debug, Clone, Copy)]
enum Outage {
    /// Its connections are reset, new ones too.
    Cut,
    /// Its connections stay, and nothing comes over them.
    Stalled,
    /// The server itself is gone.
    Killed,
}

/// `/api/health`, whose status must be this.
async fn health(shop: &Shop, status: u16) -> Value {
    let answer = shop.get("/api/health").await;
    assert_eq!(answer.status, status, "{}", answer.text());
    answer.json()
}

async fn healthy_again(shop: &Shop) {
    eventually("everything is well again", async || {
        let answer = shop.get("/api/health").await;
        (answer.status == 200 && answer.json()["status"] == "ok").then_some(())
    })
    .await;
}

fn cache_status(answer: &Answer) -> &str {
    answer.header("cache-status").unwrap_or_else(|| panic!("no Cache-Status in {answer:?}"))
}

fn usernames(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let users = answer.json();
    let names =
        users.as_array().expect("a list").iter().map(|user| user["username"].as_str().expect("a name"));
    names.map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_the_shop_serves_from_postgres_and_no_stale_value_comes_back() {
    for outage in [Outage::Cut, Outage::Stalled, Outage::Killed] {
        let redis = TestRedis::start();
        let proxy = Proxy::start(redis.port()).await;
        let shop = Shop::builder().redis(format!("redis://127.0.0.1:{}", proxy.port())).start().await;
        assert_eq!(health(&shop, 200).await["status"], "ok");
        for path in ["/api/v1/users", "/api/v1/products/2"] {
            shop.get(path).await;
            let answer = shop.get(path).await;
            assert!(cache_status(&answer).contains("; hit"), "{outage:?} {path}: {answer:?}");
        }
        match outage {
            Outage::Cut => proxy.cut(),
            Outage::Stalled => proxy.stall(),
            Outage::Killed => redis.kill(),
        }

        for path in ["/api/v1/users", "/api/v1/users/1", "/api/v1/products", "/api/v1/orders"] {
            // What the host has in its memory is believed until Redis has not been heard for
            // a second.
            eventually("the cache is passed by", async || {
                let answer = shop.get(path).await;
                assert_eq!(answer.status, 200, "{outage:?} {path}: {}", answer.text());
                cache_status(&answer).contains("fwd=bypass").then_some(())
            })
            .await;
        }
        let whole = health(&shop, 200).await;
        assert_eq!(whole["status"], "degraded", "{outage:?}: {whole}");
        for service in ["users", "products", "orders"] {
            let part = &whole["services"][service];
            assert_eq!(
                (&part["status"], &part["redis"]["status"]),
                (&json!("degraded"), &json!("down")),
                "{whole}"
            );
            assert_eq!(part["database"]["status"], "up", "{whole}");
            let own = shop.get(&format!("/api/v1/{service}/health")).await;
            assert_eq!((own.status.as_u16(), &own.json()["status"]), (200, &json!("degraded")), "{outage:?}");
        }

        // Redis still holds what was true before these.
        let eve = json!({ "username": "eve", "email": "eve@example.com" });
        assert_eq!(shop.post("/api/v1/users", &eve).await.status, 201, "{outage:?}");
        let stock = shop.patch("/api/v1/products/2/stock", &json!({ "stock": 7 })).await;
        assert_eq!(stock.status, 200, "{outage:?}: {}", stock.text());
        assert_eq!(usernames(&shop.get("/api/v1/users").await).len(), 5);

        match outage {
            Outage::Cut | Outage::Stalled => proxy.mend(),
            Outage::Killed => redis.resume(),
        }
        // From the first moment on nothing stale is read, by way of the cache or not.
        eventually("the cache is used again", async || {
            let users = shop.get("/api/v1/users").await;
            assert_eq!(usernames(&users).last().map(String::as_str), Some("eve"), "{outage:?}: {users:?}");
            let product = shop.get("/api/v1/products/2").await;
            assert_eq!(product.json()["stock"], 7, "{outage:?}: {product:?}");
            (cache_status(&users).contains("; hit") && cache_status(&product).contains("; hit")).then_some(())
        })
        .await;
        healthy_again(&shop).await;
        shop.stop().await;
    }
}

/// What every service has in its cache.
const CACHED: [&str; 4] = ["/api/v1/users", "/api/v1/users/1", "/api/v1/products", "/api/v1/orders"];

/// A shop whose Postgres can be taken away.
struct Fragile {
    shop: Shop,
    proxy: Proxy,
    postgres: TestPostgres,
}

impl Fragile {
    async fn start() -> Self {
        let postgres = TestPostgres::start();
        let proxy = Proxy::start(postgres.port()).await;
        let url = postgres.database();
        let through = url.replace(&format!(":{}/", postgres.port()), &format!(":{}/", proxy.port()));
        let short = |manifest: &mut wasmyard::manifest::Manifest| {
            for service in manifest.services.values_mut() {
                service.limits.request_timeout = Duration::from_secs(3);
            }
        };
        let shop = Shop::builder().postgres(through).change(short).start().await;
        Self { shop, proxy, postgres }
    }

    fn sql(&self, sql: &str) -> String {
        self.postgres.psql("test_0", sql)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_postgres_the_shop_says_so_at_once_and_recovers_by_itself() {
    let Fragile { shop, proxy, postgres } = Fragile::start().await;
    let operator = shop.operator();
    let mut mark = 0;
    for (outage, name) in [(Outage::Cut, "eve"), (Outage::Stalled, "frank"), (Outage::Killed, "grace")] {
        // Cached, and with it a connection of each service is open.
        for path in CACHED {
            assert_eq!(shop.get(path).await.status, 200);
        }
        let before = shop.get("/api/v1/products/1").await.version().to_owned();
        mark += 1;
        operator.deployed("products", rebuilt(components::PRODUCTS, mark)).await;
        match outage {
            Outage::Cut => proxy.cut(),
            Outage::Stalled => proxy.stall(),
            Outage::Killed => postgres.kill(),
        }
        // The first may wait until its deadline, to find out.
        let found_out = eventually("the outage is noticed", async || {
            let answer = shop.get("/api/v1/users/2").await;
            assert!([503, 504].contains(&answer.status.as_u16()), "{outage:?}: {answer:?}");
            answer.problem(answer.status.as_u16());
            (answer.status == 503).then_some(answer)
        })
        .await;
        assert_eq!(found_out.header("retry-after"), Some("1"), "{outage:?}");

        // The rest are told without asking: hardly a connection is tried for them.
        let tried = proxy.accepted();
        for _ in 0..40 {
            let answer = shop.get("/api/v1/users/2").await;
            answer.problem(503);
            assert_eq!(answer.header("retry-after"), Some("1"));
        }
        let tried = proxy.accepted() - tried;
        assert!(tried <= 10, "{outage:?}: {tried} connections were tried for 40 requests");

        // What is cached is still served; a write is refused.
        for path in CACHED {
            let answer = shop.get(path).await;
            assert_eq!(answer.status, 200, "{outage:?} {path}: {}", answer.text());
            assert!(cache_status(&answer).contains("; hit"), "{outage:?} {path}: {answer:?}");
        }
        let user = json!({ "username": name, "email": format!("{name}@example.com") });
        shop.post("/api/v1/users", &user).await.problem(503);
        assert_eq!(health(&shop, 503).await["status"], "down", "{outage:?}");
        assert_eq!(operator.get("/livez").await.status, 200, "a restart would not help");

        // A new component cannot prove itself now; one that has served before need not.
        let refused = operator.deploy("products", rebuilt(components::PRODUCTS, 100 + mark)).await;
        assert_eq!(refused.problem(422)["step"], "health", "{outage:?}");
        assert_eq!(operator.rollback("products").await.status, 200, "{outage:?}");
        assert_eq!(shop.get("/api/v1/products/1").await.version(), before, "{outage:?}");

        match outage {
            Outage::Cut | Outage::Stalled => proxy.mend(),
            Outage::Killed => postgres.resume(),
        }
        healthy_again(&shop).await;
        let written = shop.post("/api/v1/users", &user).await;
        assert_eq!(written.status, 201, "{outage:?}: {}", written.text());
        assert!(usernames(&shop.get("/api/v1/users").await).contains(&name.to_owned()), "{outage:?}");
    }
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_reset_in_the_middle_of_a_write_leaves_no_half_order() {
    let fragile = Fragile::start().await;
    let order = |quantity: i32| json!({ "user_id": 1, "product_id": 2, "quantity": quantity });
    fragile.sql("UPDATE products SET stock = 100000 WHERE id = 2");
    // Orders' own statement is prepared now, so that the next one is executed at once.
    assert_eq!(fragile.shop.post("/api/v1/orders", &order(1)).await.status, 201);

    // The order as it is kept for whoever repeats the request. It is in no message but the
    // one that writes the order.
    let on_the_wire = |quantity: i32| format!(r#""quantity":{quantity},"#).into_bytes();
    for (quantity, delivered) in [(9_973, false), (9_967, true)] {
        match delivered {
            true => fragile.proxy.reset_after(&on_the_wire(quantity)),
            false => fragile.proxy.reset_before(&on_the_wire(quantity)),
        }
        let answer = fragile.shop.post("/api/v1/orders", &order(quantity)).await;
        assert!(fragile.proxy.was_sprung(), "the order's connection was reset: {answer:?}");
        answer.problem(503);

        // All of it or nothing; and never twice.
        let expected =
            if delivered { format!("{quantity}|{}.00|pending", 999 * quantity) } else { String::new() };
        let found = fragile
            .sql(&format!("SELECT quantity, total_price, status FROM orders WHERE quantity = {quantity}"));
        assert_eq!(found, expected, "delivered: {delivered}");
        eventually("no transaction is open", async || {
            let open =
                "SELECT count(*) FROM pg_stat_activity WHERE usename = 'orders_service' AND state <> 'idle'";
            (fragile.sql(open) == "0").then_some(())
        })
        .await;

        // Whether it was written or not, the list says what the database says.
        let listed = fragile.shop.get("/api/v1/orders").await.json().as_array().expect("a list").len();
        assert_eq!(fragile.sql("SELECT count(*) FROM orders"), listed.to_string());
        assert_eq!(fragile.shop.post("/api/v1/orders", &order(2)).await.status, 201, "the next one is taken");
    }
    fragile.shop.stop().await;
}
