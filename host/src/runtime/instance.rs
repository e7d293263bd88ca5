//! One instance of a component, and one call into it.

use std::sync::Arc;
use std::time::Instant;

use wasmtime::component::{
    Component, ComponentNamedList, Instance as Exports, InstancePre, Lift, Lower, ResourceTable,
};
use wasmtime::{Result, Store, UpdateDeadline};

use super::background::{BackgroundExports, Function};
use super::context::{Context, RequestScope};
use super::entry::{Entry, Handle, Shown};
use super::memory::MemoryLimit;
use super::message::{Request, VersionName};
use crate::bindings::wasmyard::platform::http_types;
use crate::capability::Capabilities;
use crate::capability::leftovers;
use crate::capability::log::LogSink;
use crate::capability::wasi;
use crate::limits::{GUEST_RESOURCES_MAX, HOSTCALL_BYTES_MAX, MIB};
use crate::manifest::ServiceLimits;
use crate::telemetry::Latency;
use crate::telemetry::trace::{Span, SpanKind, TraceContext, around};

/// What is needed to make an instance.
pub(super) struct Linked {
    /// The service's name.
    pub service: Arc<str>,
    /// The version's name.
    pub version: VersionName,
    /// The code.
    pub component: Component,
    /// The code with its imports resolved.
    pub pre: InstancePre<Context>,
    /// Where it is entered.
    pub entry: Entry,
    /// What of a request's header the guest is shown.
    pub shown: Shown,
    /// What its host functions work on.
    pub capabilities: Arc<Capabilities>,
    /// The bounds.
    pub limits: Arc<ServiceLimits>,
}

/// An instance with its store. Dropping it frees everything that the guest held.
pub(super) struct Instance {
    store: Store<Context>,
    exports: Exports,
    handle: Handle,
    requests: u64,
    /// The guest kept a transaction or a fill beyond its call.
    leaks: bool,
}

impl Instance {
    /// Makes an instance, within `scope.deadline`: a component's start code runs here.
    pub(super) async fn new(linked: &Linked, scope: RequestScope) -> Result<Self> {
        let log = LogSink::new(
            linked.service.clone(),
            linked.version.label.clone(),
            linked.capabilities.log.clone(),
        );
        log.begin(&scope.id, scope.trace.trace_id());
        let mut table = ResourceTable::new();
        table.set_max_capacity(GUEST_RESOURCES_MAX);
        let context = Context {
            service: linked.service.clone(),
            version: linked.version.label.clone(),
            capabilities: linked.capabilities.clone(),
            wasi: wasi::context(&log),
            log,
            table,
            memory: MemoryLimit::new(linked.limits.memory_mib),
            request: scope,
            span: Span::default(),
        };
        let mut store = Store::new(linked.component.engine(), context);
        store.limiter(|context| &mut context.memory);
        store.set_hostcall_fuel(HOSTCALL_BYTES_MAX);
        store.set_epoch_deadline(1);
        // Each tick a guest that computes lets other requests of its worker thread go on,
        // and is ended when its time is over. A guest that waits in a host function never
        // comes here: the caller's timer ends it.
        store.epoch_deadline_callback(|context| {
            let late = Instant::now() >= context.data().request.deadline;
            // Tokio's own way to yield lets the thread look at its sockets first. With
            // wasmtime's, a busy thread would do so only once in 61 turns, so a few guests
            // that compute would add a third of a second to everybody's waits.
            let turn = || Box::pin(tokio::task::yield_now());
            Ok(if late { UpdateDeadline::Interrupt } else { UpdateDeadline::YieldCustom(1, turn()) })
        });
        let exports = linked.pre.instantiate_async(&mut store).await?;
        let handle = linked.entry.bind(&exports, &mut store)?;
        Ok(Self { store, exports, handle, requests: 0, leaks: false })
    }

    /// Hands the guest one request.
    ///
    /// # Errors
    /// A trap, or an error of a host function. The instance must then be dropped: its
    /// memory is in an unknown state.
    pub(super) async fn call(&mut self, request: &Request, shown: &Shown) -> Result<http_types::Response> {
        let trace = self.begin(request);
        let response = match trace.is_recorded() {
            true => Box::pin(around(&trace, self.handle.call(&mut self.store, request, shown))).await,
            false => self.handle.call(&mut self.store, request, shown).await,
        };
        self.end(response.is_err());
        response
    }

    /// Calls a function of the guest's work in the background.
    ///
    /// # Errors
    /// As [`Instance::call`].
    pub(super) async fn call_background<P, R>(
        &mut self,
        background: &BackgroundExports,
        function: Function,
        params: P,
        call: &Request,
    ) -> Result<R>
    where
        P: ComponentNamedList + Lower + Send + Sync,
        R: ComponentNamedList + Lift + Send + Sync + 'static,
    {
        let trace = self.begin(call);
        let returned =
            Box::pin(around(&trace, background.call(function, self.exports, &mut self.store, params))).await;
        self.end(returned.is_err());
        returned
    }

    /// Gives the trace that what follows belongs to.
    fn begin(&mut self, request: &Request) -> TraceContext {
        self.requests += 1;
        self.store.set_epoch_deadline(1);
        let context = self.store.data_mut();
        let mut span = request.trace.child(SpanKind::Internal, "guest");
        span.with(|span| span.set("wasmyard.version", context.version.to_string()));
        let trace = span.under(&request.trace);
        context.log.begin(&request.id, trace.trace_id());
        context.request = RequestScope::of(request);
        context.request.trace = trace.clone();
        context.span = span;
        trace
    }

    fn end(&mut self, trapped: bool) {
        let context = self.store.data_mut();
        std::mem::take(&mut context.span).end_with(|span| {
            if trapped {
                span.fail("trap", "the component ended in a trap");
            }
        });
        context.log.end();
        self.leaks |= leftovers::end(context);
    }

    /// Whether the instance must not be used again.
    pub(super) fn is_retired(&self, limits: &ServiceLimits) -> bool {
        self.requests >= limits.instance_requests_max
            || self.store.data().memory.bytes() > limits.instance_memory_mark_mib as usize * MIB
            || self.leaks
    }
}

impl RequestScope {
    /// The part of a request that host functions need.
    pub fn of(request: &Request) -> Self {
        Self {
            id: request.id,
            depth: request.depth,
            deadline: request.deadline,
            identity: request.identity.clone(),
            trace: request.trace.clone(),
            read: request.read.clone(),
            transactions_open: 0,
        }
    }
}

/// How many instances a service has.
#[derive(Debug, Default)]
pub struct InstanceCounts {
    /// Waiting for a request.
    pub warm: std::sync::atomic::AtomicU64,
    /// Working on one.
    pub busy: std::sync::atomic::AtomicU64,
    /// Dropped since the host started, for whatever reason.
    pub retired: std::sync::atomic::AtomicU64,
    /// How long requests waited for a fresh one to be made. A warm one is there at once.
    pub made: Latency,
    /// How long guests worked on requests and in the background, what they waited for
    /// included, and those that were cut off.
    pub worked: Latency,
}

/// The counts that a version's instances share.
pub(super) type SharedCounts = Arc<InstanceCounts>;
