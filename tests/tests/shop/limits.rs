//! Bounds: at each one a request passes, beyond it the answer is an error at once.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::Method;
use serde_json::json;
use wasmyard::manifest::Isolation;
use wasmyard_tests::{Answer, Shop, Turnstile, Wire, until};

const MIB: usize = 1024 * 1024;

#[tokio::test]
async fn a_head_over_its_bounds_is_refused() {
    let shop = Shop::start().await;
    for client in [shop.client().clone(), shop.http1()] {
        let list = || client.get(shop.url("/api/v1/users"));

        // `GET SP target SP HTTP/1.1` and the line's end are 16 bytes beside the target.
        let query = |bytes: usize| shop.url(&format!("/api/v1/users?x={}", "y".repeat(bytes)));
        assert_eq!(Answer::to(client.get(query(16_300))).await.status, 200);
        let long = Answer::to(client.get(query(16_384))).await;
        assert_eq!(
            long.problem(414)["type"],
            "urn:wasmyard:problem:request-line-too-long",
            "{:?}",
            long.http
        );

        // Bytes: a little under 32 KiB, and a little over.
        let filled = |count: usize| {
            (0..count).fold(list(), |request, n| request.header(format!("x-{n}"), "v".repeat(3_000)))
        };
        assert_eq!(Answer::to(filled(10)).await.status, 200);
        assert_eq!(Answer::to(filled(11)).await.status, 431);

        // Fields: the client adds a few of its own.
        let counted =
            |count: usize| (0..count).fold(list(), |request, n| request.header(format!("x-{n}"), "v"));
        assert_eq!(Answer::to(counted(95)).await.status, 200);
        let many = Answer::to(counted(101)).await;
        assert_eq!(many.problem(431)["type"], "urn:wasmyard:problem:headers-too-large", "{:?}", many.http);
    }
    // Whatever was refused, the others are served.
    assert_eq!(shop.get("/api/v1/users").await.status, 200);
}

#[tokio::test]
async fn a_body_may_be_as_large_as_its_bound_and_no_larger() {
    let shop = Shop::start().await;
    let padded = |name: &str, bytes: usize| {
        let user = json!({ "username": name, "email": format!("{name}@example.com") }).to_string();
        format!("{user}{}", " ".repeat(bytes - user.len()))
    };
    for (name, client) in [("two", shop.client().clone()), ("one", shop.http1())] {
        let post = |body: reqwest::Body| {
            client.post(shop.url("/api/v1/users")).header("content-type", "application/json").body(body)
        };
        let exact = Answer::to(post(padded(name, MIB).into())).await;
        assert_eq!(exact.status, 201, "{exact:?}");
        let larger = Answer::to(post(padded("larger", MIB + 1).into())).await;
        assert_eq!(larger.problem(413)["type"], "urn:wasmyard:problem:body-too-large");
    }

    // Without a length the bytes are counted as they come.
    let chunked = "POST /api/v1/users HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (name, bytes, status) in [("chunks", MIB, 201), ("larger", MIB + 1, 413)] {
        let mut wire = Wire::open(&shop).await;
        let mut message = chunked.as_bytes().to_vec();
        for piece in padded(name, bytes).as_bytes().chunks(100_000) {
            message.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
            message.extend_from_slice(piece);
            message.extend_from_slice(b"\r\n");
        }
        message.extend_from_slice(b"0\r\n\r\n");
        wire.write(&message).await;
        assert_eq!(wire.answer().await.status, status, "{name}");
    }

    // A client that asks first is told before it has sent a byte.
    let mut wire = Wire::open(&shop).await;
    let asks = format!(
        "POST /api/v1/users HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\r\n",
        MIB + 1
    );
    wire.write(asks.as_bytes()).await;
    assert_eq!(wire.answer().await.status, 413);
    assert_eq!(
        shop.sql("SELECT string_agg(username, ' ' ORDER BY id) FROM users WHERE id > 4").await,
        "two one chunks"
    );
}

