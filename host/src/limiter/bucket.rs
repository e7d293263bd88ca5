//! What one host knows of one client's bucket, and what it decides by that.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::gcra::Rate;
use super::lease::Lease;
use super::limit::Limit;
use super::script::{Grant, KEY_PREFIX, Order};
use super::verdict::Verdict;
use super::{Client, lease_max};
use crate::limits::RATE_LIMIT_WAITING_MAX;

/// One client's bucket of one limit.
pub(super) struct Bucket {
    pub(super) limit: Arc<Limit>,
    /// Its key in Redis.
    pub(super) key: String,
    /// What this host lets pass when Redis cannot be asked.
    share: Rate,
    lease_max: u64,
    state: Mutex<State>,
}

/// All times are microseconds of this host's clock.
#[derive(Default)]
struct State {
    lease: Lease,
    /// When the bucket in Redis will be whole, as Redis said last. Other hosts can only have
    /// made it later, so a bucket that is empty by this is empty.
    whole_us: u64,
    /// The same of this host's own share.
    share_whole_us: u64,
    /// Requests that passed by that share, which Redis has not been told of.
    debt: u64,
    /// Whether somebody is on the way to Redis for this bucket.
    away: bool,
    waiting: VecDeque<oneshot::Sender<Verdict>>,
}

/// What a request is told at once.
pub(super) enum Answer {
    /// By what Redis lent or said before; or refused, because as many wait for this bucket as
    /// may. A share of this host's own would come on top of what they are given.
    Known(Verdict),
    /// To wait for this; and, if it is the first one, to send somebody to Redis.
    Wait { verdict: oneshot::Receiver<Verdict>, first: bool },
}

impl Bucket {
    pub(super) fn new(limit: &Arc<Limit>, client: &Client, hosts: u64) -> Self {
        Self {
            limit: limit.clone(),
            key: format!("{KEY_PREFIX}{}:{client}", limit.name),
            share: limit.rate.share_of(hosts),
            lease_max: lease_max(limit, hosts),
            state: Mutex::default(),
        }
    }

    /// Decides a request by what is known, if that can be.
    pub(super) fn known(&self, now_us: u64) -> Option<Verdict> {
        self.lock().known(&self.limit, now_us)
    }

    /// The same, or a place among those who wait for Redis.
    pub(super) fn enter(&self, now_us: u64) -> Answer {
        let mut state = self.lock();
        if let Some(verdict) = state.known(&self.limit, now_us) {
            return Answer::Known(verdict);
        }
        if state.waiting.len() >= RATE_LIMIT_WAITING_MAX {
            return Answer::Known(Verdict::refuse(&self.limit, 0));
        }
        let (sender, verdict) = oneshot::channel();
        state.waiting.push_back(sender);
        let first = !std::mem::replace(&mut state.away, true);
        Answer::Wait { verdict, first }
    }

    /// Decides a request by this host's own share.
    pub(super) fn alone(&self, now_us: u64) -> Verdict {
        let mut state = self.lock();
        let State { share_whole_us: whole_us, debt, .. } = &mut *state;
        if self.share.take(whole_us, now_us) {
            *debt = (*debt + 1).min(self.limit.rate.burst);
            let left = self.share.left(*whole_us, now_us);
            Verdict::pass(&self.limit, left, whole_us.saturating_sub(now_us))
        } else {
            Verdict::refuse(&self.limit, self.share.wait_us(*whole_us, now_us))
        }
    }

    /// Whether somebody should go to Redis only to see whether it is there. Whoever is told
    /// so goes.
    pub(super) fn begin_probe(&self) -> bool {
        !std::mem::replace(&mut self.lock().away, true)
    }

