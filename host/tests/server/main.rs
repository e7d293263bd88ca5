//! The server over real sockets: a trivial exchange behind it, raw bytes and real
//! clients before it.

mod drain;
mod host;
mod http1;
mod http2;
mod limits;
mod timeouts;
mod tls;
mod wire;
