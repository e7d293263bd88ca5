//! The spans of an event on its way: the row that is moved, and the event that is read.

use std::sync::Arc;

use super::event::Event;
use super::outbox::Row;
use crate::telemetry::trace::{Span, Tracer};

/// Who records the events of one topic.
#[derive(Debug, Clone)]
pub(super) struct Traced {
    pub(super) tracer: Arc<Tracer>,
    /// Whose events they are.
    pub(super) service: Arc<str>,
    pub(super) topic: Arc<str>,
}

impl Traced {
    /// Begins a span for each row whose trace is recorded, and has its event say so: who
    /// takes the event comes under that span.
    pub(super) fn send(&self, rows: &mut [Row]) -> Vec<Span> {
        let mut spans = Vec::new();
        for row in rows {
            let Some(written) = &row.traceparent else { continue };
            let (span, handed_on) = self.tracer.send(&self.service, written, &self.topic);
            if span.is_recorded() {
                row.traceparent = Some(handed_on.traceparent());
                spans.push(span);
            }
        }
        spans
    }

    /// Begins the span of an event that this host has read, if its trace is recorded.
    pub(super) fn process(&self, event: &Event) -> Span {
        let Some(sent) = event.traceparent() else { return Span::default() };
        let (mut span, _) = self.tracer.process(&self.service, sent, &self.topic);
        span.with(|span| span.set("messaging.message.id", event.id.to_string()));
        span
    }
}
