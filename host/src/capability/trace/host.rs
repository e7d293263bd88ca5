//! The host functions.

use wasmtime::Result;

use crate::bindings::wasmyard::platform::trace::{self, Attribute};
use crate::runtime::Context;

impl trace::Host for Context {
    fn traceparent(&mut self) -> Result<String> {
        Ok(self.request.trace.traceparent())
    }

    // No span is recorded yet, so there is none that these could be added to.
    fn set_attributes(&mut self, _attributes: Vec<Attribute>) -> Result<()> {
        Ok(())
    }

    fn add_event(&mut self, _name: String, _attributes: Vec<Attribute>) -> Result<()> {
        Ok(())
    }
}
