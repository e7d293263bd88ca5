//! Who may listen, to what, and how it is asked for.

use futures_util::StreamExt as _;
use http::Method;
use serde_json::json;
use tokio::net::TcpStream;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;
use wasmyard_tests::{Heard, SUBPROTOCOL, ServerSent, Shop, Wire, eventually, until};

use crate::{SSE, WS, brought, ordered, said};

#[tokio::test]
async fn an_order_is_told_on_both_ways_from_its_making_to_its_end() {
    let shop = Shop::start().await;
    let (mut socket, mut source) = (shop.dialer().open(WS).await, shop.event_source(SSE, &[]).await);
    let from = socket.ready().await;
    let ready = source.next().await.expect("the first event");
    assert_eq!((ready.kind.as_str(), ready.id.as_deref()), ("ready", Some(from.as_str())));

    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let body = json!({ "user_id": 1, "product_id": 10, "quantity": 1 }).to_string();
    let fields = [("content-type", "application/json"), ("traceparent", trace)];
    let made = shop.send(Method::POST, "/api/v1/orders", &fields, body.as_bytes()).await;
    let order = made.json()["id"].as_i64().expect("an id");
    for status in ["processing", "cancelled"] {
        brought(&shop, order, status).await;
    }
    let mut before = from;
    for (seq, kind, status) in [
        (1, "order.created", "pending"),
        (2, "order.status_changed", "processing"),
        (3, "order.status_changed", "cancelled"),
    ] {
        let event = socket.message().await;
        assert_eq!(said(&event), (kind, order, seq, status));
        let id = event["id"].as_str().expect("an id");
        assert_ne!(id, before);
        before = id.to_owned();
        let parent = event["traceparent"].as_str().expect("a trace");
        assert_eq!(seq == 1, parent.starts_with(&trace[..35]), "{parent}");
        let occurred_at = event["occurred_at"].as_str().expect("a time");
        assert!(occurred_at.len() == 27 && occurred_at.ends_with('Z'), "{occurred_at}");
        let names: Vec<&str> = event.as_object().expect("an object").keys().map(String::as_str).collect();
        let mut expected = ["id", "type", "order_id", "seq", "status", "occurred_at", "traceparent"];
        expected.sort_unstable();
        assert_eq!(names, expected);

        let sent = ServerSent { id: Some(before.clone()), kind: kind.to_owned(), data: event };
        assert_eq!(source.next().await, Some(sent), "the same on the other way");
    }
    // What is in the stream is not in the outbox any more.
    until("the outbox is empty", async || shop.sql("SELECT count(*) FROM outbox").await == "0").await;
}

#[tokio::test]
async fn a_customer_hears_of_their_own_orders_and_an_admin_of_all() {
    let shop = Shop::builder().tokens_required().start().await;
    let [alice, bob, diana] = [shop.login("alice").await, shop.login("bob").await, shop.login("diana").await];
    let dialer = shop.dialer();
    let bearer = format!("Bearer {}", bob.access);
    let mut of_alice = dialer.open_as(&alice, WS).await;
    let mut of_bob = shop.event_source(SSE, &[("authorization", &bearer)]).await;
    let mut of_all = dialer.open_as(&diana, WS).await;
    assert_eq!(
        of_all.opened.headers()["sec-websocket-protocol"],
        SUBPROTOCOL,
        "and the token is not repeated"
    );
    assert_eq!(of_bob.next().await.expect("ready").kind, "ready");
    for socket in [&mut of_alice, &mut of_all] {
        socket.ready().await;
    }

    let mut orders = Vec::new();
    for session in [&alice, &bob, &alice] {
        let body = json!({ "product_id": 10, "quantity": 1 });
        let made = session.send(&shop, Method::POST, "/api/v1/orders", &body).await;
        orders.push(made.json()["id"].as_i64().expect("an id"));
    }
    // An order of bob's, asked for by alice: she is told nothing, as of one that nobody made.
    let mut nosy = dialer.open_as(&alice, &format!("{WS}?order_id={}&after=0-0", orders[1])).await;
    let mut narrow = dialer.open_as(&diana, &format!("{WS}?after=0-0&order_id={}", orders[1])).await;
    for order in &orders {
        assert_eq!(of_all.message().await["order_id"], *order);
    }
    for order in [orders[0], orders[2]] {
        assert_eq!(of_alice.message().await["order_id"], order);
    }
    assert_eq!(of_bob.next().await.expect("an event").data["order_id"], orders[1]);
    nosy.ready().await;
    narrow.ready().await;
    assert_eq!(narrow.message().await["order_id"], orders[1]);
    // The next thing that each of them hears is its own.
    for (status, order) in [("processing", orders[1]), ("processing", orders[0])] {
        let path = format!("/api/v1/orders/{order}/status");
        let changed = diana.send(&shop, Method::PATCH, &path, &json!({ "status": status })).await;
        assert_eq!(changed.status, 200, "{changed:?}");
    }
    assert_eq!(of_alice.message().await["order_id"], orders[0]);
    assert_eq!(narrow.message().await["order_id"], orders[1]);
    assert_eq!(of_bob.next().await.expect("an event").data["order_id"], orders[1]);
}

