//! Fails at once while the database cannot be reached.
//!
//! After an attempt to connect has failed, no other is made for
//! [`POSTGRES_BREAKER_OPEN`]; then a single one probes while the rest go on failing
//! at once. Its success closes the breaker. Nobody has to reset it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::limits::POSTGRES_BREAKER_OPEN;

#[derive(Clone, Default)]
pub(super) struct Breaker(Arc<Mutex<State>>);

#[derive(Default)]
enum State {
    #[default]
    Closed,
    Open {
        until: Instant,
    },
    Probing,
}

/// The leave to try a connection once. Dropped without a verdict (the request ended
/// first), it counts as failed only if the attempt had lasted suspiciously long.
pub(super) struct Attempt {
    breaker: Breaker,
    probe: bool,
    since: Instant,
    decided: bool,
}

impl Breaker {
    /// `None`: fail at once.
    pub(super) fn admit(&self) -> Option<Attempt> {
        let now = Instant::now();
        let mut state = self.lock();
        let probe = match *state {
            State::Closed => false,
            State::Open { until } if now >= until => {
                *state = State::Probing;
                true
            }
            State::Open { .. } | State::Probing => return None,
        };
        Some(Attempt { breaker: self.clone(), probe, since: now, decided: false })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // The state is a plain value: a panic elsewhere cannot have left it torn.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attempt {
    /// The database answered. True when it had been away, for the log.
    pub(super) fn succeeded(mut self) -> bool {
        self.decided = true;
        !matches!(std::mem::take(&mut *self.breaker.lock()), State::Closed)
    }

    /// The attempt failed. True when it is the first failure in a row, for the log.
    pub(super) fn failed(mut self) -> bool {
        self.decided = true;
        self.open(Instant::now() + POSTGRES_BREAKER_OPEN)
    }

    fn open(&self, until: Instant) -> bool {
        matches!(std::mem::replace(&mut *self.breaker.lock(), State::Open { until }), State::Closed)
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if self.decided {
            return;
        }
        let now = Instant::now();
        if now.duration_since(self.since) >= POSTGRES_BREAKER_OPEN {
            self.open(now + POSTGRES_BREAKER_OPEN);
        } else if self.probe {
            self.open(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_on_failure_and_lets_one_probe_through() {
        let breaker = Breaker::default();
        assert!(breaker.admit().expect("closed").failed(), "the first failure is told");
        assert!(breaker.admit().is_none());

        *breaker.lock() = State::Open { until: Instant::now() };
        let probe = breaker.admit().expect("one probe");
        assert!(breaker.admit().is_none(), "a second probe at the same time");
        assert!(probe.succeeded());
        assert!(!breaker.admit().expect("closed again").succeeded());
    }

    #[test]
    fn an_abandoned_probe_makes_room_for_the_next() {
        let breaker = Breaker::default();
        *breaker.lock() = State::Open { until: Instant::now() };
        drop(breaker.admit().expect("one probe"));
        assert!(breaker.admit().is_some());
    }
}
