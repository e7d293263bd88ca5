//! The bounds of this program: those that the host has for the same things, so that
//! neither of the two saves work that the other does.

use std::time::Duration;

/// Connections of both listeners together.
pub(crate) const CONNECTIONS_MAX: usize = 10_000;
/// Connections that the kernel holds until they are accepted.
pub(crate) const ACCEPT_BACKLOG: u32 = 1024;
/// After a failed `accept`, most often for want of file descriptors.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// A client's time for the head of a request.
pub(crate) const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// A client's time for the body of a request.
pub(crate) const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// A client's time for the TLS handshake.
pub(crate) const TLS_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Streams of one HTTP/2 connection.
pub(crate) const HTTP2_STREAMS_MAX: u32 = 200;
/// A body, as the components' manifest allows it.
pub(crate) const BODY_BYTES_MAX: usize = 1024 * 1024;
/// The time for an answer, its backends' included.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections to Postgres: three services with eight each.
pub(crate) const POSTGRES_POOL_MAX: usize = 24;
/// To connect to Postgres.
pub(crate) const POSTGRES_CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// The wait for a connection of the pool.
pub(crate) const POSTGRES_POOL_WAIT: Duration = Duration::from_secs(2);
/// What Postgres itself ends a statement after: before the request's own time is over.
pub(crate) const POSTGRES_STATEMENT_TIMEOUT: Duration = Duration::from_millis(4_500);
/// A command of Redis; it answers in microseconds or not at all.
pub(crate) const REDIS_COMMAND_TIMEOUT: Duration = Duration::from_millis(500);
/// To connect to Redis.
pub(crate) const REDIS_CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Commands that wait for the one connection to Redis.
pub(crate) const REDIS_QUEUE_MAX: usize = 1_000;
/// Between two attempts to connect to Redis.
pub(crate) const REDIS_RECONNECT_PAUSE: Duration = Duration::from_millis(250);
/// How long the right to fill a key is remembered: longer than any request.
pub(crate) const LEASE_TTL: Duration = Duration::from_secs(10);
