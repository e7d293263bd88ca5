//! `wasmyard:platform/config`: the service's own settings.

use wasmtime::Result;

use crate::bindings::wasmyard::platform::config;
use crate::runtime::Context;

impl config::Host for Context {
    fn get(&mut self, name: String) -> Result<Option<String>> {
        Ok(self.capabilities.settings.get(&name).cloned())
    }
}
