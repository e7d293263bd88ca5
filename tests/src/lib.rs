//! What the tests through the host share: a shop that lives as long as a test, on ports
//! and databases of its own, and a client that trusts its certificate.

mod answer;
mod books;
mod browser;
mod collector;
pub mod component;
mod listener;
mod load;
mod logs;
mod native;
mod operator;
mod project;
mod prometheus;
mod proxy;
mod session;
mod shop;
mod turnstile;
mod visitor;
mod wait;
mod wire;

pub use answer::Answer;
pub use books::{Books, Stock};
pub use browser::Browser;
pub use collector::{Collector, Received};
pub use listener::{Dialer, EventSource, Heard, Listener, SUBPROTOCOL, ServerSent};
pub use load::{Load, Sample};
pub use logs::{Line, Logs};
pub use native::NativePeer;
pub use operator::Operator;
pub use project::{Program, Project};
pub use prometheus::Prometheus;
pub use proxy::Proxy;
pub use session::{Session, hashed};
pub use shop::{Shop, ShopBuilder, client, repository};
pub use turnstile::Turnstile;
pub use visitor::Visitor;
pub use wait::{at_once, eventually, until, within};
pub use wire::Wire;

/// The components that the tests use, built by this crate's build script.
pub mod components {
    include!(concat!(env!("OUT_DIR"), "/components.rs"));
}
