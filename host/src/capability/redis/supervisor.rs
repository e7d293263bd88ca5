//! Keeps one connection to Redis, and lets nobody wait for it.
//!
//! Commands take the current connection or fail at once. Whoever meets a timeout or a
//! broken socket takes the connection out of use; this task probes it with `PING`,
//! puts it back if it answers, and connects anew otherwise.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisResult};
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

use crate::limits::{
    REDIS_COMMAND_TIMEOUT, REDIS_CONNECT_TIMEOUT, REDIS_PROBE_PERIOD, REDIS_QUEUE_MAX,
    REDIS_RECONNECT_PAUSE_MAX,
};

/// The first pause after a failed attempt; doubled each time.
const RECONNECT_PAUSE_MIN: Duration = Duration::from_millis(25);

/// What the commands and the supervising task share.
pub(super) struct Link {
    client: Client,
    current: ArcSwapOption<MultiplexedConnection>,
    alarm: Notify,
    up: watch::Sender<bool>,
}

impl Link {
    pub(super) fn new(client: Client) -> Self {
        Self { client, current: ArcSwapOption::empty(), alarm: Notify::new(), up: watch::Sender::new(false) }
    }

    /// The connection in use, if there is one.
    pub(super) fn current(&self) -> Option<Arc<MultiplexedConnection>> {
        self.current.load_full()
    }

    /// Whether there is one, and each change of that.
    pub(super) fn watch(&self) -> watch::Receiver<bool> {
        self.up.subscribe()
    }

    /// Takes a connection out of use until it has been probed.
    pub(super) fn distrust(&self, connection: &Arc<MultiplexedConnection>) {
        let before = self.current.compare_and_swap(connection, None);
        if before.as_ref().is_some_and(|before| Arc::ptr_eq(before, connection)) {
            self.alarm.notify_one();
        }
    }

    /// Runs for as long as the connection is wanted.
    pub(super) async fn supervise(self: Arc<Self>) {
        let mut pause = RECONNECT_PAUSE_MIN;
        let mut told_down = false;
        loop {
            match self.establish().await {
                Ok(connection) => {
                    if told_down {
                        tracing::info!("redis: connected again");
                    }
                    told_down = false;
                    pause = RECONNECT_PAUSE_MIN;
                    self.serve(connection).await;
                }
                Err(error) => {
                    self.up.send_replace(false);
                    if !told_down {
                        tracing::warn!(%error, "redis: cannot connect");
                    }
                    told_down = true;
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(REDIS_RECONNECT_PAUSE_MAX);
                }
            }
        }
    }

    /// A connection that answers, beside the one in use.
    pub(super) async fn establish(&self) -> RedisResult<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(REDIS_CONNECT_TIMEOUT))
            // Each command has its own timeout, kept where its meaning is known.
            .set_response_timeout(None)
            .set_pipeline_buffer_size(REDIS_QUEUE_MAX);
        let connecting = self.client.get_multiplexed_async_connection_with_config(&config);
        let timed_out = || std::io::Error::from(std::io::ErrorKind::TimedOut);
        let mut connection =
            timeout(REDIS_CONNECT_TIMEOUT * 2, connecting).await.map_err(|_| timed_out())??;
        probe(&mut connection).await?;
        Ok(connection)
    }

    /// Lends the connection until it fails a probe.
    async fn serve(&self, connection: MultiplexedConnection) {
        let mut connection = connection;
        loop {
            self.current.store(Some(Arc::new(connection.clone())));
            self.up.send_replace(true);
            // A connection that nobody uses would otherwise be found dead by the next
            // request.
            let alarmed = timeout(REDIS_PROBE_PERIOD, self.alarm.notified()).await.is_ok();
            if let Err(error) = probe(&mut connection).await {
                self.current.store(None);
                self.up.send_replace(false);
                tracing::warn!(%error, alarmed, "redis: connection lost");
                return;
            }
        }
    }
}

/// `PING`, with a remedy for the one trouble that has it: a script that runs for ever
/// holds up everybody, and may be ended as long as it has written nothing.
async fn probe(connection: &mut MultiplexedConnection) -> RedisResult<()> {
    let pinged = within(redis::cmd("PING").exec_async(connection)).await;
    match pinged {
        Err(error) if error.code() == Some("BUSY") => {
            within(redis::cmd("SCRIPT").arg("KILL").exec_async(connection)).await?;
            within(redis::cmd("PING").exec_async(connection)).await
        }
        pinged => pinged,
    }
}

async fn within(command: impl Future<Output = RedisResult<()>>) -> RedisResult<()> {
    let timed_out = || std::io::Error::from(std::io::ErrorKind::TimedOut);
    timeout(REDIS_COMMAND_TIMEOUT, command).await.map_err(|_| timed_out())?
}
