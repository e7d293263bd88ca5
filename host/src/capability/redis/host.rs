//! The host functions: the one place where a guest's keys, sizes and counts are
//! checked before a backend sees them.

use std::future::Future;
use std::time::{Duration, Instant};

use tokio::time::timeout_at;
use wasmtime::Result;

use super::{Condition, Error, GrantedRedis, Reply};
use crate::bindings::wasmyard::platform::redis;
use crate::capability::grants::KeyFault;
use crate::limits::{REDIS_KEYS_MAX, REDIS_SCRIPT_BYTES_MAX, REDIS_TTL_MAX, REDIS_VALUE_BYTES_MAX};
use crate::runtime::Context;

impl redis::Host for Context {
    async fn get(&mut self, key: String) -> Result<Result<Option<Vec<u8>>, Error>> {
        let (redis, deadline) = self.redis()?;
        Ok(match redis.check(std::slice::from_ref(&key)) {
            Ok(()) => until(deadline, redis.backend.get(&key)).await,
            Err(error) => Err(error),
        })
    }

    async fn mget(&mut self, keys: Vec<String>) -> Result<Result<Vec<Option<Vec<u8>>>, Error>> {
        let (redis, deadline) = self.redis()?;
        Ok(match redis.check(&keys) {
            Ok(()) => until(deadline, redis.backend.mget(&keys)).await,
            Err(error) => Err(error),
        })
    }

    async fn set(
        &mut self,
        key: String,
        value: Vec<u8>,
        ttl_ms: Option<u64>,
        condition: Condition,
    ) -> Result<Result<bool, Error>> {
        let (redis, deadline) = self.redis()?;
        let checked = redis.check(std::slice::from_ref(&key)).and_then(|()| fits("value", &value));
        Ok(match checked {
            Ok(()) => until(deadline, redis.backend.set(&key, value, ttl_ms.map(ttl), condition)).await,
            Err(error) => Err(error),
        })
    }

    async fn del(&mut self, keys: Vec<String>) -> Result<Result<u64, Error>> {
        let (redis, deadline) = self.redis()?;
        Ok(match redis.check(&keys) {
            Ok(()) => until(deadline, redis.backend.del(&keys)).await,
            Err(error) => Err(error),
        })
    }

    async fn incr(&mut self, key: String, by: i64) -> Result<Result<i64, Error>> {
        let (redis, deadline) = self.redis()?;
        Ok(match redis.check(std::slice::from_ref(&key)) {
            Ok(()) => until(deadline, redis.backend.incr(&key, by)).await,
            Err(error) => Err(error),
        })
    }

    async fn expire(&mut self, key: String, ttl_ms: u64) -> Result<Result<bool, Error>> {
        let (redis, deadline) = self.redis()?;
        Ok(match redis.check(std::slice::from_ref(&key)) {
            Ok(()) => until(deadline, redis.backend.expire(&key, ttl(ttl_ms))).await,
            Err(error) => Err(error),
        })
    }

    async fn ttl(&mut self, key: String) -> Result<Result<Option<u64>, Error>> {
        let (redis, deadline) = self.redis()?;
        if let Err(error) = redis.check(std::slice::from_ref(&key)) {
            return Ok(Err(error));
        }
        let left = until(deadline, redis.backend.ttl(&key)).await;
        Ok(left.map(|left| left.map(|left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX))))
    }

    async fn publish(&mut self, channel: String, message: Vec<u8>) -> Result<Result<u64, Error>> {
        let (redis, deadline) = self.redis()?;
        let checked = redis.check(std::slice::from_ref(&channel)).and_then(|()| fits("message", &message));
        Ok(match checked {
            Ok(()) => until(deadline, redis.backend.publish(&channel, message)).await,
            Err(error) => Err(error),
        })
    }

    async fn eval(
        &mut self,
        script: String,
        keys: Vec<String>,
        args: Vec<Vec<u8>>,
    ) -> Result<Result<Reply, Error>> {
        let (redis, deadline) = self.redis()?;
        let checked = redis.check(&keys).and_then(|()| fits_script(&script, &args));
        Ok(match checked {
            Ok(()) => until(deadline, redis.backend.eval(&script, &keys, &args)).await,
            Err(error) => Err(error),
        })
    }

    async fn ping(&mut self) -> Result<Result<(), Error>> {
        let (redis, deadline) = self.redis()?;
        Ok(until(deadline, redis.backend.ping()).await)
    }
}

impl Context {
    fn redis(&mut self) -> Result<(GrantedRedis, Instant)> {
        // What the cache had before this command may be what the command changes.
        self.request.read = None;
        let granted = self.capabilities.redis.clone();
        let granted = granted.ok_or_else(|| wasmtime::format_err!("redis is not granted"))?;
        Ok((granted, self.request.deadline))
    }
}

impl GrantedRedis {
    fn check(&self, keys: &[String]) -> Result<(), Error> {
        Ok(self.keys.check(keys)?)
    }
}

impl From<KeyFault> for Error {
    fn from(fault: KeyFault) -> Self {
        match fault {
            KeyFault::TooMany(keys) => Self::TooLarge(format!("{keys} keys; at most {REDIS_KEYS_MAX}")),
            KeyFault::TooLong => Self::TooLarge("key".to_owned()),
            KeyFault::NotGranted(key) => Self::NotGranted(key),
        }
    }
}

/// The request's deadline ends a command too; the command's own timeout is the
/// backend's matter.
async fn until<T>(deadline: Instant, command: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let late = |_| Error::Unavailable("the request's deadline has passed".to_owned());
    timeout_at(deadline.into(), command).await.map_err(late)?
}

fn fits(what: &str, value: &[u8]) -> Result<(), Error> {
    if value.len() > REDIS_VALUE_BYTES_MAX { Err(Error::TooLarge(what.to_owned())) } else { Ok(()) }
}

fn fits_script(script: &str, args: &[Vec<u8>]) -> Result<(), Error> {
    if script.len() > REDIS_SCRIPT_BYTES_MAX {
        return Err(Error::TooLarge("script".to_owned()));
    }
    if args.len() > REDIS_KEYS_MAX || args.iter().map(Vec::len).sum::<usize>() > REDIS_VALUE_BYTES_MAX {
        return Err(Error::TooLarge("args".to_owned()));
    }
    Ok(())
}

/// Redis counts in signed 64 bits from 1970 and refuses what would not fit.
fn ttl(ms: u64) -> Duration {
    Duration::from_millis(ms).clamp(Duration::from_millis(1), REDIS_TTL_MAX)
}
