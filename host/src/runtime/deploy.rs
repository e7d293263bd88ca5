//! From a component's bytes to the version that serves: each step, timed.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::component::{Compiled, ComponentStore, Digest};
use super::message::{Request, RequestId};
use super::priority::lower_priority;
use super::refusal::Refusal;
use super::version::Version;
use crate::admin::api::{DeployFailure, FailureKind, Step};
use crate::limits::HEALTH_CHECK_TIMEOUT;

/// The path that every service answers: 2xx when it can serve.
pub const HEALTH_PATH: &str = "/health";

/// The steps of one deploy, timed.
pub(super) struct Steps {
    begun: Instant,
    done: Vec<Step>,
}

impl Steps {
    pub(super) fn begin() -> Self {
        Self { begun: Instant::now(), done: Vec::new() }
    }

    /// Runs a step and notes how long it took.
    pub(super) async fn run<T>(
        &mut self,
        step: &'static str,
        work: impl Future<Output = Result<T, Refusal>>,
    ) -> Result<T, DeployFailure> {
        let begun = Instant::now();
        let outcome = work.await;
        self.done.push(Step { step: step.to_owned(), ms: milliseconds(begun) });
        outcome.map_err(|refusal| DeployFailure {
            step: step.to_owned(),
            reason: refusal.to_string(),
            kind: match refusal {
                Refusal::Host(_) => FailureKind::Host,
                _ => FailureKind::Refused,
            },
        })
    }

    /// The steps, and the time since the first began.
    pub(super) fn finish(self) -> (Vec<Step>, f64) {
        (self.done, milliseconds(self.begun))
    }
}

fn milliseconds(since: Instant) -> f64 {
    (since.elapsed().as_secs_f64() * 1e6).round() / 1e3
}

/// A component's code from its bytes.
pub(super) async fn compile(store: &Arc<ComponentStore>, bytes: Bytes) -> Result<Compiled, Refusal> {
    let store = store.clone();
    let load = move || {
        lower_priority();
        store.load(&bytes)
    };
    aside(load).await
}

/// The code of a component that was loaded before; compiled anew where what is on disk
/// was made by another version of wasmtime. With the priority of serving: a rollback is
/// an emergency, and loading takes a millisecond.
pub(super) async fn reload(store: &Arc<ComponentStore>, digest: Digest) -> Result<Compiled, Refusal> {
    let store = store.clone();
    aside(move || store.reload(&digest)).await
}

/// Works on a thread of its own, so that no thread that serves waits for it.
async fn aside(
    work: impl FnOnce() -> Result<Compiled, Refusal> + Send + 'static,
) -> Result<Compiled, Refusal> {
    let (send, receive) = tokio::sync::oneshot::channel();
    let spawned = std::thread::Builder::new().name("compile".into()).spawn(move || {
        // A closed channel means that nobody waits for the answer any more.
        let _ = send.send(work());
    });
    spawned.map_err(|error| Refusal::Host(error.into()))?;
    receive.await.unwrap_or_else(|_| Err(Refusal::Invalid("the compiler panicked".into())))
}

/// What a version must answer before it may serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proof {
    /// That it can serve: the component is new here.
    Healthy,
    /// Anything at all: the component has served before. An outage of a backend, for
    /// which every version says that it cannot serve, must not keep an operator from
    /// going back to it or from changing its limits.
    Alive,
}

/// Makes an instance and asks it for its health.
pub(super) async fn check_health(version: &Version, proof: Proof) -> Result<(), Refusal> {
    let request = Request::get(HEALTH_PATH, RequestId::new(), Instant::now() + HEALTH_CHECK_TIMEOUT);
    let unhealthy = |what: String| Refusal::Unhealthy(format!("GET {HEALTH_PATH}: {what}"));
    let response = version.answer(request).await.map_err(|failure| unhealthy(failure.to_string()))?;
    if response.status.is_success() || proof == Proof::Alive {
        return Ok(());
    }
    let body: String = String::from_utf8_lossy(&response.body).chars().take(300).collect();
    Err(unhealthy(format!("answered {}: {body}", response.status)))
}
