//! `wasmyard keys`.

use clap::{Args, Subcommand};

use super::client::Client;
use super::table::{local_time, print, print_json, table};
use super::{CliError, Context};
use crate::admin::api::{self, KeyState};
use crate::limits::ADMIN_READ_TIMEOUT;

/// List, rotate or revoke the keys that sign access tokens
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wasmyard keys list
  wasmyard keys rotate
  wasmyard keys revoke
  wasmyard keys list --json | jq -r '.keys[0].kid'")]
pub struct Keys {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Clone, Copy, Subcommand)]
enum Action {
    /// List the current key and those whose tokens are still taken, newest first
    List,
    /// Make a new key, which signs from now on
    ///
    /// Tokens of the keys before it are taken until they expire. Other hosts of the same
    /// database take the new key's tokens at once, and sign with it within 5 seconds.
    Rotate,
    /// Make a new key, and refuse the tokens of all others: after a leak
    ///
    /// Whoever has logged in gets the next access token with their refresh token. Other
    /// hosts of the same database take the new key's tokens at once, and those of the others
    /// for up to 5 seconds more.
    Revoke,
}

impl Keys {
    pub(super) async fn run(&self, context: &Context) -> Result<(), CliError> {
        let client = Client::of_running_host(context)?;
        let keys: api::Keys = match self.action {
            Action::List => client.get("/v1/keys", ADMIN_READ_TIMEOUT).await?,
            Action::Revoke => client.post("/v1/keys/revoke", None, ADMIN_READ_TIMEOUT).await?,
            Action::Rotate => client.post("/v1/keys/rotate", None, ADMIN_READ_TIMEOUT).await?,
        };
        if context.json {
            return print_json(&keys);
        }
        let rows = keys.keys.into_iter().map(|key| {
            let state = match key.state {
                KeyState::Current => "current",
                KeyState::Previous => "previous",
            };
            [key.kid, local_time(key.made_at), state.to_owned()]
        });
        print(&table(["KEY", "MADE", "STATE"], rows))
    }
}
