//! Logs, metrics, traces, and each service's own numbers.

mod decisions;
mod event_metrics;
mod exemplars;
mod exposition;
mod latency;
mod lines;
pub mod logs;
pub mod metrics;
mod own;
mod stats;
pub mod trace;
mod traffic;

pub use decisions::{DecidedBy, LimitCounters};
pub use exemplars::{Exemplar, Exemplars};
pub use exposition::Format;
pub use latency::Latency;
pub use own::{OwnEvents, TurnCounts, TurnOutcome};
pub use stats::{InFlight, ServiceStats};
pub use traffic::{Origin, RouteStats, StatusCounts};
