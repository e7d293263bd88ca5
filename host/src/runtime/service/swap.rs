//! What moves a service's pointer: deploy, rollback, and a changed manifest.

use std::path::Path;
use std::sync::{Arc, PoisonError};

use anyhow::Context as _;
use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Active, Service};
use crate::admin::api::{DeployFailure, DeployReport, FailureKind, HistoryEntry, VersionState, Way};
use crate::limits::VERSION_DRAIN_TIMEOUT;
use crate::runtime::component::{Compiled, Digest};
use crate::runtime::deploy::{self, Proof, Steps};
use crate::runtime::refusal::Refusal;
use crate::runtime::version::{Drained, Terms, Version};

/// A version under new terms that does not serve yet.
pub struct Prepared {
    version: Version,
    terms: Terms,
    steps: Steps,
    _deploying: OwnedSemaphorePermit,
}

impl Service {
    /// Checks, compiles and starts a component, and only then lets it serve. Until then,
    /// and after any failure, the old version serves.
    ///
    /// # Errors
    /// The failed step and why. [`FailureKind::Busy`] when another deploy is running.
    pub async fn deploy(self: &Arc<Self>, bytes: Bytes, way: Way) -> Result<DeployReport, DeployFailure> {
        let _deploying = self.deploying.try_acquire().map_err(|_| busy())?;
        self.deploy_bytes(bytes, way, Steps::begin()).await
    }

    /// Deploys the component's file if it is another one than the last time it was looked
    /// at, or was refused then; waits for a running deploy to end.
    ///
    /// # Errors
    /// As [`Service::deploy`].
    pub async fn deploy_file(self: &Arc<Self>, path: &Path) -> Result<Option<DeployReport>, DeployFailure> {
        // Held from before the file is read: what is deployed is the file as it is after
        // every other deploy.
        let Ok(_deploying) = self.deploying.acquire().await else { return Err(busy()) };
        let mut steps = Steps::begin();
        let bytes = async { tokio::fs::read(path).await.map_err(|error| Refusal::Host(error.into())) };
        let bytes = steps.run("read", bytes).await?;
        if !self.lock_history().look_at_source(&Digest::of(&bytes)) {
            return Ok(None);
        }
        let deployed = self.deploy_bytes(bytes.into(), Way::Watch, steps).await;
        self.lock_history().note_source_refused(deployed.is_err());
        deployed.map(Some)
    }

    /// Goes back to the version that served before this one.
    ///
    /// # Errors
    /// [`FailureKind::NothingToRollBack`], or the failed step and why.
    pub async fn rollback(self: &Arc<Self>) -> Result<DeployReport, DeployFailure> {
        let _deploying = self.deploying.try_acquire().map_err(|_| busy())?;
        let previous = self.lock_history().previous();
        let previous = previous.ok_or_else(|| DeployFailure {
            step: "choose".into(),
            reason: format!("{} has no earlier version to go back to", self.name),
            kind: FailureKind::NothingToRollBack,
        })?;
        let mut steps = Steps::begin();
        let made = async {
            let compiled = steps.run("reload", deploy::reload(&self.store, previous.clone())).await?;
            self.make(&compiled, &self.terms.load_full(), Proof::Alive, &mut steps).await
        };
        match made.await {
            Ok(version) => self.swap(version, Way::Rollback, steps).await,
            Err(failure) => Err(self.refuse(&previous, Way::Rollback, failure).await),
        }
    }

    /// Makes a version of the active component under other terms, ready to be put in
    /// place by [`Service::adopt`]. Waits for a running deploy to end; until the prepared
    /// version is adopted or dropped, deploys of the service are refused as busy.
    ///
    /// # Errors
    /// The failed step and why; the service is as it was.
    pub async fn prepare(&self, terms: Terms) -> Result<Prepared, DeployFailure> {
        let deploying = self.deploying.clone().acquire_owned().await.map_err(|_| busy())?;
        let mut steps = Steps::begin();
        let compiled = self.active.load().version.compiled();
        let version = self.make(&compiled, &terms, Proof::Alive, &mut steps).await?;
        Ok(Prepared { version, terms, steps, _deploying: deploying })
    }

    /// Puts a prepared version in place.
    ///
    /// # Errors
    /// When the choice cannot be written down; the version serves all the same.
    pub async fn adopt(self: &Arc<Self>, prepared: Prepared) -> Result<DeployReport, DeployFailure> {
        let Prepared { version, terms, steps, _deploying } = prepared;
        self.terms.store(Arc::new(terms));
        self.swap(version, Way::Manifest, steps).await
    }

