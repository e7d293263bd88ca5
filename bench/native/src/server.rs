//! The listeners, and a connection from its first byte to its last.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Parser;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::cache::Cache;
use crate::database::Database;
use crate::link::Link;
use crate::shop::Shop;
use crate::{limits, route, tls};

/// What it is started with.
#[derive(Debug, Clone, Parser)]
#[command(name = "native-shop", about, version)]
pub struct Options {
    /// Plain HTTP; port 0 is any free one.
    #[arg(long, env = "NATIVE_HTTP", default_value = "127.0.0.1:0")]
    pub http: SocketAddr,
    /// HTTPS with HTTP/2 and a certificate made at the start.
    #[arg(long, env = "NATIVE_HTTPS", default_value = "127.0.0.1:0")]
    pub https: SocketAddr,
    /// The connection string of Postgres. The shop's tables are there already.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    pub postgres: String,
    /// The connection string of Redis.
    #[arg(long, env = "REDIS_URL", hide_env_values = true)]
    pub redis: String,
}

/// A running peer; dropped, it accepts no more connections.
#[derive(Debug)]
pub struct Native {
    http: SocketAddr,
    https: SocketAddr,
    certificate: String,
    listeners: [JoinHandle<()>; 2],
}

/// What the connections of one listener have in common.
struct Door {
    shop: Arc<Shop>,
    tls: Option<TlsAcceptor>,
    room: Arc<Semaphore>,
}

impl Native {
    /// Starts to serve. There is no access log: a rate is measured without one.
    ///
    /// # Errors
    ///
    /// A port cannot be had, a connection string is none, or Redis is away.
    pub async fn start(options: Options) -> anyhow::Result<Self> {
        let link = Link::open(&options.redis).await.context("Redis")?;
        let shop = Arc::new(Shop { database: Database::new(&options.postgres)?, cache: Cache::new(link) });
        let room = Arc::new(Semaphore::new(limits::CONNECTIONS_MAX));
        let (acceptor, certificate) = tls::acceptor()?;
        let plain = listen(options.http)?;
        let encrypted = listen(options.https)?;
        let (http, https) = (plain.local_addr()?, encrypted.local_addr()?);
        let door = |tls| Arc::new(Door { shop: Arc::clone(&shop), tls, room: Arc::clone(&room) });
        let listeners =
            [tokio::spawn(door(None).accept(plain)), tokio::spawn(door(Some(acceptor)).accept(encrypted))];
        Ok(Self { http, https, certificate, listeners })
    }

    /// Where plain HTTP is served.
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// Where HTTPS is served.
    pub fn https(&self) -> SocketAddr {
        self.https
    }

    /// The certificate, as PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }
}

impl Drop for Native {
    fn drop(&mut self) {
        for listener in &self.listeners {
            listener.abort();
        }
    }
}

fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address).with_context(|| format!("{address}"))?;
    Ok(socket.listen(limits::ACCEPT_BACKLOG)?)
}

impl Door {
    async fn accept(self: Arc<Self>, listener: TcpListener) {
        loop {
            // A client beyond the bound waits in the kernel's queue.
            let Ok(place) = Arc::clone(&self.room).acquire_owned().await else { return };
            let Ok((stream, _)) = listener.accept().await else {
                sleep(limits::ACCEPT_PAUSE).await;
                continue;
            };
            let door = Arc::clone(&self);
            tokio::spawn(async move {
                door.serve(stream).await;
                drop(place);
            });
        }
    }

    async fn serve(&self, stream: TcpStream) {
        // Answers are written whole; waiting to fill a packet only delays them.
        let _ = stream.set_nodelay(true);
        let Some(acceptor) = &self.tls else { return self.http1(stream).await };
        let handshake = timeout(limits::TLS_HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await;
        let Ok(Ok(stream)) = handshake else { return };
        if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
            self.http2(stream).await;
        } else {
            self.http1(stream).await;
        }
    }

    /// A connection that fails is the client's to notice.
    async fn http1(&self, stream: impl AsyncRead + AsyncWrite + Unpin) {
        let service = service_fn(|request| route::answer(Arc::clone(&self.shop), request));
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(limits::HEADER_TIMEOUT);
        let _ = builder.serve_connection(TokioIo::new(stream), service).await;
    }

    async fn http2(&self, stream: impl AsyncRead + AsyncWrite + Unpin) {
        let shop = Arc::clone(&self.shop);
        let service = service_fn(move |request| route::answer(Arc::clone(&shop), request));
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.timer(TokioTimer::new()).max_concurrent_streams(limits::HTTP2_STREAMS_MAX);
        let _ = builder.serve_connection(TokioIo::new(stream), service).await;
    }
}
