//! HTTP/1.0 and 1.1, well-formed and not.

use tokio::io::AsyncWriteExt;

use crate::host::Host;
use crate::wire::Wire;

#[tokio::test]
async fn a_connection_serves_one_request_after_another() {
    let host = Host::start().await;
    let mut wire = Wire::connect(host.direct()).await;
    for path in ["/a", "/b"] {
        let answer = wire.get(path).await;
        assert_eq!((answer.status, answer.body), (200, format!("{path} users false")));
    }
}

#[tokio::test]
async fn the_listener_is_told() {
    let host = Host::start().await;
    let mut wire = Wire::connect(host.server.addresses().admin).await;
    assert_eq!(wire.get("/").await.body, "/ admin false");
}

#[tokio::test]
async fn localhost_is_served_by_both_its_addresses() {
    let host = Host::start().await;
    let address = (std::net::Ipv6Addr::LOCALHOST, host.direct().port());
    match tokio::net::TcpStream::connect(address).await {
        Ok(stream) => assert_eq!(Wire::new(stream).get("/").await.status, 200),
        // A machine without IPv6 has no such address to connect to at all.
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::AddrNotAvailable, "{error}"),
    }
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let host = Host::start().await;
    let mut wire = Wire::connect(host.direct()).await;
    let requests: String =
        (0..20).map(|number| format!("GET /{number} HTTP/1.1\r\nHost: localhost\r\n\r\n")).collect();
    wire.send(requests).await;
    for number in 0..20 {
        assert_eq!(wire.answer().await.body, format!("/{number} users false"));
    }
}

#[tokio::test]
async fn http_1_0_closes_unless_asked_to_keep_alive() {
    let host = Host::start().await;
    let mut wire = Wire::connect(host.direct()).await;
    wire.send("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n").await;
    let answer = wire.answer().await;
    assert!(answer.field("connection").is_some_and(|value| value.eq_ignore_ascii_case("keep-alive")));
    wire.send("GET / HTTP/1.0\r\n\r\n").await;
    assert_eq!(wire.answer().await.status, 200);
    wire.assert_closed().await;
}

