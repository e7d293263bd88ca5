//! A version: one component linked with one set of grants and limits. Immutable; a
//! deploy, a rollback or a changed manifest makes a new one.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use wasmtime::Trap;
use wasmtime::component::{ComponentNamedList, HasSelf, Lift, Linker, Lower};

use super::answer;
use super::background::{BackgroundExports, Function};
use super::component::{Compiled, Digest, check_contract, opaque};
use super::context::{Context, RequestScope};
use super::description::{self, Description, Known};
use super::entry::{Entry, Shown};
use super::failure::Failure;
use super::instance::{Instance, Linked, SharedCounts};
use super::message::{Request, Response, VersionName};
use super::refusal::Refusal;
use crate::bindings::wasmyard::platform;
use crate::capability::Capabilities;
use crate::capability::cache::GrantedCache;
use crate::limits::INSTANCE_IDLE_MAX;
use crate::manifest::{Grants, Isolation, ServiceLimits};
use crate::telemetry::trace::SpanKind;

/// What a service's manifest entry says of its versions, with the capabilities made
/// ready.
#[derive(Clone)]
pub struct Terms {
    /// What may be imported.
    pub grants: Grants,
    /// The same, ready for use.
    pub capabilities: Arc<Capabilities>,
    /// The bounds.
    pub limits: Arc<ServiceLimits>,
    /// Whether instances are reused.
    pub isolation: Isolation,
    /// Whether the manifest schedules work in the background, so that the component must
    /// have some.
    pub background: bool,
}

/// Idle instances that take no longer to free than a request takes.
const IDLE_FREED_IN_PLACE: usize = 4;

/// A version, with its warm instances.
pub struct Version {
    linked: Linked,
    background: Option<BackgroundExports>,
    digest: Digest,
    isolation: Isolation,
    /// Last in, first out: the instance used last has its memory in the CPU's cache, and
    /// the others become idle and are dropped.
    idle: Mutex<Vec<(Instance, Instant)>>,
    counts: SharedCounts,
    /// What it says of its own API; asked for when somebody wants to know.
    description: Known,
    /// Cancelled at the drain deadline: ends the requests that are still in it.
    expired: CancellationToken,
    /// Cancelled when the last request has let go of the version.
    gone: CancellationToken,
}

impl Version {
    /// Links a component for a service, after checking it against the grants.
    ///
    /// # Errors
    /// [`Refusal`], naming the import, or what is missing.
    pub fn link(
        service: &Arc<str>,
        compiled: &Compiled,
        terms: &Terms,
        counts: SharedCounts,
    ) -> Result<Self, Refusal> {
        check_contract(compiled, service, &terms.grants)?;
        let background = BackgroundExports::of(&compiled.component);
        if terms.background && background.is_none() {
            return Err(Refusal::NoBackground(service.to_string()));
        }
        let mut linker = Linker::new(compiled.component.engine());
        add_grants(&mut linker, &terms.grants).map_err(|error| Refusal::Host(opaque(error)))?;
        let invalid = |error: wasmtime::Error| Refusal::Invalid(format!("{error:#}"));
        let pre = linker.instantiate_pre(&compiled.component).map_err(invalid)?;
        Ok(Self {
            linked: Linked {
                service: service.clone(),
                version: VersionName::new(service, compiled.digest.label()),
                component: compiled.component.clone(),
                entry: Entry::of(&compiled.component).map_err(invalid)?,
                shown: Shown::granted(terms.grants.headers.as_deref()),
                pre,
                capabilities: terms.capabilities.clone(),
                limits: terms.limits.clone(),
            },
            background,
            digest: compiled.digest.clone(),
            isolation: terms.isolation,
            idle: Mutex::default(),
            counts,
            description: Known::default(),
            expired: CancellationToken::new(),
            gone: CancellationToken::new(),
        })
    }

    /// The label: the first 12 hex digits of the digest.
    pub fn label(&self) -> &Arc<str> {
        &self.linked.version.label
    }

    /// The name that its answers carry.
    pub fn name(&self) -> &VersionName {
        &self.linked.version
    }

    /// The component's digest.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The bounds that this version was made with.
    pub fn limits(&self) -> &Arc<ServiceLimits> {
        &self.linked.limits
    }

    /// The code, for another version of it under other terms.
    pub fn compiled(&self) -> Compiled {
        Compiled { digest: self.digest.clone(), component: self.linked.component.clone() }
    }

    /// Whether instances are reused.
    pub fn isolation(&self) -> Isolation {
        self.isolation
    }

