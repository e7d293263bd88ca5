//! What every answer has, whichever service gives it, in HTTP/1.1 and in HTTP/2.

use std::collections::HashSet;

use http::{Method, Version};
use serde_json::json;
use wasmyard_tests::{Answer, Shop, Wire};

const SERVICES: [&str; 3] = ["users", "products", "orders"];

#[tokio::test]
async fn an_answer_says_who_gave_it_and_whether_it_was_cached() {
    let shop = Shop::start().await;
    let clients = [(shop.client().clone(), Version::HTTP_2), (shop.http1(), Version::HTTP_11)];
    let mut ids = HashSet::new();
    for service in SERVICES {
        shop.redis_cli(&["FLUSHALL"]);
        let active = shop.host.platform().services()[service].version();
        for path in [format!("/api/v1/{service}"), format!("/api/v1/{service}/1")] {
            for round in ["miss", "hit"] {
                for (client, version) in &clients {
                    // An id of the client's own is for its own log.
                    let request = client.get(shop.url(&path)).header("x-request-id", "mine");
                    let answer = Answer::to(request).await;
                    assert_eq!((answer.status.as_u16(), answer.http), (200, *version), "{answer:?}");
                    assert_eq!(answer.header("wasmyard-version"), Some(&*format!("{service}@{active}")));
                    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
                    let id = answer.header("x-request-id").expect("a request id").to_owned();
                    assert!(id != "mine" && ids.insert(id), "{answer:?}");
                    let cached = answer.header("cache-status").expect("Cache-Status").to_owned();
                    match (round, *version) {
                        ("miss", Version::HTTP_2) => assert_eq!(cached, "wasmyard; fwd=miss; stored"),
                        _ => assert!(cached.starts_with("wasmyard; hit; ttl="), "{cached}"),
                    }
                }
            }
            // Past the cache, because the client wants it so.
            let fresh = shop.send(Method::GET, &path, &[("cache-control", "no-cache")], b"").await;
            assert_eq!(fresh.header("cache-status"), Some("wasmyard; fwd=request"));
        }
    }
}

#[tokio::test]
async fn a_client_that_has_the_answer_already_is_told_so() {
    let shop = Shop::start().await;
    for (client, version) in [(shop.client().clone(), Version::HTTP_2), (shop.http1(), Version::HTTP_11)] {
        for service in SERVICES {
            for path in [format!("/api/v1/{service}"), format!("/api/v1/{service}/1")] {
                let url = shop.url(&path);
                let full = Answer::to(client.get(&url)).await;
                let tag = full.header("etag").expect("an ETag").to_owned();
                assert!(tag.starts_with('"') && tag.ends_with('"') && tag.len() > 10, "{tag}");
                // Of a miss and of a hit, and of another protocol, the same.
                assert_eq!(Answer::to(client.get(&url)).await.header("etag"), Some(&*tag));

                for condition in
                    [tag.clone(), format!("W/{tag}"), format!("\"other\", {tag}"), "*".to_owned()]
                {
                    for method in [Method::GET, Method::HEAD] {
                        let request = client.request(method, &url).header("if-none-match", &condition);
                        let answer = Answer::to(request).await;
                        assert_eq!((answer.status.as_u16(), answer.http), (304, version), "{condition}");
                        assert_eq!((answer.header("etag"), &*answer.body), (Some(&*tag), &b""[..]));
                        assert!(answer.header("x-request-id").is_some());
                    }
                }
                let other = Answer::to(client.get(&url).header("if-none-match", "\"other\"")).await;
                assert_eq!((other.status.as_u16(), &other.body), (200, &full.body));
            }
        }
    }

    // After a write the old tag is worth nothing.
    let tag = shop.get("/api/v1/products/1").await.header("etag").expect("an ETag").to_owned();
    shop.patch("/api/v1/products/1/stock", &json!({ "stock": 1 })).await;
    let changed = shop.send(Method::GET, "/api/v1/products/1", &[("if-none-match", &tag)], b"").await;
    assert_eq!((changed.status.as_u16(), &changed.json()["stock"]), (200, &json!(1)));
}

#[tokio::test]
async fn head_has_the_fields_of_get_and_no_body() {
    let shop = Shop::start().await;
    for client in [shop.client().clone(), shop.http1()] {
        for service in SERVICES {
            for path in ["", "/1", "/health"].map(|rest| format!("/api/v1/{service}{rest}")) {
                let get = Answer::to(client.get(shop.url(&path))).await;
                let head = Answer::to(client.head(shop.url(&path))).await;
                assert_eq!((head.status, &*head.body), (get.status, &b""[..]), "{path}");
                assert_eq!(head.header("content-type"), get.header("content-type"));
                if path.ends_with("health") {
                    continue; // Its latencies differ.
                }
                assert_eq!(head.header("content-length"), Some(&*get.body.len().to_string()), "{path}");
                assert_eq!(head.header("etag"), get.header("etag"));
            }
        }
        let missing = Answer::to(client.head(shop.url("/api/v1/users/9999"))).await;
        assert_eq!((missing.status.as_u16(), &*missing.body), (404, &b""[..]));
    }
}

