//! Rate limits: how many requests of one client go to a service, all hosts together.
//!
//! Limited is what has a route: before its body is read, and before it is answered from what
//! is stored. What the host answers by itself (no such route, OPTIONS, the health of all) and
//! what asks a service for its health costs nothing, nor does a call between services, which
//! is part of a request that has passed.
//!
//! A limit is a leaky bucket for each client (`gcra.rs`), and the bucket stands in Redis,
//! where every host finds it: one script (`script.rs`) by Redis' own clock. Yet most requests
//! ask nobody. What decides one is, in this order:
//!
//! 1. **A token that was lent.** A host that asks Redis brings some tokens home beside the
//!    one it needs: at most a quarter of the burst, shared out among the hosts, at most what
//!    comes back in [`limits::RATE_LIMIT_LEASE_SPAN`], never from the lower half of the
//!    bucket, and none at all of a strict limit.
//! 2. **What Redis said last.** A bucket that was empty stays so until its next token comes
//!    back, whatever other hosts do. A flood that is refused costs Redis nothing; nor does one
//!    of more than [`limits::RATE_LIMIT_WAITING_MAX`] that nothing is known of yet.
//! 3. **Redis.** Those who ask for the same bucket while somebody is on the way wait for the
//!    next one to go, and share it.
//! 4. **This host alone**, when Redis has not answered within [`limits::RATE_LIMIT_WAIT`]: by
//!    a bucket of its own, with 1/N of the rate and of the burst of N hosts
//!    (`runtime.hosts`), and no fuller than Redis last said. From then on nobody waits; now
//!    and then somebody is sent to see whether Redis answers in time again. What passed
//!    meanwhile is taken off the bucket in Redis then.
//!
//! # Never more than the burst, across all hosts
//!
//! Redis keeps one number of a bucket: when it will be whole. A token taken moves that moment
//! one interval on, and so has an interval of its own on the bucket's time, its *place*; no
//! two tokens share one. Redis counts a token as used until its place has passed, so of a
//! bucket that will be whole in `w` intervals it gives out no more than `burst - w`. A host
//! uses a lent token only until its place *begins* (`lease.rs`). All tokens that are lent and
//! still worth something thus have whole places between now and `w`, so there are at most `w`
//! of them: those that are lent and those that Redis would give are together never more than
//! the burst, and only time adds to them, one in each interval. A request counts from the
//! moment at which its token was taken or used: between any two moments no more passes than
//! the burst and one request for each interval between them, as if there were one host and no
//! lease. A host measures Redis' time from before its question, so it believes it to be later
//! than it is: that voids a token too early, never too late.
//!
//! Less may pass than that, by what is lent to other hosts at that moment: a quarter of the
//! burst at worst, and nothing where all of them are asked, since each uses what it has
//! before it refuses. A lease need not be given back: its tokens are void when Redis counts
//! them as come back.
//!
//! Without Redis the hosts together let pass their shares, which are the rate and the burst
//! again if `runtime.hosts` is their number; when Redis goes away or comes back, that may be
//! on top of one burst that passed by Redis. That holds of strict limits too: a host cannot
//! know what another one has let pass meanwhile. A Redis that loses its data forgets what was
//! used; one whose clock is set back takes what was used for all there is, until that has
//! come back.
//!
//! # Memory
//!
//! A host remembers [`limits::RATE_LIMIT_KEYS_MAX`] buckets. Beyond that the one that is asked
//! for least is forgotten: what was lent to it is lost, so a little less passes, and the next
//! request asks Redis. Without Redis a forgotten bucket begins anew with the host's share.

mod bucket;
mod client;
mod gcra;
mod lease;
mod limit;
mod link;
mod script;
#[cfg(test)]
mod tests;
mod verdict;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use quick_cache::sync::Cache;
use tokio::sync::oneshot;
use tokio::time::timeout;

use bucket::{Answer, Bucket};
pub use client::Client;
pub use limit::{Limit, RouteLimits};
use link::Link;
pub use verdict::Verdict;

use crate::capability::redis::RedisConnection;
use crate::limits;
use crate::manifest::Runtime;
use crate::telemetry::trace::carried;
use crate::telemetry::{DecidedBy, LimitCounters};

