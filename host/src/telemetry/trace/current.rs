//! The span that a task is in.
//!
//! What stands behind a capability knows no request: a pool lends connections to whoever
//! asks, a connection to Redis takes commands from all sides. Their steps come under the
//! span of the task that asks.

use tokio::task::futures::TaskLocalFuture;

use super::{Span, SpanKind, TraceContext};

tokio::task_local! {
    static CURRENT: Option<TraceContext>;
}

/// Runs a future within a span, if that is recorded.
pub fn around<F: Future>(context: &TraceContext, future: F) -> TaskLocalFuture<Option<TraceContext>, F> {
    CURRENT.scope(context.is_recorded().then(|| context.clone()), future)
}

/// Runs a future, in whatever task, within the span that this task is in now.
pub fn carried<F: Future>(future: F) -> TaskLocalFuture<Option<TraceContext>, F> {
    CURRENT.scope(CURRENT.try_with(Clone::clone).unwrap_or_default(), future)
}

/// Begins a span under the one that this task is in.
pub fn child_of_current(kind: SpanKind, name: &'static str) -> Span {
    let child = |current: &Option<TraceContext>| current.as_ref().map(|current| current.child(kind, name));
    CURRENT.try_with(child).ok().flatten().unwrap_or_default()
}
