//! Distributed traces: where in one a request stands.

mod context;

pub use context::{TRACEPARENT, TRACESTATE, TraceContext};
