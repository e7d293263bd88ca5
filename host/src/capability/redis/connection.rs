//! The real [`Redis`]: commands on a shared connection.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use async_trait::async_trait;
use redis::aio::MultiplexedConnection;
use redis::{Client, Cmd, FromRedisValue, Pipeline, RedisResult, ScriptInvocation, cmd};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::reply::{Trust, classify, of_script};
use super::script::{Scripts, invocation};
use super::supervisor::Link;
use super::traced::{name_of, traced};
use super::tracking::Tracking;
use super::{Condition, Error, Redis, Reply};
use crate::limits::{REDIS_COMMAND_TIMEOUT, REDIS_REPLY_BYTES_MAX, REDIS_VALUE_BYTES_MAX};

/// A connection that many requests share. It reconnects by itself, with pauses of at
/// most a second; while it is down, every command fails at once with
/// [`Error::Unavailable`].
pub struct RedisConnection {
    link: Arc<Link>,
    scripts: Scripts,
    supervisor: JoinHandle<()>,
    tracking: Arc<Tracking>,
}

impl RedisConnection {
    /// Starts connecting to `url` (`redis://[user:password@]host:port/db`) in the
    /// background of the current Tokio runtime.
    ///
    /// # Errors
    ///
    /// When `url` is not a connection string; the error does not repeat it.
    pub fn open(url: &str) -> anyhow::Result<Self> {
        let client = Client::open(url).context("redis.url is not a connection string")?;
        let tracking = Tracking::new(&client).context("redis.url cannot be used")?;
        let link = Arc::new(Link::new(client));
        let supervisor = tokio::spawn(link.clone().supervise());
        Ok(Self { link, scripts: Scripts::new(), supervisor, tracking: Arc::new(tracking) })
    }

    /// The tracked reads beside this connection. What is written through the methods of
    /// [`Redis`] counts there as changed.
    pub fn tracking(&self) -> &Arc<Tracking> {
        &self.tracking
    }

    /// Whether there is a trusted connection, and each change of that.
    pub fn watch(&self) -> watch::Receiver<bool> {
        self.link.watch()
    }

    /// Waits for a trusted connection. False when there is none after `wait`.
    pub async fn wait_until_up(&self, wait: Duration) -> bool {
        let mut up = self.watch();
        timeout(wait, up.wait_for(|up| *up)).await.is_ok_and(|seen| seen.is_ok())
    }

    /// A connection beside the shared one, for whoever holds one up. Nobody replaces it when
    /// it is lost.
    pub(crate) async fn another(&self) -> RedisResult<MultiplexedConnection> {
        self.link.establish().await
    }

    pub(crate) async fn command<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Error> {
        let name = || command.args_iter().next().map_or_else(String::new, |name| name_of(&name));
        let asked = self.ask(|mut connection| async move { command.query_async(&mut connection).await });
        traced(name, 1, asked).await
    }

    pub(crate) async fn pipeline<T: FromRedisValue>(&self, pipeline: &Pipeline) -> Result<T, Error> {
        let names = || {
            let commands =
                pipeline.cmd_iter().filter_map(|command| Some(name_of(&command.args_iter().next()?)));
            commands.collect::<Vec<_>>().join(" ")
        };
        let asked = self.ask(|mut connection| async move { pipeline.query_async(&mut connection).await });
        traced(names, pipeline.cmd_iter().count(), asked).await
    }

    /// `EVALSHA`, after a `SCRIPT LOAD` where Redis does not know the script yet.
    pub(crate) async fn invoke<T: FromRedisValue>(&self, script: &ScriptInvocation<'_>) -> Result<T, Error> {
        let asked = self.ask(|mut connection| async move { script.invoke_async(&mut connection).await });
        traced(|| "EVALSHA".to_owned(), 1, asked).await
    }

