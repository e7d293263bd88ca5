//! The host functions: what a guest says is bounded before it is kept.

use opentelemetry::KeyValue;
use wasmtime::Result;

use crate::bindings::wasmyard::platform::trace::{self, Attribute, Value};
use crate::limits::{SPAN_EVENT_ATTRIBUTES_MAX, SPAN_NAME_BYTES_MAX, SPAN_TEXT_BYTES_MAX};
use crate::runtime::Context;

impl trace::Host for Context {
    fn traceparent(&mut self) -> Result<String> {
        Ok(self.request.trace.traceparent())
    }

    fn set_attributes(&mut self, attributes: Vec<Attribute>) -> Result<()> {
        self.span.with(|span| span.set_given(attributes.into_iter().map(bounded)));
        Ok(())
    }

    fn add_event(&mut self, name: String, attributes: Vec<Attribute>) -> Result<()> {
        self.span.with(|span| {
            let dropped = attributes.len().saturating_sub(SPAN_EVENT_ATTRIBUTES_MAX);
            let kept = attributes.into_iter().take(SPAN_EVENT_ATTRIBUTES_MAX).map(bounded).collect();
            let dropped = u32::try_from(dropped).unwrap_or(u32::MAX);
            span.event(cut(name, SPAN_NAME_BYTES_MAX), kept, dropped);
        });
        Ok(())
    }
}

fn bounded((name, value): Attribute) -> KeyValue {
    let name = cut(name, SPAN_NAME_BYTES_MAX);
    match value {
        Value::Text(text) => KeyValue::new(name, cut(text, SPAN_TEXT_BYTES_MAX)),
        Value::Boolean(value) => KeyValue::new(name, value),
        Value::Integer(number) => KeyValue::new(name, number),
        Value::Float(number) => KeyValue::new(name, number),
    }
}

/// At most so many bytes, cut between characters.
fn cut(mut text: String, bytes_max: usize) -> String {
    text.truncate(text.floor_char_boundary(bytes_max));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(cut("grün".to_owned(), 3), "gr");
        assert_eq!(cut("grün".to_owned(), 4), "grü");
        assert_eq!(cut("grün".to_owned(), 40), "grün");
    }
}
