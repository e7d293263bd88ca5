//! Starting the listeners, and stopping them.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::accept::{self, BindError, Bound, Door};
use super::certificate::SelfSigned;
use super::drain::{Connections, Drained};
use super::exchange::{Exchange, ListenerKind};
use super::redirect::Redirect;
use super::stats::ConnectionStats;
use super::tls::{self, Certificate, CertificateError, Source};
use crate::limits;
use crate::manifest::{self, ServerLimits};

/// What to listen on.
#[derive(Debug)]
pub struct Config<'a> {
    /// The public listeners, their certificate and their bounds.
    pub server: &'a manifest::Server,
    /// The operator's port on loopback; 0 takes any free one.
    pub admin_port: u16,
    /// A port for the metrics alone, beside the operator's; 0 takes any free one.
    pub metrics_port: Option<u16>,
    /// A port on loopback for each service that has one; 0 takes any free one.
    pub direct: Vec<(Arc<str>, u16)>,
    /// Where a self-signed certificate is kept, in a folder `tls`.
    pub state_dir: &'a Path,
}

/// Why the server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The HTTPS port cannot be had.
    #[error("HTTPS: {0}")]
    Https(BindError),
    /// The operator's port cannot be had.
    #[error("admin: {0}")]
    Admin(BindError),
    /// The metrics' port cannot be had.
    #[error("metrics: {0}")]
    Metrics(BindError),
    /// There is no certificate.
    #[error("certificate: {0}")]
    Certificate(#[from] CertificateError),
    /// TLS itself refuses its configuration.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// Where the server listens. What the shop can do without is a result: its error is
/// for the start-up table.
#[derive(Debug)]
pub struct Addresses {
    /// HTTPS.
    pub https: SocketAddr,
    /// The redirect to HTTPS; `None` if it is switched off.
    pub http: Option<Result<SocketAddr, BindError>>,
    /// The services' own ports.
    pub direct: BTreeMap<Arc<str>, Result<SocketAddr, BindError>>,
    /// The operator's API.
    pub admin: SocketAddr,
    /// The metrics; `None` if only the operator's API has them.
    pub metrics: Option<SocketAddr>,
}

/// The running server. Dropped without a drain, it stops accepting, and open
/// connections run on until they end.
#[derive(Debug)]
pub struct Server {
    addresses: Addresses,
    limits: Arc<ArcSwap<ServerLimits>>,
    public: Side,
    /// Apart, so that it answers while the public side drains, and when that one has as
    /// many connections as it may have.
    operator: Side,
    watch: JoinSet<()>,
}

/// Listeners that drain together, and their connections.
#[derive(Debug)]
struct Side {
    connections: Arc<Connections>,
    limits: Arc<ArcSwap<ServerLimits>>,
    turn_away: Arc<Semaphore>,
    stop: CancellationToken,
    listeners: JoinSet<()>,
}

impl Server {
    /// Binds every port, then accepts on all of them.
    pub async fn start<E: Exchange>(config: &Config<'_>, exchange: Arc<E>) -> Result<Self, StartError> {
        let certificate = Arc::new(load_certificate(config).await?);
        let acceptor = tls::acceptor(Arc::clone(&certificate))?;

        let loopback = IpAddr::from(Ipv4Addr::LOCALHOST);
        let https = accept::bind(config.server.bind, config.server.https_port).map_err(StartError::Https)?;
        let admin = accept::bind(loopback, config.admin_port).map_err(StartError::Admin)?;
        let metrics = config.metrics_port.map(|port| accept::bind(config.server.bind, port));
        let metrics = metrics.transpose().map_err(StartError::Metrics)?;
        let http = config.server.http_port.map(|port| accept::bind(config.server.bind, port));
        let direct: Vec<_> = config
            .direct
            .iter()
            .map(|(service, port)| (Arc::clone(service), accept::bind(loopback, *port)))
            .collect();

        let limits = Arc::new(ArcSwap::from_pointee(config.server.limits.clone()));
        let stats = Arc::default();
        let mut server = Self {
            addresses: Addresses {
                https: https.address,
                http: None,
                direct: BTreeMap::new(),
                admin: admin.address,
                metrics: metrics.as_ref().map(|metrics| metrics.address),
            },
            public: Side::new(&stats, &limits),
            operator: Side::new(&stats, &limits),
            limits,
            watch: JoinSet::new(),
        };
        server.public.listen(https, ListenerKind::Public, Some(acceptor), &exchange);
        server.operator.listen(admin, ListenerKind::Admin, None, &exchange);
        if let Some(metrics) = metrics {
            server.operator.listen(metrics, ListenerKind::Metrics, None, &exchange);
        }
        let redirect = Arc::new(Redirect { https_port: server.addresses.https.port() });
        server.addresses.http = http.map(|bound| {
            bound.map(|bound| server.public.listen(bound, ListenerKind::Redirect, None, &redirect))
        });
        for (service, bound) in direct {
            let kind = ListenerKind::Direct(Arc::clone(&service));
            let address = bound.map(|bound| server.public.listen(bound, kind, None, &exchange));
            server.addresses.direct.insert(service, address);
        }
        server.watch.spawn(certificate.watch());
        Ok(server)
    }

    /// Where it listens.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// What is counted about its connections.
    pub fn stats(&self) -> Arc<ConnectionStats> {
        Arc::clone(self.public.connections.stats())
    }

    /// Changes the bounds for connections accepted from now on.
    pub fn set_limits(&self, limits: ServerLimits) {
        self.limits.store(Arc::new(limits));
    }

    /// Stops accepting, lets every request that has reached a connection be
    /// answered, and closes the connections; those still open after `within` are cut
    /// off. The operator's port comes last: until then it tells that the host drains.
    pub async fn drain(self, within: Duration) -> Drained {
        let deadline = Instant::now() + within;
        let public = self.public.drain(deadline).await;
        let at_least = Instant::now() + limits::OPERATOR_DRAIN_MIN;
        let operator = self.operator.drain(deadline.max(at_least)).await;
        Drained { finished: public.finished + operator.finished, aborted: public.aborted + operator.aborted }
    }
}

impl Side {
    fn new(stats: &Arc<ConnectionStats>, limits: &Arc<ArcSwap<ServerLimits>>) -> Self {
        Self {
            connections: Arc::new(Connections::new(Arc::clone(stats))),
            limits: Arc::clone(limits),
            turn_away: Arc::new(Semaphore::new(limits::TURN_AWAY_MAX)),
            stop: CancellationToken::new(),
            listeners: JoinSet::new(),
        }
    }

    async fn drain(mut self, deadline: Instant) -> Drained {
        self.stop.cancel();
        self.connections.begin_drain();
        while self.listeners.join_next().await.is_some() {}
        self.connections.drained(deadline).await
    }

    fn listen<E: Exchange>(
        &mut self,
        bound: Bound,
        kind: ListenerKind,
        tls: Option<TlsAcceptor>,
        exchange: &Arc<E>,
    ) -> SocketAddr {
        let door = Arc::new(Door {
            kind,
            exchange: Arc::clone(exchange),
            tls,
            limits: Arc::clone(&self.limits),
            connections: Arc::clone(&self.connections),
            turn_away: Arc::clone(&self.turn_away),
        });
        for listener in bound.listeners {
            self.listeners.spawn(Arc::clone(&door).accept(listener, self.stop.clone()));
        }
        bound.address
    }
}

async fn load_certificate(config: &Config<'_>) -> Result<Certificate, CertificateError> {
    let source = match &config.server.tls {
        Some(files) => Source::Files { cert: files.cert.clone(), key: files.key.clone() },
        None => Source::SelfSigned(SelfSigned::new(config.state_dir.join("tls"))),
    };
    let loaded = tokio::task::spawn_blocking(|| Certificate::load(source)).await;
    loaded.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}
