//! A Postgres and a Redis of the host's own, for `up --local` when none is
//! configured.
//!
//! Both listen on loopback alone and keep their data in the state folder. They are
//! children in process groups of their own, so that a Ctrl-C reaches the host alone
//! and it drains before they stop; and the kernel stops them when the host dies in
//! any other way. What an earlier host left running is found and stopped first.

mod account;
mod child;
mod error;
mod lock;
mod orphan;
mod port;
mod postgres;
mod redis;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;

pub use error::LocalError;
pub use lock::StateLock;

use account::Home;
use child::Keeper;

/// Is told each step of a start or a stop in a few words, without secrets.
pub type Progress<'a> = dyn Fn(&str) + Send + Sync + 'a;

/// What to start, and where to keep it.
#[derive(Debug, Clone)]
pub struct LocalOptions {
    /// `.wasmyard` beside the manifest; made when it does not exist.
    pub state_dir: PathBuf,
    /// No Postgres is configured.
    pub need_postgres: bool,
    /// No Redis is configured.
    pub need_redis: bool,
}

/// The running backends. [`Backends::stop`] ends them in order; dropped without it,
/// they are told to stop and nobody waits for them.
pub struct Backends {
    postgres: Option<postgres::Postgres>,
    redis: Option<redis::Redis>,
    // Dropped after the two above: the children are bound to its thread.
    _keeper: Arc<Keeper>,
    _lock: StateLock,
}

impl Backends {
    /// Starts what is needed and waits until it answers. `progress` is told each
    /// step in a few words, without secrets.
    ///
    /// # Errors
    ///
    /// Another host uses the state folder, a program is not installed, or a backend
    /// did not become ready within its deadline; what was started is stopped again.
    pub async fn start(options: &LocalOptions, progress: &Progress<'_>) -> Result<Self, LocalError> {
        let lock = StateLock::acquire(&options.state_dir)?;
        let keeper = Arc::new(Keeper::start()?);
        let mut backends = Self { postgres: None, redis: None, _keeper: keeper.clone(), _lock: lock };
        if !(options.need_postgres || options.need_redis) {
            return Ok(backends);
        }
        let home = Home::prepare(&options.state_dir, progress)?;
        if options.need_postgres {
            backends.postgres = Some(postgres::Postgres::start(&home, &keeper, progress).await?);
        }
        if options.need_redis {
            match redis::Redis::start(&home, &keeper, progress).await {
                Ok(redis) => backends.redis = Some(redis),
                Err(error) => {
                    backends.stop(progress).await;
                    return Err(error);
                }
            }
        }
        Ok(backends)
    }

    /// The owner's connection string, with its password; `None` if no Postgres was
    /// needed.
    pub fn postgres_url(&self) -> Option<&str> {
        self.postgres.as_ref().map(postgres::Postgres::url)
    }

    /// The connection string; `None` if no Redis was needed.
    pub fn redis_url(&self) -> Option<&str> {
        self.redis.as_ref().map(redis::Redis::url)
    }

    /// A line to paste that opens the database. The password stays in a file.
    pub fn psql(&self) -> Option<String> {
        self.postgres.as_ref().map(postgres::Postgres::psql)
    }

    /// A line to paste that opens Redis.
    pub fn redis_cli(&self) -> Option<String> {
        self.redis.as_ref().map(redis::Redis::cli)
    }

    /// The process ids of the Postgres and the Redis.
    pub fn pids(&self) -> (Option<u32>, Option<u32>) {
        (self.postgres.as_ref().map(postgres::Postgres::pid), self.redis.as_ref().map(redis::Redis::pid))
    }

    /// Stops both, the data safe on disk, each within a deadline after which it is
    /// killed.
    pub async fn stop(mut self, progress: &Progress<'_>) {
        if let Some(redis) = self.redis.take() {
            redis.stop(progress).await;
        }
        if let Some(postgres) = self.postgres.take() {
            postgres.stop(progress).await;
        }
    }
}
