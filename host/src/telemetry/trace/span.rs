//! A span in the making.

use std::borrow::Cow;
use std::time::{Instant, SystemTime};

use opentelemetry::trace::{Event, Link, SpanId, SpanKind, Status};
use opentelemetry::{InstrumentationScope, KeyValue, Value};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

use super::context::new_span_id;
use super::tracer::Recorder;
use super::{TraceContext, size};
use crate::limits::{SPAN_ATTRIBUTES_MAX, SPAN_EVENTS_MAX, SPAN_GIVEN_BYTES_MAX};

/// A span that is being recorded, or nothing where its trace is not. Dropped without
/// [`Span::end`], it is recorded as cut off: its client went away, or its time was over.
#[derive(Debug, Default)]
#[must_use = "a span lasts until it is ended"]
pub struct Span(Option<Box<Recording>>);

/// What is recorded of a span.
#[derive(Debug)]
pub struct Recording {
    context: TraceContext,
    data: Box<SpanData>,
    /// Bytes of what a guest has given.
    given_bytes: usize,
    in_vain: bool,
}

impl TraceContext {
    /// Begins a span under this one.
    #[inline]
    pub fn child(&self, kind: SpanKind, name: &'static str) -> Span {
        match &self.recorder {
            Some(_) => Span::begin(self.at(new_span_id()), Some(self), kind, name, SystemTime::now()),
            None => Span::default(),
        }
    }

    /// Begins the span of a request that arrived a moment ago: under the client's, or the
    /// first of the trace.
    #[inline]
    pub fn request(&self, arrived: Instant) -> Span {
        if self.recorder.is_none() {
            return Span::default();
        }
        let began = SystemTime::now().checked_sub(arrived.elapsed()).unwrap_or(SystemTime::UNIX_EPOCH);
        self.first(SpanKind::Server, "HTTP", began)
    }

    /// Begins the first span here: under one from outside, or the first of its trace.
    pub(super) fn first(&self, kind: SpanKind, name: &'static str, start_time: SystemTime) -> Span {
        match (&self.recorder, self.is_remote) {
            (None, _) => Span::default(),
            (_, true) => Span::begin(self.at(new_span_id()), Some(self), kind, name, start_time),
            (_, false) => Span::begin(self.clone(), None, kind, name, start_time),
        }
    }
}

impl Span {
    pub(super) fn begin(
        context: TraceContext,
        parent: Option<&TraceContext>,
        kind: SpanKind,
        name: &'static str,
        start_time: SystemTime,
    ) -> Self {
        let data = Box::new(SpanData {
            span_context: context.span_context(),
            parent_span_id: parent.map_or(SpanId::INVALID, |parent| parent.span_id.into()),
            parent_span_is_remote: parent.is_some_and(|parent| parent.is_remote),
            span_kind: kind,
            name: Cow::Borrowed(name),
            start_time,
            end_time: start_time,
            attributes: Vec::new(),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: scope(),
        });
        Self(Some(Box::new(Recording { context, data, given_bytes: 0, in_vain: false })))
    }

    /// Whether it is recorded.
    #[inline]
    pub fn is_recorded(&self) -> bool {
        self.0.is_some()
    }

    /// The context of what happens within it; where it is not recorded, that around it.
    pub fn under(&self, around: &TraceContext) -> TraceContext {
        self.0.as_ref().map_or_else(|| around.clone(), |recording| recording.context.clone())
    }

    /// Adds to it, if it is recorded.
    #[inline]
    pub fn with(&mut self, add: impl FnOnce(&mut Recording)) {
        if let Some(recording) = &mut self.0 {
            add(recording);
        }
    }

    /// Ends it; `add` has the last word, if it is recorded.
    #[inline]
    pub fn end_with(mut self, add: impl FnOnce(&mut Recording)) {
        if self.is_recorded() {
            self.with(add);
            self.0.take().into_iter().for_each(|recording| recording.end());
        }
    }

