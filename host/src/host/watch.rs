//! The local form's watch: a component whose file changes is deployed, a manifest that
//! changes is put in force, a page that changes is served.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::manifest::Manifest;
use crate::platform::Platform;
use crate::watch::FileWatch;

/// The files of a manifest, the manifest's own among them, as they are now. Made before
/// they are read, so that no change goes unnoticed.
pub(super) fn files(manifest: &Manifest) -> FileWatch {
    let components = manifest.services.values().map(|service| service.component.clone());
    FileWatch::new(components.chain([manifest.path.clone()]))
}

/// Watches. The future runs until it is dropped.
pub(super) async fn watch(platform: Arc<Platform>, mut files: FileWatch, manifest: PathBuf) {
    let mut components = platform.component_files();
    watch_more(&mut files, &platform, &components, &manifest);
    loop {
        let changed = files.changed().await;
        let mut touched: BTreeSet<String> = BTreeSet::new();
        if changed.contains(&manifest) {
            touched.extend(apply(&platform, &manifest).await);
            components = platform.component_files();
        }
        if platform.pages().load().read_from().any(|file| changed.contains(file)) {
            match platform.reload_pages() {
                Ok(()) => tracing::info!("the changed pages are served"),
                Err(error) => tracing::warn!("the changed pages are refused, the old ones stay: {error:#}"),
            }
        }
        watch_more(&mut files, &platform, &components, &manifest);
        let of_changed = components.iter().filter(|(_, file)| changed.contains(file));
        touched.extend(of_changed.map(|(service, _)| service.clone()));
        for service in touched {
            if let Err(error) = platform.deploy_changed_file(&service).await {
                // A refused component was logged where it was refused.
                tracing::debug!(service, "{error:#}");
            }
        }
    }
}

/// Watches what is in use now: a changed manifest or folder may name other files.
fn watch_more(
    files: &mut FileWatch,
    platform: &Platform,
    components: &BTreeMap<String, PathBuf>,
    manifest: &Path,
) {
    let pages = platform.pages().load();
    let known = components.values().chain(pages.read_from()).cloned();
    files.set(known.chain([manifest.to_owned()]));
}

/// Puts a changed manifest in force; returns the services whose component may now be
/// deployed: it is another file, or what it was refused for may have been granted.
async fn apply(platform: &Platform, path: &Path) -> Vec<String> {
    let manifest = Manifest::load(path, &|name| std::env::var(name).ok());
    let applied = match manifest {
        Ok(manifest) => platform.apply(manifest).await,
        Err(faults) => Err(faults.into()),
    };
    match applied {
        Ok(applied) => {
            tracing::info!(manifest = %path.display(), ?applied, "the changed manifest is in force");
            if !applied.needs_restart.is_empty() {
                let tables = applied.needs_restart.join(", ");
                tracing::warn!("a restart is needed for the changes in {tables}");
            }
            applied.moved.into_iter().chain(applied.changed).collect()
        }
        Err(error) => {
            tracing::warn!(manifest = %path.display(), "the changed manifest is refused, the old one stays in force: {error:#}");
            Vec::new()
        }
    }
}
