//! One [`Exchange`] for all listeners.

use std::sync::Arc;

use hyper::body::Incoming;

use crate::server::{Body, Exchange, ListenerKind, Peer, Refusal};

/// Sends the requests of the admin listener and of the metrics' to the operator's API, and
/// all others to the gateway. The two share nothing: no route of a service can shadow an operator's.
pub struct Doors<G, A> {
    gateway: G,
    admin: Arc<A>,
}

impl<G: Exchange, A: Exchange> Doors<G, A> {
    /// Both ways in.
    pub fn new(gateway: G, admin: Arc<A>) -> Self {
        Self { gateway, admin }
    }
}

impl<G: Exchange, A: Exchange> Exchange for Doors<G, A> {
    async fn answer(&self, request: http::Request<Incoming>, peer: &Peer) -> http::Response<Body> {
        match peer.listener {
            ListenerKind::Admin | ListenerKind::Metrics => self.admin.answer(request, peer).await,
            _ => self.gateway.answer(request, peer).await,
        }
    }

    fn refuse(&self, head: &http::Request<Incoming>, refusal: Refusal, peer: &Peer) -> http::Response<Body> {
        match peer.listener {
            ListenerKind::Admin | ListenerKind::Metrics => self.admin.refuse(head, refusal, peer),
            _ => self.gateway.refuse(head, refusal, peer),
        }
    }
}