#[tokio::test]
async fn what_is_asked_wrongly_is_refused_by_name() {
    let shop = Shop::start().await;
    let dialer = shop.dialer();
    for (query, named) in [
        ("after=now", "after"),
        ("after=1-1&after=1-1", "after"),
        ("order_id=x", "order_id"),
        ("order_id=0", "order_id"),
        ("order_id=-1", "order_id"),
        ("order_id=", "order_id"),
        ("user_id=1", "user_id"),
        ("order_id=%FF", "order_id=%FF"),
    ] {
        let refused = shop.get(&format!("{SSE}?{query}")).await.problem(400);
        assert_eq!(refused["errors"][0]["parameter"], named, "{query}: {refused}");
        let refused = dialer.try_open(&format!("{WS}?{query}"), &[]).await.err().expect(query);
        assert_eq!(refused.status(), 400, "{query}");
    }
    let refused = shop.send(Method::GET, SSE, &[("last-event-id", "7")], b"").await.problem(400);
    assert_eq!(refused["errors"][0]["header"], "last-event-id");

    assert_eq!(shop.get(WS).await.status, 426);
    assert_eq!(
        shop.http1().get(shop.url(WS)).send().await.expect("an answer").headers()["upgrade"],
        "websocket"
    );
    for (field, value, status) in [
        ("sec-websocket-version", "8", 426),
        ("upgrade", "h2c", 426),
        ("sec-websocket-key", "c2hvcnQ=", 400),
        ("sec-websocket-protocol", "bearer.x", 401),
        ("authorization", "Bearer x", 401),
        ("authorization", "Basic eDp5", 401),
        ("origin", "https://evil.example", 403),
        ("origin", "null", 403),
    ] {
        let refused = dialer.try_open(WS, &[(field, value)]).await.err().expect(value);
        assert_eq!(refused.status(), status, "{field}: {value}");
    }
    let refused = shop.send(Method::GET, SSE, &[("origin", "https://evil.example")], b"").await;
    assert_eq!(refused.problem(403)["type"], "urn:wasmyard:problem:forbidden");
    let own = format!("https://localhost:{}", shop.https().port());
    dialer.try_open(WS, &[("origin", &own)]).await.expect("a page of this host");
    assert_eq!(shop.send(Method::POST, SSE, &[], b"").await.status, 405);
    assert_eq!(
        shop.send(Method::HEAD, SSE, &[], b"").await.header("content-type"),
        Some("text/event-stream")
    );
}

#[tokio::test]
async fn without_a_token_nobody_listens_where_one_is_required() {
    let shop = Shop::builder().tokens_required().start().await;
    assert_eq!(shop.get(SSE).await.problem(401)["type"], "urn:wasmyard:problem:token-required");
    let refused = shop.dialer().try_open(WS, &[]).await.err().expect("refused");
    assert_eq!(refused.status(), 401);
    // A token in the address is none.
    let alice = shop.login("alice").await;
    assert_eq!(shop.get(&format!("{SSE}?access_token={}", alice.access)).await.status, 401);
}

#[tokio::test]
async fn a_socket_and_its_first_bytes_may_come_in_one_piece() {
    let shop = Shop::start().await;
    let mut wire = Wire::open(&shop).await;
    // The last four bytes are a ping, masked as a client's frames are.
    let opening = format!(
        "GET {WS} HTTP/1.1\r\nhost: localhost\r\nconnection: keep-alive, Upgrade\r\nupgrade: WebSocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    wire.write(&[opening.as_bytes(), &[0x89, 0x80, 1, 2, 3, 4]].concat()).await;
    let opened = wire.answer().await;
    assert_eq!(opened.status, 101);
    // The example of RFC 6455, section 1.3.
    assert_eq!(opened.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    let before = wire.until(&[0x8a, 0x00]).await;
    if !before.windows(7).any(|text| text == b"\"ready\"") {
        wire.until(b"\"ready\"").await;
    }
}

#[tokio::test]
async fn there_are_no_more_subscribers_than_there_may_be() {
    let limited = Shop::builder().change(|manifest| {
        let events = manifest.services.get_mut("orders").and_then(|orders| orders.events.as_mut());
        let events = events.expect("orders have events");
        (events.subscribers_max, events.subscribers_per_client_max) = (3, 2);
    });
    let shop = limited.start().await;
    let [alice, bob] = [shop.login("alice").await, shop.login("bob").await];
    let dialer = shop.dialer();
    let mut first = dialer.open_as(&alice, WS).await;
    let _second = dialer.open_as(&alice, WS).await;
    let bearer = format!("Bearer {}", alice.access);
    let third = shop.send(Method::GET, SSE, &[("authorization", &bearer)], b"").await;
    assert_eq!(third.problem(429)["type"], "urn:wasmyard:problem:rate-limited");
    let _others = dialer.open_as(&bob, WS).await;
    let refused = dialer.try_open(WS, &[]).await.err().expect("no room");
    assert_eq!(
        (refused.status().as_u16(), &refused.headers()["retry-after"].to_str().expect("text")),
        (503, &"1")
    );
    let metrics = shop.operator().get("/metrics").await;
    let metrics = metrics.text();
    for line in [
        r#"wasmyard_event_subscribers{topic="orders",form="websocket"} 3"#,
        r#"wasmyard_event_subscribers_refused_total{topic="orders"} 2"#,
        r#"wasmyard_outbox_relay{topic="orders"} 1"#,
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
    // Who leaves makes room.
    first.ready().await;
    first.say(Message::Close(None)).await;
    assert_eq!(first.hear().await, Heard::Lost);
    until("there is room again", async || dialer.try_open(WS, &[]).await.is_ok()).await;
}

#[tokio::test]
async fn the_services_own_port_tells_its_events_too() {
    let shop = Shop::start().await;
    let tcp = TcpStream::connect(shop.direct("orders")).await.expect("the port is open");
    let (mut plain, _) = client_async(format!("ws://localhost{WS}"), tcp).await.expect("a WebSocket");
    let order = ordered(&shop, 1).await;
    let event = eventually("the event", async || {
        let message = plain.next().await?.ok()?.into_text().ok()?;
        message.contains("order.created").then_some(message)
    });
    let event: serde_json::Value = serde_json::from_str(&event.await).expect("JSON");
    assert_eq!(said(&event), ("order.created", order, 1, "pending"));
}
