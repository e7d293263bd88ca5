//! A session of the database's owner, for the tables that are the host's own. No guest
//! ever comes near it.

use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, anyhow};
use tokio::time::timeout;
use tokio_postgres::{Client, Config, NoTls};

use super::connection::{error_chain, settings};
use crate::limits::{POSTGRES_CONNECT_TIMEOUT, POSTGRES_STATEMENT_TIMEOUT};

/// One connection, opened when it is first needed and again when it was lost.
pub struct OwnerSession {
    config: Config,
    kept: Mutex<Option<Client>>,
}

impl OwnerSession {
    /// A session at the owner's connection string. Nothing is connected yet.
    ///
    /// # Errors
    /// It is no connection string; the error does not repeat it.
    pub fn new(owner_url: &str) -> anyhow::Result<Self> {
        let mut config = Config::from_str(owner_url).context("postgres.url is not a connection string")?;
        let options = [config.get_options(), Some(&settings(POSTGRES_STATEMENT_TIMEOUT))];
        let options = options.into_iter().flatten().collect::<Vec<_>>().join(" ");
        config.application_name("wasmyard/host").options(options).connect_timeout(POSTGRES_CONNECT_TIMEOUT);
        Ok(Self { config, kept: Mutex::default() })
    }

    /// The connection, for one use. Dropped instead of given back, it is closed: after an
    /// error nobody knows what state it is in.
    ///
    /// # Errors
    /// The database cannot be reached within twice [`POSTGRES_CONNECT_TIMEOUT`].
    pub async fn take(&self) -> anyhow::Result<Client> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(client) = kept.filter(|client| !client.is_closed()) {
            return Ok(client);
        }
        let connected = timeout(POSTGRES_CONNECT_TIMEOUT * 2, self.config.connect(NoTls)).await;
        let (client, connection) = connected
            .context("the database does not answer")?
            .map_err(|error| anyhow!("cannot connect to the database: {}", error_chain(&error)))?;
        // It ends when the client is dropped; what broke it is told to whoever uses it.
        tokio::spawn(async move {
            let _ = connection.await;
        });
        Ok(client)
    }

    /// Keeps the connection for the next use.
    pub fn give_back(&self, client: Client) {
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(client);
    }
}