    /// Its cache, if one is granted.
    pub fn cache(&self) -> Option<&GrantedCache> {
        self.linked.capabilities.cache.as_ref()
    }

    /// Answers a request in a warm instance, or a fresh one when none is free.
    ///
    /// Whatever ends the wait early (the deadline, the drain deadline, a client that
    /// hangs up) drops the future, and with it the instance.
    pub async fn answer(&self, request: Request) -> Result<Response, Failure> {
        self.within(request.deadline, self.enter(request)).await
    }

    /// Whether the component has work that no request waits for.
    pub fn has_background(&self) -> bool {
        self.background.is_some()
    }

    /// Calls a function of that work, in an instance that may serve requests before and
    /// after. It ends as a request does, for the same reasons.
    pub(super) async fn call_background<P, R>(
        &self,
        function: Function,
        params: P,
        call: &Request,
    ) -> Result<R, Failure>
    where
        P: ComponentNamedList + Lower + Send + Sync,
        R: ComponentNamedList + Lift + Send + Sync + 'static,
    {
        let exports = self.background.as_ref();
        let exports = exports.ok_or_else(|| Failure::Trap("it has no work in the background".into()))?;
        let called = async {
            let mut busy = self.take(call).await?;
            let working = self.counts.worked.begin();
            let called = busy.instance().call_background(exports, function, params, call).await;
            drop(working);
            let returned = called.map_err(|error| self.failure(&error))?;
            busy.give_back();
            Ok(returned)
        };
        self.within(call.deadline, called).await
    }

    async fn within<T>(
        &self,
        deadline: Instant,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        tokio::select! {
            biased;
            done = tokio::time::timeout_at(deadline.into(), work) => {
                done.unwrap_or_else(|_| Err(Failure::timeout(self.limits())))
            }
            () = self.expired.cancelled() => Err(Failure::Retired),
        }
    }

    /// Answers a request in an instance of its own, which is dropped: its memory may grow
    /// beyond what requests need. For questions of the host itself.
    pub async fn answer_aside(&self, request: Request) -> Result<Response, Failure> {
        let enter = async {
            let mut busy = self.fresh(&request).await?;
            let called = busy.instance().call(&request, &self.linked.shown).await;
            answer::check(called.map_err(|error| self.failure(&error))?, self.limits())
        };
        let answered = tokio::time::timeout_at(request.deadline.into(), enter).await;
        answered.unwrap_or_else(|_| Err(Failure::timeout(self.limits())))
    }

    /// What it says of its own API. `None`: nothing, or it does not answer at this moment.
    pub async fn description(&self) -> Option<Arc<Description>> {
        self.description.get(description::ask(self)).await
    }

    async fn enter(&self, request: Request) -> Result<Response, Failure> {
        let mut busy = self.take(&request).await?;
        // The slowest are dropped here: at their deadline, with their version, or when the
        // client hangs up.
        let working = self.counts.worked.begin();
        let called = busy.instance().call(&request, &self.linked.shown).await;
        drop(working);
        let response = called.map_err(|error| self.failure(&error))?;
        busy.give_back();
        answer::check(response, self.limits())
    }

