//! What cache-aside needs of its store, and how Redis does it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use redis::Script;

use crate::capability::grants::RESERVED;
use crate::capability::redis::script::invocation;
use crate::capability::redis::{Error, RedisConnection, Tracking};
use crate::limits::{CACHE_LEASE_TTL, CACHE_PURGE_BATCH};

/// What stands before the key of every lease token.
pub(crate) const LEASE_PREFIX: &str = "wasmyard:lease:";

/// The store cannot be reached, or refused: whether a write took effect is unknown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the cache's store is out of reach: {0}")]
pub struct Outage(pub String);

/// What the store holds under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A value, and the time it has left in milliseconds
    /// ([`TTL_NEVER_MS`](super::TTL_NEVER_MS) if it never expires).
    Value(Vec<u8>, u64),
    /// No value.
    Nothing,
}

/// A store with lease tokens. Each method is atomic in itself.
#[async_trait]
pub trait CacheStore: Send + Sync {
    /// The value under a key. The hot path: one round trip and no script.
    async fn read(&self, key: &str) -> Result<Found, Outage>;

    /// The value, or else a lease token for the key: `fresh`, or the one that another
    /// host has already, which is as valid until the next invalidation.
    async fn lease(&self, key: &str, fresh: &str) -> Result<Result<(Vec<u8>, u64), String>, Outage>;

    /// Stores the value if the token is still the key's, and takes the token away.
    async fn fill(&self, key: &str, token: &str, value: &[u8], ttl: Duration) -> Result<bool, Outage>;

    /// Takes values and tokens away.
    async fn invalidate(&self, keys: &[String]) -> Result<(), Outage>;

    /// Takes away all values and tokens under keys that begin so, in small batches.
    async fn purge(&self, prefix: &str) -> Result<(), Outage>;

    /// Reads that can be kept near, if the store has them. It is told of every value
    /// that the methods above have changed, or found to be changed, before they return.
    fn tracking(&self) -> Option<&Arc<Tracking>> {
        None
    }
}

/// [`CacheStore`] in Redis: the value under its own key, exactly as given; the token
/// beside it, for at most [`CACHE_LEASE_TTL`].
pub struct RedisStore {
    redis: Arc<RedisConnection>,
    lease: Script,
    fill: Script,
}

impl RedisStore {
    /// A store on a shared connection.
    pub fn new(redis: Arc<RedisConnection>) -> Self {
        // Shared tokens live on: the reader that joined last needs its full time.
        let lease = "
            local value = redis.call('GET', KEYS[1])
            if value then return {value, redis.call('PTTL', KEYS[1])} end
            local token = redis.call('GET', KEYS[2]) or ARGV[1]
            redis.call('SET', KEYS[2], token, 'PX', ARGV[2])
            return {token, false}";
        let fill = "
            if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
            redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
            redis.call('DEL', KEYS[2])
            return 1";
        Self { redis, lease: Script::new(lease), fill: Script::new(fill) }
    }
}

#[async_trait]
impl CacheStore for RedisStore {
    async fn read(&self, key: &str) -> Result<Found, Outage> {
        let mut both = redis::pipe();
        both.cmd("GET").arg(key).cmd("PTTL").arg(key);
        let (value, left): (Option<Vec<u8>>, i64) = self.redis.pipeline(&both).await.map_err(outage)?;
        Ok(value.map_or(Found::Nothing, |value| Found::Value(value, ttl_ms(left))))
    }

    async fn lease(&self, key: &str, fresh: &str) -> Result<Result<(Vec<u8>, u64), String>, Outage> {
        let ttl = CACHE_LEASE_TTL.as_millis().to_string();
        let lease_key = lease_key(key);
        let script = invocation(&self.lease, [key, &lease_key], [fresh.as_bytes(), ttl.as_bytes()]);
        match self.redis.invoke::<(Vec<u8>, Option<i64>)>(&script).await {
            Ok((value, Some(left))) => {
                self.redis.tracking().overtaken(key);
                Ok(Ok((value, ttl_ms(left))))
            }
            Ok((token, None)) => Ok(Err(String::from_utf8_lossy(&token).into_owned())),
            Err(error) => Err(outage(error)),
        }
    }

    async fn fill(&self, key: &str, token: &str, value: &[u8], ttl: Duration) -> Result<bool, Outage> {
        let ttl = ttl.as_millis().max(1).to_string();
        let lease_key = lease_key(key);
        let script = invocation(&self.fill, [key, &lease_key], [token.as_bytes(), value, ttl.as_bytes()]);
        let _writing = self.redis.tracking().writing(std::slice::from_ref(&key));
        self.redis.invoke(&script).await.map_err(outage)
    }

    async fn invalidate(&self, keys: &[String]) -> Result<(), Outage> {
        let mut command = redis::cmd("DEL");
        for key in keys {
            command.arg(key).arg(lease_key(key));
        }
        // Before, so that no lookup gives what is on its way out; and after, because a
        // value may have been read just before Redis took it away.
        let _writing = self.redis.tracking().writing(keys);
        self.redis.command(&command).await.map_err(outage)
    }

    async fn purge(&self, prefix: &str) -> Result<(), Outage> {
        for (pattern, of_tokens) in [(pattern(prefix), false), (pattern(&lease_prefix(prefix)), true)] {
            let mut cursor = "0".to_owned();
            loop {
                let mut scan = redis::cmd("SCAN");
                scan.arg(&cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(CACHE_PURGE_BATCH);
                let (next, mut keys): (String, Vec<Vec<u8>>) =
                    self.redis.command(&scan).await.map_err(outage)?;
                // The prefix of a service that may cache anything reaches further than its grant.
                let host_keys = if of_tokens { LEASE_PREFIX } else { RESERVED };
                keys.retain(|key| key.starts_with(host_keys.as_bytes()) == of_tokens);
                if !keys.is_empty() {
                    self.redis.command::<u64>(redis::cmd("UNLINK").arg(keys)).await.map_err(outage)?;
                }
                cursor = next;
                if cursor == "0" {
                    break;
                }
            }
        }
        self.redis.tracking().flush();
        Ok(())
    }

    fn tracking(&self) -> Option<&Arc<Tracking>> {
        Some(self.redis.tracking())
    }
}

/// The key of a key's token. The braces put both into one slot of a Redis cluster.
pub(crate) fn lease_key(key: &str) -> String {
    format!("{LEASE_PREFIX}{{{key}}}")
}

/// What the keys of the tokens of all keys with this prefix begin with.
pub(crate) fn lease_prefix(prefix: &str) -> String {
    format!("{LEASE_PREFIX}{{{prefix}")
}

/// A pattern of `SCAN` for all keys that begin with `prefix`, whatever is in it.
fn pattern(prefix: &str) -> String {
    let mut pattern = String::with_capacity(prefix.len() + 1);
    for c in prefix.chars() {
        if matches!(c, '*' | '?' | '[' | ']' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('*');
    pattern
}

/// From `PTTL`: -1 says never, -2 that it has just gone.
pub(super) fn ttl_ms(left: i64) -> u64 {
    if left == -1 { super::TTL_NEVER_MS } else { u64::try_from(left).unwrap_or(0) }
}

fn outage(error: Error) -> Outage {
    Outage(match error {
        Error::Unavailable(why) | Error::Refused(why) | Error::TooLarge(why) | Error::NotGranted(why) => why,
    })
}
