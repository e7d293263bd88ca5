//! Why a subscription ends, and how that is said.

use std::time::Duration;

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use wasmyard_tests::{Heard, Session, Shop, Wire, within};

use crate::{SSE, WS, told};

/// Logged in for a moment: time to open all that listens, also on a busy machine.
pub(crate) fn short_session(shop: &Shop) -> Session {
    let authority = shop.host.platform().authority().expect("the shop knows its callers").clone();
    let access = authority.issue_for("1", "customer", Duration::from_secs(10)).token;
    Session { access, refresh: String::new() }
}

#[tokio::test]
async fn with_the_token_its_subscriptions_end() {
    let shop = Shop::builder().tokens_required().start().await;
    let session = short_session(&shop);
    let mut socket = shop.dialer().open_as(&session, WS).await;
    let bearer = format!("Bearer {}", session.access);
    let mut source = shop.event_source(SSE, &[("authorization", &bearer)]).await;
    let start = socket.ready().await;
    let ends = json!({ "reason": "expired", "after": start });
    assert_eq!(socket.hear().await, Heard::Closed(4401, ends));
    assert_eq!(source.next().await.expect("ready").kind, "ready");
    let closed = source.next().await.expect("the end is said");
    assert_eq!((closed.kind.as_str(), closed.id), ("closed", None));
    assert_eq!(closed.data, json!({ "type": "closed", "code": 4401, "reason": "expired", "after": start }));
    assert_eq!(source.next().await, None);
}

#[tokio::test]
async fn a_stop_says_goodbye_and_waits_for_nobody_who_listens() {
    let shop = Shop::start().await;
    let mut sockets = Vec::new();
    for _ in 0..10 {
        let mut socket = shop.dialer().open(WS).await;
        socket.ready().await;
        sockets.push(socket);
    }
    // One has been told that its place is not there, and reads neither that nor the goodbye.
    let _deaf = shop.dialer().open(&format!("{WS}?after=9999999999999-0")).await;
    let mut source = shop.event_source(SSE, &[]).await;
    assert_eq!(source.next().await.expect("ready").kind, "ready");
    let listening = tokio::spawn(async move {
        for mut socket in sockets {
            let Heard::Closed(code, reason) = socket.hear().await else { panic!("no goodbye") };
            assert_eq!((code, &reason["reason"]), (1001, &Value::from("going-away")));
            // The host waits for the answer, which goes out with the next look.
            assert_eq!(socket.hear().await, Heard::Lost);
        }
        assert_eq!(source.next().await.map(|event| event.data["code"].clone()), Some(json!(1001)));
        assert_eq!(source.next().await, None);
    });
    let Shop { host, .. } = shop;
    let drained = within("the host stops", host.stop(&|_| {})).await;
    assert_eq!(drained.aborted, 0, "{drained:?}");
    listening.await.expect("all of them heard it");
}

#[tokio::test]
async fn who_talks_or_says_too_much_is_not_listened_to() {
    let shop = Shop::start().await;
    for message in [Message::text("hello"), Message::binary(vec![0]), Message::text("x".repeat(5_000))] {
        let mut socket = shop.dialer().open(WS).await;
        let start = socket.ready().await;
        socket.say(message).await;
        assert_eq!(
            socket.hear().await,
            Heard::Closed(1003, json!({ "reason": "unexpected", "after": start }))
        );
    }
    let mut socket = shop.dialer().open(WS).await;
    socket.ready().await;
    for _ in 0..200 {
        socket.say(Message::Ping(Vec::new().into())).await;
    }
    let Heard::Closed(1003, _) = socket.hear().await else { panic!("a flood of pings goes on") };
    // A few are answered, and cost nothing else.
    let mut socket = shop.dialer().open(WS).await;
    socket.ready().await;
    for _ in 0..20 {
        socket.say(Message::Ping(Vec::new().into())).await;
    }
    told(&shop, 1_000_000..1_000_001, &[1]).await;
    assert_eq!(socket.message().await["order_id"], 1_000_000);
}

#[tokio::test]
async fn who_does_not_answer_a_ping_is_gone_by_the_next_one() {
    let shop = Shop::start().await;
    let mut silent = Wire::open(&shop).await;
    let opening = format!(
        "GET {WS} HTTP/1.1\r\nhost: localhost\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    silent.write(opening.as_bytes()).await;
    assert_eq!(silent.answer().await.status, 101);
    // It reads everything, a ping without a body among it, and says nothing.
    within("a ping", silent.until(&[0x89, 0x00])).await;
    let closed = within("the end", silent.until(b"silent")).await;
    // 1008, RFC 6455, section 7.4.1.
    assert!(closed.windows(2).any(|code| code == 1008_u16.to_be_bytes()), "{closed:?}");
}
