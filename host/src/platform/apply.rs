//! A changed manifest, put in force while the services serve.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context as _, bail};

use super::{Platform, load_pages};
use crate::manifest::{self, Manifest};
use crate::policy::auth::check_exposure;
use crate::runtime::{Prepared, Service};

/// What a changed manifest changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    /// Services that are new.
    pub added: Vec<String>,
    /// Services that are gone.
    pub removed: Vec<String>,
    /// Services with other grants, limits, settings or isolation.
    pub changed: Vec<String>,
    /// Services whose component is another file now.
    pub moved: Vec<String>,
    /// Tables that are read at start only, and differ.
    pub needs_restart: Vec<&'static str>,
}

impl Platform {
    /// Puts a manifest in force: services, routes, grants, limits and settings. All of it
    /// or nothing: every new version is linked and has said that it can serve before the
    /// first pointer moves.
    ///
    /// # Errors
    /// What was refused, and why; the old manifest is in force then.
    pub async fn apply(&self, manifest: Manifest) -> anyhow::Result<Applied> {
        let _applying = self.applying.lock().await;
        let current = self.manifest.load_full();
        let running = self.services();
        for bind in [self.bind, manifest.server.bind] {
            check_exposure(&manifest, bind, self.local)?;
        }
        if manifest.needs_auth() && self.authority().is_none() {
            bail!("routes or grants ask for callers for the first time: that takes a restart");
        }
        let pages = load_pages(&manifest)?;
        self.backends.prepare_roles(&manifest).await?;

        let mut applied = Applied { needs_restart: needs_restart(&current, &manifest), ..Applied::default() };
        let mut services: Vec<Arc<Service>> = Vec::new();
        let mut prepared: Vec<(Arc<Service>, Prepared)> = Vec::new();
        for (name, entry) in &manifest.services {
            let Some(service) = running.get(name) else {
                services.push(self.start_service(entry).await?);
                applied.added.push(name.clone());
                continue;
            };
            services.push(service.clone());
            let before = current.services.get(name);
            if before.is_none_or(|before| terms_differ(before, entry)) {
                let (_, terms) = self.terms(entry, Some(service.stats()))?;
                let version = service.prepare(terms).await.with_context(|| format!("service {name}"))?;
                prepared.push((service.clone(), version));
                applied.changed.push(name.clone());
            }
            if before.is_some_and(|before| before.component != entry.component) {
                applied.moved.push(name.clone());
            }
        }
        applied.removed =
            running.keys().filter(|name| !manifest.services.contains_key(*name)).cloned().collect();

        self.put_in_place(&manifest, services)?;
        self.pages.store(Arc::new(pages));
        for (service, version) in prepared {
            if let Err(failure) = service.adopt(version).await {
                tracing::warn!(service = %service.name(), "{failure}");
            }
        }
        self.backends.forget(&applied.removed);
        self.manifest.store(Arc::new(manifest));
        Ok(applied)
    }

    /// Deploys the component file of a service if it has changed.
    ///
    /// # Errors
    /// The failed step and why; the old version serves then.
    pub async fn deploy_changed_file(&self, service: &str) -> anyhow::Result<()> {
        let component = self.manifest.load().services.get(service).map(|entry| entry.component.clone());
        let running = self.services().get(service).cloned();
        if let (Some(component), Some(running)) = (component, running) {
            running.deploy_file(&component).await?;
        }
        Ok(())
    }

    /// Reads the folder of pages anew.
    ///
    /// # Errors
    /// What in it cannot be served; the pages stay as they were then.
    pub fn reload_pages(&self) -> anyhow::Result<()> {
        self.pages.store(Arc::new(load_pages(&self.manifest.load())?));
        Ok(())
    }

    /// The component file of each service.
    pub fn component_files(&self) -> BTreeMap<String, std::path::PathBuf> {
        let manifest = self.manifest.load();
        let files = manifest.services.iter().map(|(name, entry)| (name.clone(), entry.component.clone()));
        files.collect()
    }
}

fn terms_differ(before: &manifest::Service, after: &manifest::Service) -> bool {
    before.grants != after.grants
        || before.limits != after.limits
        || before.isolation != after.isolation
        || before.background.is_some() != after.background.is_some()
        || before.settings != after.settings
}

fn needs_restart(before: &Manifest, after: &Manifest) -> Vec<&'static str> {
    let direct = |manifest: &Manifest| -> Vec<_> {
        let ports = manifest.services.iter();
        ports
            .map(|(name, service)| (name.clone(), service.direct.as_ref().map(|direct| direct.port)))
            .collect()
    };
    let events = |manifest: &Manifest| -> Vec<_> {
        manifest.services.iter().map(|(name, service)| (name.clone(), service.events.clone())).collect()
    };
    let listeners = |manifest: &Manifest| {
        let server = &manifest.server;
        (server.bind, server.https_port, server.http_port, server.tls.clone(), server.limits.clone())
    };
    let tables = [
        ("[server]", listeners(before) != listeners(after)),
        ("[admin]", before.admin != after.admin),
        ("[postgres]", before.postgres != after.postgres),
        ("[redis]", before.redis != after.redis),
        ("[auth]", before.auth != after.auth),
        ("[runtime]", before.runtime != after.runtime),
        ("[telemetry]", before.telemetry != after.telemetry),
        ("[services.*.direct].port", direct(before) != direct(after)),
        ("[services.*.events]", events(before) != events(after)),
    ];
    tables.into_iter().filter_map(|(name, differs)| differs.then_some(name)).collect()
}
