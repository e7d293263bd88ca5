//! Components against their grants, without serving.

use std::path::PathBuf;

use anyhow::Context as _;
use serde::Serialize;

use crate::manifest::{Manifest, Service};
use crate::runtime::Engine;
use crate::runtime::component::{ComponentStore, check_contract};

/// What [`check`] found, in name order.
#[derive(Debug, Clone, Serialize)]
pub struct CheckReport {
    /// One for each service of the manifest.
    pub services: Vec<ServiceCheck>,
}

/// One component against its grants.
#[derive(Debug, Clone, Serialize)]
pub struct ServiceCheck {
    /// The service's name.
    pub service: String,
    /// The component file.
    pub component: PathBuf,
    /// The version's label; `None` when the file is no component.
    pub version: Option<String>,
    /// The platform's interfaces that it imports, e.g. `wasmyard:platform/redis@1.0.0`.
    pub imports: Vec<String>,
    /// Why it would be refused, each with what to do about it; empty when it would
    /// not.
    pub problems: Vec<String>,
}

/// Checks every service's component against its grants, and serves nothing.
///
/// # Errors
///
/// When the host itself cannot do it. What is wrong with a component is in the
/// report.
pub async fn check(manifest: &Manifest) -> anyhow::Result<CheckReport> {
    let engine = Engine::new(manifest.runtime.instances_max)?;
    let store = ComponentStore::new(engine.wasmtime(), &manifest.state_dir())?;
    let services: Vec<Service> = manifest.services.values().cloned().collect();
    let checks = move || services.iter().map(|service| check_service(&store, service)).collect();
    let services = tokio::task::spawn_blocking(checks).await.context("the check panicked")?;
    Ok(CheckReport { services })
}

fn check_service(store: &ComponentStore, service: &Service) -> ServiceCheck {
    let mut check = ServiceCheck {
        service: service.name.clone(),
        component: service.component.clone(),
        version: None,
        imports: Vec::new(),
        problems: Vec::new(),
    };
    let bytes = match std::fs::read(&service.component) {
        Ok(bytes) => bytes,
        Err(error) => {
            check.problems.push(format!("cannot read {}: {error}", service.component.display()));
            return check;
        }
    };
    match store.load(&bytes) {
        Ok(compiled) => {
            check.version = Some(compiled.digest.label().to_string());
            check.imports = compiled.platform_imports();
            check.problems.extend(
                check_contract(&compiled, &service.name, &service.grants)
                    .err()
                    .map(|refusal| refusal.to_string()),
            );
        }
        Err(refusal) => check.problems.push(refusal.to_string()),
    }
    check
}
