//! The data of a guest's store: what its host functions work on.

use std::sync::Arc;
use std::time::Instant;

use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use super::memory::MemoryLimit;
use super::message::{Identity, RequestId};
use crate::capability::Capabilities;
use crate::capability::cache::Found;
use crate::capability::log::LogSink;
use crate::telemetry::trace::{Span, TraceContext};

/// One instance's data. The first part lives as long as the instance, `request` as
/// long as one call.
pub struct Context {
    /// The service's name.
    pub service: Arc<str>,
    /// The version's label: the first 12 hex digits of the component's digest.
    pub version: Arc<str>,
    /// What the service has been granted.
    pub capabilities: Arc<Capabilities>,
    /// Where log lines and prints go; shared with the WASI streams.
    pub log: LogSink,
    /// What std's imports see: no files, no sockets, an empty environment.
    pub wasi: WasiCtx,
    /// The guest's resources.
    pub table: ResourceTable,
    /// The bound on its memory, and what it has grown to.
    pub memory: MemoryLimit,
    /// The call being worked on.
    pub request: RequestScope,
    /// The span of the guest's own work on it.
    pub span: Span,
}

/// What one call carries along to the host functions.
#[derive(Debug, Clone)]
pub struct RequestScope {
    /// The request's id.
    pub id: RequestId,
    /// How deep in calls between services.
    pub depth: u8,
    /// When it must be answered: every host function's wait ends here at the latest.
    pub deadline: Instant,
    /// The verified caller.
    pub identity: Option<Identity>,
    /// Where in a trace the guest's work stands.
    pub trace: TraceContext,
    /// A key of the cache and what the store had under it when the request came: the
    /// guest's first lookup of that key need not ask again.
    pub read: Option<(String, Found)>,
    /// Transactions open in this call, bounded by
    /// [`crate::limits::POSTGRES_TRANSACTIONS_MAX`].
    pub transactions_open: usize,
}

impl WasiView for Context {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

// Types alone; the trait has no functions.
impl crate::bindings::wasmyard::platform::http_types::Host for Context {}
