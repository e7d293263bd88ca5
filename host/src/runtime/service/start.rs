//! The start of a service: which version it had, and what its file says now.

use std::path::Path;
use std::sync::{Arc, Mutex};

use anyhow::Context as _;
use arc_swap::ArcSwap;
use tokio::sync::Semaphore;

use super::swap::{active_entry, record_failure};
use super::{Active, Service};
use crate::admin::api::{DeployFailure, Way};
use crate::runtime::component::{Compiled, ComponentStore, Digest};
use crate::runtime::deploy::{self, Proof, Steps};
use crate::runtime::history::History;
use crate::runtime::instance::SharedCounts;
use crate::runtime::refusal::Refusal;
use crate::runtime::version::{Terms, Version};
use crate::telemetry::ServiceStats;

/// What is needed to start a service.
pub struct Start<'a> {
    /// Its name in the manifest.
    pub name: &'a str,
    /// The component's file.
    pub component: &'a Path,
    /// What its versions get.
    pub terms: Terms,
    /// Where it is counted.
    pub stats: Arc<ServiceStats>,
    /// Where code comes from.
    pub store: &'a Arc<ComponentStore>,
    /// Where its history is kept.
    pub state_dir: &'a Path,
}

impl Service {
    /// Starts a service with the version that it had, or with the manifest's component
    /// when its file has changed since.
    ///
    /// # Errors
    /// The failed step and why.
    pub async fn start(start: Start<'_>) -> Result<Arc<Self>, DeployFailure> {
        let mut steps = Steps::begin();
        let name: Arc<str> = start.name.into();
        let counts = SharedCounts::default();
        start.stats.counts_instances(&counts);
        let (bytes, mut history) =
            steps.run("read", async { read(start.component, start.state_dir, &name) }).await?;
        let source = Digest::of(&bytes);
        let chosen = history.choice(&source).filter(|digest| *digest != source);
        let make = async |compiled: Compiled, steps: &mut Steps| {
            let link = async { Version::link(&name, &compiled, &start.terms, counts.clone()) };
            let version = steps.run("grants", link).await?;
            steps.run("health", deploy::check_health(&version, Proof::Healthy)).await?;
            Ok::<_, DeployFailure>(version)
        };
        let restored = match chosen {
            Some(digest) => match steps.run("reload", deploy::reload(start.store, digest)).await {
                Ok(compiled) => make(compiled, &mut steps).await.map(Some),
                Err(failure) => Err(failure),
            },
            None => Ok(None),
        };
        let version = match restored {
            Ok(Some(version)) => version,
            outcome => {
                if let Err(failure) = outcome {
                    tracing::warn!(service = %name, "the version chosen before the restart does not start, so the manifest's component does: {failure}");
                }
                let compiled = steps.run("compile", deploy::compile(start.store, bytes.into())).await?;
                make(compiled, &mut steps).await?
            }
        };
        let (_, swap_ms) = steps.finish();
        history.set_source(&source);
        let entry = active_entry(&version, Way::Start, swap_ms);
        let since = entry.at;
        history.push(version.digest(), entry);
        write_down(&history).await.map_err(|error| record_failure(&error))?;
        Ok(Arc::new(Self {
            name,
            stats: start.stats,
            counts,
            permits: ArcSwap::from_pointee(Semaphore::new(version.limits().concurrency_max)),
            active: ArcSwap::from_pointee(Active { version: Arc::new(version), since }),
            store: start.store.clone(),
            history: Mutex::new(history),
            saving: Mutex::default(),
            deploying: Arc::new(Semaphore::new(1)),
            terms: ArcSwap::from_pointee(start.terms),
        }))
    }
}

/// Writes the history's file on a thread that may wait for the disk: several services
/// start at once, and a sync takes longer than all the rest of a start together.
async fn write_down(history: &History) -> anyhow::Result<()> {
    let file = history.snapshot()?;
    tokio::task::spawn_blocking(move || file.write()).await.context("the write panicked")?
}

fn read(component: &Path, state_dir: &Path, name: &str) -> Result<(Vec<u8>, History), Refusal> {
    let bytes = std::fs::read(component).with_context(|| format!("cannot read {}", component.display()));
    let history = History::open(state_dir, name);
    Ok((bytes.map_err(Refusal::Host)?, history.map_err(Refusal::Host)?))
}
