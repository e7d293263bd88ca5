//! What is counted about connections.

use std::sync::atomic::AtomicU64;

/// Counters since the start, and one gauge. They are read by the metrics page and
/// need no order among each other.
#[derive(Debug, Default)]
pub struct ConnectionStats {
    /// Connections open at this moment, on all listeners.
    pub open: AtomicU64,
    /// Connections accepted.
    pub accepted: AtomicU64,
    /// Connections turned away because there were `server.limits.connections_max`.
    pub turned_away: AtomicU64,
    /// TLS handshakes that failed or did not end in time.
    pub handshakes_failed: AtomicU64,
    /// Connections ended because a client did not send a head it had begun, or did
    /// not take an answer, in time.
    pub timed_out: AtomicU64,
    /// Connections cut off at the end of a drain.
    pub aborted: AtomicU64,
}
