//! The wasmtime engine: the instance allocator, and the clock that ends guests which
//! compute for too long.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use wasmtime::{Config, Enabled, InstanceAllocationStrategy, PoolingAllocationConfig};

use super::component::opaque;
use crate::limits::{
    EPOCH_TICK, FIBER_STACK_BYTES, MEMORY_MIB_CEILING, MIB, TABLE_ELEMENTS_MAX, WASM_STACK_BYTES,
};

/// The engine, ticking as long as this value lives.
pub struct Engine {
    engine: wasmtime::Engine,
    stop: Arc<AtomicBool>,
    ticker: Option<JoinHandle<()>>,
}

impl Engine {
    /// An engine for so many instances at once, of all services together.
    ///
    /// # Errors
    /// When the allocator's address space cannot be reserved.
    pub fn new(instances_max: u32) -> anyhow::Result<Self> {
        let engine = wasmtime::Engine::new(&config(instances_max)).map_err(opaque)?;
        let stop = Arc::new(AtomicBool::new(false));
        let ticker = std::thread::Builder::new().name("epoch".into()).spawn({
            let (engine, stop) = (engine.weak(), stop.clone());
            move || {
                while !stop.load(Ordering::Relaxed) {
                    std::thread::park_timeout(EPOCH_TICK);
                    let Some(engine) = engine.upgrade() else { return };
                    engine.increment_epoch();
                }
            }
        })?;
        Ok(Self { engine, stop, ticker: Some(ticker) })
    }

    /// The engine itself.
    pub fn wasmtime(&self) -> &wasmtime::Engine {
        &self.engine
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(ticker) = self.ticker.take() {
            ticker.thread().unpark();
            // The ticker cannot panic, and nothing depends on how it ended.
            let _ = ticker.join();
        }
    }
}

fn config(instances_max: u32) -> Config {
    let mut pool = PoolingAllocationConfig::default();
    pool.total_component_instances(instances_max)
        // A component that rustc links is its module and up to three shims that wire
        // up the imports, each an instance, with a table among them.
        .max_core_instances_per_component(8)
        .max_tables_per_component(8)
        .max_memories_per_component(1)
        .total_core_instances(instances_max * 4)
        .total_tables(instances_max * 2)
        .total_memories(instances_max)
        .total_stacks(instances_max)
        .table_elements(TABLE_ELEMENTS_MAX)
        .max_memory_size(MEMORY_MIB_CEILING as usize * MIB)
        // Pages that a reused slot keeps instead of giving them back to the kernel: a
        // fresh instance then costs a memset instead of page faults (measured: three
        // times as many fresh instances a second).
        .linear_memory_keep_resident(2 * MIB)
        .table_keep_resident(MIB)
        .async_stack_keep_resident(64 * 1024)
        .pagemap_scan(Enabled::Auto);

    let mut config = Config::new();
    config
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
        .epoch_interruption(true)
        .max_wasm_stack(WASM_STACK_BYTES)
        .async_stack_size(FIBER_STACK_BYTES)
        // The handler is synchronous and one call is in an instance at a time, so the
        // book-keeping for concurrent calls would only cost (measured: 5 %).
        .concurrency_support(false);
    config
}