#[tokio::test]
async fn head_is_answered_as_get_without_the_body() {
    let host = Host::start().await;
    let mut wire = Wire::connect(host.direct()).await;
    wire.send("HEAD /abc HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    let head = wire.head().await;
    assert!(head.contains("content-length: 16\r\n"), "{head}");
    assert_eq!(wire.get("/abc").await.body.len(), 16);
}

#[tokio::test]
async fn an_answer_without_content_leaves_the_connection_usable() {
    let host = Host::start().await;
    let mut wire = Wire::connect(host.direct()).await;
    assert_eq!(wire.get("/nothing").await.status, 204);
    assert_eq!(wire.get("/").await.status, 200);
}

#[tokio::test]
async fn bodies_are_read_whole() {
    let host = Host::start().await;
    let mut wire = Wire::connect(host.direct()).await;
    wire.send("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello").await;
    assert_eq!(wire.answer().await.body, "hello");
    wire.send("POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    wire.send("5\r\nhello\r\n").await;
    wire.send("7\r\n, world\r\n0\r\n\r\n").await;
    assert_eq!(wire.answer().await.body, "hello, world");
    wire.send("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(wire.answer().await.body, "");
}

#[tokio::test]
async fn a_body_over_the_bound_is_refused_and_the_refusal_arrives() {
    let host = Host::start().await;
    let mut declared = Wire::connect(host.direct()).await;
    declared.send("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n").await;
    declared.send(vec![b'x'; 500_000]).await;
    assert_eq!(declared.answer().await.status, 413);

    let mut chunked = Wire::connect(host.direct()).await;
    chunked.send("POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    for _ in 0..3 {
        chunked.send(format!("200\r\n{}\r\n", "x".repeat(512))).await;
    }
    assert_eq!(chunked.answer().await.status, 413);
}

#[tokio::test]
async fn a_slow_body_and_a_broken_one_are_told_apart() {
    let host = Host::start().await;
    let mut slow = Wire::connect(host.direct()).await;
    slow.send("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhe").await;
    assert_eq!(slow.answer().await.status, 408);

    let mut broken = Wire::connect(host.direct()).await;
    broken.send("POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n").await;
    assert_eq!(broken.answer().await.status, 400);
}

#[tokio::test]
async fn continue_is_said_only_to_a_body_that_is_wanted() {
    let host = Host::start().await;
    let mut wire = Wire::connect(host.direct()).await;
    let head = |length| {
        format!(
            "POST /echo HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n"
        )
    };
    wire.send(head(5)).await;
    assert_eq!(wire.answer().await.status, 100);
    wire.send("hello").await;
    assert_eq!(wire.answer().await.body, "hello");
    wire.send(head(1_000_000)).await;
    assert_eq!(wire.answer().await.status, 413);
}

#[tokio::test]
async fn an_absolute_target_is_understood() {
    let host = Host::start().await;
    let mut wire = Wire::connect(host.direct()).await;
    wire.send("GET http://localhost/a HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(wire.answer().await.body, "/a users false");
}

#[tokio::test]
async fn malformed_heads_are_problems_and_close() {
    let malformed = [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost:\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: user@localhost\r\n\r\n",
        "GET http://other/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET http://user:secret@localhost/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1, 2\r\n\r\nab",
        "GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: +1\r\n\r\na",
        "GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked, gzip\r\n\r\n",
        "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: localhost\r\nX-Nul: a\0b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: localhost\r\nX-Return: a\rb\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : localhost\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: localhost\r\nX: a\r\n folded\r\n\r\n",
        "GET /a b HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET / HTTP/9.9\r\nHost: localhost\r\n\r\n",
        "nonsense\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n",
    ];
    let host = Host::start().await;
    for head in malformed {
        let mut wire = Wire::connect(host.direct()).await;
        wire.send(head).await;
        let answer = wire.answer().await;
        assert_eq!(answer.status, 400, "{head:?}: {answer:?}");
        answer.assert_problem(400);
        wire.assert_closed().await;
    }
}

/// RFC 9112, section 6.1: the length is ignored, and nothing after the request is
/// read as another one.
#[tokio::test]
async fn two_framings_never_smuggle_a_second_request() {
    let host = Host::start().await;
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for framings in
        ["Content-Length: 5\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 5"]
    {
        let mut wire = Wire::connect(host.direct()).await;
        let head = format!("POST /echo HTTP/1.1\r\nHost: localhost\r\n{framings}\r\n\r\n");
        wire.send(format!("{head}0\r\n\r\n{smuggled}")).await;
        let answer = wire.answer().await;
        assert_eq!(answer.body, "", "{answer:?}");
        wire.assert_closed().await;
    }
}

#[tokio::test]
async fn connect_is_not_implemented() {
    let host = Host::start().await;
    let mut wire = Wire::connect(host.direct()).await;
    wire.send("CONNECT localhost:80 HTTP/1.1\r\nHost: localhost:80\r\n\r\n").await;
    wire.answer().await.assert_problem(501);
}

#[tokio::test]
async fn a_malformed_request_does_not_swallow_the_answer_before_it() {
    let host = Host::start().await;
    let mut wire = Wire::connect(host.direct()).await;
    wire.send("GET /a HTTP/1.1\r\nHost: localhost\r\n\r\nnonsense\r\n\r\n").await;
    assert_eq!(wire.answer().await.body, "/a users false");
    assert_eq!(wire.answer().await.status, 400);
    wire.assert_closed().await;
}

#[tokio::test]
async fn a_client_that_goes_away_frees_its_connection() {
    let host = Host::start().await;
    let mut wire = Wire::connect(host.direct()).await;
    wire.send("GET /held HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    host.script.entered.acquire().await.expect("entered").forget();
    wire.stream.shutdown().await.expect("shut down");
    drop(wire);
    host.open(0).await;
}
