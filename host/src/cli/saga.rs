//! `wasmyard saga`.

use clap::{Args, Subcommand};

use super::client::{Client, segment};
use super::table::{local_time, print, print_json, table};
use super::{CliError, Context, Exit};
use crate::admin::api::{Parked, Retried};
use crate::limits::ADMIN_READ_TIMEOUT;

/// List or retry what services could neither finish nor undo
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wasmyard saga list
  wasmyard saga retry orders/17
  wasmyard saga list --json | jq -r '.parked[].reason'")]
pub struct Saga {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Clone, Subcommand)]
enum Action {
    /// List the sagas that wait for an operator, the oldest first
    ///
    /// A saga is tried again and again, for some minutes, before it is parked here. Nothing
    /// is lost by then: it stands in the service's database, and says why it cannot go on.
    List,
    /// Let a service try a saga again, once what was in its way is gone
    Retry {
        /// The saga, as the list names it: `orders/17`
        #[arg(value_name = "SERVICE/ID")]
        saga: String,
    },
}

impl Saga {
    pub(super) async fn run(&self, context: &Context) -> Result<(), CliError> {
        let client = Client::of_running_host(context)?;
        match &self.action {
            Action::List => list(&client, context).await,
            Action::Retry { saga } => retry(&client, context, saga).await,
        }
    }
}

async fn list(client: &Client, context: &Context) -> Result<(), CliError> {
    let parked: Parked = client.get("/v1/sagas", ADMIN_READ_TIMEOUT).await?;
    if context.json {
        return print_json(&parked);
    }
    let rows = parked.parked.into_iter().map(|saga| {
        let name = format!("{}/{}", saga.service, saga.id);
        [name, saga.step, saga.attempts.to_string(), local_time(saga.since), saga.reason]
    });
    print(&table(["SAGA", "STEP", "ATTEMPTS", "BEGAN", "REASON"], rows))
}

async fn retry(client: &Client, context: &Context, saga: &str) -> Result<(), CliError> {
    let Some((service, id)) = saga.split_once('/') else {
        let message = format!("{saga:?} names no saga: they are listed as SERVICE/ID, like orders/17");
        return Err(CliError::new(Exit::Usage, message));
    };
    let path = format!("/v1/services/{}/sagas/{}/retry", segment(service), segment(id));
    let retried: Retried = client.post(&path, None, ADMIN_READ_TIMEOUT).await?;
    match context.json {
        true => print_json(&retried),
        false => print(&format!("{}/{} is tried again\n", retried.service, retried.id)),
    }
}
