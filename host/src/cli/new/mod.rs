//! `wasmyard new`.

mod library;
mod section;
mod template;
mod undo;
mod workspace;

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::build::{build_one, run};
use super::check::{failed, problems};
use super::locate::{MANIFEST, environment};
use super::progress::Progress;
use super::table::{print, print_json};
use super::{CliError, Context, Exit};
use crate::host;
use crate::manifest::{Manifest, is_service_name};
use undo::Undo;

/// Make a service: it builds, is tested, and serves
///
/// Writes components/NAME with a handler and a test, adds its routes and grants to
/// the manifest, runs the test, builds the component and checks it. A running
/// `wasmyard up --local` then serves it by itself. If anything fails, everything is
/// as it was before.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wasmyard new reviews
  mkdir shop && cd shop && wasmyard new reviews    from nothing")]
pub struct New {
    /// Its name: lower-case letters, digits and hyphens
    name: String,
}

impl New {
    pub(super) async fn run(&self, context: &Context) -> Result<(), CliError> {
        let name = self.name.as_str();
        // `guest` is the library's own folder.
        if !is_service_name(name) || name == "guest" {
            let message = format!(
                "`{name}` is no name for a service: it has lower-case letters, digits and hyphens, \
                 begins with a letter, and is not `guest`"
            );
            return Err(CliError::new(Exit::Usage, message));
        }
        let path = context.manifest_path().unwrap_or_else(|_| PathBuf::from(MANIFEST));
        let progress = Progress::start(context.json);
        // Dropped by Ctrl-C in the middle of its work, it still undoes what it did.
        tokio::select! {
            made = make(name, &path, &progress) => made?,
            _ = tokio::signal::ctrl_c() => {
                return Err(CliError::new(Exit::Failed, "interrupted; everything is as it was before"));
            }
        }
        progress.finish();
        if context.json {
            return print_json(&json!({ "service": name, "path": format!("components/{name}") }));
        }
        print(&template::next_steps(name, &path))
    }
}

/// Does all of it, or nothing.
async fn make(name: &str, manifest_path: &Path, progress: &Progress) -> Result<(), CliError> {
    let text = match std::fs::read_to_string(manifest_path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => section::new_manifest(),
        Err(error) => return Err(CliError::new(Exit::Io, format!("{}: {error}", manifest_path.display()))),
    };
    let before = Manifest::parse(&text, manifest_path, &environment)?;
    if before.services.contains_key(name) {
        return Err(CliError::new(Exit::Failed, format!("there is a service `{name}` already")));
    }
    let folder = before.dir.join("components").join(name);
    if folder.exists() {
        return Err(CliError::new(Exit::CannotCreate, format!("{} exists already", folder.display())));
    }
    let text = section::add(&text, name);
    let mut after = Manifest::parse(&text, manifest_path, &environment)?;

    let mut undo = Undo::default();
    progress.step(&format!("writing components/{name}"));
    undo.restore_later(&before.dir.join("Cargo.lock"))?;
    let own_library = workspace::prepare(&before.dir, name, &mut undo)?;
    for (file, content) in template::files(name, own_library) {
        undo.write(&folder.join(file), &content)?;
    }

    progress.step(&format!("testing {name}"));
    let test = ["test", "--package", name].map(str::to_owned);
    run(&before.dir, "cargo", &test, &format!("testing {name}")).await?;
    progress.line(&format!("tested {name}"));
    after.services.retain(|service, _| service == name);
    for service in after.services.values() {
        build_one(&after.dir, service, progress).await?;
    }
    progress.step(&format!("checking {name}"));
    let report = host::check(&after).await.map_err(|error| failed(&error))?;
    if let Some(problems) = problems(&report) {
        return Err(CliError::new(Exit::Refused, problems));
    }
    // Last, and at once: a running host that watches the manifest finds a component
    // that is complete.
    undo.write(manifest_path, &text)?;
    undo.keep();
    Ok(())
}
