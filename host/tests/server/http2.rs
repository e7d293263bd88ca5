//! HTTP/2 by ALPN, and with prior knowledge on a plain port.

use std::sync::atomic::Ordering::Relaxed;

use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::host::{Host, PATIENCE, SHORT};
use crate::wire::{Wire, tls};

pub(crate) struct Client {
    send: SendRequest<Full<Bytes>>,
    /// Ends when the connection does.
    pub(crate) connection: JoinHandle<hyper::Result<()>>,
}

impl Client {
    async fn plain(host: &Host) -> Self {
        Self::over(TcpStream::connect(host.direct()).await.expect("connected")).await
    }

    pub(crate) async fn encrypted(host: &Host) -> Self {
        Self::over(tls(host.https(), &["h2"]).await).await
    }

    async fn over<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S) -> Self {
        let (send, connection) = http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(65_535)
            .max_header_list_size(1024 * 1024)
            .handshake(TokioIo::new(stream))
            .await
            .expect("a handshake");
        Self { send, connection: tokio::spawn(connection) }
    }

    pub(crate) async fn ask(&mut self, request: Request<Full<Bytes>>) -> Response<Incoming> {
        let answer = timeout(PATIENCE, self.send.send_request(request)).await;
        answer.expect("answered in time").expect("answered")
    }

    pub(crate) async fn get(&mut self, path: &str) -> Response<Incoming> {
        self.ask(request(path).body(Full::default()).expect("a request")).await
    }
}

fn request(path: &str) -> http::request::Builder {
    Request::builder().uri(format!("https://localhost{path}"))
}

pub(crate) async fn text(answer: Response<Incoming>) -> String {
    let body = timeout(PATIENCE, answer.into_body().collect()).await.expect("in time");
    String::from_utf8(body.expect("whole").to_bytes().to_vec()).expect("text")
}

#[tokio::test]
async fn http2_is_served_encrypted_and_with_prior_knowledge() {
    let host = Host::start().await;
    let mut encrypted = Client::encrypted(&host).await;
    assert_eq!(text(encrypted.get("/a").await).await, "/a public true");
    let mut plain = Client::plain(&host).await;
    assert_eq!(text(plain.get("/a").await).await, "/a users false");
}

#[tokio::test]
async fn one_connection_carries_many_requests_at_once() {
    let host = Host::start().await;
    let mut client = Client::encrypted(&host).await;
    let asked: Vec<_> = (0..50)
        .map(|_| {
            let request = request("/held").body(Full::default()).expect("a request");
            tokio::spawn(client.send.send_request(request))
        })
        .collect();
    let entered = host.script.entered.acquire_many(50);
    timeout(PATIENCE, entered).await.expect("all at once").expect("open").forget();
    host.script.release.add_permits(50);
    for answer in asked {
        let answer = answer.await.expect("no panic").expect("answered");
        assert_eq!(text(answer).await, "released");
    }
}

#[tokio::test]
async fn bodies_and_heads_without_bodies_work() {
    let host = Host::start().await;
    let mut client = Client::encrypted(&host).await;
    let post = request("/echo").method(Method::POST).body(Full::from("hello")).expect("a request");
    assert_eq!(text(client.ask(post).await).await, "hello");
    let head = request("/abc").method(Method::HEAD).body(Full::default()).expect("a request");
    let answer = client.ask(head).await;
    assert_eq!(answer.headers()["content-length"], "16");
    assert_eq!(text(answer).await, "");
    assert_eq!(client.get("/nothing").await.status(), StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn the_bounds_on_heads_hold() {
    let host = Host::start().await;
    let mut client = Client::encrypted(&host).await;
    let fields = |count: usize| {
        let mut builder = request("/");
        for number in 0..count {
            builder = builder.header(format!("x-{number}"), "y");
        }
        builder.body(Full::default()).expect("a request")
    };
    assert_eq!(client.ask(fields(100)).await.status(), StatusCode::OK);
    assert_eq!(client.ask(fields(101)).await.status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);

    let large =
        request("/").header("x-large", "x".repeat(32 * 1024)).body(Full::default()).expect("a request");
    assert_eq!(client.ask(large).await.status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    let long = client.get(&format!("/{}", "x".repeat(17_000))).await;
    assert_eq!(long.status(), StatusCode::URI_TOO_LONG);
    assert_eq!(long.headers()["content-type"], "application/problem+json");
    assert_eq!(client.get("/").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let host = Host::with(|limits| limits.keep_alive_timeout = SHORT).await;
    let mut client = Client::encrypted(&host).await;
    text(client.get("/").await).await;
    let ended = timeout(PATIENCE, client.connection).await.expect("in time").expect("no panic");
    assert!(ended.is_ok(), "closed by a GOAWAY: {ended:?}");
    assert_eq!(host.server.stats().timed_out.load(Relaxed), 0);
}

#[tokio::test]
async fn a_client_that_never_begins_is_closed() {
    let host = Host::with(|limits| limits.header_timeout = SHORT).await;
    let mut wire = Wire::new(tls(host.https(), &["h2"]).await);
    wire.assert_ends().await;
    host.open(0).await;
}

#[tokio::test]
async fn a_stream_that_is_not_read_loses_the_connection_and_the_permit() {
    let host = Host::with(|limits| limits.write_timeout = SHORT).await;
    let mut client = Client::encrypted(&host).await;
    let unread = client.get("/big").await;
    assert_eq!(unread.status(), StatusCode::OK);
    let freed = host.script.permit.acquire();
    drop(timeout(PATIENCE, freed).await.expect("freed").expect("open"));
    assert_eq!(host.server.stats().timed_out.load(Relaxed), 1);
    drop(unread);
}

#[tokio::test]
async fn a_stream_that_is_cut_is_reset_and_its_connection_goes_on() {
    let host = Host::start().await;
    let mut client = Client::encrypted(&host).await;
    let unread = client.get("/endless").await;
    host.script.cut.cancel();
    // Asked after the cut, so the reset is on its way when this is answered.
    assert_eq!(text(client.get("/hello").await).await, "/hello public true");
    let cut = timeout(PATIENCE, unread.into_body().collect()).await.expect("an end");
    let cut = cut.expect_err("no whole body");
    assert!(format!("{cut:?}").contains("CANCEL"), "{cut:?}");
}
