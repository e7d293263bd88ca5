//! `wasmyard:platform/stats`: what the host has counted for a service.

use wasmtime::Result;

pub use crate::bindings::wasmyard::platform::stats::Snapshot;

use crate::bindings::wasmyard::platform::stats;
use crate::runtime::Context;

/// Gives a service's numbers.
pub trait Reader: Send + Sync {
    /// The numbers at this moment; `version` is left to the caller.
    fn read(&self) -> Snapshot;

    /// Counts an event of the service's own.
    fn count(&self, event: &str, by: u64);
}

impl stats::Host for Context {
    fn read(&mut self) -> Result<Snapshot> {
        let reader = self.capabilities.stats.as_ref();
        let snapshot = reader.map(|reader| reader.read());
        let snapshot = snapshot.ok_or_else(|| wasmtime::format_err!("stats is not granted"))?;
        Ok(Snapshot { version: self.version.to_string(), ..snapshot })
    }

    fn count(&mut self, event: String, by: u64) -> Result<()> {
        if let Some(stats) = &self.capabilities.stats {
            stats.count(&event, by);
        }
        Ok(())
    }
}