    /// What to ask of Redis now. `None` ends the way there: nobody waits any more. A `probe`
    /// goes even so.
    pub(super) fn order(&self, now_us: u64, probe: bool) -> Option<Order> {
        let mut state = self.lock();
        state.waiting.retain(|waiting| !waiting.is_closed());
        // Who came while somebody was on the way may be answered by what that one brought.
        while !state.waiting.is_empty() {
            let Some(verdict) = state.known(&self.limit, now_us) else { break };
            state.answer(verdict);
        }
        if state.waiting.is_empty() && !probe {
            state.away = false;
            return None;
        }
        let asked = state.waiting.len() as u64;
        let spare = if asked > 0 { self.lease_max } else { 0 };
        Some(Order { asked, spare, debt: std::mem::take(&mut state.debt) })
    }

    /// Gives out what Redis granted to an order of `sent_us`.
    pub(super) fn settle(&self, order: Order, grant: Grant, sent_us: u64, now_us: u64) {
        let rate = self.limit.rate;
        let mut state = self.lock();
        // Redis looked at its clock after the order was sent, so by these times a token is
        // void too early rather than too late.
        state.whole_us = sent_us + grant.whole_in_us;
        let left = rate.left(state.whole_us, now_us);
        state.share_whole_us = state.share_whole_us.max(self.share.whole_with(left, now_us));

        let (mut told, mut taken) = (0, 0);
        while taken < grant.given && told < order.asked {
            let still = left + grant.lent + (grant.given - taken - 1);
            let verdict = Verdict::pass(&self.limit, still, state.whole_us.saturating_sub(now_us));
            // One that gave up waiting leaves its token to the next.
            taken += u64::from(state.answer(verdict));
            told += 1;
        }
        // Redis was asked for these too, and had nothing.
        for _ in told..order.asked {
            let verdict = Verdict::refuse(&self.limit, rate.wait_us(state.whole_us, now_us));
            state.answer(verdict);
        }
        // A token for somebody who has passed meanwhile by this host's share is that one's.
        let paid = state.debt.min(grant.given - taken);
        state.debt -= paid;
        let used = taken + paid;
        let first_us = sent_us + grant.first_in_us + used * rate.interval_us;
        if grant.given + grant.lent > used {
            state.lease = Lease::new(first_us, grant.given + grant.lent - used);
        }
    }