    async fn take(&self, request: &Request) -> Result<Busy<'_>, Failure> {
        let warm = self.idle().pop();
        match warm {
            Some((instance, _)) => {
                self.counts.warm.fetch_sub(1, Relaxed);
                Ok(self.busy(instance))
            }
            // Boxed: its future is large, and warm instances need none of it.
            None => Box::pin(self.fresh(request)).await,
        }
    }

    async fn fresh(&self, request: &Request) -> Result<Busy<'_>, Failure> {
        let (making, span) = (self.counts.made.begin(), request.trace.child(SpanKind::Internal, "instance"));
        let made = Instance::new(&self.linked, RequestScope::of(request)).await;
        drop(making);
        let made = made.map_err(|error| self.instantiation_failure(&error));
        span.end_with(|span| {
            if let Err(failure) = &made {
                span.fail(failure.kind(), failure.to_string());
            }
        });
        made.map(|instance| self.busy(instance))
    }

    fn busy(&self, instance: Instance) -> Busy<'_> {
        self.counts.busy.fetch_add(1, Relaxed);
        Busy { version: self, instance: Some(instance) }
    }

    /// Drops instances that nobody has needed for a while.
    pub fn drop_idle(&self) {
        let Some(oldest) = Instant::now().checked_sub(INSTANCE_IDLE_MAX) else { return };
        let stale: Vec<_> = {
            let mut idle = self.idle();
            let fresh = idle.iter().position(|(_, since)| *since >= oldest).unwrap_or(idle.len());
            idle.drain(..fresh).collect()
        };
        self.counts.warm.fetch_sub(stale.len() as u64, Relaxed);
        self.counts.retired.fetch_add(stale.len() as u64, Relaxed);
    }

    /// Waits until the version has been let go of, at most for `timeout`; then ends the
    /// requests that are still in it. The future holds no reference to the version.
    pub fn drained(&self, timeout: Duration) -> impl Future<Output = Drained> + Send + 'static {
        let (gone, expired) = (self.gone.clone(), self.expired.clone());
        async move {
            if tokio::time::timeout(timeout, gone.cancelled()).await.is_ok() {
                return Drained::Finished;
            }
            expired.cancel();
            gone.cancelled().await;
            Drained::CutOff
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<(Instance, Instant)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failure(&self, error: &wasmtime::Error) -> Failure {
        match error.downcast_ref::<Trap>() {
            Some(Trap::Interrupt) => Failure::timeout(self.limits()),
            _ => Failure::Trap(format!("{error:#}")),
        }
    }

    fn instantiation_failure(&self, error: &wasmtime::Error) -> Failure {
        if error.is::<wasmtime::PoolConcurrencyLimitError>() {
            return Failure::NoInstance(format!("{error:#}"));
        }
        self.failure(error)
    }
}

impl Drop for Version {
    fn drop(&mut self) {
        let idle = std::mem::take(&mut *self.idle());
        self.counts.warm.fetch_sub(idle.len() as u64, Relaxed);
        self.counts.retired.fetch_add(idle.len() as u64, Relaxed);
        // The last request of a version must not free all the instances that the version
        // had at its busiest.
        if idle.len() > IDLE_FREED_IN_PLACE
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn_blocking(move || drop(idle));
        }
        self.gone.cancel();
    }
}

/// How a version's last requests ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// All of them were answered.
    Finished,
    /// Some were still in it at the drain deadline, and failed.
    CutOff,
}

/// An instance at work. Dropped without [`Busy::give_back`], the instance goes with it.
struct Busy<'a> {
    version: &'a Version,
    instance: Option<Instance>,
}

impl Busy<'_> {
    fn instance(&mut self) -> &mut Instance {
        self.instance.as_mut().expect("an instance is at work until it is given back")
    }

    fn give_back(mut self) {
        let version = self.version;
        let reusable = |instance: &Instance| {
            version.isolation == Isolation::Instance && !instance.is_retired(version.limits())
        };
        if let Some(instance) = self.instance.take_if(|instance| reusable(instance)) {
            // Counted before it can be taken: the count never falls below zero.
            version.counts.warm.fetch_add(1, Relaxed);
            version.idle().push((instance, Instant::now()));
        }
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.version.counts.busy.fetch_sub(1, Relaxed);
        if self.instance.is_some() {
            self.version.counts.retired.fetch_add(1, Relaxed);
        }
    }
}

/// Links WASI, what needs no grant, and the granted interfaces, and nothing else: what was
/// not granted is not there to be called.
fn add_grants(linker: &mut Linker<Context>, grants: &Grants) -> wasmtime::Result<()> {
    type Host = HasSelf<Context>;
    fn host(context: &mut Context) -> &mut Context {
        context
    }
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    platform::http_types::add_to_linker::<_, Host>(linker, host)?;
    platform::trace::add_to_linker::<_, Host>(linker, host)?;
    if grants.log {
        platform::log::add_to_linker::<_, Host>(linker, host)?;
    }
    if grants.config {
        platform::config::add_to_linker::<_, Host>(linker, host)?;
    }
    if grants.stats {
        platform::stats::add_to_linker::<_, Host>(linker, host)?;
    }
    if grants.postgres.is_some() {
        platform::postgres::add_to_linker::<_, Host>(linker, host)?;
    }
    if grants.redis.is_some() {
        platform::redis::add_to_linker::<_, Host>(linker, host)?;
    }
    if grants.cache.is_some() {
        platform::cache::add_to_linker::<_, Host>(linker, host)?;
    }
    if grants.auth {
        platform::auth::add_to_linker::<_, Host>(linker, host)?;
    }
    if !grants.services.is_empty() {
        platform::services::add_to_linker::<_, Host>(linker, host)?;
    }
    Ok(())
}
