//! `wasmyard:platform/redis`: commands on the keys that a service has been granted.
//!
//! [`Redis`] is the seam: [`RedisConnection`] answers it in the host,
//! [`crate::testing::FakeRedis`] in a component's unit tests. The host functions in
//! `host.rs` check keys and bounds for both.

mod connection;
mod host;
mod reply;
pub(crate) mod script;
mod supervisor;
#[cfg(test)]
mod tests;
mod traced;
mod tracking;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

pub use crate::bindings::wasmyard::platform::redis::{Condition, Error, Reply};
pub use connection::RedisConnection;
pub use tracking::{Read, Stamp, Tracking};

use super::grants::KeyPatterns;

/// A Redis, real or scripted. Keys have been checked before it is asked; each method
/// is the command of its name, bounded by [`crate::limits::REDIS_COMMAND_TIMEOUT`].
#[async_trait]
#[expect(missing_docs, reason = "each method is documented as the function of its name in wit/redis.wit")]
pub trait Redis: Send + Sync {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Error>;
    async fn mget(&self, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>, Error>;
    async fn set(
        &self,
        key: &str,
        value: Vec<u8>,
        ttl: Option<Duration>,
        condition: Condition,
    ) -> Result<bool, Error>;
    async fn del(&self, keys: &[String]) -> Result<u64, Error>;
    async fn incr(&self, key: &str, by: i64) -> Result<i64, Error>;
    async fn expire(&self, key: &str, ttl: Duration) -> Result<bool, Error>;
    async fn ttl(&self, key: &str) -> Result<Option<Duration>, Error>;
    async fn publish(&self, channel: &str, message: Vec<u8>) -> Result<u64, Error>;
    async fn eval(&self, script: &str, keys: &[String], args: &[Vec<u8>]) -> Result<Reply, Error>;
    async fn ping(&self) -> Result<(), Error>;
}

/// Redis behind a service's key patterns.
#[derive(Clone)]
pub struct GrantedRedis {
    /// Whom to ask.
    pub backend: Arc<dyn Redis>,
    /// The keys and channels that the service may name.
    pub keys: Arc<KeyPatterns>,
}
