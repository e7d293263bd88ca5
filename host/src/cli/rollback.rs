//! `wasmyard rollback`.

use clap::Args;

use super::client::{Client, segment};
use super::{CliError, Context, deploy};
use crate::admin::api::DeployReport;
use crate::limits::ADMIN_DEPLOY_TIMEOUT;

/// Go back to the version that a service had before
///
/// At once: its compiled code is kept. The choice survives a restart of the host.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wasmyard rollback users
  wasmyard rollback users && wasmyard history users")]
pub struct Rollback {
    /// The service's name in the manifest
    service: String,
}

impl Rollback {
    pub(super) async fn run(&self, context: &Context) -> Result<(), CliError> {
        let client = Client::of_running_host(context)?;
        let path = format!("/v1/services/{}/rollback", segment(&self.service));
        let report: DeployReport = client.post(&path, None, ADMIN_DEPLOY_TIMEOUT).await?;
        deploy::show(&report, context)
    }
}