    /// Ends it.
    #[inline]
    pub fn end(self) {
        self.end_with(|_| {});
    }
}

impl Drop for Span {
    #[inline]
    fn drop(&mut self) {
        if let Some(recording) = self.0.take() {
            recording.cut_off();
        }
    }
}

impl Recording {
    /// Gives it another name.
    pub fn rename(&mut self, name: impl Into<Cow<'static, str>>) {
        self.data.name = name.into();
    }

    /// Sets an attribute of the host's.
    pub fn set(&mut self, name: &'static str, value: impl Into<Value>) {
        self.data.attributes.push(KeyValue::new(name, value));
    }

    /// It failed: `kind` is one of few words, `description` a sentence.
    pub fn fail(&mut self, kind: impl Into<Cow<'static, str>>, description: impl Into<Cow<'static, str>>) {
        self.set("error.type", kind.into());
        self.data.status = Status::error(description);
    }

    /// Whether it has failed already.
    pub fn has_failed(&self) -> bool {
        matches!(self.data.status, Status::Error { .. })
    }

    /// It found nothing to do: no reason to keep a trace of it.
    pub fn in_vain(&mut self) {
        self.in_vain = true;
    }

    /// Gives it to another service than that of the context it began in.
    pub fn assign(&mut self, service: &std::sync::Arc<str>) {
        self.context = self.context.of_service(service);
    }

    /// Links it to another span, of any trace.
    pub fn link(&mut self, to: &TraceContext) {
        self.data.links.links.push(Link::with_context(to.span_context()));
    }

    /// Sets attributes of a guest's, within the bounds of a span.
    pub fn set_given(&mut self, attributes: impl IntoIterator<Item = KeyValue>) {
        for attribute in attributes {
            let attributes = &mut self.data.attributes;
            let known = attributes.iter().position(|known| known.key == attribute.key);
            let bytes = self.given_bytes + size::of_attribute(&attribute);
            let has_place = known.is_some() || attributes.len() < SPAN_ATTRIBUTES_MAX;
            if !has_place || bytes > SPAN_GIVEN_BYTES_MAX {
                self.data.dropped_attributes_count = self.data.dropped_attributes_count.saturating_add(1);
                continue;
            }
            self.given_bytes = bytes;
            match known {
                Some(known) => attributes[known] = attribute,
                None => attributes.push(attribute),
            }
        }
    }

    /// Adds an event of this moment, of whose attributes `dropped` have been left out.
    pub fn event(&mut self, name: String, attributes: Vec<KeyValue>, dropped: u32) {
        let events = &mut self.data.events;
        let given: usize = attributes.iter().map(size::of_attribute).sum();
        let bytes = self.given_bytes + size_of::<Event>() + name.len() + given;
        if events.events.len() < SPAN_EVENTS_MAX && bytes <= SPAN_GIVEN_BYTES_MAX {
            self.given_bytes = bytes;
            events.events.push(Event::new(name, SystemTime::now(), attributes, dropped));
        } else {
            events.dropped_count = events.dropped_count.saturating_add(1);
        }
    }

    #[cold]
    fn cut_off(mut self) {
        self.fail("cancelled", "cut off before its end");
        self.end();
    }

    fn end(self) {
        let has_happened = self.data.span_kind != SpanKind::Internal && !self.in_vain;
        let eventful = has_happened || self.has_failed() || self.given_bytes > 0;
        let Self { context, mut data, .. } = self;
        // The clock may have been set back meanwhile.
        data.end_time = SystemTime::now().max(data.start_time);
        if let Some(recorder) = context.recorder {
            Recorder::take(recorder, data, eventful);
        }
    }
}

/// Who has recorded it.
fn scope() -> InstrumentationScope {
    InstrumentationScope::builder("wasmyard").with_version(env!("CARGO_PKG_VERSION")).build()
}
