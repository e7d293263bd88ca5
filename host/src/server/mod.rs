//! The way in: listeners, TLS, connections, the bounds on what a client may send,
//! and the drain at the end.
//!
//! ```text
//! accept ─ room? ─ TLS ─ connection ─ head within bounds? ─ Exchange::answer ─ body
//! ```
//!
//! Invariants:
//!
//! - Every wait for a client has a deadline: handshake, head, idle, taking the
//!   answer. The body's deadline is [`read_body`]'s, because only its caller
//!   knows the bound.
//! - A connection counts from its accept to its last byte, the handshake included.
//! - A request that reached an accepted connection before a drain is answered.
//! - A request costs no allocation here beyond hyper's own.

mod accept;
mod activity;
mod body;
mod certificate;
mod check;
mod connection;
mod cut;
mod drain;
mod exchange;
mod listeners;
mod outgoing;
mod redirect;
mod refusal;
mod socket;
mod stats;
mod tls;
mod vigil;

pub use accept::BindError;
pub use body::{BodyError, read_body};
pub use drain::Drained;
pub use exchange::{Body, Exchange, Io, ListenerKind, Live, Peer, Permit, Pieces, Upgrade};
pub use listeners::{Addresses, Config, Server, StartError};
pub use refusal::Refusal;
pub use stats::ConnectionStats;
pub use tls::CertificateError;
