//! A guest's memory: bounded while it grows, and remembered afterwards.

use wasmtime::{ResourceLimiter, Result};

use crate::limits::TABLE_ELEMENTS_MAX;

/// Refuses growth beyond the service's limit. The guest sees its allocation fail,
/// which in Rust aborts, which is a trap.
#[derive(Debug)]
pub struct MemoryLimit {
    bytes_max: usize,
    bytes: usize,
}

impl MemoryLimit {
    /// A bound of `mebibytes` on an instance's linear memory.
    pub fn new(mebibytes: u32) -> Self {
        Self { bytes_max: mebibytes as usize * crate::limits::MIB, bytes: 0 }
    }

    /// What the instance's memory has grown to; wasm memory never shrinks.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl ResourceLimiter for MemoryLimit {
    fn memory_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> Result<bool> {
        let allowed = desired <= self.bytes_max;
        if allowed {
            self.bytes = desired;
        }
        Ok(allowed)
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> Result<bool> {
        Ok(desired <= TABLE_ELEMENTS_MAX)
    }
}
