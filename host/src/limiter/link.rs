//! The way to Redis and back, and whether it is worth going.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::bucket::Bucket;
use super::script::BucketScript;
use crate::capability::redis::{Error, RedisConnection};
use crate::limits;

/// Redis, as far as limits are concerned: one that answers too late is down.
pub(super) struct Link {
    redis: Arc<RedisConnection>,
    script: BucketScript,
    /// How long a request waits for it.
    wait: Duration,
    up: AtomicBool,
    /// When somebody should see again whether it is up.
    probe_at_us: AtomicU64,
    started: Instant,
}

impl Link {
    pub(super) fn new(redis: Arc<RedisConnection>, wait: Duration, started: Instant) -> Self {
        Self {
            redis,
            script: BucketScript::new(),
            wait,
            up: AtomicBool::new(true),
            probe_at_us: AtomicU64::new(0),
            started,
        }
    }

    /// How long a request waits for an answer.
    pub(super) fn wait(&self) -> Duration {
        self.wait
    }

    /// Whether to wait for it.
    pub(super) fn is_up(&self) -> bool {
        self.up.load(Relaxed)
    }

    /// Whether it is time to see if it is up again. Of all who ask, one is told so.
    pub(super) fn wants_probe(&self, now_us: u64) -> bool {
        let at_us = self.probe_at_us.load(Relaxed);
        at_us <= now_us
            && self.probe_at_us.compare_exchange(at_us, now_us + pause_us(), Relaxed, Relaxed).is_ok()
    }

    /// It did not answer, or not in time.
    pub(super) fn down(&self, why: &str, now_us: u64) {
        self.probe_at_us.store(now_us + pause_us(), Relaxed);
        if self.up.swap(false, Relaxed) {
            tracing::warn!(why, "rate limits: without Redis, each host limits by its own share");
        }
    }

    /// Goes to Redis for a bucket, again and again while requests wait for it. Only who has
    /// been told to go may go, so that one bucket has one on the way.
    pub(super) async fn go(self: Arc<Self>, bucket: Arc<Bucket>, mut probe: bool) {
        while let Some(order) = bucket.order(self.now_us(), probe) {
            probe = false;
            let sent_us = self.now_us();
            match self.script.ask(&self.redis, &bucket.key, bucket.limit.rate, order).await {
                Ok(grant) => {
                    let now_us = self.now_us();
                    self.answered(now_us - sent_us);
                    bucket.settle(order, grant, sent_us, now_us);
                }
                Err(error) => {
                    let (Error::Unavailable(why)
                    | Error::Refused(why)
                    | Error::TooLarge(why)
                    | Error::NotGranted(why)) = error;
                    self.down(&why, self.now_us());
                    bucket.fail(order);
                }
            }
        }
    }

    fn answered(&self, took_us: u64) {
        let in_time = u128::from(took_us) <= self.wait.as_micros();
        if in_time && !self.up.swap(true, Relaxed) {
            tracing::info!("rate limits: Redis answers in time again");
        }
    }

    fn now_us(&self) -> u64 {
        since_us(self.started)
    }
}

/// This host's clock. It begins well above zero, so that times before its start are times.
pub(super) fn since_us(started: Instant) -> u64 {
    const BEFORE_US: u64 = 1_000_000_000_000;
    BEFORE_US + u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX / 2)
}

fn pause_us() -> u64 {
    u64::try_from(limits::RATE_LIMIT_PROBE_PAUSE.as_micros()).unwrap_or(u64::MAX)
}