/// A limit by its digest, and whose bucket of it.
type Key = (u64, Client);

/// Decides whose requests pass.
pub struct Limiter {
    buckets: Cache<Key, Arc<Bucket>>,
    link: Option<Arc<Link>>,
    hosts: u64,
    started: Instant,
}

impl Limiter {
    /// A limiter of one of `runtime.hosts` hosts that share this Redis. Without one each
    /// host limits by its share alone.
    pub fn new(redis: Option<Arc<RedisConnection>>, runtime: &Runtime) -> Self {
        Self::with_keys_max(redis, runtime, limits::RATE_LIMIT_KEYS_MAX)
    }

    fn with_keys_max(redis: Option<Arc<RedisConnection>>, runtime: &Runtime, keys_max: usize) -> Self {
        let started = Instant::now();
        let link = |redis| Arc::new(Link::new(redis, runtime.rate_limit_wait, started));
        Self {
            buckets: Cache::new(keys_max),
            link: redis.map(link),
            hosts: runtime.hosts.max(1).into(),
            started,
        }
    }

    /// Decides one request. It waits for Redis no longer than
    /// `runtime.rate_limit_wait_ms`.
    pub async fn decide(&self, limit: &Arc<Limit>, client: Client, counters: &LimitCounters) -> Verdict {
        let bucket = self.bucket(limit, client);
        let now_us = self.now_us();
        let (verdict, by) = match bucket.known(now_us) {
            Some(verdict) => (verdict, DecidedBy::Memory),
            // Boxed, because it is rare: a future is moved with room for all of its states.
            None => Box::pin(self.ask(&bucket, now_us)).await,
        };
        counters.count(by, verdict.passed());
        verdict
    }

    async fn ask(&self, bucket: &Arc<Bucket>, now_us: u64) -> (Verdict, DecidedBy) {
        let Some(link) = &self.link else { return (bucket.alone(now_us), DecidedBy::Host) };
        if !link.is_up() {
            if link.wants_probe(now_us) && bucket.begin_probe() {
                tokio::spawn(carried(link.clone().go(bucket.clone(), true)));
            }
            return (bucket.alone(now_us), DecidedBy::Host);
        }
        match bucket.enter(now_us) {
            Answer::Known(verdict) => (verdict, DecidedBy::Memory),
            Answer::Wait { verdict, first } => {
                if first {
                    // A task of its own: it brings the others' tokens too, whatever becomes of
                    // this request.
                    tokio::spawn(carried(link.clone().go(bucket.clone(), false)));
                }
                self.wait(link, bucket, verdict).await
            }
        }
    }

    async fn wait(
        &self,
        link: &Link,
        bucket: &Bucket,
        verdict: oneshot::Receiver<Verdict>,
    ) -> (Verdict, DecidedBy) {
        match timeout(link.wait(), verdict).await {
            Ok(Ok(verdict)) => (verdict, DecidedBy::Redis),
            // Whoever went has said already why there is no answer.
            Ok(Err(_)) => (bucket.alone(self.now_us()), DecidedBy::Host),
            Err(_) => {
                link.down("it did not answer in time", self.now_us());
                (bucket.alone(self.now_us()), DecidedBy::Host)
            }
        }
    }

    fn bucket(&self, limit: &Arc<Limit>, client: Client) -> Arc<Bucket> {
        let key = (limit.digest, client);
        let new = || Ok::<_, Infallible>(Arc::new(Bucket::new(limit, &key.1, self.hosts)));
        match self.buckets.get(&key) {
            Some(bucket) => bucket,
            None => match self.buckets.get_or_insert_with(&key, new) {
                Ok(bucket) => bucket,
                Err(impossible) => match impossible {},
            },
        }
    }

    fn now_us(&self) -> u64 {
        link::since_us(self.started)
    }
}

/// How many tokens of a bucket may be lent to one of `hosts` hosts.
fn lease_max(limit: &Limit, hosts: u64) -> u64 {
    if limit.strict {
        return 0;
    }
    let span_us = u64::try_from(limits::RATE_LIMIT_LEASE_SPAN.as_micros()).unwrap_or(u64::MAX);
    (limit.rate.burst / (limits::RATE_LIMIT_LEASE_PART * hosts)).min(span_us / limit.rate.interval_us)
}
