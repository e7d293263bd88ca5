//! `wasmyard:platform/config`: the service's own settings, and the limits that it may have to
//! reckon with.

use std::collections::BTreeMap;

use wasmtime::Result;

use crate::bindings::wasmyard::platform::config;
use crate::manifest::ServiceLimits;
use crate::runtime::Context;

/// What a service can read: its settings, and `limits.request_timeout_ms` as it is in force,
/// whether or not the manifest has it.
pub fn readable(settings: &BTreeMap<String, String>, limits: &ServiceLimits) -> BTreeMap<String, String> {
    let mut readable = settings.clone();
    readable.insert("limits.request_timeout_ms".to_owned(), limits.request_timeout.as_millis().to_string());
    readable
}

impl config::Host for Context {
    fn get(&mut self, name: String) -> Result<Option<String>> {
        Ok(self.capabilities.settings.get(&name).cloned())
    }
}
