//! Turns for the services that have work of their own, on the schedule of the manifest and
//! on one host at a time.
//!
//! A turn belongs to whoever holds the service's lease in Postgres (`lease.rs`), which is
//! renewed for as long as the turn lasts. A host that dies loses it within
//! [`BACKGROUND_LEASE`]; one that cannot renew it ends its turn before that. What such a
//! host has in flight all the same, a statement perhaps, comes with the fencing token of its
//! turn, which is lower than that of every later one.

mod lease;

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval, sleep};

pub use lease::{Leases, Turn};

use crate::limits::{
    BACKGROUND_COUNT_PERIOD, BACKGROUND_LEASE, BACKGROUND_LOOK, BACKGROUND_RENEWAL, BACKGROUND_RETRY,
    BACKGROUND_WAIT_MIN,
};
use crate::platform::Platform;
use crate::runtime::Service;
use crate::telemetry::TurnOutcome;
use crate::telemetry::trace::Tracer;

/// Gives turns until the platform drains, and ends when the last of them has. Dropped, it
/// ends those that are running.
pub fn give_turns(platform: &Arc<Platform>) -> impl Future<Output = ()> + Send + 'static {
    let (draining, platform) = (platform.draining().clone(), Arc::downgrade(platform));
    async move {
        let mut tasks = JoinSet::new();
        let mut followed: BTreeMap<String, AbortHandle> = BTreeMap::new();
        let mut look = interval(BACKGROUND_LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while draining.run_until_cancelled(look.tick()).await.is_some() {
            let Some(running) = platform.upgrade() else { return };
            while tasks.try_join_next().is_some() {}
            followed.retain(|_, task| !task.is_finished());
            for name in running.scheduled() {
                if !followed.contains_key(&name) {
                    followed.insert(name.clone(), tasks.spawn(follow(platform.clone(), name)));
                }
            }
        }
        while tasks.join_next().await.is_some() {}
    }
}

/// Gives one service its turns, for as long as the manifest in force wants it to.
async fn follow(platform: Weak<Platform>, name: String) {
    let Some(draining) = platform.upgrade().map(|platform| platform.draining().clone()) else { return };
    let (mut failing, mut counted) = (false, None);
    loop {
        let wait = {
            let Some(platform) = platform.upgrade() else { return };
            let (Some((service, every, time)), Some(leases)) =
                (platform.background(&name), platform.leases())
            else {
                return;
            };
            // By every host, whosever the turns are: the numbers of one that has none would
            // be those of long ago.
            if counted.is_none_or(|at: Instant| at.elapsed() >= BACKGROUND_COUNT_PERIOD) {
                counted = Some(Instant::now());
                count_parked(&service).await;
            }
            let asked = Instant::now();
            match leases.take(&name).await {
                Ok(Turn::Now(token)) => {
                    failing = false;
                    let held = Held { leases, token, until: asked + BACKGROUND_LEASE };
                    turn(&service, held, time, (every, platform.tracer())).await;
                    every
                }
                // Another host's turn may end early.
                Ok(Turn::Later(wait)) => wait.clamp(BACKGROUND_WAIT_MIN, every),
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(service = name, "no turn can be taken, trying on: {error:#}");
                    }
                    BACKGROUND_RETRY
                }
            }
        };
        if draining.run_until_cancelled(sleep(wait)).await.is_none() {
            return;
        }
    }
}

/// A turn that is this host's.
struct Held<'a> {
    leases: &'a Leases,
    token: u64,
    /// Counted from before it was asked for: Postgres counts from later.
    until: Instant,
}

async fn turn(
    service: &Arc<Service>,
    held: Held<'_>,
    time: Duration,
    (every, tracer): (Duration, Option<&Arc<Tracer>>),
) {
    let begun = Instant::now();
    let deadline = begun + time;
    let name = &**service.name();
    let Held { leases, token, .. } = held;
    let traced = tracer.map(|tracer| tracer.work(service.name(), "background"));
    let (span, trace) = traced.unwrap_or_default();
    let outcome = tokio::select! {
        ran = service.run_background_in(trace, token, deadline) => match ran {
            Ok(Ok(())) => TurnOutcome::Done,
            // The guest has said why in a line of its own.
            Ok(Err(_)) => TurnOutcome::Failed,
            Err(failure) => {
                service.stats().failed(&failure);
                tracing::warn!(service = name, owner = "guest", "a turn in the background failed: {failure}");
                TurnOutcome::Failed
            }
        },
        () = held.lost(name) => {
            tracing::warn!(service = name, token, "the lease was lost, and the turn is ended");
            TurnOutcome::Lost
        }
    };
    span.end_with(|span| {
        span.set("wasmyard.background.token", i64::try_from(token).unwrap_or(i64::MAX));
        match outcome {
            TurnOutcome::Done => {}
            TurnOutcome::Failed => span.fail("failed", "the turn failed"),
            TurnOutcome::Lost => span.fail("lost", "the turn was ended: it may be another host's"),
        }
    });
    service.stats().turns().add(outcome, begun.elapsed());
    if outcome != TurnOutcome::Lost
        && let Err(error) = leases.give_back(name, token, every).await
    {
        tracing::debug!(service = name, "the lease ends by itself: {error:#}");
    }
}

impl Held<'_> {
    /// Ends when the turn may belong to somebody else.
    async fn lost(mut self, service: &str) {
        loop {
            sleep(BACKGROUND_RENEWAL).await;
            let asked = Instant::now();
            let left = self.until.saturating_duration_since(asked);
            match tokio::time::timeout(left, self.leases.renew(service, self.token)).await {
                Ok(Ok(true)) => self.until = asked + BACKGROUND_LEASE,
                Ok(Ok(false)) | Err(_) => return,
                // It may be renewed by the next attempt, if there is time for one.
                Ok(Err(_)) if self.until > Instant::now() + BACKGROUND_RENEWAL => {}
                Ok(Err(_)) => return,
            }
        }
    }
}

/// Counts what waits for an operator. A service that does not say is asked again later.
async fn count_parked(service: &Arc<Service>) {
    match service.parked(Instant::now() + service.limits().request_timeout).await {
        Ok(Ok(parked)) => service.stats().turns().parked_now(parked.len() as u64),
        Ok(Err(why)) => tracing::debug!(service = &**service.name(), "what is parked is not known: {why}"),
        Err(why) => tracing::debug!(service = &**service.name(), "what is parked is not known: {why}"),
    }
}
