//! What a span takes of memory, and at most of a message to the collector.

use std::mem::size_of;

use opentelemetry::trace::{Event, Link, Status};
use opentelemetry::{KeyValue, Value};
use opentelemetry_sdk::trace::SpanData;

/// A span's bytes: its texts, and the places of what it is made of.
pub(super) fn of(span: &SpanData) -> usize {
    let events: usize = span.events.iter().map(event).sum();
    let said = if let Status::Error { description } = &span.status { description.len() } else { 0 };
    let links = span.links.len() * size_of::<Link>();
    size_of::<SpanData>() + span.name.len() + said + attributes(&span.attributes) + events + links
}

/// An attribute's bytes.
pub(super) fn of_attribute(attribute: &KeyValue) -> usize {
    let text = if let Value::String(text) = &attribute.value { text.as_str().len() } else { 0 };
    size_of::<KeyValue>() + attribute.key.as_str().len() + text
}

fn event(event: &Event) -> usize {
    size_of::<Event>() + event.name.len() + attributes(&event.attributes)
}

fn attributes(attributes: &[KeyValue]) -> usize {
    attributes.iter().map(of_attribute).sum()
}
