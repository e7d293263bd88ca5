//! Logs, metrics, and each service's own numbers.

mod latency;
pub mod logs;
pub mod metrics;
mod stats;
mod traffic;

pub use latency::Latency;
pub use stats::{InFlight, ServiceStats};
pub use traffic::{Origin, RouteStats, StatusCounts};
