//! `wasmyard check`.

use clap::Args;

use super::progress::Progress;
use super::table::{print, print_json, table};
use super::{CliError, Context, Exit};
use crate::host::{self, CheckReport};

/// Check the manifest, and each component against its grants, without serving
///
/// Exit code 64 when the manifest is wrong, 3 when a component would be refused.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wasmyard check
  wasmyard check --json | jq '.services[] | select(.problems != [])'")]
pub struct Check;

impl Check {
    pub(super) async fn run(&self, context: &Context) -> Result<(), CliError> {
        let manifest = context.load_manifest()?;
        let progress = Progress::start(context.json);
        progress.step("checking components against their grants");
        let report = host::check(&manifest).await.map_err(|error| failed(&error))?;
        progress.finish();
        if context.json {
            print_json(&report)?;
        } else {
            print(&show(&report))?;
        }
        match problems(&report) {
            // The report has said it all.
            Some(_) => Err(CliError::told(Exit::Refused)),
            None => Ok(()),
        }
    }
}

/// What would be refused, as an error's text; `None` when nothing would.
pub(super) fn problems(report: &CheckReport) -> Option<String> {
    let lines: Vec<String> = report
        .services
        .iter()
        .flat_map(|check| check.problems.iter().map(move |problem| format!("{}: {problem}", check.service)))
        .collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

/// A failure of the host itself.
pub(super) fn failed(error: &anyhow::Error) -> CliError {
    CliError::new(Exit::Failed, format!("{error:#}"))
}

fn show(report: &CheckReport) -> String {
    let rows = report.services.iter().map(|check| {
        let imports: Vec<&str> = check.imports.iter().map(|import| short(import)).collect();
        [
            check.service.clone(),
            if check.problems.is_empty() { "good".to_owned() } else { "refused".to_owned() },
            check.version.clone().unwrap_or_else(|| "-".to_owned()),
            imports.join(", "),
        ]
    });
    let mut text = table(["SERVICE", "CHECK", "VERSION", "IMPORTS"], rows);
    if let Some(problems) = problems(report) {
        text.push_str(&format!("\n{problems}\n"));
    }
    text
}

/// `redis` of `wasmyard:platform/redis@1.0.0`.
fn short(import: &str) -> &str {
    let name = import.strip_prefix("wasmyard:platform/").unwrap_or(import);
    name.split('@').next().unwrap_or(name)
}
