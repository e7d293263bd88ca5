//! A listener: binding its port, and the loop that accepts connections.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::activity::Activity;
use super::connection::{Served, leave, serve};
use super::drain::{Connections, Place};
use super::exchange::{Exchange, ListenerKind, Peer};
use super::refusal::Refusal;
use super::tls;
use crate::limits;
use crate::manifest::ServerLimits;

/// A port that could not be had.
#[derive(Debug, thiserror::Error)]
#[error("{address}: {}", reason(.source))]
pub struct BindError {
    /// What was asked for.
    pub address: SocketAddr,
    /// Why not.
    pub source: io::Error,
}

impl BindError {
    /// Whether another process has the port.
    pub fn in_use(&self) -> bool {
        self.source.kind() == io::ErrorKind::AddrInUse
    }
}

fn reason(source: &io::Error) -> String {
    match source.kind() {
        io::ErrorKind::AddrInUse => "the port is in use".to_owned(),
        io::ErrorKind::PermissionDenied => "no permission for this port".to_owned(),
        _ => source.to_string(),
    }
}

/// A bound port: one listener, or two where IPv4 and IPv6 each need one.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) address: SocketAddr,
    pub(super) listeners: Vec<TcpListener>,
}

/// Binds `port` at `bind`. `localhost` is two addresses to many clients, so that an
/// IPv4 address that covers 127.0.0.1 brings `[::1]` along where the machine has it.
pub(super) fn bind(bind: IpAddr, port: u16) -> Result<Bound, BindError> {
    let wanted = SocketAddr::new(bind, port);
    let bound = || {
        let first = listen(wanted)?;
        let address = first.local_addr()?;
        Ok((first, address))
    };
    let (first, address) = bound().map_err(|source| BindError { address: wanted, source })?;
    let mut listeners = vec![first];
    if bind == Ipv4Addr::LOCALHOST || bind == Ipv4Addr::UNSPECIFIED {
        listeners.extend(listen(SocketAddr::new(Ipv6Addr::LOCALHOST.into(), address.port())).ok());
    }
    Ok(Bound { address, listeners })
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A restart must not wait for the connections of the process before.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(limits::ACCEPT_BACKLOG)
}

/// What the connections of one listener have in common.
pub(super) struct Door<E> {
    pub(super) kind: ListenerKind,
    pub(super) exchange: Arc<E>,
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) limits: Arc<ArcSwap<ServerLimits>>,
    pub(super) connections: Arc<Connections>,
    pub(super) turn_away: Arc<Semaphore>,
}

impl<E: Exchange> Door<E> {
    /// Accepts until `stop`; then once more what clients have been told is connected,
    /// since the kernel has completed their handshakes already.
    pub(super) async fn accept(self: Arc<Self>, listener: TcpListener, stop: CancellationToken) {
        let mut stopped = std::pin::pin!(stop.cancelled());
        let mut failures: u32 = 0;
        loop {
            let accepted = tokio::select! {
                biased;
                () = &mut stopped => break,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, address)) => {
                    failures = 0;
                    self.welcome(stream, address);
                }
                Err(error) if is_clients(&error) => {}
                Err(error) => {
                    if failures == 0 {
                        tracing::error!(listener = ?self.kind, %error, "cannot accept connections");
                    }
                    failures = failures.saturating_add(1);
                    tokio::select! {
                        () = &mut stopped => break,
                        () = sleep(pause(failures)) => {}
                    }
                }
            }
        }
        self.accept_the_rest(listener);
    }

    fn accept_the_rest(self: &Arc<Self>, listener: TcpListener) {
        // tokio's readiness may lag behind the kernel's queue; the kernel knows.
        let Ok(listener) = listener.into_std() else { return };
        for _ in 0..limits::CONNECTIONS_MAX {
            let Ok((stream, address)) = listener.accept() else { return };
            let stream = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
            if let Ok(stream) = stream {
                self.welcome(stream, address);
            }
        }
    }

    fn welcome(self: &Arc<Self>, stream: TcpStream, address: SocketAddr) {
        let limits = self.limits.load_full();
        let connection =
            |stream, place| Arc::clone(self).connection(stream, address, Arc::clone(&limits), place);
        if let Err(stream) = self.connections.spawn(limits.connections_max, stream, connection) {
            self.turn_away(stream);
        }
    }

    async fn connection(
        self: Arc<Self>,
        stream: TcpStream,
        address: SocketAddr,
        limits: Arc<ServerLimits>,
        place: Place,
    ) {
        // Answers are written whole; waiting to fill a packet only delays them.
        let _ = stream.set_nodelay(true);
        let peer = Peer { address, listener: self.kind.clone(), secure: self.tls.is_some() };
        let served = Served { exchange: Arc::clone(&self.exchange), peer, limits };
        let Some(acceptor) = &self.tls else { return serve(stream, served, false, place).await };

        let handshake = timeout(served.limits.tls_handshake_timeout, acceptor.accept(stream)).await;
        match handshake {
            Ok(Ok(stream)) => {
                let http2 = stream.get_ref().1.alpn_protocol() == Some(tls::ALPN_HTTP2);
                serve(stream, served, http2, place).await;
            }
            Ok(Err(error)) => self.note_handshake(address, &error),
            Err(elapsed) => self.note_handshake(address, &elapsed),
        }
    }

    fn note_handshake(&self, peer: SocketAddr, error: &dyn std::fmt::Display) {
        self.connections.stats().handshakes_failed.fetch_add(1, Relaxed);
        tracing::debug!(%peer, %error, "no TLS handshake");
    }

    /// Says 503 where that is cheap. With TLS it would take the handshake that there
    /// is no room for.
    fn turn_away(&self, stream: TcpStream) {
        if self.tls.is_some() {
            return;
        }
        if let Ok(permit) = Arc::clone(&self.turn_away).try_acquire_owned() {
            tokio::spawn(async move {
                leave(stream, Some(Refusal::TooManyConnections), &Activity::default()).await;
                drop(permit);
            });
        }
    }
}

/// The connection was gone before it was accepted; the next one is as good as ever.
fn is_clients(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

fn pause(failures: u32) -> Duration {
    limits::ACCEPT_PAUSE * (1 << (failures - 1).min(4))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_stay_bounded() {
        assert_eq!(pause(1), limits::ACCEPT_PAUSE);
        assert_eq!(pause(2), limits::ACCEPT_PAUSE * 2);
        assert_eq!(pause(5), limits::ACCEPT_PAUSE * 16);
        assert_eq!(pause(u32::MAX), limits::ACCEPT_PAUSE * 16);
    }

    #[test]
    fn a_client_that_left_is_no_reason_to_pause() {
        assert!(is_clients(&io::ErrorKind::ConnectionAborted.into()));
        // EMFILE and ENFILE: no descriptor is left, here or on the machine.
        assert!(!is_clients(&io::Error::from_raw_os_error(24)));
        assert!(!is_clients(&io::Error::from_raw_os_error(23)));
    }
}