    /// Redis could not be asked: those who wait are sent away to decide alone.
    pub(super) fn fail(&self, order: Order) {
        let mut state = self.lock();
        state.debt = (state.debt + order.debt).min(self.limit.rate.burst);
        state.waiting.clear();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn known(&mut self, limit: &Arc<Limit>, now_us: u64) -> Option<Verdict> {
        let rate = limit.rate;
        if self.lease.take(rate.interval_us, now_us) {
            let left = self.lease.left(rate.interval_us, now_us) + rate.left(self.whole_us, now_us);
            return Some(Verdict::pass(limit, left, self.whole_us.saturating_sub(now_us)));
        }
        let wait_us = rate.wait_us(self.whole_us, now_us);
        (wait_us > 0).then(|| Verdict::refuse(limit, wait_us))
    }

    /// Tells the one who waits longest. False when that one has gone.
    fn answer(&mut self, verdict: Verdict) -> bool {
        self.waiting.pop_front().is_some_and(|waiting| waiting.send(verdict).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::manifest::RateLimit;

    const NOW: u64 = 1_000_000_000;
    const SECOND: u64 = 1_000_000;

    /// Ten at once, and one a second, on one of two hosts.
    fn bucket() -> Bucket {
        let per = Duration::from_secs(10);
        let limit = RateLimit { requests: 10, per, burst: 10, strict: true, methods: Vec::new() };
        let limit = Arc::new(Limit::of_service("users", &limit));
        Bucket::new(&limit, &Client::V4([192, 0, 2, 1].into()), 2)
    }

    fn wait(bucket: &Bucket) -> (oneshot::Receiver<Verdict>, bool) {
        match bucket.enter(NOW) {
            Answer::Wait { verdict, first } => (verdict, first),
            _ => panic!("nothing is known"),
        }
    }

    #[test]
    fn one_goes_for_all_and_a_token_of_who_has_gone_is_the_next_ones() {
        let bucket = bucket();
        let [(mut one, first), (two, second), (mut three, _)] = [(); 3].map(|()| wait(&bucket));
        assert!(first && !second);
        let order = bucket.order(NOW, false).expect("three wait");
        assert_eq!(order, Order { asked: 3, spare: 0, debt: 0 });
        drop(two);
        let grant = Grant { given: 2, lent: 0, first_in_us: 8 * SECOND, whole_in_us: 10 * SECOND };
        bucket.settle(order, grant, NOW, NOW);
        for verdict in [&mut one, &mut three] {
            assert!(verdict.try_recv().expect("a verdict").passed());
        }
        // Who comes now is refused by what is known, until a token has come back.
        assert!(bucket.known(NOW + SECOND - 1).is_some_and(|verdict| !verdict.passed()));
        assert!(bucket.known(NOW + SECOND).is_none());
        assert_eq!(bucket.order(NOW, false), None);
        assert!(bucket.begin_probe(), "nobody is on the way any more");
    }

    #[test]
    fn what_redis_has_nothing_for_is_refused_with_its_wait() {
        let bucket = bucket();
        let mut waiting = [(); 3].map(|()| wait(&bucket).0);
        let order = bucket.order(NOW, false).expect("three wait");
        let (mut late, _) = wait(&bucket);
        let grant = Grant { given: 1, lent: 0, first_in_us: 9 * SECOND, whole_in_us: 10 * SECOND };
        bucket.settle(order, grant, NOW, NOW);
        let passed = waiting.each_mut().map(|verdict| verdict.try_recv().expect("a verdict").passed());
        assert_eq!(passed, [true, false, false]);
        // Who came later need not ask for what is not there.
        assert!(late.try_recv().is_err());
        assert_eq!(bucket.order(NOW, false), None);
        assert!(!late.try_recv().expect("a verdict").passed());
    }

    #[test]
    fn tokens_that_come_too_late_pay_for_who_passed_alone_and_the_rest_is_lent() {
        let bucket = bucket();
        let waiting = [(); 3].map(|()| wait(&bucket).0);
        let order = bucket.order(NOW, false).expect("three wait");
        drop(waiting);
        assert!(bucket.alone(NOW).passed());
        let grant = Grant { given: 3, lent: 0, first_in_us: 0, whole_in_us: 3 * SECOND };
        bucket.settle(order, grant, NOW, NOW);
        // Each of the two that are left is good until its place begins.
        assert!(bucket.known(NOW + SECOND).is_some_and(|verdict| verdict.passed()));
        assert!(bucket.known(NOW + 2 * SECOND).is_some_and(|verdict| verdict.passed()));
        assert!(bucket.known(NOW + 2 * SECOND).is_none());
        assert_eq!(bucket.order(NOW, true), Some(Order { asked: 0, spare: 0, debt: 0 }));
    }

    #[test]
    fn a_failed_order_leaves_its_debt_and_lets_those_who_wait_decide() {
        let bucket = bucket();
        for _ in 0..2 {
            assert!(bucket.alone(NOW).passed());
        }
        let (mut waiting, _) = wait(&bucket);
        let order = bucket.order(NOW, false).expect("one waits");
        assert_eq!(order.debt, 2);
        bucket.fail(order);
        assert!(waiting.try_recv().is_err());
        assert_eq!(bucket.order(NOW, true), Some(order_of_debt(2)));
    }

    fn order_of_debt(debt: u64) -> Order {
        Order { asked: 0, spare: 0, debt }
    }

    #[test]
    fn no_more_wait_for_a_bucket_than_may() {
        let bucket = bucket();
        let waiting: Vec<_> = (0..RATE_LIMIT_WAITING_MAX).map(|_| wait(&bucket)).collect();
        assert!(matches!(bucket.enter(NOW), Answer::Known(verdict) if !verdict.passed()));
        drop(waiting);
        assert_eq!(bucket.order(NOW, false), None);
        assert!(wait(&bucket).1);
    }
}
