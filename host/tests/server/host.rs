//! A server with an exchange that tests can hold and look into.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use futures_util::stream::{StreamExt as _, repeat};
use http::{HeaderValue, Request, Response, StatusCode};
use hyper::body::{Bytes, Incoming};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use wasmyard::limits;
use wasmyard::manifest::{self, ServerLimits};
use wasmyard::server::{
    Body, BodyError, Config, Exchange, ListenerKind, Live, Peer, Pieces, Server, read_body,
};

/// Long enough for anything that happens at all.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// Short enough to wait for, long enough not to pass by accident.
pub(crate) const SHORT: Duration = Duration::from_millis(150);
/// What `/echo` reads.
pub(crate) const BODY_BYTES_MAX: usize = 1024;

/// Answers by path.
pub(crate) struct Script {
    /// How many requests have entered `/held`.
    pub(crate) entered: Semaphore,
    /// What lets them out, one each.
    pub(crate) release: Semaphore,
    /// What `/big` holds until its answer has been taken.
    pub(crate) permit: Arc<Semaphore>,
    /// What cuts `/endless`.
    pub(crate) cut: CancellationToken,
}

impl Exchange for Script {
    async fn answer(&self, request: Request<Incoming>, peer: &Peer) -> Response<Body> {
        match request.uri().path() {
            "/held" => {
                self.entered.add_permits(1);
                let released = self.release.acquire().await.expect("open");
                released.forget();
                Response::new(Body::new("released"))
            }
            "/big" => {
                let permit = Arc::clone(&self.permit).acquire_owned().await.expect("open");
                Response::new(Body::with_permit(vec![b'x'; 64 * limits::MIB], permit))
            }
            "/endless" => {
                let stream = repeat(Bytes::from_static(&[b'x'; 16 * limits::KIB])).boxed();
                let pieces = Pieces { stream, cut: self.cut.clone() };
                Response::new(Body::live(Live::Stream(pieces)))
            }
            "/echo" => echo(request).await,
            "/nothing" => {
                let mut response = Response::new(Body::empty());
                *response.status_mut() = StatusCode::NO_CONTENT;
                response
            }
            path => {
                let door = match &peer.listener {
                    ListenerKind::Public => "public",
                    ListenerKind::Direct(service) => service,
                    ListenerKind::Admin => "admin",
                    ListenerKind::Metrics => "metrics",
                    ListenerKind::Redirect => "redirect",
                };
                let mut response = Response::new(Body::new(format!("{path} {door} {}", peer.secure)));
                response.headers_mut().insert("x-kind", HeaderValue::from_static("script"));
                response
            }
        }
    }
}

async fn echo(request: Request<Incoming>) -> Response<Body> {
    let (status, body) = match read_body(request.into_body(), BODY_BYTES_MAX, SHORT).await {
        Ok(body) => (StatusCode::OK, body),
        Err(BodyError::TooLarge { .. }) => (StatusCode::PAYLOAD_TOO_LARGE, "too large".into()),
        Err(BodyError::Timeout { .. }) => (StatusCode::REQUEST_TIMEOUT, "too slow".into()),
        Err(BodyError::Broken(_)) => (StatusCode::BAD_REQUEST, "broken".into()),
    };
    let mut response = Response::new(Body::new(body));
    *response.status_mut() = status;
    response
}

/// A running server on free ports.
pub(crate) struct Host {
    pub(crate) server: Server,
    pub(crate) script: Arc<Script>,
    pub(crate) dir: tempfile::TempDir,
}

impl Host {
    /// With the defaults.
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// With changed bounds.
    pub(crate) async fn with(change: impl FnOnce(&mut ServerLimits)) -> Self {
        Self::configured(|server| change(&mut server.limits)).await
    }

    /// With a changed manifest.
    pub(crate) async fn configured(change: impl FnOnce(&mut manifest::Server)) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let mut server = manifest_server();
        change(&mut server);
        let script = Arc::new(Script {
            entered: Semaphore::new(0),
            release: Semaphore::new(0),
            permit: Arc::new(Semaphore::new(1)),
            cut: CancellationToken::new(),
        });
        let config = Config {
            server: &server,
            admin_port: 0,
            metrics_port: None,
            direct: vec![("users".into(), 0)],
            state_dir: dir.path(),
        };
        let server = Server::start(&config, Arc::clone(&script)).await.expect("started");
        Self { server, script, dir }
    }

    pub(crate) fn https(&self) -> SocketAddr {
        loopback(self.server.addresses().https)
    }

    pub(crate) fn direct(&self) -> SocketAddr {
        *self.server.addresses().direct["users"].as_ref().expect("bound")
    }

    pub(crate) fn redirect(&self) -> SocketAddr {
        let http = self.server.addresses().http.as_ref().expect("switched on");
        loopback(*http.as_ref().expect("bound"))
    }

    /// Waits until as many connections are open.
    pub(crate) async fn open(&self, connections: u64) {
        let stats = self.server.stats();
        until("the number of open connections", || stats.open.load(Relaxed) == connections).await;
    }
}

pub(crate) fn manifest_server() -> manifest::Server {
    manifest::Server {
        bind: IpAddr::from(Ipv4Addr::LOCALHOST),
        https_port: 0,
        http_port: Some(0),
        tls: None,
        health_path: "/api/health".to_owned(),
        docs_path: None,
        limits: ServerLimits {
            connections_max: limits::CONNECTIONS_MAX,
            header_bytes_max: limits::HEADER_BYTES_MAX,
            header_fields_max: limits::HEADER_FIELDS_MAX,
            request_line_bytes_max: limits::REQUEST_LINE_BYTES_MAX,
            header_timeout: limits::HEADER_TIMEOUT,
            body_timeout: limits::BODY_TIMEOUT,
            tls_handshake_timeout: limits::TLS_HANDSHAKE_TIMEOUT,
            keep_alive_timeout: limits::KEEP_ALIVE_TIMEOUT,
            write_timeout: limits::WRITE_TIMEOUT,
            drain_timeout: limits::DRAIN_TIMEOUT,
        },
        proxies: manifest::Proxies::default(),
    }
}

/// Waits for a condition that nothing announces.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("in vain: {what}"));
}

fn loopback(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(Ipv4Addr::LOCALHOST.into(), address.port())
}
