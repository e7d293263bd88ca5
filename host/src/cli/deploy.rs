//! `wasmyard deploy`.

use std::path::PathBuf;

use clap::Args;

use super::client::{Client, segment};
use super::progress::Progress;
use super::table::{millis, print, print_json};
use super::{CliError, Context, Exit, wasm_file};
use crate::admin::api::DeployReport;
use crate::limits::ADMIN_DEPLOY_TIMEOUT;

/// Replace a service's version while it serves
///
/// The component is checked against the service's grants, compiled and asked for its
/// health; only then do new requests go to it. Requests in flight end on the old
/// version. If any step fails, the old version keeps serving, and the exit code is 3.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wasmyard deploy users target/wasm32-wasip2/component/users.wasm
  wasmyard deploy users new.wasm --json | jq -r .version")]
pub struct Deploy {
    /// The service's name in the manifest
    service: String,
    /// The component
    file: PathBuf,
}

impl Deploy {
    pub(super) async fn run(&self, context: &Context) -> Result<(), CliError> {
        let component = wasm_file::read(&self.file).map_err(|reason| {
            let exit = if self.file.is_file() { Exit::Refused } else { Exit::Io };
            CliError::new(exit, format!("{} {reason}", self.file.display()))
        })?;
        let client = Client::of_running_host(context)?;
        let progress = Progress::start(context.json);
        progress.step(&format!("deploying {} to {}", self.file.display(), self.service));
        let path = format!("/v1/services/{}/deploy", segment(&self.service));
        let report: DeployReport = client.post(&path, Some(component.into()), ADMIN_DEPLOY_TIMEOUT).await?;
        progress.finish();
        show(&report, context)
    }
}

/// Shows what a deploy or a rollback did.
pub(super) fn show(report: &DeployReport, context: &Context) -> Result<(), CliError> {
    if context.json {
        return print_json(report);
    }
    let steps: Vec<String> =
        report.steps.iter().map(|step| format!("{} {}", step.step, millis(step.ms))).collect();
    let before = report.previous.as_ref().map_or(String::new(), |previous| format!("{previous} → "));
    let mut text = format!("{}: {before}{} in {}\n", report.service, report.version, millis(report.swap_ms));
    if !steps.is_empty() {
        text.push_str(&format!("  {}\n", steps.join(", ")));
    }
    print(&text)
}