#[tokio::test]
async fn a_method_that_a_path_does_not_have_is_told_which_it_has() {
    let shop = Shop::start().await;
    for (path, allow) in [
        ("/api/v1/users", "GET, HEAD, POST, OPTIONS"),
        ("/api/v1/users/1", "GET, HEAD, OPTIONS"),
        ("/api/v1/users/stats", "GET, HEAD, OPTIONS"),
        ("/api/v1/products", "GET, HEAD, POST, OPTIONS"),
        ("/api/v1/products/1/stock", "PATCH, OPTIONS"),
        ("/api/v1/orders/1/status", "PATCH, OPTIONS"),
        ("/api/health", "GET, HEAD, OPTIONS"),
    ] {
        for client in [shop.client().clone(), shop.http1()] {
            for method in ["DELETE", "PUT", "TRACE", "BREW", "get"] {
                let method = Method::from_bytes(method.as_bytes()).expect("a token");
                let answer = Answer::to(client.request(method, shop.url(path))).await;
                assert_eq!(answer.problem(405)["type"], "urn:wasmyard:problem:method-not-allowed", "{path}");
                assert_eq!(answer.header("allow"), Some(allow), "{path}");
            }
        }
        if path != "/api/health" {
            let options = shop.send(Method::OPTIONS, path, &[], b"").await;
            assert_eq!((options.status.as_u16(), options.header("allow")), (204, Some(allow)), "{path}");
        }
    }
    shop.send(Method::GET, "/api/v1/products/1/stock", &[], b"").await.problem(405);

    let mut wire = Wire::open(&shop).await;
    wire.write(b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(wire.answer().await.status, 204);
}

#[tokio::test]
async fn a_path_that_no_route_has_is_not_found() {
    let shop = Shop::start().await;
    for path in [
        "/api",
        "/api/v1",
        "/api/v1/user",
        "/api/v1/users/",
        "/api/v1/users//",
        "/api/v1/users/1/",
        "/api/v1/users/1/2",
        "/API/v1/users",
        "/api/v1/%75sers",
        "/api/v1/users/1/status",
        "/api/v1/orders/1/stock",
        // These two are for a service's own port.
        "/health",
        "/api/v1/stats",
        // These for the operator's.
        "/metrics",
        "/livez",
        "/v1/status",
    ] {
        let problem = shop.get(path).await.problem(404);
        assert_eq!(problem["instance"], path);
    }
    // The shop's page, which stands where no route is; and nothing of its folder's beside.
    let page = shop.get("/").await;
    assert_eq!((page.status.as_u16(), page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert_eq!(shop.get("/index.htm").await.problem(404)["instance"], "/index.htm");
}

#[tokio::test]
async fn what_is_not_json_is_refused_with_its_place() {
    let shop = Shop::start().await;
    for (method, path) in [
        (Method::POST, "/api/v1/users"),
        (Method::POST, "/api/v1/products"),
        (Method::POST, "/api/v1/orders"),
        (Method::PATCH, "/api/v1/products/1/stock"),
        (Method::PATCH, "/api/v1/orders/1/status"),
    ] {
        let json = [("content-type", "application/json")];
        for (body, line, column) in [
            ("{\n  \"username\": \"ann\",\n  oops\n}", 3, 3),
            ("{\"a\": 1,}", 1, 9),
            ("{\"a\": 01}", 1, 8),
            ("{\"a\": 'x'}", 1, 7),
            ("{} {}", 1, 4),
            ("{\"a\": NaN}", 1, 7),
        ] {
            let answer = shop.send(method.clone(), path, &json, body.as_bytes()).await;
            let problem = answer.problem(400);
            assert_eq!(
                (&problem["line"], &problem["column"]),
                (&json!(line), &json!(column)),
                "{body:?}: {problem}"
            );
            assert!(problem["detail"].to_string().contains(&format!("line {line}, column {column}")));
        }
        for content_type in [
            None,
            Some("text/plain"),
            Some("application/x-www-form-urlencoded"),
            Some("application/jsonp"),
            Some(""),
        ] {
            let fields: Vec<_> = content_type.map(|value| ("content-type", value)).into_iter().collect();
            let answer = shop.send(method.clone(), path, &fields, b"{}").await;
            assert_eq!(answer.problem(415)["type"], "urn:wasmyard:problem:unsupported-media-type");
            assert_eq!(answer.header("accept"), Some("application/json"));
        }
        for content_type in ["application/json; charset=utf-8", "Application/JSON"] {
            let answer = shop.send(method.clone(), path, &[("content-type", content_type)], b"{}").await;
            assert_eq!(answer.status, 422, "{content_type}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn a_services_own_port_answers_for_it_alone() {
    let shop = Shop::start().await;
    for service in SERVICES {
        let other = SERVICES[(SERVICES.iter().position(|name| *name == service).expect("it is one") + 1) % 3];
        let base = format!("http://localhost:{}", shop.direct(service).port());
        let get = |path: String| Answer::to(shop.client().get(format!("{base}{path}")));

        let health = get("/health".into()).await;
        assert_eq!((health.status.as_u16(), &health.json()["service"]), (200, &json!(service)));
        let stats = get("/api/v1/stats".into()).await;
        assert_eq!((stats.status.as_u16(), &stats.json()["service"]), (200, &json!(service)));
        let list = get(format!("/api/v1/{service}")).await;
        assert_eq!(list.body, shop.get(&format!("/api/v1/{service}")).await.body);
        assert!(list.header("x-request-id").is_some() && list.header("wasmyard-version").is_some());
        get(format!("/api/v1/{other}")).await.problem(404);
        get("/api/health".into()).await.problem(404);
    }
}

#[tokio::test]
async fn plain_http_is_sent_on_to_https() {
    let shop = Shop::start().await;
    let http = shop.host.addresses().http.as_ref().expect("a port").as_ref().expect("it is bound").port();
    let url = format!("http://localhost:{http}/api/v1/users/1?a=b%20c");
    for method in [Method::GET, Method::POST] {
        let answer = Answer::to(shop.client().request(method, &url)).await;
        assert_eq!(answer.status, 308);
        assert_eq!(answer.header("location"), Some(&*shop.url("/api/v1/users/1?a=b%20c")));
    }
}
