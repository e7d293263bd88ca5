//! Spans of messages that outlive the request that wrote them: a row of an outbox, the
//! event that comes of it.
//!
//! The row keeps the `traceparent` of the request that wrote it. Who moves the row on, and
//! who hands the event out, are in that trace too, long after the request has ended.

use std::sync::Arc;
use std::time::SystemTime;

use super::{Span, SpanKind, TraceContext, Tracer};

impl Tracer {
    /// Begins the span of sending a message that was written under `traceparent`: recorded if
    /// that trace is, as the service's. `destination` is the stream or topic, one of few.
    /// Give the message the `traceparent` of [`Span::under`], so that who takes it comes
    /// under this span.
    pub fn send(
        self: &Arc<Self>,
        service: &Arc<str>,
        traceparent: &str,
        destination: &str,
    ) -> (Span, TraceContext) {
        self.message(service, traceparent, (SpanKind::Producer, "send"), destination)
    }

    /// Begins the span of handing out a message that carries `traceparent`.
    pub fn process(
        self: &Arc<Self>,
        service: &Arc<str>,
        traceparent: &str,
        destination: &str,
    ) -> (Span, TraceContext) {
        self.message(service, traceparent, (SpanKind::Consumer, "process"), destination)
    }

    /// The span, and the context to hand on. What is no `traceparent` begins a trace.
    fn message(
        self: &Arc<Self>,
        service: &Arc<str>,
        traceparent: &str,
        (kind, operation): (SpanKind, &'static str),
        destination: &str,
    ) -> (Span, TraceContext) {
        let written = TraceContext::parse(traceparent);
        // Whether a trace is recorded was decided when its request came in, by a host.
        let context = match &written {
            Some(written) => self.continued(written.clone()),
            None => self.admit(TraceContext::new()),
        };
        let context = context.of_service(service);
        let mut span = context.first(kind, operation, SystemTime::now());
        span.with(|span| {
            span.rename(format!("{operation} {destination}"));
            span.set("messaging.system", "redis");
            span.set("messaging.operation.name", operation);
            span.set("messaging.operation.type", operation);
            span.set("messaging.destination.name", destination.to_owned());
            // Beside being under it: a trace may show either.
            if let Some(written) = &written {
                span.link(written);
            }
        });
        let handed_on = span.under(&context);
        (span, handed_on)
    }
}
