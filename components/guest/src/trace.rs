//! What a service may add to its own span. It need not: the host records what a service
//! does without its help.

use crate::bindings::wasmyard::platform::trace;

pub use crate::bindings::wasmyard::platform::trace::Value;

/// The context of the service's own work, to be handed on with a message or a row: a W3C
/// `traceparent`, of 55 characters. There always is one.
pub fn traceparent() -> String {
    trace::traceparent()
}

/// Sets an attribute of the service's span, whose name has lower case and dots:
/// `shop.order.lines`. Nothing secret: whoever reads traces sees it.
pub fn attribute(name: &str, value: impl Into<Value>) {
    trace::set_attributes(&[(name.to_owned(), value.into())]);
}

/// Adds an event at this moment to the service's span.
pub fn event(name: &str, attributes: &[(&str, Value)]) {
    let attributes: Vec<_> =
        attributes.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    trace::add_event(name, &attributes);
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Boolean(value)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<i32> for Value {
    fn from(number: i32) -> Self {
        Self::Integer(number.into())
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Float(number)
    }
}
