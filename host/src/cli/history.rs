//! `wasmyard history`.

use clap::Args;

use super::client::{Client, segment};
use super::table::{local_time, millis, print, print_json, table};
use super::{CliError, Context};
use crate::admin::api;
use crate::limits::ADMIN_READ_TIMEOUT;

/// List a service's versions, newest first
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wasmyard history users
  wasmyard history users --json | jq -r '.versions[0].digest'")]
pub struct History {
    /// The service's name in the manifest
    service: String,
}

impl History {
    pub(super) async fn run(&self, context: &Context) -> Result<(), CliError> {
        let path = format!("/v1/services/{}/history", segment(&self.service));
        let history: api::History = Client::of_running_host(context)?.get(&path, ADMIN_READ_TIMEOUT).await?;
        if context.json {
            return print_json(&history);
        }
        let rows = history.versions.into_iter().map(|entry| {
            [
                entry.version,
                local_time(entry.at),
                entry.way.to_string(),
                entry.swap_ms.map_or_else(|| "-".to_owned(), millis),
                entry.state.to_string(),
                entry.note.unwrap_or_default(),
            ]
        });
        print(&table(["VERSION", "AT", "BY", "SWAP", "STATE", "NOTE"], rows))
    }
}
