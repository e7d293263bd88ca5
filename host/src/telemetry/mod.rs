//! Logs, metrics, and each service's own numbers.

mod decisions;
mod event_metrics;
mod latency;
pub mod logs;
pub mod metrics;
mod own;
mod stats;
pub mod trace;
mod traffic;

pub use decisions::{DecidedBy, LimitCounters};
pub use latency::Latency;
pub use own::{OwnEvents, TurnCounts, TurnOutcome};
pub use stats::{InFlight, ServiceStats};
pub use traffic::{Origin, RouteStats, StatusCounts};
