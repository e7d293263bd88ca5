//! `wasmyard status`.

use clap::Args;

use super::client::Client;
use super::table::{local_time, print, print_json, table};
use super::{CliError, Context};
use crate::admin::api::{HostStatus, ServiceState, ServiceStatus};
use crate::limits::ADMIN_READ_TIMEOUT;

/// Show the running host and its services
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wasmyard status
  wasmyard status --json | jq '.services[] | {name, version}'")]
pub struct Status;

impl Status {
    pub(super) async fn run(&self, context: &Context) -> Result<(), CliError> {
        let status: HostStatus =
            Client::of_running_host(context)?.get("/v1/status", ADMIN_READ_TIMEOUT).await?;
        if context.json { print_json(&status) } else { print(&show(&status)) }
    }
}

fn show(status: &HostStatus) -> String {
    let host = &status.host;
    let head =
        ["SERVICE", "STATE", "VERSION", "SINCE", "WARM", "BUSY", "IN FLIGHT", "REQUESTS", "PORT", "ROUTES"];
    let since = local_time(host.started_at);
    format!("wasmyard {} (pid {}), up since {since}\n\n", host.version, host.pid)
        + &table(head, status.services.iter().map(row))
}

fn row(service: &ServiceStatus) -> [String; 10] {
    let state = match service.state {
        ServiceState::Serving => "serving",
        ServiceState::Deploying => "deploying",
        ServiceState::Down => "down",
    };
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    [
        service.name.clone(),
        state.to_owned(),
        or_dash(service.version.clone()),
        or_dash(service.since.map(local_time)),
        service.instances.warm.to_string(),
        service.instances.busy.to_string(),
        service.in_flight.to_string(),
        service.requests.to_string(),
        or_dash(service.direct_port.map(|port| port.to_string())),
        service.routes.len().to_string(),
    ]
}
