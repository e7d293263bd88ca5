//! One instance of a component, and one call into it.

use std::sync::Arc;
use std::time::Instant;

use wasmtime::component::{Component, ResourceTable};
use wasmtime::{Result, Store, UpdateDeadline};

use super::context::{Context, RequestScope};
use super::memory::MemoryLimit;
use super::message::Request;
use crate::bindings;
use crate::bindings::ServicePre;
use crate::bindings::wasmyard::platform::http_types;
use crate::capability::Capabilities;
use crate::capability::leftovers;
use crate::capability::log::LogSink;
use crate::capability::wasi;
use crate::limits::{GUEST_RESOURCES_MAX, HOSTCALL_BYTES_MAX, MIB};
use crate::manifest::ServiceLimits;

/// What is needed to make an instance.
pub(super) struct Linked {
    /// The service's name.
    pub service: Arc<str>,
    /// The version's label.
    pub label: Arc<str>,
    /// The code.
    pub component: Component,
    /// The code with its imports resolved.
    pub pre: ServicePre<Context>,
    /// What its host functions work on.
    pub capabilities: Arc<Capabilities>,
    /// The bounds.
    pub limits: Arc<ServiceLimits>,
}

/// An instance with its store. Dropping it frees everything that the guest held.
pub(super) struct Instance {
    store: Store<Context>,
    exports: bindings::Service,
    requests: u64,
    /// The guest kept a transaction or a fill beyond its call.
    leaks: bool,
}

impl Instance {
    /// Makes an instance, within `scope.deadline`: a component's start code runs here.
    pub(super) async fn new(linked: &Linked, scope: RequestScope) -> Result<Self> {
        let log = LogSink::new(linked.service.clone(), linked.label.clone(), linked.capabilities.log.clone());
        log.begin(&scope.id);
        let mut table = ResourceTable::new();
        table.set_max_capacity(GUEST_RESOURCES_MAX);
        let context = Context {
            service: linked.service.clone(),
            version: linked.label.clone(),
            capabilities: linked.capabilities.clone(),
            wasi: wasi::context(&log),
            log,
            table,
            memory: MemoryLimit::new(linked.limits.memory_mib),
            request: scope,
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
        Ok(Self { store, exports, requests: 0, leaks: false })
    }

    /// Hands the guest one request.
    ///
    /// # Errors
    /// A trap, or an error of a host function. The instance must then be dropped: its
    /// memory is in an unknown state.
    pub(super) async fn call(&mut self, request: Request) -> Result<http_types::Response> {
        self.requests += 1;
        self.store.set_epoch_deadline(1);
        let context = self.store.data_mut();
        context.log.begin(&request.id);
        context.request = RequestScope::of(&request);
        let request = guest_request(request);
        let handler = self.exports.wasmyard_platform_http_handler();
        let response = handler.call_handle(&mut self.store, &request).await;
        let context = self.store.data_mut();
        context.log.end();
        self.leaks |= leftovers::end(context);
        response
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
            id: request.id.clone(),
            depth: request.depth,
            deadline: request.deadline,
            identity: request.identity.clone(),
            transactions_open: 0,
        }
    }
}

fn guest_request(request: Request) -> http_types::Request {
    let headers = request.headers.iter();
    let headers =
        headers.map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec())).collect();
    http_types::Request {
        method: request.method.as_str().to_owned(),
        path: request.path,
        query: request.query,
        route: request.route.as_ref().to_owned(),
        params: request.params,
        headers,
        body: request.body.into(),
        identity: request
            .identity
            .map(|caller| http_types::Identity { subject: caller.subject, roles: caller.roles }),
        request_id: request.id.as_str().to_owned(),
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
}

/// The counts that a version's instances share.
pub(super) type SharedCounts = Arc<InstanceCounts>;
