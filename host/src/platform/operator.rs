//! The operator's API, answered by the running services.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;

use super::Platform;
use crate::admin::api::{
    DeployFailure, DeployReport, FailureKind, History, HostInfo, HostStatus, Instances, KeyEntry, Keys,
    KeysFailure, Parked, ParkedSaga, Retried, SagaFailure, ServiceState, ServiceStatus, UnknownService, Way,
};
use crate::admin::{Operator, Readiness};
use crate::manifest::{self, Isolation, Manifest};
use crate::policy::auth::Keyring;
use crate::runtime::{self, Failure, Service};

#[async_trait]
impl Operator for Platform {
    fn readiness(&self) -> Readiness {
        match (self.draining().is_cancelled(), self.services().is_empty()) {
            (true, _) => Readiness::Draining,
            (false, true) => Readiness::Starting,
            (false, false) => Readiness::Serving,
        }
    }

    async fn status(&self) -> HostStatus {
        let manifest = self.manifest.load();
        let services = self.services();
        HostStatus {
            host: HostInfo {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                started_at: self.started_at,
                pid: std::process::id(),
            },
            services: services.values().map(|service| status(service, &manifest)).collect(),
        }
    }

    async fn history(&self, service: &str) -> Result<History, UnknownService> {
        let found = self.find(service).map_err(|nearest| UnknownService { nearest })?;
        Ok(History { service: service.to_owned(), versions: found.history() })
    }

    async fn keys(&self) -> Result<Keys, KeysFailure> {
        let authority = self.authority().ok_or(KeysFailure::Unused)?;
        Ok(keys(&authority.keys()))
    }

    async fn rotate_keys(&self, revoke: bool) -> Result<Keys, KeysFailure> {
        let authority = self.authority().ok_or(KeysFailure::Unused)?;
        let rotated = if revoke { authority.revoke().await } else { authority.rotate().await };
        let rotated = rotated.map_err(|error| KeysFailure::Host(format!("{error:#}")))?;
        Ok(keys(&rotated))
    }

    async fn parked(&self) -> Result<Parked, SagaFailure> {
        let mut parked = Vec::new();
        for (name, service) in self.services().iter().filter(|(_, service)| service.has_background()) {
            let told = service.parked(Instant::now() + service.limits().request_timeout).await;
            let sagas = flat(told).map_err(|why| SagaFailure::Service(format!("{name}: {why}")))?;
            parked.extend(sagas.into_iter().map(|saga| parked_saga(name, saga)));
        }
        Ok(Parked { parked })
    }

    async fn retry_parked(&self, service: &str, id: &str) -> Result<Retried, SagaFailure> {
        let unknown = |nearest| SagaFailure::UnknownService(UnknownService { nearest });
        let found = self.find(service).map_err(unknown)?;
        if !found.has_background() {
            return Err(SagaFailure::NotParked);
        }
        let told = found.retry_parked(id, Instant::now() + found.limits().request_timeout).await;
        match flat(told) {
            Ok(true) => Ok(Retried { service: service.to_owned(), id: id.to_owned() }),
            Ok(false) => Err(SagaFailure::NotParked),
            Err(why) => Err(SagaFailure::Service(format!("{service}: {why}"))),
        }
    }

    async fn deploy(&self, service: &str, component: Bytes) -> Result<DeployReport, DeployFailure> {
        self.operand(service)?.deploy(component, Way::Deploy).await
    }

    async fn rollback(&self, service: &str) -> Result<DeployReport, DeployFailure> {
        self.operand(service)?.rollback().await
    }
}

impl Platform {
    fn find(&self, name: &str) -> Result<Arc<Service>, Option<String>> {
        let services = self.services();
        let found = services.get(name).cloned();
        found.ok_or_else(|| manifest::nearest(name, services.keys().map(String::as_str)).map(str::to_owned))
    }

    fn operand(&self, name: &str) -> Result<Arc<Service>, DeployFailure> {
        self.find(name).map_err(|nearest| DeployFailure {
            step: "choose".to_owned(),
            reason: format!("there is no service {name:?}"),
            kind: FailureKind::UnknownService { nearest },
        })
    }
}

/// A guest's own error, or why it could not be asked.
fn flat<T>(told: Result<Result<T, String>, Failure>) -> Result<T, String> {
    told.unwrap_or_else(|failure| Err(failure.to_string()))
}

fn parked_saga(service: &str, saga: runtime::Parked) -> ParkedSaga {
    let since_ms = i64::try_from(saga.since_ms).unwrap_or_default();
    ParkedSaga {
        service: service.to_owned(),
        id: saga.id,
        step: saga.step,
        attempts: saga.attempts,
        since: Timestamp::from_millisecond(since_ms).unwrap_or_default(),
        reason: saga.reason,
    }
}

fn keys(ring: &Keyring) -> Keys {
    let key = |(kid, made_at, state): (&str, _, _)| KeyEntry { kid: kid.to_owned(), made_at, state };
    Keys { keys: ring.states().map(key).collect() }
}

fn status(service: &Service, manifest: &Manifest) -> ServiceStatus {
    let entry = manifest.services.get(&**service.name());
    let routes = entry.map(|entry| entry.routes.iter().map(route).collect()).unwrap_or_default();
    let counts = service.instances();
    ServiceStatus {
        name: service.name().to_string(),
        version: Some(service.version().to_string()),
        state: if service.is_deploying() { ServiceState::Deploying } else { ServiceState::Serving },
        since: Some(service.active_since()),
        isolation: match service.isolation() {
            Isolation::Instance => "instance".to_owned(),
            Isolation::Request => "request".to_owned(),
        },
        routes,
        direct_port: entry.and_then(|entry| entry.direct.as_ref()).map(|direct| direct.port),
        instances: Instances {
            warm: counts.warm.load(Relaxed),
            busy: counts.busy.load(Relaxed),
            retired: counts.retired.load(Relaxed),
        },
        in_flight: service.stats().in_flight(),
        requests: service.stats().requests(),
    }
}

fn route(route: &manifest::Route) -> String {
    format!("{} {}", route.methods.join(","), route.path)
}
