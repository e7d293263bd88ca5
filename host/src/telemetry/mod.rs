//! Logs, metrics, traces, and each service's own numbers.

mod decisions;
mod exemplars;
mod exposition;
mod latency;
pub mod logs;
pub mod metrics;
mod stats;
pub mod trace;
mod traffic;

pub use decisions::{DecidedBy, LimitCounters};
pub use exemplars::{Exemplar, Exemplars};
pub use exposition::Format;
pub use latency::Latency;
pub use stats::{InFlight, ServiceStats};
pub use traffic::{Origin, RouteStats, StatusCounts};