    /// `mget` with a bound in bytes on the values together.
    pub(super) async fn mget_within(
        &self,
        limit: usize,
        keys: &[String],
    ) -> Result<Vec<Option<Vec<u8>>>, Error> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let limit = limit.to_string();
        let keys = keys.iter().map(String::as_str);
        self.invoke(&invocation(&self.scripts.mget, keys, [limit.as_bytes()])).await
    }

    /// `eval` with a bound in bytes on each command of the script and on its reply.
    pub(super) async fn eval_within(
        &self,
        limit: usize,
        script: &str,
        keys: &[String],
        args: &[Vec<u8>],
    ) -> Result<Reply, Error> {
        let limit = limit.to_string();
        let args = [script.as_bytes(), limit.as_bytes()].into_iter().chain(args.iter().map(Vec::as_slice));
        let _writing = self.tracking.writing(keys);
        let keys = keys.iter().map(String::as_str);
        of_script(self.invoke(&invocation(&self.scripts.fence, keys, args)).await?)
    }

    async fn ask<T, F: Future<Output = RedisResult<T>>>(
        &self,
        command: impl FnOnce(MultiplexedConnection) -> F,
    ) -> Result<T, Error> {
        let down = || Error::Unavailable("Redis cannot be reached".to_owned());
        let connection = self.link.current().ok_or_else(down)?;
        match timeout(REDIS_COMMAND_TIMEOUT, command((*connection).clone())).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => {
                let (error, trust) = classify(&error);
                if trust == Trust::Suspect {
                    self.link.distrust(&connection);
                }
                Err(error)
            }
            Err(_) => {
                self.link.distrust(&connection);
                Err(Error::Unavailable(format!("no answer within {} ms", REDIS_COMMAND_TIMEOUT.as_millis())))
            }
        }
    }
}

impl Drop for RedisConnection {
    fn drop(&mut self) {
        self.supervisor.abort();
        self.tracking.stop();
    }
}

#[async_trait]
impl Redis for RedisConnection {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Error> {
        let value: Option<Vec<u8>> = self.command(cmd("GET").arg(key)).await?;
        match value {
            Some(value) if value.len() > REDIS_VALUE_BYTES_MAX => Err(Error::TooLarge("value".to_owned())),
            value => Ok(value),
        }
    }

    async fn mget(&self, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>, Error> {
        self.mget_within(REDIS_REPLY_BYTES_MAX, keys).await
    }

    async fn set(
        &self,
        key: &str,
        value: Vec<u8>,
        ttl: Option<Duration>,
        condition: Condition,
    ) -> Result<bool, Error> {
        let mut command = cmd("SET");
        command.arg(key).arg(value);
        if let Some(ttl) = ttl {
            command.arg("PX").arg(milliseconds(ttl));
        }
        match condition {
            Condition::Always => {}
            Condition::IfAbsent => {
                command.arg("NX");
            }
            Condition::IfPresent => {
                command.arg("XX");
            }
        }
        let _writing = self.tracking.writing(std::slice::from_ref(&key));
        Ok(self.command::<Option<String>>(&command).await?.is_some())
    }

    async fn del(&self, keys: &[String]) -> Result<u64, Error> {
        if keys.is_empty() {
            return Ok(0);
        }
        let _writing = self.tracking.writing(keys);
        self.command(cmd("DEL").arg(keys)).await
    }

    async fn incr(&self, key: &str, by: i64) -> Result<i64, Error> {
        let _writing = self.tracking.writing(std::slice::from_ref(&key));
        self.command(cmd("INCRBY").arg(key).arg(by)).await
    }

    async fn expire(&self, key: &str, ttl: Duration) -> Result<bool, Error> {
        let _writing = self.tracking.writing(std::slice::from_ref(&key));
        self.command(cmd("PEXPIRE").arg(key).arg(milliseconds(ttl))).await
    }

    async fn ttl(&self, key: &str) -> Result<Option<Duration>, Error> {
        // -2: no such key; -1: it never expires.
        let left: i64 = self.command(cmd("PTTL").arg(key)).await?;
        Ok(u64::try_from(left).ok().map(Duration::from_millis))
    }

    async fn publish(&self, channel: &str, message: Vec<u8>) -> Result<u64, Error> {
        self.command(cmd("PUBLISH").arg(channel).arg(message)).await
    }

    async fn eval(&self, script: &str, keys: &[String], args: &[Vec<u8>]) -> Result<Reply, Error> {
        self.eval_within(REDIS_REPLY_BYTES_MAX, script, keys, args).await
    }

    async fn ping(&self) -> Result<(), Error> {
        self.command(&cmd("PING")).await
    }
}

/// Redis has no time to live of zero; anything shorter than a millisecond becomes one.
fn milliseconds(ttl: Duration) -> u64 {
    u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).max(1)
}
