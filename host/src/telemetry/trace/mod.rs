//! Distributed traces, recorded without a guest's help and sent over OTLP.
//!
//! ```text
//! GET /api/v1/orders              server, of the service's own name
//! ├─ auth, rate limit, stored answer
//! ├─ instance                     where a fresh one had to be made
//! └─ guest                        the component's work; it may add attributes and events
//!    ├─ SELECT orders             client, postgresql
//!    │  └─ pool                   the wait for a connection
//!    ├─ GET                       client, redis
//!    ├─ GET /api/v1/users/{id}    client: a call to another service
//!    │  └─ GET /api/v1/users/{id} server, of that service's name
//!    └─ send orders               producer: the row of the outbox that this work has written,
//!       └─ process orders         moved to the stream; consumer: read there, once by each host
//! ```
//!
//! A turn in the background is a trace of its own, kept if it did something.
//!
//! Names and attributes are those of OpenTelemetry's semantic conventions as far as these
//! are stable; the host's own begin with `wasmyard.`. Nothing that a client or a database
//! has sent stands in them beyond method, path and address: no query of a URL, no value of
//! a statement, no key of Redis.
//!
//! A trace is recorded when the client's is, unless `telemetry.trust_clients` says that the
//! clients are strangers; and otherwise at `telemetry.sample_ratio`.
//! Where it is not, a span is a null pointer and nothing below it allocates. Ended spans
//! wait in a bounded queue; a task groups them by service and sends them (`export.rs`).
//! With the collector away they are dropped and counted, and nobody waits.

mod context;
mod current;
mod export;
mod hold;
mod message;
mod otlp;
mod size;
mod span;
#[cfg(test)]
mod tests;
mod tracer;

pub use context::{TRACEPARENT, TRACESTATE, TraceContext, TraceId};
pub use current::{around, carried, child_of_current};
pub use opentelemetry::trace::SpanKind;
pub use span::{Recording, Span};
pub use tracer::{HOST, SpanCounters, Tracer};
