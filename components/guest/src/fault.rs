//! What is wrong with one part of a request.

use std::fmt;

use serde::Serialize;
use utoipa::ToSchema;

/// What is wrong with one part of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Fault {
    /// JSON pointer (RFC 6901) into the body; empty for the body itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pointer: Option<String>,
    /// The query parameter, where the fault is not in the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    parameter: Option<String>,
    /// What is wrong, for people.
    detail: String,
}

impl Fault {
    /// A fault of a field of the body.
    pub fn field(name: &str, detail: impl Into<String>) -> Self {
        let pointer = format!("/{}", name.replace('~', "~0").replace('/', "~1"));
        Self { pointer: Some(pointer), parameter: None, detail: detail.into() }
    }

    /// A fault of what stands at a JSON pointer (RFC 6901), which is taken as it is.
    pub fn at(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { pointer: Some(pointer.into()), parameter: None, detail: detail.into() }
    }

    /// The same fault, of a body that stands at a pointer within another one.
    #[must_use]
    pub(crate) fn within(self, place: &str) -> Self {
        let pointer = self.pointer.map(|pointer| format!("{place}{pointer}"));
        Self { pointer, ..self }
    }

    /// A fault of the body as a whole.
    pub fn body(detail: impl Into<String>) -> Self {
        Self { pointer: Some(String::new()), parameter: None, detail: detail.into() }
    }

    /// A fault of a query parameter.
    pub fn parameter(name: &str, detail: impl Into<String>) -> Self {
        Self { pointer: None, parameter: Some(name.to_owned()), detail: detail.into() }
    }
}

/// `invalid user_id: there is no user with the id 9999`
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let field = self.pointer.as_deref().and_then(|pointer| pointer.strip_prefix('/'));
        let name = field.or(self.parameter.as_deref()).unwrap_or("body");
        write!(f, "invalid {name}: {}", self.detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_escapes_what_would_be_syntax() {
        assert_eq!(Fault::field("a/b~c", "").pointer.as_deref(), Some("/a~1b~0c"));
    }

    #[test]
    fn a_fault_reads_as_a_sentence() {
        assert_eq!(Fault::field("stock", "is required").to_string(), "invalid stock: is required");
        assert_eq!(Fault::parameter("limit", "too large").to_string(), "invalid limit: too large");
        assert_eq!(Fault::body("must be a JSON object").to_string(), "invalid body: must be a JSON object");
        let deep = Fault::field("quantity", "is required").within("/items/3");
        assert_eq!(deep, Fault::at("/items/3/quantity", "is required"));
        assert_eq!(deep.to_string(), "invalid items/3/quantity: is required");
    }
}