#[tokio::test]
async fn a_body_that_does_not_arrive_is_not_waited_for() {
    let builder =
        Shop::builder().change(|manifest| manifest.server.limits.body_timeout = Duration::from_millis(200));
    let shop = builder.start().await;
    let mut wire = Wire::open(&shop).await;
    wire.write(b"POST /api/v1/users HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 60\r\n\r\n{").await;
    let answer = wire.answer().await;
    assert_eq!(answer.problem(408)["type"], "urn:wasmyard:problem:request-timeout");
    assert_eq!(
        shop.post("/api/v1/users", &json!({ "username": "a", "email": "a@example.com" })).await.status,
        201
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_saturated_service_says_so_at_once_and_the_others_serve() {
    let builder = Shop::builder().change(|manifest| {
        let users = manifest.services.get_mut("users").expect("the service");
        users.limits.concurrency_max = 2;
        users.limits.request_timeout = Duration::from_secs(120);
        users.grants.postgres.as_mut().expect("a grant").statement_timeout = Duration::from_secs(100);
    });
    let shop = Arc::new(builder.start().await);
    let turnstile = Turnstile::before(&shop, "users").await;
    turnstile.close().await;
    let waiting: Vec<_> = [1, 2]
        .map(|id| {
            let shop = shop.clone();
            tokio::spawn(async move { shop.get(&format!("/api/v1/users/{id}")).await })
        })
        .into();
    turnstile.until_count(2).await;

    for (method, path) in
        [(Method::GET, "/api/v1/users/3"), (Method::GET, "/api/v1/users"), (Method::POST, "/api/v1/users")]
    {
        let answer = shop.send(method, path, &[], b"").await;
        assert_eq!(answer.problem(503)["type"], "urn:wasmyard:problem:saturated", "{path}");
        assert_eq!(answer.header("retry-after"), Some("1"));
    }
    assert_eq!(shop.get("/api/v1/products").await.status, 200);
    assert_eq!(shop.get("/api/v1/orders").await.status, 200);
    // What needs the saturated one passes its answer on.
    let order = shop.post("/api/v1/orders", &json!({ "user_id": 1, "product_id": 2, "quantity": 2 })).await;
    order.problem(503);
    assert_eq!(order.header("retry-after"), Some("1"));

    turnstile.open().await;
    for answer in waiting {
        assert_eq!(answer.await.expect("it is answered").status, 200);
    }
    until("there is room again", async || shop.get("/api/v1/users/3").await.status == 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_takes_too_long_is_ended_and_what_it_waited_for_is_not_kept() {
    let builder = Shop::builder().change(|manifest| {
        manifest.services.get_mut("users").expect("the service").limits.request_timeout =
            Duration::from_millis(500);
    });
    let shop = builder.start().await;
    let turnstile = Turnstile::before(&shop, "users").await;
    turnstile.close().await;
    // More than there are connections: none of them is lost to a request that has ended.
    for n in 0..12 {
        let answer = shop.get(&format!("/api/v1/users/{}", n % 4 + 1)).await;
        assert_eq!(answer.problem(504)["type"], "urn:wasmyard:problem:timeout");
    }
    turnstile.open().await;
    until("the service answers again", async || shop.get("/api/v1/users/1").await.status == 200).await;
}

#[tokio::test]
async fn a_fresh_instance_for_each_request_serves_the_same() {
    let builder = Shop::builder().change(|manifest| {
        for service in manifest.services.values_mut() {
            service.isolation = Isolation::Request;
        }
    });
    let shop = builder.start().await;
    for round in 1..=5 {
        for path in ["/api/v1/users", "/api/v1/products/2", "/api/v1/orders/1", "/api/v1/users/stats"] {
            assert_eq!(shop.get(path).await.status, 200, "{path} in round {round}");
        }
        let order = json!({ "user_id": 1, "product_id": 2, "quantity": 2, "total_price": 1998.00 });
        assert_eq!(shop.post("/api/v1/orders", &order).await.status, 201);
        shop.post("/api/v1/users", &json!({})).await.problem(422);
        for service in shop.host.platform().services().values() {
            let name = service.name();
            assert_eq!(service.instances().warm.load(Ordering::Relaxed), 0, "{name} in round {round}");
        }
    }
}