    /// Deploys, for who holds the permit.
    async fn deploy_bytes(
        self: &Arc<Self>,
        bytes: Bytes,
        way: Way,
        mut steps: Steps,
    ) -> Result<DeployReport, DeployFailure> {
        let digest = Digest::of(&bytes);
        let made = async {
            let compiled = steps.run("compile", deploy::compile(&self.store, bytes)).await?;
            self.make(&compiled, &self.terms.load_full(), Proof::Healthy, &mut steps).await
        };
        match made.await {
            Ok(version) => self.swap(version, way, steps).await,
            Err(failure) => Err(self.refuse(&digest, way, failure).await),
        }
    }

    async fn make(
        &self,
        compiled: &Compiled,
        terms: &Terms,
        proof: Proof,
        steps: &mut Steps,
    ) -> Result<Version, DeployFailure> {
        let link = async { Version::link(&self.name, compiled, terms, self.counts.clone()) };
        let version = steps.run("grants", link).await?;
        steps.run("health", deploy::check_health(&version, proof)).await?;
        Ok(version)
    }

    async fn swap(
        self: &Arc<Self>,
        version: Version,
        way: Way,
        steps: Steps,
    ) -> Result<DeployReport, DeployFailure> {
        let version = Arc::new(version);
        let concurrency_max = version.limits().concurrency_max;
        let changed = self.active.load().version.limits().concurrency_max != concurrency_max;
        let (steps, swap_ms) = steps.finish();
        let entry = active_entry(&version, way, swap_ms);
        let active = Active { version: version.clone(), since: entry.at };
        let old = self.active.swap(Arc::new(active));
        if changed {
            self.permits.store(Arc::new(Semaphore::new(concurrency_max)));
        }
        // The history says that the old version drains before it can be found drained.
        match way {
            Way::Rollback => self.lock_history().pop(entry),
            _ => self.lock_history().push(version.digest(), entry),
        }
        let previous = old.version.label().to_string();
        self.drain(&old);
        drop(old);
        self.stats.swapped();
        self.save().await.map_err(|error| record_failure(&error))?;
        tracing::info!(
            service = %self.name, version = %version.label(), previous, %way, swap_ms, "swapped"
        );
        Ok(DeployReport {
            service: self.name.to_string(),
            version: version.label().to_string(),
            digest: version.digest().as_str().to_owned(),
            previous: Some(previous),
            steps,
            swap_ms,
        })
    }

    fn drain(self: &Arc<Self>, old: &Active) {
        let (label, since) = (old.version.label().clone(), old.since);
        let drained = old.version.drained(VERSION_DRAIN_TIMEOUT);
        let service = Arc::downgrade(self);
        tokio::spawn(async move {
            let drained = drained.await;
            let Some(service) = service.upgrade() else { return };
            if drained == Drained::CutOff {
                let within = VERSION_DRAIN_TIMEOUT;
                tracing::warn!(service = %service.name, version = %label, ?within, "requests were cut off at the drain deadline");
            }
            service.lock_history().retire(since);
            service.save_or_warn().await;
        });
    }

    async fn refuse(self: &Arc<Self>, digest: &Digest, way: Way, failure: DeployFailure) -> DeployFailure {
        tracing::warn!(service = %self.name, version = %digest.label(), %way, "deploy refused, the old version serves on: {failure}");
        self.lock_history().refuse(HistoryEntry {
            version: digest.label().to_string(),
            digest: digest.as_str().to_owned(),
            at: Timestamp::now(),
            way,
            swap_ms: None,
            state: VersionState::Refused,
            note: Some(failure.to_string()),
        });
        self.save_or_warn().await;
        failure
    }

    /// Writes the history's file, away from the threads that serve: a disk takes its
    /// time.
    async fn save(self: &Arc<Self>) -> anyhow::Result<()> {
        let service = self.clone();
        let saved = tokio::task::spawn_blocking(move || {
            let _saving = service.saving.lock().unwrap_or_else(PoisonError::into_inner);
            let file = service.lock_history().snapshot()?;
            file.write()
        });
        saved.await.context("the write panicked")?
    }

    async fn save_or_warn(self: &Arc<Self>) {
        if let Err(error) = self.save().await {
            tracing::warn!(service = %self.name, "the history could not be written: {error:#}");
        }
    }
}

pub(super) fn active_entry(version: &Version, way: Way, swap_ms: f64) -> HistoryEntry {
    HistoryEntry {
        version: version.label().to_string(),
        digest: version.digest().as_str().to_owned(),
        at: Timestamp::now(),
        way,
        swap_ms: Some(swap_ms),
        state: VersionState::Active,
        note: None,
    }
}

pub(super) fn record_failure(error: &anyhow::Error) -> DeployFailure {
    DeployFailure {
        step: "record".into(),
        reason: format!(
            "the version serves, but the choice could not be written and will not survive a restart: {error:#}"
        ),
        kind: FailureKind::Host,
    }
}

fn busy() -> DeployFailure {
    DeployFailure {
        step: "begin".into(),
        reason: "another deploy of this service is running".into(),
        kind: FailureKind::Busy,
    }
}
