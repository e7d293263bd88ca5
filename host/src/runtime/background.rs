//! `wasmyard:platform/background`: what a component may export beside its handler, for
//! work that no request waits for.

use std::time::Instant;

use wasmtime::Store;
use wasmtime::component::{
    Component, ComponentExportIndex, ComponentNamedList, ComponentType, Instance, Lift, Lower,
};

use super::context::Context;
use super::failure::Failure;
use super::message::{Request, RequestId};
use super::service::Service;
use super::version::Version;
use crate::telemetry::trace::TraceContext;

const INTERFACE: &str = "wasmyard:platform/background@1.0.0";

/// Where a component has its functions.
pub(super) struct BackgroundExports {
    run: ComponentExportIndex,
    parked: ComponentExportIndex,
    retry: ComponentExportIndex,
}

/// One of them.
#[derive(Debug, Clone, Copy)]
pub(super) enum Function {
    Run,
    Parked,
    Retry,
}

/// Work that a service cannot end by itself.
#[derive(Debug, Clone, PartialEq, Eq, ComponentType, Lift)]
#[component(record)]
pub struct Parked {
    /// Names it within the service.
    pub id: String,
    /// What the service was about to do.
    pub step: String,
    /// How often that was tried.
    pub attempts: u32,
    /// When it began: milliseconds since 1970-01-01T00:00:00Z.
    #[component(name = "since-ms")]
    pub since_ms: u64,
    /// Why it failed the last time.
    pub reason: String,
}

impl BackgroundExports {
    /// Finds them; `None` for a component that has no such work.
    pub(super) fn of(component: &Component) -> Option<Self> {
        let interface = component.get_export_index(None, INTERFACE)?;
        let function = |name| component.get_export_index(Some(&interface), name);
        Some(Self { run: function("run")?, parked: function("parked")?, retry: function("retry")? })
    }

    /// Calls one of them.
    ///
    /// # Errors
    /// A trap, an error of a host function, or another type than the contract's.
    pub(super) async fn call<P, R>(
        &self,
        function: Function,
        instance: Instance,
        store: &mut Store<Context>,
        params: P,
    ) -> wasmtime::Result<R>
    where
        P: ComponentNamedList + Lower + Send + Sync,
        R: ComponentNamedList + Lift + Send + Sync + 'static,
    {
        let index = match function {
            Function::Run => &self.run,
            Function::Parked => &self.parked,
            Function::Retry => &self.retry,
        };
        let typed = instance.get_typed_func::<P, R>(&mut *store, index)?;
        typed.call_async(store, params).await
    }
}

/// What the guest says; an `Err` is a sentence of its own.
type Said<T> = Result<T, String>;

impl Service {
    /// Whether the active version has such work at all.
    pub fn has_background(&self) -> bool {
        self.active_version().has_background()
    }

    /// Gives the active version a turn, which ends at `deadline` at the latest. It takes no
    /// permit: there is one turn at a time, and no request has to wait for it.
    ///
    /// # Errors
    /// [`Failure`], as for a request.
    pub async fn run_background(&self, fencing_token: u64, deadline: Instant) -> Result<Said<()>, Failure> {
        self.run_background_in(TraceContext::new(), fencing_token, deadline).await
    }

    /// The same, in a trace.
    ///
    /// # Errors
    /// [`Failure`], as for a request.
    pub async fn run_background_in(
        &self,
        trace: TraceContext,
        fencing_token: u64,
        deadline: Instant,
    ) -> Result<Said<()>, Failure> {
        let version = self.active_version();
        let call = Request { trace, ..host_call("/run", deadline) };
        version.run(fencing_token, &call).await
    }

    /// What is parked.
    ///
    /// # Errors
    /// [`Failure`], as for a request.
    pub async fn parked(&self, deadline: Instant) -> Result<Said<Vec<Parked>>, Failure> {
        let version = self.active_version();
        version.parked(deadline).await
    }

    /// Lets the next turn try parked work again; false when there is none of this id.
    ///
    /// # Errors
    /// [`Failure`], as for a request.
    pub async fn retry_parked(&self, id: &str, deadline: Instant) -> Result<Said<bool>, Failure> {
        let version = self.active_version();
        let call = host_call("/retry", deadline);
        let (retried,) = version.call_background(Function::Retry, (id.to_owned(),), &call).await?;
        Ok(retried)
    }
}

impl Version {
    /// As [`Service::run_background`].
    ///
    /// # Errors
    /// [`Failure`], as for a request.
    pub async fn run_background(&self, fencing_token: u64, deadline: Instant) -> Result<Said<()>, Failure> {
        self.run(fencing_token, &host_call("/run", deadline)).await
    }

    async fn run(&self, fencing_token: u64, call: &Request) -> Result<Said<()>, Failure> {
        let (ran,) = self.call_background(Function::Run, (fencing_token,), call).await?;
        Ok(ran)
    }

    /// As [`Service::parked`].
    ///
    /// # Errors
    /// [`Failure`], as for a request.
    pub async fn parked(&self, deadline: Instant) -> Result<Said<Vec<Parked>>, Failure> {
        let (parked,) = self.call_background(Function::Parked, (), &host_call("/parked", deadline)).await?;
        Ok(parked)
    }
}

/// A call by the host has what a request has: an id for the log, and a deadline.
fn host_call(name: &'static str, deadline: Instant) -> Request {
    Request::get(name, RequestId::new(), deadline)
}
