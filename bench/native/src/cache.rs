//! Cache-aside over Redis with lease tokens, as the host does it for its services: a
//! value read before a write is never stored after it.

use std::time::Duration;

use bytes::Bytes;
use redis::{RedisResult, Script};
use wasmyard_guest::Problem;

use crate::flight::{Flights, Joined, Seat, landing};
use crate::limits::LEASE_TTL;
use crate::link::Link;
use crate::shop::Kept;

/// What the cache had to do with an answer (RFC 9211, in the words of the components).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was there, and has so many seconds left.
    Hit(u64),
    /// Another reader's answer was shared.
    Collapsed,
    /// It is there now.
    Stored,
    /// A write came before it could be stored.
    Superseded,
    /// Redis went away before it could be stored.
    Lost,
    /// It is not worth its place.
    Passed,
    /// The client wanted a fresh answer.
    Refused,
    /// The cache did not answer.
    Bypass,
}

/// The cache.
pub(crate) struct Cache {
    link: Link,
    flights: Flights,
    lease: Script,
    fill: Script,
}

/// What stands under a key.
enum Found {
    Value(Bytes, u64),
    Nothing,
}

impl Cache {
    /// A cache in this Redis.
    pub(crate) fn new(link: Link) -> Self {
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
        Self { link, flights: Flights::default(), lease: Script::new(lease), fill: Script::new(fill) }
    }

    /// The bytes under a key, or as `read` makes them.
    pub(crate) async fn aside(
        &self,
        kept: &Kept<'_>,
        read: impl AsyncFnOnce() -> Result<Vec<u8>, Problem>,
    ) -> Result<(Bytes, Outcome), Problem> {
        // It ends: each turn a fill has ended, and the request has its time.
        loop {
            match self.look(kept.key).await {
                Ok(Found::Value(value, left)) => return Ok((value, Outcome::Hit(left))),
                Ok(Found::Nothing) => {}
                Err(_) => return Ok((read().await?.into(), Outcome::Bypass)),
            }
            match self.flights.join(kept.key) {
                Joined::Leader(seat) => return self.lead(seat, kept, read).await,
                Joined::Waiter(flight) => {
                    if let Some(value) = landing(flight).await {
                        return Ok((value, Outcome::Collapsed));
                    }
                }
            }
        }
    }

    async fn lead(
        &self,
        seat: Seat,
        kept: &Kept<'_>,
        read: impl AsyncFnOnce() -> Result<Vec<u8>, Problem>,
    ) -> Result<(Bytes, Outcome), Problem> {
        let lease_key = lease_key(kept.key);
        let token = match self.take_lease(kept.key, &lease_key).await {
            Ok((value, Some(left))) => {
                return Ok((value.into(), Outcome::Hit(seconds(left))));
            }
            Ok((token, None)) => token,
            Err(_) => return Ok((read().await?.into(), Outcome::Bypass)),
        };
        let value = Bytes::from(read().await?);
        if !kept.empty && *value == *b"[]" {
            return Ok((value, Outcome::Passed));
        }
        seat.close();
        let outcome = match self.store(kept, &lease_key, &token, &value).await {
            Ok(true) => {
                seat.land(value.clone());
                Outcome::Stored
            }
            Ok(false) => Outcome::Superseded,
            Err(_) => Outcome::Lost,
        };
        Ok((value, outcome))
    }

    /// Takes keys and their tokens out. The write stands whatever becomes of the cache;
    /// without Redis the keys' times to live bound what stays behind.
    pub(crate) async fn invalidate(&self, keys: &[String]) {
        self.flights.detach(keys);
        let mut command = redis::cmd("DEL");
        for key in keys {
            command.arg(key).arg(lease_key(key));
        }
        let deleted: RedisResult<()> =
            self.link.ask(async move |mut connection| command.query_async(&mut connection).await).await;
        if let Err(error) = deleted {
            eprintln!("keys cannot be taken out of the cache: {}: {error}", keys.join(", "));
        }
    }

    async fn look(&self, key: &str) -> RedisResult<Found> {
        let mut both = redis::pipe();
        both.cmd("GET").arg(key).cmd("PTTL").arg(key);
        let (value, left): (Option<Vec<u8>>, i64) =
            self.link.ask(async move |mut connection| both.query_async(&mut connection).await).await?;
        Ok(value.map_or(Found::Nothing, |value| Found::Value(value.into(), seconds(left))))
    }

    async fn take_lease(&self, key: &str, lease_key: &str) -> RedisResult<(Vec<u8>, Option<i64>)> {
        let mut script = self.lease.prepare_invoke();
        let fresh = uuid::Uuid::now_v7();
        script.key(key).key(lease_key).arg(fresh.as_bytes().as_slice()).arg(milliseconds(LEASE_TTL));
        self.link.ask(async move |mut connection| script.invoke_async(&mut connection).await).await
    }

    async fn store(&self, kept: &Kept<'_>, lease_key: &str, token: &[u8], value: &[u8]) -> RedisResult<bool> {
        let mut script = self.fill.prepare_invoke();
        script.key(kept.key).key(lease_key).arg(token).arg(value).arg(milliseconds(kept.ttl));
        self.link.ask(async move |mut connection| script.invoke_async(&mut connection).await).await
    }
}

impl Outcome {
    /// The value of `Cache-Status`.
    pub(crate) fn words(self) -> std::borrow::Cow<'static, str> {
        match self {
            Self::Hit(left) => format!("wasmyard; hit; ttl={left}").into(),
            Self::Collapsed => "wasmyard; fwd=miss; collapsed".into(),
            Self::Stored => "wasmyard; fwd=miss; stored".into(),
            Self::Superseded => "wasmyard; fwd=miss; detail=superseded".into(),
            Self::Lost => "wasmyard; fwd=miss; detail=redis-unavailable".into(),
            Self::Passed => "wasmyard; fwd=miss".into(),
            Self::Refused => "wasmyard; fwd=request".into(),
            Self::Bypass => "wasmyard; fwd=bypass; detail=redis-unavailable".into(),
        }
    }
}

/// The key of a key's token; both systems share them, as they share the keys.
fn lease_key(key: &str) -> String {
    format!("wasmyard:lease:{{{key}}}")
}

/// Whole seconds of what `PTTL` says; what never expires, or has just gone, has none.
fn seconds(left_ms: i64) -> u64 {
    u64::try_from(left_ms).unwrap_or(0) / 1_000
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
