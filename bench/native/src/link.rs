//! One multiplexed connection to Redis, made anew when it breaks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwapOption;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisError, RedisResult};

use crate::limits;

/// Commands take the current connection or fail at once; nobody waits for Redis to
/// come back.
#[derive(Clone)]
pub(crate) struct Link(Arc<Shared>);

struct Shared {
    client: Client,
    current: ArcSwapOption<MultiplexedConnection>,
    connecting: AtomicBool,
}

impl Link {
    /// Connects.
    ///
    /// # Errors
    ///
    /// The address is none, or nobody answers there.
    pub(crate) async fn open(url: &str) -> RedisResult<Self> {
        let client = Client::open(url)?;
        let current = ArcSwapOption::from_pointee(connect(&client).await?);
        Ok(Self(Arc::new(Shared { client, current, connecting: AtomicBool::new(false) })))
    }

    /// Runs a command, a pipeline or a script.
    ///
    /// # Errors
    ///
    /// Redis is away, refuses, or takes longer than a command may.
    pub(crate) async fn ask<T, F>(&self, command: impl FnOnce(MultiplexedConnection) -> F) -> RedisResult<T>
    where
        F: Future<Output = RedisResult<T>>,
    {
        let Some(connection) = self.0.current.load().as_ref().map(|current| (**current).clone()) else {
            return Err(RedisError::from(std::io::Error::from(std::io::ErrorKind::NotConnected)));
        };
        // The connection's own bound on an answer's time is in force.
        command(connection).await.inspect_err(|error| {
            if error.is_io_error() || error.is_timeout() {
                self.reconnect();
            }
        })
    }

    fn reconnect(&self) {
        if self.0.connecting.swap(true, Ordering::AcqRel) {
            return;
        }
        self.0.current.store(None);
        let shared = Arc::clone(&self.0);
        tokio::spawn(async move {
            loop {
                match connect(&shared.client).await {
                    Ok(connection) => {
                        shared.current.store(Some(Arc::new(connection)));
                        shared.connecting.store(false, Ordering::Release);
                        return;
                    }
                    Err(_) => tokio::time::sleep(limits::REDIS_RECONNECT_PAUSE).await,
                }
            }
        });
    }
}

async fn connect(client: &Client) -> RedisResult<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(limits::REDIS_CONNECT_TIMEOUT))
        .set_response_timeout(Some(limits::REDIS_COMMAND_TIMEOUT))
        .set_pipeline_buffer_size(limits::REDIS_QUEUE_MAX);
    client.get_multiplexed_async_connection_with_config(&config).await
}
