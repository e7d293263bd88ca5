//! `wasmyard build`.

use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use clap::Args;
use serde_json::json;
use tokio::process::Command;

use super::progress::Progress;
use super::table::print_json;
use super::{CliError, Context, Exit, wasm_file};
use crate::manifest::{Manifest, Service, nearest};

/// Build the services' components as the manifest says
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wasmyard build               every service that has a `build`
  wasmyard build users orders")]
pub struct Build {
    /// The services [default: all]
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

impl Build {
    pub(super) async fn run(&self, context: &Context) -> Result<(), CliError> {
        let manifest = context.load_manifest()?;
        for name in &self.services {
            if !manifest.services.contains_key(name) {
                let known: Vec<&str> = manifest.services.keys().map(String::as_str).collect();
                let hint = match nearest(name, known.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("there are: {}", known.join(", ")),
                };
                let message = format!("there is no service `{name}`; {hint}");
                return Err(CliError::new(Exit::Failed, message));
            }
        }
        let progress = Progress::start(context.json);
        build_all(
            &manifest,
            |service| self.services.is_empty() || self.services.contains(&service.name),
            &progress,
        )
        .await?;
        progress.finish();
        if context.json {
            let built: Vec<_> = manifest
                .services
                .values()
                .filter(|service| self.services.is_empty() || self.services.contains(&service.name))
                .map(|service| json!({ "service": service.name, "component": service.component }))
                .collect();
            print_json(&json!({ "services": built }))?;
        }
        Ok(())
    }
}

/// Builds the wanted services one after another: Cargo would make them wait for each
/// other in any case.
pub(super) async fn build_all(
    manifest: &Manifest,
    wanted: impl Fn(&Service) -> bool,
    progress: &Progress,
) -> Result<(), CliError> {
    for service in manifest.services.values().filter(|service| wanted(service)) {
        build_one(&manifest.dir, service, progress).await?;
    }
    Ok(())
}

/// Runs a service's build command, if it has one, and looks at its component.
pub(super) async fn build_one(dir: &Path, service: &Service, progress: &Progress) -> Result<(), CliError> {
    if let Some([program, arguments @ ..]) = service.build.as_deref() {
        let start = Instant::now();
        progress.step(&format!("building {}", service.name));
        run(dir, program, arguments, &format!("building {}", service.name)).await?;
        progress.line(&format!("built {} in {:.1} s", service.name, start.elapsed().as_secs_f64()));
    }
    wasm_file::read(&service.component).map(drop).map_err(|reason| {
        let mut message = format!("{}: {} {reason}", service.name, service.component.display());
        if service.build.is_some() && !service.component.exists() {
            message.push_str(
                "\nthe build went well and made no such file: is `component` where the build puts it? \
                 Cargo's target folder may be elsewhere (CARGO_TARGET_DIR, build.target-dir)",
            );
        }
        CliError::new(Exit::Failed, message)
    })
}

/// Runs a command to its end; its output is shown if it fails. Dropped, it is killed.
pub(super) async fn run(
    dir: &Path,
    program: &str,
    arguments: &[String],
    doing: &str,
) -> Result<(), CliError> {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(dir)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| CliError::new(Exit::Failed, format!("{doing}: {program} cannot be run: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let message = format!(
        "{doing} failed ({}): {program} {}\n{}{}",
        output.status,
        arguments.join(" "),
        out.trim_start(),
        err.trim_start()
    );
    Err(CliError::new(Exit::Failed, message.trim_end()))
}
