//! Requests that are meant to do harm: each one is the client's error, and changes
//! nothing.

use http::Method;
use wasmyard_tests::{Shop, Wire};

/// What every table holds, to see that nothing was changed.
async fn contents(shop: &Shop) -> String {
    shop.sql("SELECT (SELECT md5(string_agg(u::text, '')) FROM users u), (SELECT md5(string_agg(p::text, '')) FROM products p),
              (SELECT md5(string_agg(o::text, '')) FROM orders o)")
        .await
}

#[tokio::test]
async fn a_hostile_body_is_the_clients_error() {
    let shop = Shop::start().await;
    let before = contents(&shop).await;
    let deep = |depth: usize| {
        [b"{\"username\":".to_vec(), b"[".repeat(depth), b"]".repeat(depth), b"}".to_vec()].concat()
    };
    let bodies: Vec<Vec<u8>> = vec![
        // Nothing, and what is no object.
        b"".to_vec(),
        b" ".to_vec(),
        b"null".to_vec(),
        b"[]".to_vec(),
        b"\"x\"".to_vec(),
        b"1".to_vec(),
        b"[{\"username\":\"a\",\"email\":\"a@example.com\"}]".to_vec(),
        // Not text.
        b"{\"username\":\"\xff\xfe\",\"email\":\"a@example.com\"}".to_vec(),
        b"\xff\xfe{\x00}\x00".to_vec(),
        b"\xef\xbb\xbf{}".to_vec(),
        b"{\"username\":\"\xc0\x80\"}".to_vec(),
        b"{\"username\":\"\xed\xa0\x80\"}".to_vec(),
        b"{\"username\":\"a\x00b\",\"name\":\"a\x00b\",\"status\":\"a\x00b\"}".to_vec(),
        vec![0; 1_000],
        // NUL and half characters, escaped.
        br#"{"username":"a\u0000b","email":"a@example.com"}"#.to_vec(),
        br#"{"name":"a\u0000b","price":1}"#.to_vec(),
        br#"{"name":"a","description":"\u0000","price":1}"#.to_vec(),
        br#"{"name":"\ud800","price":1}"#.to_vec(),
        br#"{"username":"\udfff","email":"a@example.com"}"#.to_vec(),
        br#"{"status":"shipped\u0000"}"#.to_vec(),
        // SQL and header fields where there is no place for free text.
        br#"{"username":"a'; DROP TABLE users; --","email":"a@example.com"}"#.to_vec(),
        br#"{"username":"a","email":"a@example.com'); DELETE FROM users; --"}"#.to_vec(),
        br#"{"username":"a\r\nSet-Cookie: x=y","email":"a@example.com"}"#.to_vec(),
        br#"{"username":"a","email":"a@example.com\r\nBcc: everyone@example.com"}"#.to_vec(),
        br#"{"name":"a\r\nSet-Cookie: x=y","price":1}"#.to_vec(),
        br#"{"name":"a","price":1,"category":"x\u001b[31m"}"#.to_vec(),
        br#"{"status":"shipped' OR '1'='1"}"#.to_vec(),
        br#"{"user_id":"1 OR 1=1","product_id":1,"quantity":1}"#.to_vec(),
        // Numbers beyond everything.
        format!(r#"{{"name":"a","price":{}}}"#, "9".repeat(10_000)).into_bytes(),
        format!(r#"{{"name":"a","price":0.{}1}}"#, "0".repeat(10_000)).into_bytes(),
        br#"{"name":"a","price":1e400}"#.to_vec(),
        br#"{"name":"a","price":-1e400}"#.to_vec(),
        br#"{"name":"a","price":1e-400}"#.to_vec(),
        br#"{"name":"a","price":1,"stock":9223372036854775808}"#.to_vec(),
        br#"{"stock":-9223372036854775809}"#.to_vec(),
        br#"{"stock":1e999999999999999999999999}"#.to_vec(),
        format!(r#"{{"user_id":{},"product_id":1,"quantity":1}}"#, "1".repeat(400)).into_bytes(),
        br#"{"user_id":1,"product_id":1,"quantity":2147483648}"#.to_vec(),
        br#"{"user_id":1,"product_id":1,"quantity":1,"total_price":1e308}"#.to_vec(),
        // Depth, length, and members without end.
        deep(33),
        deep(10_000),
        deep(500_000),
        b"[".repeat(1_000_000),
        b"{\"a\":".repeat(100_000),
        format!("{{{}\"z\":1}}", (0..50_000).map(|n| format!("\"f{n}\":1,")).collect::<String>())
            .into_bytes(),
        format!(r#"{{"username":"{}","email":"a@example.com"}}"#, "a".repeat(1_000_000)).into_bytes(),
        format!(r#"{{"{}":1}}"#, "k".repeat(1_000_000)).into_bytes(),
        // What would pollute a prototype elsewhere.
        br#"{"__proto__":{"admin":true},"username":"a","email":"a@example.com"}"#.to_vec(),
    ];
    for (method, path) in [
        (Method::POST, "/api/v1/users"),
        (Method::POST, "/api/v1/products"),
        (Method::POST, "/api/v1/orders"),
        (Method::PATCH, "/api/v1/products/1/stock"),
        (Method::PATCH, "/api/v1/orders/1/status"),
    ] {
        for body in &bodies {
            let shown: String = String::from_utf8_lossy(body).chars().take(80).collect();
            let answer = shop.send(method.clone(), path, &[("content-type", "application/json")], body).await;
            assert!([400, 422].contains(&answer.status.as_u16()), "{method} {path} {shown}: {answer:?}");
            answer.problem(answer.status.as_u16());
            assert!(answer.body.len() < 10_000, "{method} {path} {shown}: {} bytes", answer.body.len());
            assert_eq!(answer.header("set-cookie"), None);
        }
    }
    assert_eq!(contents(&shop).await, before);
}

#[tokio::test]
async fn free_text_is_kept_as_it_is_whatever_it_would_mean_elsewhere() {
    let shop = Shop::start().await;
    for name in [
        "Robert'); DROP TABLE products;--",
        "O'Brien & <script>alert(1)</script>",
        "$1 {id} %s \\0 ${HOME}",
        "{\"id\":9}",
    ] {
        let body = serde_json::json!({ "name": name, "description": format!("{name}\n\t{name}"), "price": 1, "category": name.chars().take(50).collect::<String>() });
        let made = shop.post("/api/v1/products", &body).await;
        assert_eq!(made.status, 201, "{name}: {made:?}");
        let read = shop.get(&format!("/api/v1/products/{}", made.json()["id"])).await.json();
        for member in ["name", "description", "category"] {
            assert_eq!(read[member], body[member]);
        }
    }
    assert_eq!(shop.sql("SELECT count(*) FROM products").await, "14");
}

#[tokio::test]
async fn a_hostile_address_is_the_clients_error() {
    let shop = Shop::start().await;
    let before = contents(&shop).await;
    for service in ["users", "products", "orders"] {
        for id in [
            "%00",
            "1%00",
            "%ff",
            "%c0%80",
            "%ed%a0%80",
            "%F0%9F%A6%80",
            "%",
            "%2",
            "%zz",
            "%0d%0aSet-Cookie:%20x=y",
            "1%0d%0a",
            "1'%20OR%20'1'='1",
            "1;%20DROP%20TABLE%20users",
            "1%20UNION%20SELECT%201",
            "..%2f..%2fetc%2fpasswd",
            "%2e%2e",
            "1e309",
            "-9223372036854775809",
            "0x1",
            "١",
            "%D9%A1",
            "NaN",
            "null",
            "undefined",
            "*",
        ] {
            // As the bytes stand here: a client would tidy them up.
            let mut wire = Wire::open(&shop).await;
            wire.write(format!("GET /api/v1/{service}/{id} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes())
                .await;
            let answer = wire.answer().await;
            assert!([400, 404].contains(&answer.status.as_u16()), "{service}/{id}: {answer:?}");
            assert_eq!(answer.header("set-cookie"), None, "{id}");
        }
        for query in [
            "limit=%00",
            "limit=%ff",
            "limit=%",
            "cursor=%0d%0aSet-Cookie:%20x",
            "cursor=%ff",
            "limit=1;DROP%20TABLE%20users",
            "limit=1'--",
            "%ff=1&limit=x",
            "limit[]=1&limit=x",
        ] {
            let mut wire = Wire::open(&shop).await;
            wire.write(
                format!("GET /api/v1/{service}?{query} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes(),
            )
            .await;
            let answer = wire.answer().await;
            assert_eq!(answer.status, 400, "{service}?{query}: {answer:?}");
            assert_eq!(answer.header("set-cookie"), None, "{query}");
        }
    }
    for query in [
        "category=%00",
        "category=%ff",
        "category=%0d%0aSet-Cookie:%20x=y",
        "category=a&category=b",
        "category=%1b[31m",
    ] {
        shop.get(&format!("/api/v1/products?{query}")).await.problem(400);
    }
    // A legal one with all that could break out of a Link's value.
    shop.sql("INSERT INTO products (name, price, category) SELECT 'p', 1, '\"><; rel=\"x\"' FROM generate_series(1, 3)").await;
    let answer = shop.get("/api/v1/products?limit=1&category=%22%3E%3C;%20rel=%22x%22").await;
    let link = answer.header("link").expect("a Link").to_owned();
    assert_eq!(
        (link.matches('>').count(), link.matches("rel=").count(), link.matches('"').count()),
        (1, 1, 2),
        "{link}"
    );
    shop.sql("DELETE FROM products WHERE id > 10").await;
    assert_eq!(contents(&shop).await, before);
}

#[tokio::test]
async fn a_head_that_two_readers_could_read_in_two_ways_is_refused() {
    let shop = Shop::start().await;
    for head in [
        &b"GET /api/v1/users\x00 HTTP/1.1\r\nHost: localhost\r\n\r\n"[..],
        b"GET /api/v1/users\xff HTTP/1.1\r\nHost: localhost\r\nBad name: 1\r\n\r\n",
        b"GET /api/v1/users HTTP/1.1\r\n\r\n",
        b"GET /api/v1/users HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET /api/v1/users HTTP/1.1\r\nHost: local\x00host\r\n\r\n",
        b"GET http://other/api/v1/users HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /api/v1/users HTTP/1.1\r\nHost: localhost\r\nX: a\x00b\r\n\r\n",
        b"GET /api/v1/users HTTP/1.1\r\nHost: localhost\r\nX : a\r\n\r\n",
        b"GET /api/v1/users HTTP/1.1\r\nHost: localhost\r\nX: a\r\n b\r\n\r\n",
        b"POST /api/v1/users HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
        b"POST /api/v1/users HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n{}",
        b"POST /api/v1/users HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999\r\n\r\n{}",
        b"POST /api/v1/users HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\n\r\n{}",
        b"POST /api/v1/users HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
        b"GET /api/v1/users HTTP/9.9\r\nHost: localhost\r\n\r\n",
        b"\x16\x03\x01 HTTP/1.1\r\n\r\n",
    ] {
        let mut wire = Wire::open(&shop).await;
        wire.write(head).await;
        let answer = wire.answer().await;
        assert!(answer.status.is_client_error(), "{}: {answer:?}", String::from_utf8_lossy(head));
    }
    // RFC 9112, section 6.1: such a message may be an attempt at smuggling. It is either
    // refused, or read by its encoding and the connection closed after the answer.
    let mut wire = Wire::open(&shop).await;
    wire.write(b"POST /api/v1/users HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 40\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /api/v1/users/1 HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    let answer = wire.answer().await;
    assert_eq!(answer.status, 400, "{answer:?}");
    assert_eq!(shop.get("/api/v1/users").await.status, 200);
}
